"""Unit directories to and from the files of other tools (`vqaudio.units.formats`), without loss.

Beside FILE, what its format cannot hold is written to FILE.units.json (what the units are), FILE.durations.txt (where
they were deduplicated) and FILE.failed.txt (where utterances failed), as in a unit directory; reading takes them up
again. For fairseq, FILE is <name> without .tsv or .km. So a unit directory comes back byte by byte. A file of another
tool comes back with the same names and units, but sorted, and a .tsv without the paths and sample counts of its audio.
"""

import dataclasses
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import vqaudio
from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.units.directory import UnitsInfo, read_info, read_units
from vqaudio.units.formats import (
    CURE,
    READERS,
    Reading,
    fairseq_stem,
    part,
    read_lines,
    write,
)
from vqaudio.units.sequence import UnitSequence, deduplicate
from vqaudio.units.text import parse_durations
from vqaudio.units.writer import UnitWriter

KINDS = ("vqaudio", *READERS)
SUFFIXES = {".tsv": "fairseq", ".km": "fairseq", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def convert(
    source: Path,
    out: Path,
    *,
    to: str,
    from_: str | None = None,
    settings: UnitsInfo | None = None,
    durations: Path | None = None,
) -> UnitsInfo:
    """Convert units from one of `KINDS` to another; a line that is wrong stops the whole, and nothing is written.

    Args:
        source: unit directory, or file.
        out: unit directory, which must not exist yet, or file.
        to: one of `KINDS`.
        from_: likewise; can be left out where `source` is a folder or has a suffix of fairseq or JSON lines.
        settings: what the units are, for files that have no FILE.units.json beside them.
        durations: "utt d1 d2 …" in frames, of a file of deduplicated units that does not hold them itself.

    Raises:
        UserError: malformed input, a setting that is missing or contradicted, or `out` is there already.
    """
    kind = from_ or _guess(source)
    if kind == "vqaudio":
        if settings is not None or durations is not None:
            raise UserError(f"{source}: a unit directory says itself what its units are: leave those options out")
        return _write(source, out, to)
    about = _settings(source, kind, settings)
    if to == "vqaudio" and out.exists():
        raise UserError(f"{out}: is there already; remove it or choose another OUT")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out.parent) as folder:
        made = Path(folder) / "units"
        made.mkdir()
        info = _read(source, kind, about, durations, made)
        if to == "vqaudio":
            made.rename(out)
            return info
        return _write(made, out, to)


def _guess(source: Path) -> str:
    """Tell the kind of units by what is there."""
    if source.is_dir():
        return "vqaudio"
    kind = SUFFIXES.get(source.suffix) or ("fairseq" if part(source, ".km").exists() else None)
    if kind is None and not source.exists():
        raise UserError(f"{source}: no such file or folder: check the path")
    if kind is None:
        raise UserError(f"{source}: cannot tell what it is: give --from {'|'.join(READERS)}")
    return kind


def _stem(path: Path, kind: str) -> Path:
    """Return FILE of the files beside it."""
    return fairseq_stem(path) if kind == "fairseq" else path


def _settings(source: Path, kind: str, given: UnitsInfo | None) -> UnitsInfo:
    """Return what the units of a file are, from beside it or as given."""
    beside = part(_stem(source, kind), ".units.json")
    if not beside.exists():
        if given is None:
            raise UserError(
                f"{source}: {kind} files do not say what their units are: give --sample-rate, --hop-length and "
                "--codebook-size, or --model"
            )
        return given
    about = read_info(beside)
    if given is not None:
        either = about.model_hash and given.model_hash
        asked = dataclasses.replace(
            given, deduplicated=about.deduplicated, model_hash=either or about.model_hash or given.model_hash
        )
        known = dataclasses.replace(about, model_hash=about.model_hash or given.model_hash)
        if difference := known.difference(asked):
            raise UserError(f"{beside}: contradicts the options, whose {difference}: leave them out or remove it")
        return known
    return about


def _read(source: Path, kind: str, about: UnitsInfo, durations: Path | None, out: Path) -> UnitsInfo:
    """Write the unit directory `out` from a file."""
    stem = _stem(source, kind)
    beside = part(stem, ".units.json").exists()
    if durations is None and beside and about.deduplicated and kind != "jsonl":
        durations = part(stem, ".durations.txt")
    sequences = READERS[kind](source, Reading(about.groups, about.codebook_size, whole_paths=beside))
    if durations is not None:
        sequences = _with_durations(sequences, durations)
    # Whether units are deduplicated is seen with the first of them; the writer must know before.
    first = next(sequences, None)
    if first is None:
        raise UserError(f"{source}: holds no units: check the path")
    deduplicated = first.durations is not None
    if beside and about.deduplicated != deduplicated:
        there = "are" if deduplicated else "are no"
        raise UserError(
            f"{part(stem, '.units.json')}: deduplicated is {about.deduplicated}, but there {there} durations"
        )
    settings = dataclasses.replace(about, deduplicated=deduplicated, num_utterances=0, num_frames=0)
    repeats = deduplicated or beside
    with UnitWriter(out, settings) as writer:
        for sequence in itertools.chain([first], sequences):
            if sequence.utt in writer.offsets:
                raise UserError(f"{source}: two utterances are named {sequence.utt}: rename one")
            if (sequence.durations is not None) != deduplicated:
                raise UserError(f"{source}: {sequence.utt}: durations must be there for all utterances or for none")
            repeats = repeats or len(deduplicate(sequence.units)[1]) < sequence.units.shape[1]
            writer.write(sequence.utt, sequence.codes)
        info = writer.finish({})
    failed = part(stem, ".failed.txt")
    if beside and failed.exists():
        shutil.copyfile(failed, out / "failed.txt")
    if not repeats:
        line = "no unit follows itself, each counts as a frame: if they were deduplicated, give --durations"
        print(f"warning: {source}: {line}", file=sys.stderr)
    return info


def _with_durations(sequences: Iterator[UnitSequence], path: Path) -> Iterator[UnitSequence]:
    """Add the durations of a file, in any order, to the utterances; their text is in memory meanwhile."""
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


def _write(directory: Path, out: Path, to: str) -> UnitsInfo:
    """Write a unit directory as a file, and beside it what the file cannot hold."""
    if to == "vqaudio":
        raise UserError(f"{directory}: is a unit directory already: copy it")
    units = read_units(directory)
    out.parent.mkdir(parents=True, exist_ok=True)
    stem = _stem(out, to)
    beside = part(stem, ".units.json")
    beside.unlink(missing_ok=True)  # where it stands, the conversion is complete
    write(units, out, to)
    for name in ("durations.txt", "failed.txt"):
        copy = part(stem, f".{name}")
        copy.unlink(missing_ok=True)
        if (directory / name).exists() and (directory / name).stat().st_size and not (to == "jsonl" and name[0] == "d"):
            shutil.copyfile(directory / name, copy)
    files.atomic_write(beside, json.dumps(dataclasses.asdict(units.info), indent=2) + "\n")
    return units.info


def stated(sample_rate: int, hop_length: int, codebook_size: int, groups: int) -> UnitsInfo:
    """Return the settings of units of other tools; their model is unknown."""
    return UnitsInfo(
        sample_rate, hop_length, sample_rate / hop_length, codebook_size, groups, False, "", vqaudio.__version__
    )
