"""Validates a data directory: lists all its errors and warnings in one run, one line each."""

import collections
import itertools
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vqaudio import audio
from vqaudio.cores import available_cores
from vqaudio.datadir.layout import TABLES, tables_of
from vqaudio.datadir.tables import ODD_SPACE, PIPE, Table, is_pipe, scan_ctm, scan_table, summary
from vqaudio.datadir.utterances import invert, parse_segment
from vqaudio.errors import UserError
from vqaudio.names import collisions
from vqaudio.recording_faults import channel_fault, scale_fault

FRAME = 0.01
"""Seconds, one frame at 100 Hz: an utterance must last as long, and a phone may end as long after its utterance."""

RESERVED_WORDS = ("<s>", "</s>", "#0")

Span = tuple[str, float, float | None]
"""Recording, start and end of an utterance in seconds (None: the end of the recording)."""


@dataclass
class Problems:
    """Errors and warnings of `validate`, one line each: the file, the value, the bound, the cure."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Recording(NamedTuple):
    """Facts about a file that was decoded completely; `duration` in seconds, `fault` as in `recording_faults`."""

    sample_rate: int
    channels: int
    duration: float
    silent: bool
    fault: str | None


def validate(data: str | Path, frame: float = FRAME) -> Problems:
    """Return all errors and warnings of a data directory: those of Kaldi's validate_data_dir.sh, and of the audio.

    Errors are malformed, unsorted, duplicate or non-UTF-8 lines, files that disagree about keys or speakers, and audio
    that is missing, undecodable, truncated, non-finite, shorter than `frame` (seconds), at the scale of integers or of
    channels that cancel, or that ends before its segments or phones; and ids that would share a file. Warnings are an
    order of speakers that only Kaldi's tools refuse, silent recordings, several channels and mixed sample rates,
    because every reader averages channels and resamples. Whatever bytes the files contain, the result is a list, never
    an exception. Memory does not grow with the length of recordings. Relative paths are relative to the current
    directory.
    """
    data, found = Path(data), Problems()
    if not data.is_dir():
        return Problems([f"{data}: no such data directory; check the path"])
    tables = {name: scan_table(data / name, kind.what) for name, kind in tables_of(data).items()}
    for table in tables.values():
        found.errors += table.problems + _line_ends(table)
    for name in ("utt2spk", "spk2utt", "wav.scp"):
        if name not in tables:
            cure = "rebuild it (vqaudio data fix)" if name == "spk2utt" else "add it"
            found.errors.append(f"{data / name}: no such file; {cure}")
        elif not tables[name].values:
            found.errors.append(f"{data / name}: is empty, but needs at least one entry; fill it")
    values = {name: table.values for name, table in tables.items()}
    spans = _spans(data, values, found)
    found.errors += [*_key_errors(data, values), *_value_errors(tables), *_id_errors(data, values)]
    found.errors += _inversion_errors(data, values)
    found.warnings += _order_warnings(data, values)
    if "text" in values:
        found.errors += _text_errors(tables["text"])
        found.warnings += _empty_texts(tables["text"])
    recordings = examine(values.get("wav.scp", {}))
    _check_audio(data, spans, recordings, frame, found)
    if (data / "phones.ctm").exists():
        found.errors += _phone_errors(data / "phones.ctm", spans, recordings, frame)
    return found


def examine(wavs: Mapping[str, str]) -> dict[str, Recording | str]:
    """Decode every file of wav.scp, several at a time; return by key its facts, or a message why it is unusable."""
    with ThreadPoolExecutor(max_workers=available_cores()) as pool:  # decoders release the interpreter's lock
        return dict(zip(wavs, pool.map(_examine, wavs.values()), strict=True))


def _examine(value: str) -> Recording | str:
    if is_pipe(value):
        return f"'{value}' is {PIPE}"
    if value.startswith("~"):
        return f"{value}: '~' is not expanded in wav.scp; write the whole path"
    try:
        info = audio.info(value)
        peak, count = 0.0, 0
        for samples in audio.blocks(value, info.sample_rate, 1 << 16):
            peak = max(peak, float(abs(samples).max()))
            count += len(samples)
        fault = scale_fault(peak) or channel_fault(value)
    except UserError as error:
        return str(error)
    return Recording(info.sample_rate, info.channels, count / info.sample_rate, peak == 0, fault)


def span_problem(span: Span, recording: Recording, frame: float) -> str | None:
    """Return a message why an utterance cannot be cut from its recording; None if it can."""
    _, start, end = span
    stop = recording.duration if end is None else end
    if stop > recording.duration + audio.MAX_OVERSHOOT_SECONDS:
        return (
            f"ends at {stop:g} s, its recording '{span[0]}' at {recording.duration:g} s; correct the times or drop it"
        )
    if stop - start < frame - 1e-9:
        return f"lasts {stop - start:g} s, less than a frame of {frame:g} s; drop it (vqaudio data fix)"
    return None


def _line_ends(table: Table) -> list[str]:
    """Return an error for a last line without a newline: the file may be cut off, and shell tools drop the line."""
    try:
        content = table.path.read_bytes()
    except OSError:
        return []  # reported as unreadable already
    cut = content and not content.endswith(b"\n")
    return [f"{table.path}: the last line lacks its newline; add it (vqaudio data fix)"] if cut else []


def _spans(data: Path, values: Mapping[str, Mapping[str, str]], found: Problems) -> dict[str, Span]:
    """Return the span of each utterance, and add malformed segments to `found`."""
    if "segments" not in values:
        return {utt: (utt, 0.0, None) for utt in values.get("wav.scp", {})}
    spans: dict[str, Span] = {}
    for utt, value in values["segments"].items():
        span = parse_segment(value)
        if isinstance(span, str):
            found.errors.append(f"{data / 'segments'}: '{utt}': {span}")
        else:
            spans[utt] = span
    if "wav.scp" in values:
        named = {recording for recording, _, _ in spans.values()}
        found.errors += compare_keys(data / "segments", named, values["wav.scp"], "recording", "wav.scp")
    return spans


def _key_errors(data: Path, values: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return an error for each table whose keys are not those of the table that defines them."""
    errors: list[str] = []
    utt2spk = values.get("utt2spk", {})
    expected = {
        "utterance": (utt2spk.keys(), "utt2spk"),
        "speaker": (set(utt2spk.values()), "utt2spk"),
        "recording": (values.get("wav.scp", {}).keys(), "wav.scp"),
    }
    for name, table in values.items():
        key = "utterance" if name == "wav.scp" and "segments" not in values else TABLES[name].key
        keys, source = expected[key]
        if name != source and source in values:
            errors += compare_keys(data / name, table, keys, key, source)
    return errors


