"""Dynamic time warping of two sequences of equal length."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def warped_distance(x: np.ndarray, y: np.ndarray, band: int) -> float:
    """Mean Euclidean distance along the path through x and y, both (N, d), that has the least sum.

    Steps are (1, 1), (1, 0) and (0, 1), none weighted; among equal sums the first of these wins. The path
    stays within `band` frames of the diagonal, so memory is O(band) and an hour of audio is no problem.
    """
    num_frames, width = len(x), 2 * band + 1
    # Cell c of row i is frame j = i + c − band of y; the row above is one cell further right.
    above, row = np.full(width + 1, np.inf), np.full(width + 1, np.inf)
    above_length, row_length = np.zeros(width + 1), np.zeros(width + 1)
    for i in range(num_frames):
        row[:] = np.inf
        for c in range(max(0, band - i), min(width, num_frames - i + band)):
            squares = 0.0
            for d in range(x.shape[1]):
                squares += (x[i, d] - y[i + c - band, d]) ** 2
            best, length = above[c], above_length[c]
            if above[c + 1] < best:
                best, length = above[c + 1], above_length[c + 1]
            if c > 0 and row[c - 1] < best:
                best, length = row[c - 1], row_length[c - 1]
            if i == 0 and c == band:
                best, length = 0.0, 0.0
            row[c], row_length[c] = best + np.sqrt(squares), length + 1
        above, row = row, above
        above_length, row_length = row_length, above_length
    return above[band] / above_length[band]
