"""Reads speech in Parquet files and in datasets that `datasets.Dataset.save_to_disk` wrote (extra: parquet).

Audio is what the feature `Audio` of `datasets` stores: the bytes of a file, or its path, or both, of which the bytes
count; a column of bytes alone or of paths alone will do. Relative paths are relative to the current directory, as in
wav.scp. Nothing is decoded here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vqaudio.corpora.collecting import Found
from vqaudio.errors import UserError
from vqaudio.progress import Progress
from vqaudio.units.formats import AUDIO_SUFFIXES
from vqaudio.units.parquet import import_pyarrow

if TYPE_CHECKING:
    from types import ModuleType

ROWS = 16  # of audio in memory at a time
USUAL = {
    "id": ("id", "utt", "utt_id"),
    "audio": ("audio",),
    "text": ("text", "sentence", "transcription", "transcript"),
    "speaker": ("speaker", "speaker_id", "client_id"),
}
"""The names of columns that are tried in turn."""


class Columns(NamedTuple):
    """Names of columns; None stands for the usual ones."""

    id: str | None = None
    audio: str | None = None
    text: str | None = None
    speaker: str | None = None


def is_parquet(path: Path) -> bool:
    """Return whether a path is a Parquet file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def is_saved_dataset(path: Path) -> bool:
    """Return whether a path is a folder that `save_to_disk` wrote."""
    return (path / "state.json").is_file()


def read_tables(paths: list[Path], columns: Columns) -> Iterator[Found]:
    """Yield the utterances of Parquet files and saved datasets, row by row.

    Raises:
        UserError: pyarrow is not installed, a file cannot be read, a column is missing, or a row has no audio or name.
    """
    pa = import_pyarrow()
    with Progress("import", len(paths), "files") as progress:
        for path in paths:
            try:
                yield from _read_table(pa, path, columns)
            except (OSError, pa.ArrowException) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"{path}: cannot be read ({reason}); download or write it again") from None
            progress.update()


def _read_table(pa: "ModuleType", path: Path, columns: Columns) -> Iterator[Found]:
    """Yield the utterances of one Parquet file or saved dataset."""
    for file, schema, batches in _opened(pa, path):
        number = 0
        names = {kind: _column(path, kind, given, schema.names) for kind, given in columns._asdict().items()}
        chosen = [name for name in names.values() if name]
        for batch in batches(list(dict.fromkeys(chosen))):
            for start in range(0, len(batch), ROWS):
                for row in batch.slice(start, ROWS).to_pylist():
                    number += 1
                    yield _found(f"{file}: row {number}", {kind: row[n] if n else None for kind, n in names.items()})


def _opened(pa: "ModuleType", path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Yield the files of a Parquet file or a saved dataset: the file, its schema, and a reader of some columns."""
    if not path.is_dir():
        # Without `pre_buffer=False`, all of the file comes into memory; with it, one group of rows (of 100, as a rule).
        file = pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        yield path, file.schema_arrow, lambda names: file.iter_batches(ROWS, columns=names)
        return
    for name in _shards(path):
        with pa.memory_map(str(path / name)) as source, pa.ipc.open_stream(source) as stream:
            yield path / name, stream.schema, lambda names, stream=stream: (batch.select(names) for batch in stream)


def _shards(path: Path) -> list[str]:
    """Return the names of the files of a saved dataset."""
    try:
        state = json.loads((path / "state.json").read_bytes())
        names = [each["filename"] for each in state["_data_files"]]
        if any(Path(name).name != name for name in names):
            raise ValueError("a file lies elsewhere")
        if state.get("_indices_data_files"):
            raise ValueError("rows are chosen by a list of indices, flatten_indices() it")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path / 'state.json'}: not that of a dataset ({error}); save the dataset again") from None
    return names


def _column(path: Path, kind: str, given: str | None, names: list[str]) -> str | None:
    """Return the name of a column; None if none is given and none has a usual name."""
    name = given or next((name for name in USUAL[kind] if name in names), None)
    if (given and given not in names) or (kind == "audio" and name is None):
        raise UserError(
            f"{path}: has no column {given or kind}; give --{kind} with one of its columns: {', '.join(names)}"
        )
    return name


def _found(where: str, row: dict[str, Any]) -> Found:
    """Return the utterance of a row."""
    audio = row["audio"]
    content, path = (audio.get("bytes"), audio.get("path")) if isinstance(audio, dict) else (audio, audio)
    content = content if isinstance(content, bytes) else None
    path = path if isinstance(path, str) and path else None
    if content is None and path is None:
        raise UserError(f"{where}: has neither the bytes nor the path of audio; leave it out, or give another --audio")
    utt = _word(row["id"])
    if utt is None and path is not None:
        name = Path(path)
        utt = name.stem if name.suffix.lower() in AUDIO_SUFFIXES else name.name
    if utt is None:
        raise UserError(f"{where}: has neither an id nor the path of audio to name it after; give --id")
    text = row["text"]
    if not isinstance(text, (str, type(None))):
        raise UserError(f"{where}: its text is {str(text)[:80]!r}, no text; give another --text")
    return Found(where, utt, _word(row["speaker"]) or utt, text, Path(path or "") if content is None else content, utt)


def _word(value: Any) -> str | None:
    """Return a name or a whole number as a word; None if it is empty."""
    return str(value) if isinstance(value, (str, int)) and value != "" else None
