"""Converts unit directories to and from the files of other tools (`vqaudio.units.formats`), without loss.

What the format of FILE cannot hold goes into files next to it, as in a unit directory: settings and counts into
FILE.units.json, durations (if deduplicated) into FILE.durations.txt, failures (if any) into FILE.failed.txt, hashes of
audio (if known) into FILE.utt2sha256. Reading
FILE uses them again, and FILE.units.json shows that FILE was made by vqaudio and may be replaced. For fairseq, FILE is
<name> without .tsv or .km. Formats that are folders have the same tables inside. So a unit directory comes back byte
for byte. A file of another tool comes back with the same names and units, but sorted, and a .tsv without the paths and
sample counts of its audio.
"""

import dataclasses
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.metrics.alignment import is_text_grid, read_alignment
from vqaudio.outputs import check_file, check_new, claim_folder
from vqaudio.units.directory import UnitsInfo, read_info, read_units
from vqaudio.units.formats import READERS, fairseq_stem, write
from vqaudio.units.lines import CURE, Reading, part, read_lines
from vqaudio.units.sequence import UnitSequence, deduplicate
from vqaudio.units.text import parse_durations
from vqaudio.units.textgrid import write_text_grids
from vqaudio.units.writer import HASHES, UnitWriter

FORMAT_OF_SUFFIX = {".tsv": "fairseq", ".km": "fairseq", ".jsonl": "jsonl", ".ndjson": "jsonl"}
FORMAT_OF_SUFFIX |= {".parquet": "parquet", ".gz": "lhotse"}
EXPANDED = ("discophon", "textgrid")
"""Formats with a unit for each frame."""
WITHOUT_DURATIONS = (*EXPANDED, "jsonl", "parquet", "lhotse")
"""Formats whose FILE says itself how long units last."""
FOLDERS = ("vqaudio", "textgrid")
"""Formats that are folders."""


def convert(
    source: Path,
    out: Path,
    *,
    to: str,
    from_: str | None = None,
    settings: UnitsInfo | None = None,
    durations: Path | None = None,
    data: Path | None = None,
    alignment: Path | None = None,
) -> UnitsInfo:
    """Convert units from one of `UNIT_FORMATS` to another; one malformed line, and nothing is written.

    Args:
        source: unit directory, or file.
        out: unit directory, which must not exist yet, or file; a file of an earlier conversion is replaced.
        to: one of `UNIT_FORMATS`.
        from_: one of them too; needed only if `source` is a file without a suffix of fairseq or JSON lines.
        settings: settings of the units, for files without a FILE.units.json next to them.
        durations: "utt d1 d2 …" in frames, for a file of deduplicated units that does not hold them itself.
        data: data directory with the recordings, speakers and texts of the units, for lhotse and parquet.
        alignment: phones (see `vqaudio.metrics.alignment`), for a tier of textgrid.

    Raises:
        UserError: the input is malformed, a setting is missing or contradicted, or `out` exists and may not be
            replaced.
    """
    kind = from_ or _guess(source)
    if kind == "vqaudio" and (settings is not None or durations is not None):
        raise UserError(f"{source}: a unit directory already records its settings; drop these options")
    if kind == to == "vqaudio":
        raise UserError(f"{source}: is already a unit directory; copy it")
    if data is not None and to not in ("parquet", "lhotse"):
        raise UserError(f"{data}: {to} takes no data directory; leave out --data")
    if alignment is not None and to != "textgrid":
        raise UserError(f"{alignment}: {to} takes no phones; leave out --alignment")
    _check_out(source, out, kind, to, [path for path in (durations, data, alignment) if path is not None])
    if kind == "vqaudio":
        return _write(source, out, to, data, alignment)
    about = _settings(source, kind, settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=files.PARTIAL, dir=out.parent) as folder:
        made = Path(folder) / "units"
        info = _read(source, kind, about, durations, made)
        if to == "vqaudio":
            made.rename(out)
            return info
        return _write(made, out, to, data, alignment)


