"""Everything that is wrong with a data directory, found in one go and said in one line each."""

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
from vqaudio.datadir.tables import ODD_SPACE, PIPE_CURE, Table, is_pipe, scan_ctm, scan_table, summary
from vqaudio.datadir.utterances import invert, parse_segment
from vqaudio.errors import UserError

FRAME = 0.01
"""Seconds: an utterance must last as long, one frame at 100 Hz; a phone may end as long after its utterance."""

RESERVED_WORDS = ("<s>", "</s>", "#0")

Span = tuple[str, float, float | None]
"""Recording, start and end (None: the end of the recording) of an utterance, in seconds."""


@dataclass
class Problems:
    """What `validate` found, one line each: the file, the value, the bound, the cure."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Recording(NamedTuple):
    """What is known of a file once all of it was decoded; `duration` in seconds."""

    sample_rate: int
    channels: int
    duration: float
    silent: bool


def validate(data: str | Path, frame: float = FRAME) -> Problems:
    """Check a data directory: what Kaldi's validate_data_dir.sh checks, and all of its audio.

    Errors are malformed, unsorted, duplicate or non-UTF-8 lines, files that disagree about keys or speakers, and audio
    that is missing, undecodable, truncated, non-finite, shorter than `frame` (seconds) or ends before its segments
    or phones. Warnings are silent recordings, several channels and mixed sample rates: every reader averages channels
    and resamples. Whatever bytes the files hold, the answer is a list, never an exception. Memory does not grow with
    the length of recordings. Relative paths are relative to the current directory.
    """
    data, found = Path(data), Problems()
    if not data.is_dir():
        return Problems([f"{data}: no such data directory: check the path"])
    tables = {name: scan_table(data / name, kind.what) for name, kind in tables_of(data).items()}
    for table in tables.values():
        found.errors += table.problems + _line_ends(table)
    for name in ("utt2spk", "spk2utt", "wav.scp"):
        if name not in tables:
            cure = "rebuild it (vqaudio data fix)" if name == "spk2utt" else "add it"
            found.errors.append(f"{data / name}: no such file: {cure}")
        elif not tables[name].values:
            found.errors.append(f"{data / name}: holds no entry, at least one is needed: fill it")
    values = {name: table.values for name, table in tables.items()}
    spans = _spans(data, values, found)
    found.errors += [*_key_errors(data, values), *_value_errors(tables), *_speaker_errors(data, values)]
    if "text" in values:
        found.errors += _text_errors(tables["text"])
        found.warnings += _empty_texts(tables["text"])
    recordings = examine(values.get("wav.scp", {}))
    _check_audio(data, spans, recordings, frame, found)
    if (data / "phones.ctm").exists():
        found.errors += _phone_errors(data / "phones.ctm", spans, recordings, frame)
    return found


def examine(wavs: Mapping[str, str]) -> dict[str, Recording | str]:
    """Decode every file of wav.scp, several at a time: by key what it holds, or in words why it cannot be used."""
    with ThreadPoolExecutor(max_workers=available_cores()) as pool:  # decoders run outside the interpreter's lock
        return dict(zip(wavs, pool.map(_examine, wavs.values()), strict=True))


def _examine(value: str) -> Recording | str:
    if is_pipe(value):
        return f"'{value}': {PIPE_CURE}"
    if value.startswith("~"):
        return f"{value}: '~' is not expanded in wav.scp: write the whole path"
    try:
        info = audio.info(value)
        silent, count = True, 0
        for samples in audio.blocks(value, info.sample_rate, 1 << 16):
            silent = silent and not samples.any()
            count += len(samples)
    except UserError as error:
        return str(error)
    return Recording(info.sample_rate, info.channels, count / info.sample_rate, silent)


def span_problem(span: Span, recording: Recording, frame: float) -> str | None:
    """Say in words why an utterance cannot be cut from its recording, if so."""
    _, start, end = span
    stop = recording.duration if end is None else end
    if stop > recording.duration + audio.MAX_OVERSHOOT_SECONDS:
        return (
            f"ends at {stop:g} s, its recording '{span[0]}' at {recording.duration:g} s: correct the times or drop it"
        )
    if stop - start < frame - 1e-9:
        return f"lasts {stop - start:g} s, a frame {frame:g} s: drop it (vqaudio data fix)"
    return None


def _line_ends(table: Table) -> list[str]:
    """Report a last line without a newline: the file may be cut off, and shell tools drop the line."""
    try:
        content = table.path.read_bytes()
    except OSError:
        return []  # reported as unreadable already
    cut = content and not content.endswith(b"\n")
    return [f"{table.path}: the last line lacks its newline: add it (vqaudio data fix)"] if cut else []


def _spans(data: Path, values: Mapping[str, Mapping[str, str]], found: Problems) -> dict[str, Span]:
    """Return where each utterance lies; malformed segments go to `found`."""
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
    """Compare the keys of every table with those of the table that its kind of key comes from."""
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
    """Report the keys that one file has and the other lacks, in one line for each direction."""
    keys, expected = set(keys), set(expected)
    errors = []
    for words, names in (("lacks {} of", expected - keys), ("has {} not in", keys - expected)):
        if names:
            count = f"{len(names)} {kind}{'s' if len(names) > 1 else ''}"
            shown = ", ".join(f"'{name}'" for name in sorted(names)[:5]) + (", …" if len(names) > 5 else "")
            errors.append(f"{path}: {words.format(count)} {source}: {shown}: make them agree (vqaudio data fix)")
    return errors


def _value_errors(tables: Mapping[str, Table]) -> list[str]:
    return [
        f"{table.path}:{table.lines[key]}: '{key}' has '{value}', not {TABLES[name].what}: correct it"
        for name, table in tables.items()
        for key, value in table.values.items()
        if not TABLES[name].fits(value)
    ]


def _speaker_errors(data: Path, values: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Check that spk2utt inverts utt2spk, and that utt2spk is sorted by speaker too, as Kaldi's tools need it."""
    utt2spk, spk2utt = values.get("utt2spk", {}), values.get("spk2utt", {})
    inverse = invert(utt2spk)
    differing = [
        f"{data / 'spk2utt'}: '{speaker}' has other utterances than in utt2spk"
        for speaker, utts in spk2utt.items()
        if speaker in inverse and utts.split() != inverse[speaker].split()
    ]
    order = sorted(utt2spk.items())
    unsorted = [
        f"{data / 'utt2spk'}: '{utt}' of '{speaker}' stands after '{before[0]}' of '{before[1]}'"
        for before, (utt, speaker) in itertools.pairwise(order)
        if speaker < before[1]
    ]
    return [
        *(f"{line}: rebuild it (vqaudio data fix)" for line in summary(differing)),
        *(f"{line}: begin utterance names with the speaker's and '-'" for line in summary(unsorted)),
    ]


