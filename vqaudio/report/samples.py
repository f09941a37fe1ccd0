"""Makes the cards of utterances: spectrograms and players of the original, the reconstruction and another voice."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio import audio
from vqaudio.datadir import Phone, Utterance
from vqaudio.errors import UserError
from vqaudio.metrics.reconstruction import RATE
from vqaudio.report.embed import sound_uri
from vqaudio.report.tracks import Tracks
from vqaudio.units import UnitSequence

MAX_SECONDS = 12.0
"""Seconds of an utterance that the page shows and plays at most."""
PLAYER_LEVEL_DB = -26.0
"""dBFS RMS of all players, so that loudness does not decide which sounds better."""
NUM_SAMPLES = 5
"""Utterances of each set."""


class Version(NamedTuple):
    """A reconstruction of an utterance; `sequence` is None if its units are missing or already shown."""

    name: str
    wav: Path
    sequence: UnitSequence | None
    frame_rate: float
    estoi: float | None = None


class Sample(NamedTuple):
    """An utterance of a test set: its text, recording and phones as far as they are known, and its reconstructions."""

    utt: str
    text: str | None
    original: Utterance | None
    phones: list[Phone]
    versions: list[Version]


class Clip(NamedTuple):
    """A recording (T,) at `RATE` and `PLAYER_LEVEL_DB`; or None, and the reason."""

    name: str
    wav: np.ndarray | None
    reason: str
    version: Version | None

    @property
    def codes(self) -> np.ndarray | None:
        """The codes (G, N) that this was made from, if they are to be shown."""
        return None if self.version is None or self.version.sequence is None else self.version.sequence.codes


class Player(NamedTuple):
    """A player: its name, the ESTOI of what it plays, and the sound as a data URI; or no sound, and the reason."""

    name: str
    estoi: float | None
    uri: str | None
    reason: str


class Card(NamedTuple):
    """An utterance as the macro `card` of `parts.html` takes it."""

    utt: str
    text: str | None
    tracks: Tracks | None
    players: list[Player]
    units: list[tuple[str, list[str]]]
    """Name and units, as in units.txt, of each version that has units."""


def choose(utts: list[str], scores: dict[str, Any]) -> list[str]:
    """Return `NUM_SAMPLES` utterances spread evenly from the best to the worst by ESTOI, or by name without scores."""
    ranked = sorted(utts, key=lambda utt: (-(estoi(scores, utt) or 0.0), utt))
    if len(ranked) <= NUM_SAMPLES:
        return ranked
    return [ranked[round(i * (len(ranked) - 1) / (NUM_SAMPLES - 1))] for i in range(NUM_SAMPLES)]


def estoi(scores: dict[str, Any], utt: str) -> float | None:
    """Return the ESTOI of an utterance from the scores of all, None if it has none."""
    value = scores.get(utt, {}).get("estoi")
    return value if isinstance(value, float | int) and math.isfinite(value) else None


def make_card(sample: Sample) -> Card:
    """Return the card of an utterance: text, spectrograms with phones and units, players, and the units as text."""
    clips = [_original(sample.original)]
    clips += [_read_clip(version.name, Utterance(sample.utt, version.wav, ""), version) for version in sample.versions]
    units = [
        (version.name, ["-".join(map(str, column)) for column in version.sequence.units.T])
        for version in sample.versions
        if version.sequence is not None
    ]
    return Card(sample.utt, sample.text, _draw(sample, clips), list(map(_player, clips)), units)


def _original(source: Utterance | None) -> Clip:
    if source is None:
        return Clip("Original", None, "The data directory of the training configuration has no such utterance.", None)
    return _read_clip("Original", source, None)


def _read_clip(name: str, source: Utterance, version: Version | None) -> Clip:
    """Read the first `MAX_SECONDS` of an utterance."""
    try:
        end = audio.info(source.path).duration if source.end is None else source.end
        wav, _ = audio.read(source.path, RATE, source.start, min(end, source.start + MAX_SECONDS), source.channel)
    except UserError as error:
        return Clip(name, None, str(error), version)
    if not wav.any():
        return Clip(name, None, "All samples are zero.", version)
    return Clip(name, np.clip(audio.level_change(wav, PLAYER_LEVEL_DB).apply(wav), -1, 1), "", version)


def _draw(sample: Sample, clips: list[Clip]) -> Tracks | None:
    """Return the spectrograms: the original under its phones, then each version under its units; None without audio.

    If only one version has units, their boundaries are drawn over the original too.
    """
    seconds = [len(clip.wav) / RATE for clip in clips if clip.wav is not None]
    if not seconds:
        return None
    tracks = Tracks(f"{sample.utt}: log-mel spectrograms, 0 to 8 kHz, with units", max(seconds))
    if sample.phones:
        tracks.add_phones(sample.phones)
    coded = [clip for clip in clips if clip.codes is not None]
    for clip in clips:
        source = clip if clip.version is not None else coded[0] if len(coded) == 1 else clip
        frame_rate = source.version.frame_rate if source.version is not None else 1.0
        if clip.wav is None:
            continue
        if clip.codes is not None:
            tracks.add_units(clip.codes, frame_rate)
        tracks.add_spectrogram(clip.name, clip.wav, source.codes, frame_rate)
    tracks.add_axis()
    return tracks


def _player(clip: Clip) -> Player:
    score = clip.version.estoi if clip.version is not None else None
    return Player(clip.name, score, None if clip.wav is None else sound_uri(clip.wav), clip.reason)
