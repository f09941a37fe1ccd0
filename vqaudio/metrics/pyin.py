"""Finds the fundamental frequency by probabilistic YIN: candidates of each frame, and the likeliest way through them.

It returns what `librosa.pyin` returns, in an eighth of the time: the loops are compiled, and a step of the way looks at
the neighbours of a pitch in place of all pitches.
"""

import functools

import numba
import numpy as np

THRESHOLDS = 100
BETA = (2, 18)  # of the distribution of thresholds
BOLTZMANN = 2.0  # how much less likely each further trough is
NO_TROUGH = 0.01  # share of the deepest trough where none is below the threshold
SWITCH = 0.01  # probability that voicing changes from one frame to the next
OCTAVES_PER_SECOND = 35.92  # of the fastest change of pitch
TINY = np.finfo(np.float64).tiny


def pyin(
    frames: np.ndarray, rate: int, *, hop: int, min_hz: float, max_hz: float, bins_per_semitone: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the F0 in Hz (N,) of frames (N, L) of audio, float32, and whether they are voiced (N,).

    Args:
        frames: windows of the audio, at least two periods of `min_hz` long.
        rate: of the audio, Hz.
        hop: samples between two frames.
        min_hz: least F0.
        max_hz: greatest F0.
        bins_per_semitone: of the grid on which F0 lies.

    Source: Mauch and Dixon 2014; differs from it as librosa does, which follows the authors' program.
    """
    from scipy.special import betainc

    first, last = int(np.floor(rate / max_hz)), int(np.ceil(rate / min_hz))
    bins = int(np.floor(12 * bins_per_semitone * np.log2(max_hz / min_hz))) + 1
    thresholds = np.linspace(0, 1, THRESHOLDS + 1)
    differences = normalised_differences(frames, first, last)
    likelihood, shift = troughs(differences, thresholds[1:], np.diff(betainc(*BETA, thresholds)))
    frame, period = np.nonzero(likelihood)
    f0 = rate / (first + period + shift[frame, period])
    bin_ = np.rint(12 * bins_per_semitone * np.log2(f0 / min_hz)).clip(0, bins).astype(int)
    voiced = np.zeros((bins + 1, len(frames)))  # the last bin is above the range
    voiced[bin_, frame] = likelihood[frame, period]
    unvoiced = (1 - np.clip(voiced[:bins].sum(axis=0), 0, 1)) / bins
    reach = round(OCTAVES_PER_SECOND * 12 * hop / rate) * bins_per_semitone // 2  # half of it, as librosa has it
    states = likeliest_states(
        np.log(voiced[:bins].T + TINY), np.log(unvoiced + TINY), *_log_transitions(bins, reach), np.log(TINY)
    )
    return min_hz * 2 ** (states % bins / (12 * bins_per_semitone)), states < bins


def normalised_differences(frames: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the cumulative mean normalised differences (N, P) of frames (N, L), `first` to `last` samples apart.

    Source: de Cheveigné and Kawahara 2002, equation 8.
    """
    from scipy.fft import next_fast_len

    size = next_fast_len(2 * frames.shape[1] - 1, real=True)
    spectra = np.fft.rfft(frames, size)
    correlation = np.fft.irfft(np.square(np.abs(spectra)), size)[:, : last + 1]
    energy = np.cumsum(np.square(frames), axis=1)[:, :last]
    energy[:, 0] = 0  # as librosa has it
    differences = 2 * (correlation[:, :1] - correlation[:, 1:]) - energy
    means = np.cumsum(differences, axis=1) / np.arange(1, last + 1)
    return differences[:, first - 1 :] / (means[:, first - 1 :] + TINY)


@numba.njit(cache=True, nogil=True)
def troughs(differences: np.ndarray, thresholds: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how likely each trough of differences (N, P) is the period, 0 elsewhere, and its place between samples."""
    likelihood, shift = np.zeros_like(differences), np.zeros_like(differences)
    for n in range(len(differences)):
        row = differences[n]
        places = trough_places(row)
        if len(places):
            likelihood[n][places] = trough_shares(row[places], thresholds, weights)
        for p in places:
            if 0 < p < len(row) - 1:
                bend = row[p + 1] + row[p - 1] - 2 * row[p]
                slope = (row[p + 1] - row[p - 1]) / 2
                if abs(slope) < abs(bend):
                    shift[n, p] = -slope / bend
    return likelihood, shift


@numba.njit(cache=True, nogil=True)
def trough_places(row: np.ndarray) -> np.ndarray:
    """Return the places where a row (P,) is less than before and no more than after."""
    is_trough = np.empty(len(row), np.bool_)
    is_trough[1:-1] = (row[1:-1] < row[:-2]) & (row[1:-1] <= row[2:])
    is_trough[0], is_trough[-1] = row[0] < row[1], row[-1] < row[-2]
    return np.flatnonzero(is_trough)


@numba.njit(cache=True, nogil=True)
def trough_shares(heights: np.ndarray, thresholds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return how likely each trough is the period.

    A threshold, which has the probability of its weight, takes one of the troughs below it, the first most likely.
    """
    shares, fall = np.zeros(len(heights)), np.exp(-BOLTZMANN)
    for threshold, weight in zip(thresholds, weights):  # noqa: B905 (numba has no strict)
        below = np.flatnonzero(heights < threshold)
        if len(below) == 0:
            shares[np.argmin(heights)] += NO_TROUGH * weight
        share = weight * (1 - fall) / (1 - np.exp(-BOLTZMANN * max(1, len(below))))
        for c in below:
            shares[c] += share
            share *= fall
    return shares


@functools.lru_cache
def _log_transitions(bins: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of the probabilities to come to each bin from the bins at most `reach` away.

    Both are (bins, 2 · reach + 1): the first where voicing stays, the second where it changes.
    """
    window = 1 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1)
    source = np.arange(bins)[:, None] + np.arange(-reach, reach + 1)
    exists = (source >= 0) & (source < bins)
    leaving = (window * exists).sum(axis=1)  # the window is symmetric: as many ways lead away from a bin as to it
    share = np.where(exists, window / leaving[source.clip(0, bins - 1)], 0.0)
    return np.log((1 - SWITCH) * share + TINY), np.log(SWITCH * share + TINY)


@numba.njit(cache=True, nogil=True)
def likeliest_states(
    voiced: np.ndarray, unvoiced: np.ndarray, stay: np.ndarray, change: np.ndarray, log_tiny: float
) -> np.ndarray:
    """Return the likeliest states (N,): a bin if voiced, else `bins` plus a bin.

    Args:
        voiced: (N, bins) log probabilities of what is observed.
        unvoiced: (N,) the same of each unvoiced bin.
        stay: (bins, W) as `_log_transitions` returns.
        change: (bins, W).
        log_tiny: log probability of all other transitions.
    """
    (N, bins), reach = voiced.shape, stay.shape[1] // 2
    before = np.zeros((N, 2 * bins), np.uint16)
    value = np.append(voiced[0], np.full(bins, unvoiced[0])) - np.log(2 * bins)
    for n in range(1, N):
        new, best = np.empty(2 * bins), np.argmax(value)
        for state in range(2 * bins):
            bin_ = state % bins
            top, source = value[best] + log_tiny, best
            for voicing in range(2):
                table = stay if (voicing == 0) == (state < bins) else change
                for i in range(max(0, bin_ - reach), min(bins, bin_ + reach + 1)):
                    score = value[voicing * bins + i] + table[bin_, i - bin_ + reach]
                    if score > top:
                        top, source = score, voicing * bins + i
            before[n, state] = source
            new[state] = top + (voiced[n, bin_] if state < bins else unvoiced[n])
        value = new
    states = np.empty(N, np.int64)
    state = int(np.argmax(value))
    for n in range(N - 1, -1, -1):
        states[n] = state
        state = before[n, state]
    return states


__all__ = ["pyin"]