def compare_keys(path: Path, keys: Iterable[str], expected: Iterable[str], kind: str, source: str) -> list[str]:
    """Return an error for the keys that one file has and the other lacks, one line for each direction."""
    keys, expected = set(keys), set(expected)
    errors = []
    for words, names in (("lacks {} of", expected - keys), ("has {} not in", keys - expected)):
        if names:
            count = f"{len(names)} {kind}{'s' if len(names) > 1 else ''}"
            shown = ", ".join(f"'{name}'" for name in sorted(names)[:5]) + (", …" if len(names) > 5 else "")
            errors.append(f"{path}: {words.format(count)} {source} ({shown}); make them agree (vqaudio data fix)")
    return errors


def _value_errors(tables: Mapping[str, Table]) -> list[str]:
    return [
        f"{table.path}:{table.lines[key]}: '{key}' has '{value}', not {TABLES[name].what}; correct it"
        for name, table in tables.items()
        for key, value in table.values.items()
        if not TABLES[name].fits(value)
    ]


def _id_errors(data: Path, values: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return errors for ids of utterances, in any two tables, that would share a file on some system."""
    names = (name for name in values if TABLES[name].key == "utterance" or name == "wav.scp")
    utts = sorted(set(itertools.chain.from_iterable(values[name] for name in names)))
    return summary([f"{data}: {collision_problem(pair)}" for pair in collisions(utts)])


def collision_problem(pair: tuple[str, str]) -> str:
    """Say of two ids, as ASCII so that the difference shows, that files named by them would be one on some system."""
    return f"{pair[0]!a} and {pair[1]!a} differ only in case or Unicode form, so their files may collide; rename one"


def _inversion_errors(data: Path, values: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return errors if spk2utt does not invert utt2spk."""
    inverse = invert(values.get("utt2spk", {}))
    differing = [
        f"{data / 'spk2utt'}: '{speaker}' does not have the utterances of utt2spk"
        for speaker, utts in values.get("spk2utt", {}).items()
        if speaker in inverse and utts.split() != inverse[speaker].split()
    ]
    return [f"{line}; rebuild it (vqaudio data fix)" for line in summary(differing)]


def _order_warnings(data: Path, values: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return warnings if utt2spk, sorted by utterance, is not sorted by speaker too, as Kaldi's tools demand."""
    order = sorted(values.get("utt2spk", {}).items())
    unsorted = [
        f"{data / 'utt2spk'}: '{utt}' of '{speaker}' comes after '{before[0]}' of '{before[1]}', which Kaldi refuses"
        for before, (utt, speaker) in itertools.pairwise(order)
        if speaker < before[1]
    ]
    return [f"{line}; begin utterance names with the speaker's and '-'" for line in summary(unsorted)]


def _text_errors(table: Table) -> list[str]:
    errors = []
    for utt, value in table.values.items():
        place = f"{table.path}:{table.lines[utt]}: '{utt}'"
        if odd := ODD_SPACE.search(value):
            errors.append(f"{place} contains white space U+{ord(odd[0]):04X}; write a blank (vqaudio data fix)")
        errors += [
            f"{place} contains '{word}', a reserved word; remove it" for word in RESERVED_WORDS if word in value.split()
        ]
    return errors


def _empty_texts(table: Table) -> list[str]:
    return summary([f"{table.path}: '{utt}' has no words" for utt, value in table.values.items() if not value])


def _check_audio(
    data: Path, spans: Mapping[str, Span], recordings: Mapping[str, Recording | str], frame: float, found: Problems
) -> None:
    """Add errors for unusable recordings and utterances to `found`, and warnings of what readers will change."""
    path = data / "wav.scp"
    rates: dict[int, list[str]] = collections.defaultdict(list)
    for key, recording in recordings.items():
        if isinstance(recording, str):
            found.errors.append(f"{path}: '{key}': {recording}")
            continue
        rates[recording.sample_rate].append(key)
        if recording.fault:
            found.errors.append(f"{path}: '{key}': {recording.fault}")
        elif recording.silent:
            found.warnings.append(f"{path}: '{key}' is silent (all samples are zero)")
        if recording.channels > 1:
            found.warnings.append(f"{path}: '{key}' has {recording.channels} channels, whose average is used")
    if len(rates) > 1:
        counts = ", ".join(f"{len(keys)} at {rate} Hz (as '{keys[0]}')" for rate, keys in sorted(rates.items()))
        found.warnings.append(f"{path}: mixed sample rates, {counts}; all are resampled to the model's")
    source = data / ("segments" if (data / "segments").exists() else "wav.scp")
    for utt, span in spans.items():
        recording = recordings.get(span[0], "")
        if isinstance(recording, Recording) and (problem := span_problem(span, recording, frame)):
            found.errors.append(f"{source}: '{utt}' {problem}")


def _phone_errors(
    path: Path, spans: Mapping[str, Span], recordings: Mapping[str, Recording | str], frame: float
) -> list[str]:
    """Return errors for phones of unknown utterances, and for phones that end after their utterance."""
    alignments, errors = scan_ctm(path)
    errors += compare_keys(path, alignments.keys() - spans.keys(), (), "utterance", "the audio's")
    for utt, phones in alignments.items():
        recording = recordings.get(spans[utt][0], "") if utt in spans else ""
        if isinstance(recording, str):
            continue
        _, start, end = spans[utt]
        length = (recording.duration if end is None else end) - start
        last = max(phone.start + phone.duration for phone in phones)
        if last > length + frame:
            errors.append(f"{path}: '{utt}' has phones until {last:g} s, but audio until {length:g} s; align it again")
    return errors
