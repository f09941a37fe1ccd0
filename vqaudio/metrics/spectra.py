"""Distances of two aligned waveforms: spectra at three resolutions, and loudness."""

import math
from collections.abc import Iterator

import numpy as np

from vqaudio import audio

RESOLUTIONS = ((1024, 600, 120), (2048, 1200, 240), (512, 240, 50))  # FFT, Hann window and hop in samples
FLOOR = 1e-4  # of magnitudes, for waveforms of RMS 0.1
BLOCK = 4096  # frames whose spectra are in memory at once
LOUDNESS_RATE, STEP = 48000, 4800  # Hz; samples, 0.1 s
K_WEIGHTING = (  # tables 1 and 2 of BS.1770: b and a of a high shelf, then of a high pass
    (1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621),
)


def multi_resolution_stft(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean, over three resolutions, of spectral convergence and log-magnitude distance of x and y (T,).

    Spectral convergence is ‖X − Y‖ / ‖X‖ (Frobenius) of the magnitudes, the distance the mean |ln X − ln Y| with
    magnitudes from 1e-4 up. Frames are centred, zeros outside. x is the reference; both should have RMS 0.1.

    Source: Yamamoto et al. 2020, equations 2 to 6; resolutions of 16 kHz to 24 kHz speech.
    """
    return sum(_distance(x, y, *resolution) for resolution in RESOLUTIONS) / len(RESOLUTIONS)


def loudness_difference(x: np.ndarray, y: np.ndarray, sample_rate: int) -> float:
    """Return how many dB the integrated loudness of x and y (T,) differs, without sign; NaN where one has none."""
    return abs(loudness(y, sample_rate) - loudness(x, sample_rate))


def loudness(wav: np.ndarray, sample_rate: int) -> float:
    """Return the integrated loudness of a wav (T,) in LUFS, or NaN: under 0.4 s, or nowhere above −70 LUFS.

    Source: ITU-R BS.1770-4, annex 1, whose filters are those at 48 kHz; other rates are resampled to it.
    """
    from scipy.signal import sosfilt

    weighted = sosfilt(K_WEIGHTING, audio.resample(wav, sample_rate, LOUDNESS_RATE).astype(np.float64))
    steps = np.square(weighted[: len(weighted) // STEP * STEP].reshape(-1, STEP)).mean(axis=1)
    if len(steps) < 4:
        return math.nan
    power = np.convolve(steps, np.full(4, 0.25), mode="valid")  # blocks of 0.4 s, every 0.1 s
    power = power[power > 10 ** ((-70 + 0.691) / 10)]
    if not len(power):
        return math.nan
    power = power[power > 0.1 * power.mean()]
    return -0.691 + 10 * math.log10(power.mean())


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
    """Yield the magnitudes of some frames at a time, from FLOOR up."""
    padded = np.pad(wav.astype(np.float64), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    weights = np.hanning(window + 1)[:-1]
    for start in range(0, len(frames), BLOCK):
        yield np.maximum(np.abs(np.fft.rfft(frames[start : start + BLOCK] * weights, fft)), FLOOR)