def _text_errors(table: Table) -> list[str]:
    errors = []
    for utt, value in table.values.items():
        place = f"{table.path}:{table.lines[utt]}: '{utt}'"
        if odd := ODD_SPACE.search(value):
            errors.append(f"{place} holds white space U+{ord(odd[0]):04X}: put a blank there (vqaudio data fix)")
        errors += [
            f"{place} holds '{word}', a reserved word: remove it" for word in RESERVED_WORDS if word in value.split()
        ]
    return errors


def _empty_texts(table: Table) -> list[str]:
    return summary([f"{table.path}: '{utt}' has no words" for utt, value in table.values.items() if not value])


def _check_audio(
    data: Path, spans: Mapping[str, Span], recordings: Mapping[str, Recording | str], frame: float, found: Problems
) -> None:
    """Report unusable recordings and utterances, and what readers will change."""
    path = data / "wav.scp"
    rates: dict[int, list[str]] = collections.defaultdict(list)
    for key, recording in recordings.items():
        if isinstance(recording, str):
            found.errors.append(f"{path}: '{key}': {recording}")
            continue
        rates[recording.sample_rate].append(key)
        if recording.silent:
            found.warnings.append(f"{path}: '{key}' is silent: all of its samples are zero")
        if recording.channels > 1:
            found.warnings.append(f"{path}: '{key}' has {recording.channels} channels: their average is used")
    if len(rates) > 1:
        counts = ", ".join(f"{len(keys)} at {rate} Hz (as '{keys[0]}')" for rate, keys in sorted(rates.items()))
        found.warnings.append(f"{path}: mixed sample rates: {counts}: all are resampled to the model's")
    source = data / ("segments" if (data / "segments").exists() else "wav.scp")
    for utt, span in spans.items():
        recording = recordings.get(span[0], "")
        if isinstance(recording, Recording) and (problem := span_problem(span, recording, frame)):
            found.errors.append(f"{source}: '{utt}' {problem}")


def _phone_errors(
    path: Path, spans: Mapping[str, Span], recordings: Mapping[str, Recording | str], frame: float
) -> list[str]:
    """Check that phones belong to utterances and end with them."""
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
            errors.append(f"{path}: '{utt}' has phones until {last:g} s, audio until {length:g} s: align it again")
    return errors
