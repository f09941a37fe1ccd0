"""Measures the loudness of speech by ITU-R BS.1770-4, with and without the gate."""

import math

import numpy as np

OFFSET_DB = -0.691
"""Makes a sine of 997 Hz at full scale −3.01 LUFS."""

BLOCK_STEPS = 4
"""Steps of 0.1 s in a block of the gate."""
MIN_LUFS = -70.0
"""Blocks below it never count."""
RELATIVE_GATE_DB = -10.0
"""Nor do blocks that are this far below the mean of the others."""


def loudness(wav: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of all of a wav (T,) in LUFS, without the gate; minus infinity for silence.

    It suits clips that say the same words with the same pauses, of which the gate would drop the same parts.
    """
    power = float(np.square(k_weighted(wav, sample_rate)).mean())
    return OFFSET_DB + 10 * math.log10(power) if power > 0 else -math.inf


def integrated_loudness(wav: np.ndarray, sample_rate: int) -> float:
    """Return the gated loudness of a wav (T,) in LUFS; NaN if it is shorter than 0.4 s or nowhere above −70 LUFS."""
    step = round(sample_rate / 10)
    weighted = k_weighted(wav, sample_rate)
    steps = np.square(weighted[: len(weighted) // step * step].reshape(-1, step)).mean(axis=1)
    if len(steps) < BLOCK_STEPS:
        return math.nan
    power = np.convolve(steps, np.full(BLOCK_STEPS, 1 / BLOCK_STEPS), mode="valid")  # of a block every 0.1 s
    power = power[power > 10 ** ((MIN_LUFS - OFFSET_DB) / 10)]
    if not len(power):
        return math.nan
    power = power[power > 10 ** (RELATIVE_GATE_DB / 10) * power.mean()]
    return OFFSET_DB + 10 * math.log10(power.mean())


def k_weighted(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a wav (T,) filtered as the standard weights it, at the same rate; float64."""
    from scipy.signal import sosfilt

    return sosfilt(_sections(sample_rate), wav.astype(np.float64))


def _sections(sample_rate: int) -> np.ndarray:
    """Return the two second-order sections of the standard, whose tables are for 48 kHz, at any sample rate.

    Each is the bilinear transform of the analogue filter that the tables come from: a shelf of +4 dB above 1682 Hz for
    the head, and a high-pass at 38 Hz. Resampling to 48 kHz instead would lose what is near half the sample rate.
    """
    f, q, gain = 1681.974450955533, 0.7071752369554196, 3.999843853973347
    k = math.tan(math.pi * f / sample_rate)
    high, band = 10 ** (gain / 20), 10 ** (gain / 20 * 0.4996667741545416)
    shelf_b = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]
    shelf_a = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    f, q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * f / sample_rate)
    pass_a = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    sections = np.array([[*shelf_b, *shelf_a], [pass_a[0], -2 * pass_a[0], pass_a[0], *pass_a]])
    return sections / sections[:, 3:4]
