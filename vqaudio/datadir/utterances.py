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
from vqaudio.names import by_folded, file_name, variant_note


def check_utterances(data: Path) -> None:
    """Read the utterances of a data directory to say what is wrong with them; see `stream.read_utterances`.

    Raises:
        UserError: a file is missing or malformed, wav.scp contains a command ("… |"), or the files do not have the same
            utterances.
    """
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
    read_channels(data)


def read_wav_scp(path: Path) -> dict[str, Path]:
    """Return the path of the audio of each recording of a wav.scp.

    Raises:
        UserError: the file is missing or malformed, or an entry is a command.
    """
    table = read_table(path, what="the path of its audio")
    refuse(pipe_problems(path, table))
    return {key: Path(value) for key, value in table.items()}


def read_channels(data: Path) -> dict[str, int]:
    """Return the channel (from 0) of each recording of reco2file_and_channel; empty if there is no such file."""
    path = data / "reco2file_and_channel"
    if not path.exists():
        return {}
    table = read_table(path, what="'<file> A', B or 1 for the channel")
    channels = channels_of(table)
    for recording in sorted(table.keys() - channels.keys()):
        raise UserError(
            f"{path}: '{recording}' has '{table[recording]}', not '<file> A', B or 1 for the channel; correct it"
        )
    return channels


def channels_of(table: Mapping[str, str]) -> dict[str, int]:
    """Return the channels (from 0) of the sound lines of a reco2file_and_channel: A and 1 are the first, B the second.

    >>> channels_of({"call-A": "call A", "call-B": "call B", "bad": "call"})
    {'call-A': 0, 'call-B': 1}
    """
    letters = {key: value.split()[1:] for key, value in table.items()}
    numbers = {"A": 0, "1": 0, "B": 1}
    return {key: numbers[letter[0]] for key, letter in letters.items() if len(letter) == 1 and letter[0] in numbers}


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
    its first utterance; if it is on one channel of a file, reco2file_and_channel says which, and each channel is a
    recording. Of these eight files, those that do not apply are deleted, so that the folder never mixes two corpora.
    Others, such as phones.ctm, stay.

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
    """Return wav.scp, and segments, utt2dur and reco2file_and_channel if they apply."""
    if all(u.start == 0.0 and u.end is None for u in utterances):
        wavs = {u.utt: str(u.path) for u in utterances}
        channels = _channel_table({u.utt: (u.path, u.channel) for u in utterances})
        return {"wav.scp": wavs, "segments": None, "utt2dur": None, "reco2file_and_channel": channels}
    recordings: dict[tuple[Path, int | None], str] = {}
    segments, durations = {}, {}
    for u in utterances:
        recording = recordings.setdefault((u.path, u.channel), u.utt)
        end = audio.info(u.path).duration if u.end is None else u.end
        segments[u.utt] = f"{recording} {format_seconds(u.start)} {format_seconds(end)}"
        durations[u.utt] = format_seconds(round(end - u.start, 6))
    places = {recording: place for place, recording in recordings.items()}
    wavs = {recording: str(path) for recording, (path, _) in places.items()}
    channels = _channel_table(places)
    return {"wav.scp": wavs, "segments": segments, "utt2dur": durations, "reco2file_and_channel": channels}


def _channel_table(places: Mapping[str, tuple[Path, int | None]]) -> dict[str, str] | None:
    """Return the lines of reco2file_and_channel for recordings on a channel of a file; None if there are none."""
    lines = {
        key: f"{file_name(path.stem)} {'AB'[channel]}" for key, (path, channel) in places.items() if channel is not None
    }
    return lines or None


def invert(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Return spk2utt: the sorted utterances of each speaker, joined by blanks."""
    members: dict[str, list[str]] = {}
    for utt, speaker in sorted(utt2spk.items()):
        members.setdefault(speaker, []).append(utt)
    return {speaker: " ".join(utts) for speaker, utts in members.items()}
