# mypy: ignore-errors
"""The compiled draw of a level from a softmax, and its random numbers."""

import numpy as np
from numba import njit
from numba.core.registry import cpu_target

from vqaudio.sampling.vectors import LANES, exponentials, maximum

OPTIONS = {"nogil": True, "error_model": "numpy"}
if hasattr(cpu_target.options, "_nrt"):
    # Without numba's reference counts, whose atomic instructions cost as much as the arithmetic of a small network.
    OPTIONS["_nrt"] = False
INLINE = {**OPTIONS, "forceinline": True}

ZERO = np.float32(0)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S30, S27, S31, S40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)
TWO_TO_MINUS_24 = np.float32(2.0**-24)


@njit(**INLINE)
def _mix(z):
    """Return the output function of splitmix64 (Steele et al., "Fast splittable pseudorandom number generators")."""
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


@njit(**INLINE)
def uniform(seed, n):
    """Return the uniform number `n` in [0, 1) under `seed`: 24 bits of splitmix64."""
    return np.float32(_mix(_mix(seed) + (np.uint64(n) + np.uint64(1)) * GOLDEN) >> S40) * TWO_TO_MINUS_24


@njit(**INLINE)
def draw(scores, sums, b, first, levels, inverse_temperature, number):
    """Return the level at which the cumulative softmax of a band exceeds `number`; overwrite the band's scores.

    They begin at column `first` of row `b` of `scores`. An inverse temperature of zero returns the most likely level.
    """
    width = sums.shape[0] * LANES
    begin = b * scores.shape[1] + first
    top = maximum(scores, begin, width)
    if inverse_temperature == ZERO:
        q = 0
        while scores[b, first + q] < top:
            q += 1
        return q
    exponentials(scores, begin, sums, 0, top, inverse_temperature, width)
    total = ZERO
    for v in range(sums.shape[0]):
        total += sums[v]
    left = number * total
    v = 0
    while v < (levels - 1) // LANES and left >= sums[v]:
        left -= sums[v]
        v += 1
    q, last = v * LANES, min((v + 1) * LANES, levels) - 1
    while q < last and left >= scores[b, first + q]:
        left -= scores[b, first + q]
        q += 1
    return q
