"""Utterances to look at and listen to: the original, what came back from its units, and another voice."""

import math
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio import audio
from vqaudio.datadir import Phone, Utterance
from vqaudio.errors import UserError
from vqaudio.metrics.reconstruction import RATE
from vqaudio.report.embed import sound_uri
from vqaudio.report.html import missing
from vqaudio.report.tracks import Tracks
from vqaudio.units import UnitSequence

MAX_SECONDS = 12.0
"""Seconds of an utterance that the page holds at most."""
LEVEL = -26.0
"""dBFS RMS that all players have, so that loudness does not decide which sounds better."""
NUM_SAMPLES = 4
"""Utterances of each set."""


class Version(NamedTuple):
    """What was made of an utterance; `sequence` is None where its units are missing or already shown."""

    name: str
    wav: Path
    sequence: UnitSequence | None
    frame_rate: float
    estoi: float | None = None


class Sample(NamedTuple):
    """An utterance of a test set: its text, recording and phones as far as they are known, and what was made of it."""

    utt: str
    text: str | None
    original: Utterance | None
    phones: list[Phone]
    versions: list[Version]


class Clip(NamedTuple):
    """A recording (T,) at `RATE` and one level, or why there is none."""

    name: str
    wav: np.ndarray | None
    reason: str
    version: Version | None


def choose(utts: list[str], scores: dict[str, Any]) -> list[str]:
    """Choose utterances evenly from the best to the worst by ESTOI, or by name where there are no scores."""
    ranked = sorted(utts, key=lambda utt: (-(estoi(scores, utt) or 0.0), utt))
    if len(ranked) <= NUM_SAMPLES:
        return ranked
    return [ranked[round(i * (len(ranked) - 1) / (NUM_SAMPLES - 1))] for i in range(NUM_SAMPLES)]


def estoi(scores: dict[str, Any], utt: str) -> float | None:
    """Return the ESTOI of an utterance from the scores of each, None where there is none."""
    value = scores.get(utt, {}).get("estoi")
    return value if isinstance(value, float | int) and math.isfinite(value) else None


def sample_html(sample: Sample) -> str:
    """Return the card of an utterance: text, spectrograms with phones and units, players, and the units as text."""
    clips = [_original(sample.original)]
    clips += [_clip(version.name, version.wav, 0.0, None, version) for version in sample.versions]
    text = f"<p>“{escape(sample.text)}”</p>" if sample.text else ""
    drawing = _drawing(sample, [clip for clip in clips if clip.wav is not None])
    players = "".join(map(_player, clips))
    units = "".join(map(_units, sample.versions))
    if all(version.sequence is None for version in sample.versions):
        units += missing("The units of this utterance are not there.")
    return f'<article><h4>{escape(sample.utt)}</h4>{text}{drawing}<div class="clips">{players}</div>{units}</article>'


def _original(source: Utterance | None) -> Clip:
    if source is None:
        return Clip("Original", None, "The original is not where the training configuration says.", None)
    return _clip("Original", source.path, source.start, source.end, None)


def _clip(name: str, path: Path, start: float, end: float | None, version: Version | None) -> Clip:
    """Read a recording from `start` to `end` (seconds), at most `MAX_SECONDS` of it."""
    try:
        end = audio.info(path).duration if end is None else end
        wav, _ = audio.read(path, RATE, start, min(end, start + MAX_SECONDS))
    except UserError as error:
        return Clip(name, None, str(error), version)
    if not wav.any():
        return Clip(name, None, "All samples are zero.", version)
    return Clip(name, np.clip(wav * audio.level_gain(wav, LEVEL), -1, 1), "", version)


def _drawing(sample: Sample, clips: list[Clip]) -> str:
    """Return the spectrograms: the original under its phones, then each version under its units.

    The boundaries of units are drawn over the original too when only one version has units.
    """
    if not clips:
        return ""
    tracks = Tracks(max(len(clip.wav) for clip in clips if clip.wav is not None) / RATE)
    if sample.phones:
        tracks.phones(sample.phones)
    coded = [version for version in sample.versions if version.sequence is not None]
    for clip in clips:
        version = clip.version or (coded[0] if len(coded) == 1 else None)
        codes = version.sequence.codes if version is not None and version.sequence is not None else None
        frame_rate = version.frame_rate if version is not None else 1.0
        if clip.version is not None and codes is not None:
            tracks.units(codes, frame_rate)
        if clip.wav is not None:
            tracks.spectrogram(clip.name, clip.wav, codes, frame_rate)
    tracks.axis()
    return tracks.svg(f"{sample.utt}: log-mel spectrograms, 0 to 8 kHz, with units")


def _player(clip: Clip) -> str:
    """Return the player of a recording, or why there is none."""
    score = clip.version.estoi if clip.version is not None else None
    name = escape(clip.name) + (f' <span class="muted">ESTOI {score:.2f}</span>' if score is not None else "")
    if clip.wav is None:
        return f"<figure><figcaption>{name}</figcaption>{missing(clip.reason)}</figure>"
    player = f'<audio controls preload="none" aria-label="{escape(clip.name)}" src="{sound_uri(clip.wav)}"></audio>'
    return f"<figure><figcaption>{name}</figcaption>{player}</figure>"


def _units(version: Version) -> str:
    """Return the units as they stand in units.txt."""
    if version.sequence is None:
        return ""
    columns = version.sequence.units.T
    text = " ".join("-".join(map(str, column)) for column in columns)
    title = f"{len(columns)} units: {escape(version.name)}"
    return f'<details><summary>{title}</summary><p class="units">{text}</p></details>'
