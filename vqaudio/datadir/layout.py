"""Lists the tables of a data directory, and what their lines look like."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vqaudio.datadir.tables import parse_seconds

DATA_DIRECTORY = "data directory"
"""What the mark of a data directory says (see `vqaudio.outputs`)."""


class Kind(NamedTuple):
    """A table: `key` is "utterance", "recording" or "speaker"; `what` describes a value; `fits` tests one."""

    key: str
    what: str
    fits: Callable[[str], bool] = lambda _: True


def _word(value: str) -> bool:
    return " " not in value and "\t" not in value


def _seconds(value: str) -> bool:
    return bool(parse_seconds(value))


def _warp(value: str) -> bool:
    return 0.5 < (parse_seconds(value) or 0.0) < 1.5


def _count(value: str) -> bool:
    return bool(re.fullmatch("0*[1-9][0-9]*", value))


TABLES: dict[str, Kind] = {
    "utt2spk": Kind("utterance", "its speaker, one word", _word),
    "spk2utt": Kind("speaker", "its utterances"),
    "wav.scp": Kind("recording", "the path of its audio"),
    "segments": Kind("utterance", "'<recording> <start> <end>'"),
    "text": Kind("utterance", ""),
    "spk2gender": Kind("speaker", "'m' or 'f'", {"m", "f"}.__contains__),
    "utt2dur": Kind("utterance", "its seconds, more than 0", _seconds),
    "reco2dur": Kind("recording", "its seconds, more than 0", _seconds),
    "utt2num_frames": Kind("utterance", "its number of frames, 1 or more", _count),
    "feats.scp": Kind("utterance", "the location of its features"),
    "vad.scp": Kind("utterance", "the location of its voice activity"),
    "cmvn.scp": Kind("speaker", "the location of its statistics"),
    "utt2lang": Kind("utterance", "its language"),
    "utt2uniq": Kind("utterance", "the utterance it comes from"),
    "utt2warp": Kind("utterance", "its warp factor between 0.5 and 1.5", _warp),
    "spk2warp": Kind("speaker", "its warp factor between 0.5 and 1.5", _warp),
    "reco2file_and_channel": Kind(
        "recording",
        "'<file> A', B or 1 for the channel",
        re.compile(r"[^ \t]+[ \t]+[AB1]").fullmatch,  # type: ignore
    ),
}
"""The tables that Kaldi's validate_data_dir.sh knows."""


DURATIONS = {"utt2dur", "reco2dur"}
"""The tables that follow from the audio."""


def tables_of(data: Path) -> dict[str, Kind]:
    """Return the tables that a data directory contains."""
    return {name: kind for name, kind in TABLES.items() if (data / name).exists()}
