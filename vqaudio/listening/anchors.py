"""The low-pass anchors of ITU-R BS.1534-3 and the loudness of ITU-R BS.1770-4."""

import math

import numpy as np

TRANSITION = 500.0
"""Width (Hz) from the end of the pass band to the stop band, which the mask reaches only after 1000 Hz."""

MIN_RATE_7000 = 20000
"""Least sample rate (Hz) with a 7 kHz anchor: below it, so little lies above 7 kHz that nobody hears it missing."""


def anchor_filter(edge: float, sample_rate: int) -> np.ndarray:
    """Return the taps (odd, symmetric) of a low-pass that passes up to `edge` Hz, flat to 0.1 dB.

    A Kaiser design of 60 dB: from `edge` + 500 Hz on it attenuates by more than 50 dB. The mask of BS.1534-3 for
    `edge` 3500 asks for ripple of at most 0.1 dB, 25 dB at 4 kHz and 50 dB at 4.5 kHz.
    """
    from scipy.signal import firwin, kaiserord

    taps, beta = kaiserord(60.0, TRANSITION / (sample_rate / 2))
    return firwin(taps | 1, edge + TRANSITION / 2, window=("kaiser", beta), fs=sample_rate)


def make_anchor(wav: np.ndarray, edge: float, sample_rate: int) -> np.ndarray:
    """Return a wav (T,) low-passed at `edge` Hz, as long and not delayed; float32."""
    from scipy.signal import fftconvolve

    taps = anchor_filter(edge, sample_rate)
    middle = len(taps) // 2
    return fftconvolve(wav, taps)[middle : middle + len(wav)].astype(np.float32)


def loudness(wav: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of a wav (T,) in dB (LKFS without gating, BS.1770-4); minus infinity for silence.

    The clips of an item say the same words with the same pauses, so the gate would leave out the same parts of each.
    """
    from scipy.signal import sosfilt

    weighted = sosfilt(_k_weighting(sample_rate), wav.astype(np.float64))
    power = float(np.mean(np.square(weighted)))
    return 10 * math.log10(power) - 0.691 if power > 0 else -math.inf


def _k_weighting(sample_rate: int) -> np.ndarray:
    """Return the two second-order sections of BS.1770-4, whose tables are for 48 kHz, at any rate.

    Each is the bilinear transform of the analogue filter behind the tables: a shelf of +4 dB above 1682 Hz for the
    head, and a high-pass at 38 Hz.
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
