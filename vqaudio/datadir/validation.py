"""Validates a data directory: lists all its errors and warnings in one run, one line each."""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from vqaudio.datadir.findings import Problems
from vqaudio.datadir.layout import DURATIONS, TABLES, tables_of
from vqaudio.datadir.recordings import (
    FRAME,
    Recording,
    Span,
    check_recordings,
    check_segments,
    duration_errors,
    examine,
    true_durations,
)
from vqaudio.datadir.tables import ODD_SPACE, Table, scan_ctm, scan_table, summary
from vqaudio.datadir.utterances import channels_of, invert, parse_segment
from vqaudio.names import by_folded, collisions, variant_note

RESERVED_WORDS = ("<s>", "</s>", "#0")


def validate(data: str | Path, frame: float = FRAME) -> Problems:
    """Return all errors and warnings of a data directory: those of Kaldi's validate_data_dir.sh, and of the audio.

    Errors are malformed, unsorted, duplicate or non-UTF-8 lines, files that disagree about keys or speakers, and audio
    that is missing, undecodable, truncated, non-finite, shorter than `frame` (seconds), at the scale of integers or of
    channels that cancel, or that ends before its segments or phones; durations that are not the audio's; and ids that
    would share a file. Warnings are an order of speakers that only Kaldi's tools refuse, recordings that are silent or
    nearly so, samples outside −1..1, offsets, segments that are cut at the end of their recording, several channels and
    mixed sample rates, because every reader averages channels and resamples.

    Whatever bytes the files contain, the result is a list, never an exception. Memory does not grow with the length of
    recordings. Relative paths are relative to the current directory.
    """
    data, found = Path(data), Problems()
    if not data.is_dir():
        found.error("table", [f"{data}: no such data directory; check the path"])
        return found
    tables = {name: scan_table(data / name, kind.what) for name, kind in tables_of(data).items()}
    for table in tables.values():
        found.error("table", table.problems + _line_ends(table))
    for name in ("utt2spk", "spk2utt", "wav.scp"):
        if name not in tables:
            cure = "rebuild it (vqaudio data fix)" if name == "spk2utt" else "add it"
            found.error("table", [f"{data / name}: no such file; {cure}"])
        elif not tables[name].values:
            found.error("table", [f"{data / name}: is empty, but needs at least one entry; fill it"])
    values = {name: table.values for name, table in tables.items()}
    spans = _spans(data, values, found)
    found.error("keys", _key_errors(data, values))
    found.error("value", _value_errors(tables))
    found.error("id", _id_errors(data, values))
    found.error("keys", _inversion_errors(data, values))
    found.warn("order", _order_warnings(data, values))
    if "text" in values:
        found.error("text", _text_errors(tables["text"]))
        found.warn("text", _empty_texts(tables["text"]))
    recordings = examine(values.get("wav.scp", {}), channels_of(values.get("reco2file_and_channel", {})))
    check_recordings(data / "wav.scp", recordings, found)
    source = data / ("segments" if "segments" in values else "wav.scp")
    check_segments(source, spans, recordings, frame, found)
    for name in values.keys() & DURATIONS:
        true = true_durations(name, spans, recordings, frame)
        found.error("duration", duration_errors(data / name, values[name], true))
    if (data / "phones.ctm").exists():
        found.error("phones", _phone_errors(data / "phones.ctm", spans, recordings, frame))
    return found


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
            found.error("segments", [f"{data / 'segments'}: '{utt}': {span}"])
        else:
            spans[utt] = span
    if "wav.scp" in values:
        named = {recording for recording, _, _ in spans.values()}
        found.error("keys", compare_keys(data / "segments", named, values["wav.scp"], "recording", "wav.scp"))
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
    for words, names, others in (
        ("lacks {} of", expected - keys, keys),
        ("has {} not in", keys - expected, expected),
    ):
        if names:
            near = by_folded(others)
            count = f"{len(names)} {kind}{'s' if len(names) > 1 else ''}"
            shown = ", ".join(f"'{name}'{variant_note(name, near)}" for name in sorted(names)[:5]) + (
                ", …" if len(names) > 5 else ""
            )
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
