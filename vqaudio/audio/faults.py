"""Faults of recordings that decode without an error: another scale, channels that cancel."""

import math
from pathlib import Path

import numpy as np

from vqaudio import audio

MAX_PEAK = 8.0
"""Samples up to this are audio in −1..1 that is too loud; larger ones have another scale, such as that of integers."""

MAX_CANCELLATION_DB = 20.0
"""How far the average of the channels may be below the channels; it is 3 dB below independent ones."""

_MIN_POWER = 1e-6  # of channels that can cancel: an RMS of −60 dBFS


def scale_fault(peak: float) -> str | None:
    """Return a message why a recording with samples up to `peak` is not audio in −1..1; None if it is."""
    if peak <= MAX_PEAK:
        return None
    scale = next((1 << bits for bits in (7, 15, 23) if peak < 1.5 * (1 << bits)), 1 << 31)
    return f"has samples up to {peak:.0f}, but audio is in −1..1; divide them by {scale}"


def channel_fault(path: str | Path, start: float = 0.0, end: float | None = None) -> str | None:
    """Return a message why the average of the channels of a file, or of its part, is no recording; None if it is.

    Args:
        path: the file.
        start: seconds.
        end: seconds; None means the end of the file.

    Raises:
        UserError: as `audio.blocks`.
    """
    from vqaudio.audio.files import open_audio

    path = Path(path)
    with open_audio(path) as file:
        if file.channels == 1:
            return None
        first, last = audio.span(path, file, start, end)
        power, average = 0.0, 0.0
        for samples in file.decode(first, last):
            power += float(np.square(samples, dtype=np.float64).mean(axis=1).sum())
            average += float(np.square(samples.mean(axis=1), dtype=np.float64).sum())
        if power <= _MIN_POWER * (last - first) or average > power * 10 ** (-MAX_CANCELLATION_DB / 10):
            return None
        level = f"{10 * math.log10(power / average):.0f} dB below them" if average else "silence"
        return f"its {file.channels} channels cancel: their average is {level}; write one of them to a file of its own"