def _check_out(source: Path, out: Path, kind: str, to: str, others: list[Path]) -> None:
    """Check that the output may be written, and that it is none of the inputs."""
    inputs = ([source] if kind in FOLDERS else _files(source, kind)) + others
    if to in FOLDERS:
        check_new(out, inputs=inputs)
        return
    recorded = _table(out, to, "units.json")
    for path in reversed(_files(out, to)):
        check_file(path, inputs=inputs, ours=lambda _: _is_info(recorded))


def _is_info(path: Path) -> bool:
    try:
        read_info(path)
    except UserError:
        return False
    return True


def _files(path: Path, kind: str) -> list[Path]:
    """Return the files of a conversion: those that describe the units, then those that hold them."""
    stem = _stem(path, kind)
    units = [part(stem, ".tsv"), part(stem, ".km")] if kind == "fairseq" else [path]
    return [*(part(stem, f".{name}") for name in ("units.json", "durations.txt", "failed.txt", HASHES)), *units]


def _guess(source: Path) -> str:
    """Return the format of `source`, inferred from its name or its files."""
    if source.is_dir():
        return "textgrid" if any(map(is_text_grid, source.iterdir())) else "vqaudio"
    kind = FORMAT_OF_SUFFIX.get(source.suffix) or ("fairseq" if part(source, ".km").exists() else None)
    if kind is None and not source.exists():
        raise UserError(f"{source}: no such file or folder; check the path")
    if kind is None:
        raise UserError(f"{source}: its format cannot be inferred; give --from {'|'.join(READERS)}")
    return kind


def _stem(path: Path, kind: str) -> Path:
    """Return FILE, the common beginning of the names of all files of a conversion."""
    return fairseq_stem(path) if kind == "fairseq" else path


def _table(path: Path, kind: str, name: str) -> Path:
    """Return the place of a table of a unit directory in a conversion: inside a folder, or next to a file."""
    return path / name if kind in FOLDERS else part(_stem(path, kind), f".{name}")


def _settings(source: Path, kind: str, given: UnitsInfo | None) -> UnitsInfo:
    """Return the settings of the units of a file: those recorded next to it, or those given."""
    recorded = _table(source, kind, "units.json")
    if not recorded.exists():
        if given is None:
            raise UserError(
                f"{source}: {kind} files do not record the settings of their units; give --sample-rate, --hop-length "
                "and --codebook-size, or --model"
            )
        return given
    about = read_info(recorded)
    if given is None:
        return about
    known = dataclasses.replace(about, model_hash=about.model_hash or given.model_hash)
    asked = dataclasses.replace(
        given,
        deduplicated=about.deduplicated,
        change_penalty=about.change_penalty,
        model_hash=given.model_hash or about.model_hash,
    )
    if difference := known.difference(asked):
        raise UserError(f"{recorded}: contradicts the options, whose {difference}; drop them or remove it")
    return known


def _read(source: Path, kind: str, about: UnitsInfo, durations: Path | None, out: Path) -> UnitsInfo:
    """Write the unit directory `out` from a file."""
    recorded = _table(source, kind, "units.json").exists()
    reading = Reading(about.groups, about.codebook_size, about.frame_rate, whole_paths=recorded)
    sequences = READERS[kind](source, reading)
    if durations is not None:
        sequences = _with_durations(sequences, durations)
    elif recorded and about.deduplicated:
        sequences = _deduplicated(sequences, kind, _table(source, kind, "durations.txt"))
    # The writer must know whether units are deduplicated, which the first of them shows.
    first = next(sequences, None)
    if first is None:
        raise UserError(f"{source}: contains no units; check the path")
    deduplicated = first.durations is not None
    if recorded and about.deduplicated != deduplicated:
        raise UserError(
            f"{_table(source, kind, 'units.json')}: deduplicated is {about.deduplicated}, but {source} comes "
            f"{'with' if deduplicated else 'without'} durations; convert the units again"
        )
    settings = dataclasses.replace(about, deduplicated=deduplicated, num_utterances=0, num_frames=0)
    repeats = deduplicated or recorded
    with UnitWriter(out, settings) as writer:
        for sequence in itertools.chain([first], sequences):
            if sequence.utt in writer.offsets:
                raise UserError(f"{source}: {_twins(sequence.utt, READERS[kind](source, reading))}; rename one")
            if (sequence.durations is not None) != deduplicated:
                raise UserError(
                    f"{source}: {sequence.utt}: only some utterances have durations; give them for all or for none"
                )
            repeats = repeats or len(deduplicate(sequence.units)[1]) < sequence.units.shape[1]
            writer.write(sequence.utt, sequence.codes)
        info = writer.finish({})
    if recorded:
        _copy_tables(source, kind, out)
    if not repeats:
        line = (
            "no unit is ever repeated, so each was read as one frame; if the units are deduplicated, pass --durations"
        )
        print(f"warning: {source}: {line}", file=sys.stderr)
    return info


