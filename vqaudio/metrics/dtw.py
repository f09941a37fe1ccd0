"""Computes distances of two sequences by dynamic programming, in compiled loops."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def warping_path(x: np.ndarray, y: np.ndarray, band: int) -> tuple[np.ndarray, float]:
    """Return the path (L, 2) through x and y, both (N, d), of least summed Euclidean distance, and its mean distance.

    The path holds pairs of frames from (0, 0) to (N - 1, N - 1). Steps are (1, 1), (1, 0) and (0, 1) without weights;
    among equal sums the first of these wins. The path stays within `band` frames of the diagonal, so an hour at 10 ms
    and a band of 0.5 s takes 36 MB.
    """
    num_frames, width = len(x), 2 * band + 1
    # Cell c of row i is frame j = i + c − band of y; the same frame is one cell further right in the row above.
    above, row = np.full(width + 1, np.inf), np.full(width + 1, np.inf)
    steps = np.zeros((num_frames, width), dtype=np.uint8)  # 0, 1, 2: in the order of the docstring
    for i in range(num_frames):
        row[:] = np.inf
        for c in range(max(0, band - i), min(width, num_frames - i + band)):
            squares = 0.0
            for d in range(x.shape[1]):
                squares += (x[i, d] - y[i + c - band, d]) ** 2
            best = above[c]
            if above[c + 1] < best:
                best, steps[i, c] = above[c + 1], 1
            if c > 0 and row[c - 1] < best:
                best, steps[i, c] = row[c - 1], 2
            if i == 0 and c == band:
                best = 0.0
            row[c] = best + np.sqrt(squares)
        above, row = row, above
    path = np.empty((2 * num_frames, 2), dtype=np.int64)
    i, c, length = num_frames - 1, band, 0
    while True:
        path[length, 0], path[length, 1] = i, i + c - band
        length += 1
        if i == 0 and c == band:
            break
        step = steps[i, c]
        i, c = (i if step == 2 else i - 1), (c if step == 0 else c + 1 if step == 1 else c - 1)
    return path[:length][::-1], above[band] / length


@numba.njit(cache=True, nogil=True)
def edit_distance(x: np.ndarray, y: np.ndarray) -> int:
    """Return the Levenshtein distance of symbols x (n,) and y (m,): insertions, deletions and substitutions are 1."""
    edits = np.arange(len(y) + 1)  # between the first i symbols of x and the first j of y
    for i in range(len(x)):
        diagonal, edits[0] = edits[0], i + 1
        for j in range(len(y)):
            above = edits[j + 1]
            edits[j + 1] = min(diagonal + (x[i] != y[j]), above + 1, edits[j] + 1)
            diagonal = above
    return edits[len(y)]
