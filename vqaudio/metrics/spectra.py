"""Measures the distance of the spectra of two aligned waveforms at three resolutions."""

import math
from collections.abc import Iterator

import numpy as np

RESOLUTIONS = ((1024, 600, 120), (2048, 1200, 240), (512, 240, 50))  # FFT, Hann window and hop in samples
MIN_MAGNITUDE = 1e-4  # for waveforms of RMS 0.1
BLOCK_FRAMES = 4096  # whose spectra are in memory at once


def multi_resolution_stft(x: np.ndarray, y: np.ndarray) -> float:
    """Return the sum of spectral convergence and log-magnitude distance of x and y (T,), averaged over resolutions.

    Spectral convergence is ‖X − Y‖ / ‖X‖ (Frobenius) of the magnitudes; the distance is the mean |ln X − ln Y| of
    magnitudes of at least 1e-4. Frames are centred, with zeros outside. x is the reference; both should have RMS 0.1.

    Source: Yamamoto et al. 2020, equations 2 to 6; resolutions of 16 kHz to 24 kHz speech.
    """
    return sum(_distance(x, y, *resolution) for resolution in RESOLUTIONS) / len(RESOLUTIONS)


def _distance(x: np.ndarray, y: np.ndarray, fft: int, window: int, hop: int) -> float:
    """Return spectral convergence plus log-magnitude distance at one resolution."""
    errors = energy = logs = 0.0
    count = 0
    for a, b in zip(_magnitudes(x, fft, window, hop), _magnitudes(y, fft, window, hop), strict=True):
        errors += float(np.square(a - b).sum())
        energy += float(np.square(a).sum())
        logs += float(np.abs(np.log(a / b)).sum())
        count += a.size
    return math.sqrt(errors / energy) + logs / count


def _magnitudes(wav: np.ndarray, fft: int, window: int, hop: int) -> Iterator[np.ndarray]:
    """Yield the magnitudes of some frames at a time."""
    padded = np.pad(wav.astype(np.float64), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    weights = np.hanning(window + 1)[:-1]
    for start in range(0, len(frames), BLOCK_FRAMES):
        yield np.maximum(np.abs(np.fft.rfft(frames[start : start + BLOCK_FRAMES] * weights, fft)), MIN_MAGNITUDE)
