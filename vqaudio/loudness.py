"""Measures the loudness of speech by ITU-R BS.1770-4, with and without the gate."""

import math

import numpy as np

from vqaudio import audio

SAMPLE_RATE = 48000
"""Hz, for which the standard gives its filters; other rates are resampled to it."""

SECTIONS = (  # tables 1 and 2 of the standard: b and a of a high shelf, then of a high-pass
    (1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621),
)
OFFSET_DB = -0.691
"""Makes a sine of 997 Hz at full scale −3.01 LUFS."""

STEP = SAMPLE_RATE // 10
"""Samples from one block of the gate to the next; a block is four steps, 0.4 s."""
MIN_LUFS = -70.0
"""Blocks below it never count."""
RELATIVE_GATE_DB = -10.0
"""Nor do blocks that are this far below the mean of the others."""


def loudness(wav: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of all of a wav (T,) in LUFS, without the gate; minus infinity for silence.

    This is the right one for clips that say the same words with the same pauses: the gate would drop the same parts of
    each.
    """
    power = float(np.square(k_weighted(wav, sample_rate)).mean())
    return OFFSET_DB + 10 * math.log10(power) if power > 0 else -math.inf


def integrated_loudness(wav: np.ndarray, sample_rate: int) -> float:
    """Return the gated loudness of a wav (T,) in LUFS; NaN if it is shorter than 0.4 s or nowhere above −70 LUFS."""
    weighted = k_weighted(wav, sample_rate)
    steps = np.square(weighted[: len(weighted) // STEP * STEP].reshape(-1, STEP)).mean(axis=1)
    if len(steps) < 4:
        return math.nan
    power = np.convolve(steps, np.full(4, 0.25), mode="valid")  # of a block every 0.1 s
    power = power[power > 10 ** ((MIN_LUFS - OFFSET_DB) / 10)]
    if not len(power):
        return math.nan
    power = power[power > 10 ** (RELATIVE_GATE_DB / 10) * power.mean()]
    return OFFSET_DB + 10 * math.log10(power.mean())


def k_weighted(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a wav (T,) at 48 kHz, filtered like the standard's listener: head shelf and high-pass; float64."""
    from scipy.signal import sosfilt

    return sosfilt(SECTIONS, audio.resample(wav, sample_rate, SAMPLE_RATE).astype(np.float64))
