"""Phones and units as symbols: a frame's codes of all groups together are one symbol."""

import numpy as np

SILENCE = ("SIL", "SPN", "+NSN+", "sil", "spn", "sp")
"""Phones that are no speech: they are left out wherever units are compared with phones."""


def number_symbols(codes: np.ndarray) -> np.ndarray:
    """Turn codes (G, n) into symbols (n,): the distinct columns numbered from 0.

    >>> number_symbols(np.array([[7, 7, 2], [0, 1, 0]])).tolist()
    [1, 2, 0]
    """
    symbols = np.zeros(codes.shape[1], dtype=np.int64)
    for group in codes.astype(np.int64):
        # Numbered anew after each group, so that the products stay under n · K.
        symbols = np.unique(symbols * (group.max(initial=0) + 1) + group, return_inverse=True)[1]
    return symbols
