"""Tracks the fundamental frequency (F0), and compares the melody and voicing of two tracks."""

import math

import numpy as np

from vqaudio import audio
from vqaudio.metrics.pyin import pyin

RATE, HOP, WINDOW = 16000, 160, 1024  # Hz; samples: 10 ms; 64 ms, nearly four periods of the lowest pitch
MIN_HZ, MAX_HZ = 60.0, 500.0
BINS_PER_SEMITONE = 5  # an error of 0.3 %


def track(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the F0 in Hz (N,) of a wav (T,), N = ceil(T / 10 ms); NaN in unvoiced frames.

    Probabilistic YIN at 16 kHz from 60 to 500 Hz on a grid of 0.2 semitones; windows of 64 ms centred on frames of
    10 ms, with zeros outside.

    Source: Mauch and Dixon 2014, in librosa's implementation.
    """
    wav = audio.resample(wav, sample_rate, RATE)
    num_frames = -(-len(wav) // HOP)
    margin = (WINDOW - HOP) // 2
    padded = np.pad(wav, (margin, num_frames * HOP - len(wav) + margin))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    f0, voiced = pyin(frames, RATE, hop=HOP, min_hz=MIN_HZ, max_hz=MAX_HZ, bins_per_semitone=BINS_PER_SEMITONE)
    return np.where(voiced, f0, np.nan)


def pitch_errors(x: np.ndarray, y: np.ndarray, path: np.ndarray) -> tuple[float, float]:
    """Compare two tracks (N,) along a path (L, 2) of frame pairs.

    Returns:
        The root mean square difference of ln F0 over the pairs that are voiced in both, NaN if there is none; and the
        share of pairs of which one is voiced and the other is not.
    """
    a, b = x[path[:, 0]], y[path[:, 1]]
    both = ~(np.isnan(a) | np.isnan(b))
    vuv_error = float((np.isnan(a) != np.isnan(b)).mean())
    if not both.any():
        return math.nan, vuv_error
    return float(np.sqrt(np.square(np.log(a[both] / b[both])).mean())), vuv_error
