"""The audio that goes into a listening test: read, checked against its reference, matched in loudness."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vqaudio import audio
from vqaudio.errors import UserError
from vqaudio.listening.anchors import loudness
from vqaudio.listening.key import REFERENCE, RESERVED

MAX_DIFFERENCE = 0.1
"""Seconds by which a clip may be shorter or longer than its reference: decoders speak whole frames."""

MIN_SECONDS, MAX_SECONDS = 0.5, 12.0
"""Shortest loop and longest stimulus of BS.1534-3."""

FULL_SCALE = 32766 / 32768
CLIPPED_RUN = 3
"""So many samples in a row at full scale are clipping; one or two are a loud sample."""


def read_item(reference: Path, systems: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], int]:
    """Return the wavs (T,) of an item by system, the reference under `reference`, and their rate in Hz.

    Clips are cut or filled with zeros to the length of the reference. A reference must not be clipped; a system may be,
    for that is part of how it sounds: leaving such items out would favour it.

    Raises:
        UserError: a clip cannot be used; says which and why.
    """
    wav, rate = read_clip(reference)
    if run := clipped_run(wav):
        raise UserError(f"{reference}: clipped: {run} samples in a row at full scale: take the recording before that")
    seconds = len(wav) / rate
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise UserError(f"{reference}: lasts {seconds:.2f} s; a stimulus lasts {MIN_SECONDS:g} to {MAX_SECONDS:g} s")
    clips = {REFERENCE: wav}
    for name, path in systems.items():
        clip, its_rate = read_clip(path)
        if its_rate != rate:
            raise UserError(f"{path}: {its_rate} Hz, its reference {rate} Hz: resample one of them")
        if abs(len(clip) - len(wav)) > MAX_DIFFERENCE * rate:
            raise UserError(
                f"{path}: lasts {len(clip) / rate:.2f} s, its reference {seconds:.2f} s; "
                f"they may differ by {MAX_DIFFERENCE:g} s: cut one of them"
            )
        clips[name] = np.pad(clip, (0, max(0, len(wav) - len(clip))))[: len(wav)]
    return clips, rate


def read_clip(path: Path) -> tuple[np.ndarray, int]:
    """Return wav (T,) and rate of an audio file of one channel that is not silent.

    Raises:
        UserError: it is, or cannot be read.
    """
    channels = audio.info(path).channels
    if channels != 1:
        raise UserError(f"{path}: {channels} channels; make one of them")
    wav, rate = audio.read(path)
    if not wav.any():
        raise UserError(f"{path}: silent: every sample is zero: write it again")
    return wav, rate


def match_gains(clips: Mapping[str, np.ndarray], rate: int, match_loudness: bool) -> dict[str, float]:
    """Return the gain (dB) of each clip of an item: to the loudness of the reference, or 0, as for the anchors.

    Where a clip would pass full scale, all of the item come down together, so that they keep their relation.
    """
    gains = dict.fromkeys(clips, 0.0)
    if match_loudness:
        level = loudness(clips[REFERENCE], rate)
        gains |= {name: level - loudness(wav, rate) for name, wav in clips.items() if name not in RESERVED}
    peak = max(20 * math.log10(np.abs(wav).max()) + gains[name] for name, wav in clips.items())
    return {name: gain - max(0.0, peak) for name, gain in gains.items()}


def clipped_run(wav: np.ndarray) -> int:
    """Return how many samples in a row stand at full scale, 0 for fewer than CLIPPED_RUN."""
    flags = np.abs(wav) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    return longest if longest >= CLIPPED_RUN else 0
