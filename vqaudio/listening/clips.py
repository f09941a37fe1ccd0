"""Reads the audio of a listening test, checks it against its reference, and matches its loudness."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vqaudio import audio
from vqaudio.audio.loudness import loudness
from vqaudio.errors import UserError
from vqaudio.listening.key import REFERENCE, RESERVED

MAX_DIFFERENCE_SECONDS = 0.1
"""A clip may be so much shorter or longer than its reference: decoders make whole frames."""

MIN_SECONDS, MAX_SECONDS = 0.5, 12.0
"""Shortest loop and longest stimulus of BS.1534-3."""

FULL_SCALE = 32766 / 32768
MIN_CLIPPED_RUN = 3
"""As many samples in a row at full scale are clipping; one or two may be a loud sample."""


def read_item(reference: Path, systems: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], int]:
    """Return the wavs (T,) of an item by system, the reference under `reference`, and their sample rate in Hz.

    Clips are cut, or padded with zeros, to the length of the reference. A reference must not be clipped. A system may
    be: clipping is part of how it sounds, and leaving out such items would favour it.

    Raises:
        UserError: a clip cannot be used.
    """
    wav, rate = read_clip(reference)
    if run := clipped_run(wav):
        raise UserError(
            f"{reference}: clipped ({run} samples in a row at full scale); use the recording from before that"
        )
    seconds = len(wav) / rate
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise UserError(f"{reference}: lasts {seconds:.2f} s, not {MIN_SECONDS:g} to {MAX_SECONDS:g} s; use another")
    clips = {REFERENCE: wav}
    for name, path in systems.items():
        clip, its_rate = read_clip(path)
        if its_rate != rate:
            raise UserError(f"{path}: {its_rate} Hz, but its reference {rate} Hz; resample one of them")
        if abs(len(clip) - len(wav)) > MAX_DIFFERENCE_SECONDS * rate:
            raise UserError(
                f"{path}: lasts {len(clip) / rate:.2f} s, its reference {seconds:.2f} s, and they may differ by "
                f"{MAX_DIFFERENCE_SECONDS:g} s; cut one of them"
            )
        clips[name] = np.pad(clip, (0, max(0, len(wav) - len(clip))))[: len(wav)]
    return clips, rate


def read_clip(path: Path) -> tuple[np.ndarray, int]:
    """Return the wav (T,) and the sample rate (Hz) of an audio file.

    Raises:
        UserError: the file cannot be read, has several channels or is silent.
    """
    channels = audio.info(path).channels
    if channels != 1:
        raise UserError(f"{path}: {channels} channels; mix them to one")
    wav, rate = audio.read(path)
    if not wav.any():
        raise UserError(f"{path}: silent (every sample is zero); write it again")
    return wav, rate


def match_gains(clips: Mapping[str, np.ndarray], rate: int, match_loudness: bool) -> dict[str, float]:
    """Return the gain (dB) of each clip of an item: to the loudness of the reference, or 0; 0 for the anchors.

    If a clip would exceed full scale, all clips of the item become softer by the same amount.
    """
    gains = dict.fromkeys(clips, 0.0)
    if match_loudness:
        level = loudness(clips[REFERENCE], rate)
        gains |= {name: level - loudness(wav, rate) for name, wav in clips.items() if name not in RESERVED}
    peak = max(20 * math.log10(np.abs(wav).max()) + gains[name] for name, wav in clips.items())
    return {name: gain - max(0.0, peak) for name, gain in gains.items()}


def clipped_run(wav: np.ndarray) -> int:
    """Return the longest run of samples at full scale; 0 if it is shorter than `MIN_CLIPPED_RUN`."""
    flags = np.abs(wav) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    return longest if longest >= MIN_CLIPPED_RUN else 0
