"""Reads and writes units in the files of other tools, line by line; UTF-8, LF.

In all of them but the JSON, a frame of G > 1 groups is one token, its codes joined by "-" as in vq-wav2vec.

fairseq  <name>.tsv: the folder of the audio, then "path <tab> samples" a line (wav2vec_manifest.py);
         <name>.km: "71 71 12", line n the units of the n-th path (simple_kmeans).
gslm     "name|71 71 12" a line (GSLM's quantize_with_kmeans.py); a tab in place of "|" is read too (textlesslib's
         transcribe.py --preserve_name).
jsonl    {"audio": "path", "units": [71, 71, 12]} a line (fastabx's from_item_and_units), units [[71, 3], [12, 40]] with
         groups, and "durations": [1, 2, …] in frames if the units are deduplicated.
discophon
         {"file": "utt", "units": [71, 71, 12]} a line (discophon's read_submitted_units). It has no groups, and a unit
         for each frame: deduplicated ones are expanded, and merged again when the file is read back.
espnet   "utt 71 71 12" a line, sorted (Kaldi's text; ESPnet's text.km and token files).
parquet, lhotse, textgrid
         see `vqaudio.units.parquet`, `cuts` and `textgrid`.

The utterance id of a path is its last part without the suffix of its audio format, removed as a whole: `alpha.flac` is
`alpha`, while GSLM's own `rstrip(".flac")` makes it `alph`. Where several folders hold files of one name, the id
begins with the folders in which they differ: `spk1/001`, `spk2/001`. Names in gslm, discophon and espnet files are
taken as they are. In files written here, a path is the utterance id and ".wav", and the samples are the frames times
the hop length.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.units.cuts import read_cuts, write_cuts
from vqaudio.units.directory import Units
from vqaudio.units.lines import (
    BREAKS,
    CURE,
    Reading,
    json_fields,
    json_objects,
    json_sequence,
    json_units,
    part,
    read_lines,
    text_of,
    units_of,
)
from vqaudio.units.parquet import read_parquet, write_parquet
from vqaudio.units.sequence import UnitSequence
from vqaudio.units.text import format_frames
from vqaudio.units.textgrid import read_text_grids

AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff", ".sph"}


def fairseq_stem(path: Path) -> Path:
    """Return <name> of <name>, <name>.tsv or <name>.km."""
    return path.with_suffix("") if path.suffix in (".tsv", ".km") else path


def read_fairseq(path: Path, reading: Reading) -> Iterator[UnitSequence]:
    """Yield the utterances of <name>.tsv and <name>.km in the order of the lines."""
    manifest, labels = (part(fairseq_stem(path), suffix) for suffix in (".tsv", ".km"))
    paths = (row.partition(b"\t")[0] for number, row in read_lines(manifest) if number > 1)
    shared = {} if reading.whole_paths else shared_folders(paths)
    rows, bodies = read_lines(manifest), read_lines(labels)
    if next(rows, None) is None:
        raise UserError(f"{manifest}: is empty; its first line must name the folder of the audio")
    for number, row in rows:
        utt = path_to_utt(row.partition(b"\t")[0], reading, f"{manifest}:{number}", shared)
        _, body = next(bodies, (0, None))
        if body is None:
            raise UserError(f"{labels}:{number - 1}: ends where {manifest} has {utt}; give the .km of this .tsv")
        yield UnitSequence(utt, units_of(body, reading, f"{labels}:{number - 1}: {utt}"), None)
    for number, _ in bodies:
        raise UserError(f"{labels}:{number}: has no path in {manifest}; give the .km of this .tsv")


def read_gslm(path: Path, reading: Reading) -> Iterator[UnitSequence]:
    """Yield the utterances of "name|71 71 12" or "name<tab>71 71 12" in the order of the lines."""
    for number, line in read_lines(path):
        name, separator, body = line.rpartition(b"\t" if b"\t" in line else b"|")
        if not separator:
            raise UserError(f"{path}:{number}: no '|' between name and units; {CURE}, or give another --from")
        utt = text_of(name, f"{path}:{number}")
        yield UnitSequence(utt, units_of(body, reading, f"{path}:{number}: {utt}"), None)


def read_espnet(path: Path, reading: Reading) -> Iterator[UnitSequence]:
    """Yield the utterances of "utt 71 71 12" in the order of the lines."""
    for number, line in read_lines(path):
        name, _, body = line.replace(b"\t", b" ", 1).partition(b" ")
        utt = text_of(name, f"{path}:{number}")
        yield UnitSequence(utt, units_of(body, reading, f"{path}:{number}: {utt}"), None)


def read_jsonl(path: Path, reading: Reading) -> Iterator[UnitSequence]:
    """Yield the utterances of JSON lines in the order of the lines."""
    shared = {} if reading.whole_paths else shared_folders(_audio_of(line) for _, line in read_lines(path))
    for where, values in json_objects(path, "audio"):
        utt = path_to_utt(values["audio"].encode(errors="surrogatepass"), reading, where, shared)
        yield json_sequence(utt, values, reading, where)


def read_discophon(path: Path, reading: Reading) -> Iterator[UnitSequence]:
    """Yield the utterances of DiscoPhon's JSON lines in the order of the lines; other fields are ignored as there."""
    for where, values in json_objects(path, "file"):
        utt = text_of(values["file"].encode(errors="surrogatepass"), where)
        yield UnitSequence(utt, json_units(values, reading, f"{where}: {utt}"), None)


