"""Lists the labels of silence, and numbers units: the codes of all groups of a frame are one symbol."""

import numpy as np

_LABELS = (
    *("SIL", "SPN", "NSN", "SP", "NOISE", "LAUGHTER", "OOV"),  # Kaldi, Montreal Forced Aligner, HTK, Penn, Gentle
    *("<EPS>", "<SIL>", "[SIL]"),  # Montreal Forced Aligner in CTM, CMU Sphinx, Charsiu
    *("+NSN+", "+SPN+", "+NOISE+", "+BREATH+", "+COUGH+", "+SMACK+"),  # CMU Sphinx
    *("<P:>", "<NIB>", "<USB>"),  # WebMAUS
    *("H#", "PAU", "EPI"),  # TIMIT, Festival
    *("SILB", "SILE", "_", "#"),  # Julius, MBROLA, Festival
)
_PLACES = ("", *(f"_{place}" for place in "BEIS"))  # of a phone in its word, as Kaldi marks it

SILENCE = (
    "",  # an interval without a label
    *sorted({form + place for name in _LABELS for form in (name, name.lower(), name.title()) for place in _PLACES}),
    *("silB", "silE"),
)
"""Labels of the usual aligners for pauses, noise and speech that is not understood, in capitals or not, and with the
place in the word: what is left out wherever units are compared with phones. Others can be named when an alignment is
read (`vqaudio.metrics.alignment.read_alignment`)."""


def number_symbols(codes: np.ndarray) -> np.ndarray:
    """Return codes (G, n) as symbols (n,): the distinct columns, numbered from 0.

    >>> number_symbols(np.array([[7, 7, 2], [0, 1, 0]])).tolist()
    [1, 2, 0]
    """
    symbols = np.zeros(codes.shape[1], dtype=np.int64)
    for group in codes.astype(np.int64):
        # Numbered anew after each group, so that the products stay under n · K.
        symbols = np.unique(symbols * (group.max(initial=0) + 1) + group, return_inverse=True)[1]
    return symbols