def _copy_tables(source: Path, kind: str, out: Path) -> None:
    """Copy the failures and hashes that belong to a file into a unit directory."""
    for name in ("failed.txt", HASHES):
        if _table(source, kind, name).exists():
            files.copy_file(_table(source, kind, name), out / name)


def _deduplicated(sequences: Iterator[UnitSequence], kind: str, durations: Path) -> Iterator[UnitSequence]:
    """Return deduplicated utterances of a file that was written by vqaudio."""
    if kind in EXPANDED:
        return (UnitSequence(sequence.utt, *deduplicate(sequence.units)) for sequence in sequences)
    return sequences if kind in WITHOUT_DURATIONS else _with_durations(sequences, durations)


def _twins(utt: str, sequences: Iterator[UnitSequence]) -> str:
    """Say which two utterances have the same id."""
    first, second = [n for n, sequence in enumerate(sequences, start=1) if sequence.utt == utt][:2]
    return f"utterances {first} and {second} are both named {utt}"


def _with_durations(sequences: Iterator[UnitSequence], path: Path) -> Iterator[UnitSequence]:
    """Yield the utterances with the durations of a file, whose lines may be in any order and are kept in memory."""
    found: dict[str, tuple[int, bytes]] = {}
    for number, line in read_lines(path):
        name, _, body = line.replace(b"\t", b" ", 1).partition(b" ")
        found[name.decode(errors="replace")] = (number, body)
    for sequence in sequences:
        if sequence.utt not in found:
            raise UserError(f"{path}: has no durations of {sequence.utt}; give those of the same units")
        number, body = found[sequence.utt]
        frames = parse_durations(body, sequence.units.shape[1], f"{path}:{number}: {sequence.utt}", CURE)
        yield UnitSequence(sequence.utt, sequence.units, frames)


def _write(directory: Path, out: Path, to: str, data: Path | None, alignment: Path | None) -> UnitsInfo:
    """Write a unit directory in another format, with the tables of it that the format itself cannot hold."""
    units = read_units(directory)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=files.PARTIAL, dir=out.parent) as folder:
        made = Path(folder) / out.name
        if to == "textgrid":
            claim_folder(made, to)
            write_text_grids(units, made, read_alignment(alignment) if alignment else None)
        else:
            write(units, made, to, data)
        for name in ("durations.txt", "failed.txt", HASHES):
            if _has_content(directory / name) and not (to in WITHOUT_DURATIONS and name == "durations.txt"):
                files.copy_file(directory / name, _table(made, to, name))
        files.atomic_write(_table(made, to, "units.json"), json.dumps(dataclasses.asdict(units.info), indent=2) + "\n")
        if to in FOLDERS:
            made.rename(out)
        else:
            _replace(made, out, to)
    return units.info


def _replace(made: Path, out: Path, kind: str) -> None:
    """Put new files in the place of old ones, the units last: with them, the conversion is complete."""
    for path in reversed(_files(out, kind)):
        path.unlink(missing_ok=True)
    for new, path in zip(_files(made, kind), _files(out, kind), strict=True):
        if new.exists():
            new.replace(path)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
