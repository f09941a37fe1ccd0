"""Makes the low-pass anchors of ITU-R BS.1534-3."""

import numpy as np

TRANSITION_HZ = 500.0
"""Width from the end of the pass band to the stop band; the mask of the standard allows 1000 Hz."""

MIN_RATE_7000 = 20000
"""Least sample rate (Hz) with a 7 kHz anchor: at lower rates nobody would hear what it lacks."""


def anchor_filter(edge: float, sample_rate: int) -> np.ndarray:
    """Return the taps (an odd number, symmetric) of a low-pass that passes up to `edge` Hz, flat to 0.1 dB.

    A Kaiser design of 60 dB: from `edge` + 500 Hz on it attenuates by more than 50 dB. The mask of BS.1534-3 for
    `edge` 3500 demands a ripple of at most 0.1 dB, 25 dB at 4 kHz and 50 dB at 4.5 kHz.
    """
    from scipy.signal import firwin, kaiserord

    taps, beta = kaiserord(60.0, TRANSITION_HZ / (sample_rate / 2))
    return firwin(taps | 1, edge + TRANSITION_HZ / 2, window=("kaiser", beta), fs=sample_rate)


def make_anchor(wav: np.ndarray, edge: float, sample_rate: int) -> np.ndarray:
    """Return a wav (T,) or (T, C) low-passed at `edge` Hz, float32, of the same length and without delay."""
    from scipy.signal import fftconvolve

    taps = anchor_filter(edge, sample_rate)
    middle = len(taps) // 2
    taps = taps.reshape(-1, *[1] * (wav.ndim - 1))
    return fftconvolve(wav, taps, axes=0)[middle : middle + len(wav)].astype(np.float32)
