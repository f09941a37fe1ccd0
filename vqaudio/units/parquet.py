"""Units as Parquet, one row an utterance, written and read a few thousand rows at a time (extra: parquet).

Columns: `utt` (string), `units` (list of whole numbers; with G > 1 groups a list of lists), `frames`, and `durations`
(list, in frames) if the units are deduplicated; with a data directory also `speaker`, and `text` (null where it has
none). Data frames, query engines and Hugging Face's `datasets` read it.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.units.directory import Units
from vqaudio.units.joined import Joined, join
from vqaudio.units.lines import json_fields
from vqaudio.units.sequence import UnitSequence

if TYPE_CHECKING:
    from types import ModuleType

ROWS = 4096  # in memory at a time


def write_parquet(units: Units, path: Path, data: Path | None = None) -> None:
    """Write a unit directory as one Parquet file, which replaces an old one atomically.

    Raises:
        UserError: pyarrow is not installed, or the data directory `data` lacks an utterance.
    """
    pa = import_pyarrow()
    code: Any = pa.uint16() if units.info.codebook_size <= 1 << 16 else pa.int64()
    unit = code if units.info.groups == 1 else pa.list_(code)
    fields = [("utt", pa.string()), ("units", pa.list_(unit)), ("frames", pa.int64())]
    fields += [("durations", pa.list_(pa.int32()))] if units.info.deduplicated else []
    fields += [("speaker", pa.string()), ("text", pa.string())] if data is not None else []
    schema = pa.schema(fields)
    rows = map(_row, units) if data is None else (_described(joined) for joined in join(units, data))
    with files.atomic_writer(path, "wb") as file, pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(rows, ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _row(sequence: UnitSequence) -> dict[str, Any]:
    return {"utt": sequence.utt, "frames": sequence.num_frames, **json_fields(sequence)}


def _described(joined: Joined) -> dict[str, Any]:
    return {**_row(joined.sequence), "speaker": joined.utterance.speaker, "text": joined.text}


def read_parquet(path: Path, groups: int, codebook_size: int, cure: str) -> Iterator[UnitSequence]:
    """Yield the utterances of a Parquet file with the columns `utt` and `units`, and `durations` if there are any.

    Raises:
        UserError: pyarrow is not installed, the file cannot be read, or a row is no utterance of this codebook.
    """
    pa = import_pyarrow()
    try:
        file = pa.parquet.ParquetFile(path, pre_buffer=False)  # which would hold all of it in memory
        names = [name for name in ("utt", "units", "durations") if name in file.schema_arrow.names]
        if names[:2] != ["utt", "units"]:
            raise UserError(f"{path}: has no columns utt and units; rename them")
        number = 0
        for batch in file.iter_batches(ROWS, columns=names):
            for row in batch.to_pylist():
                number += 1
                yield _sequence(row, groups, codebook_size, f"{path}: row {number}", cure)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({' '.join(str(error).split())[:200]}); {cure}") from None


def _sequence(row: dict[str, Any], groups: int, codebook_size: int, where: str, cure: str) -> UnitSequence:
    """Return a row as an utterance, checked."""
    utt, durations = row["utt"], row.get("durations")
    if not isinstance(utt, str) or utt.split() != [utt] or not utt.isprintable():
        raise UserError(f"{where}: utt is {utt!r}, which cannot be an utterance id; {cure}")
    try:
        units = np.array(row["units"], dtype=np.int64).reshape(-1, groups).T
        lengths = None if durations is None else np.array(durations, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: {utt} has no list of units of {groups} groups; {cure}") from None
    if units.size == 0 or units.min() < 0 or units.max() >= codebook_size:
        raise UserError(f"{where}: {utt} has no units, or some outside the codebook of {codebook_size}; {cure}")
    if lengths is not None and (lengths.shape != units.shape[1:] or lengths.min() < 1):
        raise UserError(f"{where}: {utt} does not have a duration of at least 1 for each unit; {cure}")
    return UnitSequence(utt, units, lengths)


def import_pyarrow() -> "ModuleType":
    """Return pyarrow with its modules `parquet` and `ipc`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.ipc
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError("parquet: pyarrow is not installed; install vqaudio[parquet]") from None
    return pa