READERS: dict[str, Callable[[Path, Reading], Iterator[UnitSequence]]] = {
    "fairseq": read_fairseq,
    "gslm": read_gslm,
    "jsonl": read_jsonl,
    "discophon": read_discophon,
    "espnet": read_espnet,
    "parquet": lambda path, reading: read_parquet(path, reading.groups, reading.codebook_size, CURE),
    "textgrid": read_text_grids,
    "lhotse": read_cuts,
}


def write(units: Units, path: Path, kind: str, data: Path | None = None) -> None:
    """Write a unit directory as a file of another tool, deduplicated if it is; an old file is replaced atomically.

    Args:
        units: the unit directory.
        path: the file.
        kind: one of the formats that are files.
        data: their data directory, which parquet may have and lhotse must have.

    Raises:
        UserError: an utterance id contains white space or a control character, which would break the line, or the
            format has no groups.
    """
    if kind == "discophon" and units.info.groups > 1:
        raise UserError(
            f"{units.directory}: its {units.info.groups} groups cannot be written as discophon; choose jsonl"
        )
    if kind == "parquet":
        write_parquet(units, path, data)
        return
    if kind == "lhotse":
        write_cuts(units, path, data)
        return
    path = fairseq_stem(path) if kind == "fairseq" else path
    hop_length = units.info.hop_length
    with ExitStack() as stack:
        out = stack.enter_context(files.atomic_writer(part(path, ".km") if kind == "fairseq" else path))
        if kind == "fairseq":
            manifest = stack.enter_context(files.atomic_writer(part(path, ".tsv")))
            manifest.write(".\n")
        for sequence in units:
            utt = sequence.utt
            if BREAKS.search(utt):
                raise UserError(f"{units.directory / 'units.txt'}: {utt!r} cannot be written as {kind}; rename it")
            body = format_frames(sequence.units)
            if kind == "fairseq":
                manifest.write(f"{utt}.wav\t{sequence.num_frames * hop_length}\n")
                out.write(f"{body}\n")
            elif kind == "jsonl":
                line = {"audio": f"{utt}.wav", **json_fields(sequence)}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
            elif kind == "discophon":
                out.write(json.dumps({"file": utt, "units": sequence.codes[0].tolist()}, ensure_ascii=False) + "\n")
            else:
                out.write(f"{utt}{'|' if kind == 'gslm' else ' '}{body}\n")


def path_to_utt(path: bytes, reading: Reading, where: str, shared: Mapping[bytes, int]) -> str:
    """Return the utterance id of the path of an audio file; `shared` is what `shared_folders` returns."""
    if reading.whole_paths:
        return text_of(path.removesuffix(b".wav"), where)
    *folders, stem = _parts(path)
    return text_of(b"/".join([*folders[shared[stem] :], stem] if stem in shared else [stem]), where)


def shared_folders(paths: Iterable[bytes]) -> dict[bytes, int]:
    """Return the last parts of paths that several folders hold, with the number of folders that begin all of them."""
    first: dict[bytes, list[bytes]] = {}
    shared: dict[bytes, int] = {}
    for path in paths:
        *folders, stem = _parts(path)
        known = first.setdefault(stem, folders)
        if folders != known:
            equal = sum(itertools.accumulate((a == b for a, b in zip(known, folders, strict=False)), min))
            shared[stem] = min(equal, shared.get(stem, equal))
    return shared


def _parts(path: bytes) -> list[bytes]:
    """Return the folders of the path of an audio file, and its last part without the suffix."""
    *folders, name = path.split(b"/")
    stem, dot, suffix = name.rpartition(b".")
    return [*folders, stem if stem and (dot + suffix).lower().decode(errors="replace") in AUDIO_SUFFIXES else name]


def _audio_of(line: bytes) -> bytes:
    """Return the path of the audio of a line of JSON; b"" for a malformed line."""
    try:
        return json.loads(line)["audio"].encode(errors="surrogatepass")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return b""
