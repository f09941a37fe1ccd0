"""Measures how much units tell about phones, from a table of joint counts.

`counts` is always (Y, Z): row y is a phone, column z a unit, and each entry the number of frames with both. 0 · log 0
is 0; no epsilon is added inside a logarithm.
"""

import numpy as np


def entropy(counts: np.ndarray) -> float:
    """Return the entropy in nats of the distribution that counts of any shape estimate.

    >>> round(entropy(np.array([5, 5, 0])), 6)  # ln 2
    0.693147
    """
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum()) + 0.0  # + 0.0 turns −0 into 0


def phone_purity(counts: np.ndarray) -> float:
    """Return Σ_z max_y p(y, z): the accuracy of naming each unit by its most frequent phone, on the same frames."""
    return float(counts.max(axis=0).sum() / counts.sum())


def cluster_purity(counts: np.ndarray) -> float:
    """Return Σ_y max_z p(y, z): the share of frames that have the most frequent unit of their phone."""
    return float(counts.max(axis=1).sum() / counts.sum())


def pnmi(counts: np.ndarray) -> float:
    """Return the phone-normalised mutual information I(y; z) / H(y): the share of the phone entropy that units remove.

    NaN if all frames have the same phone.

    Source: Hsu et al. 2021 (HuBERT), whose script `measure_teacher_quality.py` adds 1e-8 inside its logarithms; this is
    exact, and differs by about 1e-7.
    """
    of_phones = entropy(counts.sum(axis=1))
    if of_phones == 0:
        return float("nan")
    mutual = of_phones + entropy(counts.sum(axis=0)) - entropy(counts)
    return float(np.clip(mutual / of_phones, 0.0, 1.0))  # rounding may leave the interval by 1e-16


def majority_phones(counts: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the most frequent phone of each unit (Z,), and the most frequent phone of all.

    A unit without frames gets the most frequent phone of all; of equally frequent phones the lowest number wins.
    """
    prior = int(counts.sum(axis=1).argmax())
    return np.where(counts.any(axis=0), counts.argmax(axis=0), prior), prior
