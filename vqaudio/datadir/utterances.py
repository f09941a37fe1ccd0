"""Reads and writes the utterances of a data directory: wav.scp, segments, utt2spk, spk2utt and tables about them."""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from vqaudio import audio
from vqaudio.datadir.tables import (
    Utterance,
    format_seconds,
    parse_seconds,
    pipe_problems,
    read_table,
    refuse,
    write_table,
)
from vqaudio.errors import UserError
from vqaudio.names import by_folded, variant_note


def read_utterances(data: str | Path) -> list[Utterance]:
    """Return the utterances of a data directory, sorted by name.

    Relative paths in wav.scp are relative to the current directory, as in Kaldi.

    Raises:
        UserError: a file is missing or malformed, wav.scp contains a command ("… |"), or the files do not have the same
            utterances.
    """
    data = Path(data)
    if not data.is_dir():
        raise UserError(f"{data}: no such data directory; check the path")
    wavs = read_wav_scp(data / "wav.scp")
    speakers = read_table(data / "utt2spk", what="its speaker")
    spans = read_spans(data, wavs)
    source = data / ("segments" if (data / "segments").exists() else "wav.scp")
    for utt in sorted(spans.keys() ^ speakers.keys()):
        there, lacking = (source, data / "utt2spk") if utt in spans else (data / "utt2spk", source)
        note = variant_note(utt, by_folded(speakers if utt in spans else spans))
        raise UserError(
            f"{lacking}: lacks '{utt}' of {there}{note}; add it, or drop it there (vqaudio data fix {data})"
        )
    return [
        Utterance(utt, wavs[recording], speakers[utt], start, end) for utt, (recording, start, end) in spans.items()
    ]


def read_wav_scp(path: Path) -> dict[str, Path]:
    """Return the path of the audio of each recording of a wav.scp.

    Raises:
        UserError: the file is missing or malformed, or an entry is a command.
    """
    table = read_table(path, what="the path of its audio")
    refuse(pipe_problems(path, table))
    return {key: Path(value) for key, value in table.items()}


def read_spans(data: Path, wavs: Collection[str]) -> dict[str, tuple[str, float, float | None]]:
    """Return recording, start and end (seconds) of each utterance; without segments, a whole file."""
    path = data / "segments"
    if not path.exists():
        return {utt: (utt, 0.0, None) for utt in wavs}
    spans: dict[str, tuple[str, float, float | None]] = {}
    for utt, value in read_table(path, what="'<recording> <start> <end>'").items():
        span = parse_segment(value)
        if isinstance(span, str):
            raise UserError(f"{path}: '{utt}': {span}")
        if span[0] not in wavs:
            raise UserError(f"{path}: '{utt}': recording '{span[0]}' is not in wav.scp; add it or drop the segment")
        spans[utt] = span
    return spans


def parse_segment(value: str) -> tuple[str, float, float | None] | str:
    """Return recording, start and end (seconds) of a line of segments, or a message about what is wrong with it.

    An end of −1 is the end of the recording, as in Kaldi: None.
    """
    fields = re.split(r"[ \t]+", value)
    start, end = (parse_seconds(x) for x in fields[1:]) if len(fields) == 3 else (None, None)
    if start is not None and re.fullmatch(r"-1(\.0*)?", fields[2]):
        return fields[0], start, None
    if start is None or end is None:
        return f"'{value}' is not '<recording> <start> <end>' in seconds; correct it"
    return (fields[0], start, end) if start < end else f"ends at {end:g} s, starts at {start:g} s; correct the times"


def write_utterances(
    data: str | Path,
    utterances: Iterable[Utterance],
    text: Mapping[str, str] | None = None,
    spk2gender: Mapping[str, str] | None = None,
) -> None:
    """Write a data directory: wav.scp, utt2spk, spk2utt, and text and spk2gender if they are given.

    If an utterance is a part of a file, segments and utt2dur are written too, and each file is a recording named after
    its first utterance. Of these seven files, those that do not apply are deleted, so that the folder never mixes two
    corpora. Others, such as phones.ctm, stay.

    Raises:
        UserError: two utterances have the same name, or a name or path does not fit on a line.
    """
    data = Path(data)
    data.mkdir(parents=True, exist_ok=True)
    ordered = sorted(utterances, key=lambda u: u.utt)
    for before, after in itertools.pairwise(ordered):
        if before.utt == after.utt:
            raise UserError(f"{data}: not written: two utterances are named '{after.utt}'; rename one")
    utt2spk = {u.utt: u.speaker for u in ordered}
    tables: dict[str, Mapping[str, str] | None] = {"text": text, "spk2gender": spk2gender}
    tables |= {"utt2spk": utt2spk, "spk2utt": invert(utt2spk)} | _audio_tables(ordered)
    for name, table in tables.items():
        if table is None:
            (data / name).unlink(missing_ok=True)
        else:
            write_table(data / name, table)


def _audio_tables(utterances: list[Utterance]) -> dict[str, Mapping[str, str] | None]:
    """Return wav.scp, and segments and utt2dur if an utterance is a part of a file."""
    if all(u.start == 0.0 and u.end is None for u in utterances):
        return {"wav.scp": {u.utt: str(u.path) for u in utterances}, "segments": None, "utt2dur": None}
    recordings: dict[Path, str] = {}
    segments, durations = {}, {}
    for u in utterances:
        recording = recordings.setdefault(u.path, u.utt)
        end = audio.info(u.path).duration if u.end is None else u.end
        segments[u.utt] = f"{recording} {format_seconds(u.start)} {format_seconds(end)}"
        durations[u.utt] = format_seconds(round(end - u.start, 6))
    return {"wav.scp": {r: str(p) for p, r in recordings.items()}, "segments": segments, "utt2dur": durations}


def invert(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Return spk2utt: the sorted utterances of each speaker, joined by blanks."""
    members: dict[str, list[str]] = {}
    for utt, speaker in sorted(utt2spk.items()):
        members.setdefault(speaker, []).append(utt)
    return {speaker: " ".join(utts) for speaker, utts in members.items()}
