"""Statistics of listening tests: tests of signs over listeners, Friedman, Holm, box plots, multimodality, binomial."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqaudio.listening.analysis.claims import CONFIDENCE, Array

GRID = 100_000  # steps of the sums of `sign_flip_p`
MAX_RANKS = 400  # listeners up to which sums of ranks are counted one by one
BIMODAL = 5 / 9  # multimodality of the uniform distribution
DECIMALS = 9  # to which means are rounded before ranking: those of equal ratings differ in the last digits


def wilcoxon_p(differences: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test of (listeners,) differences; zeros are left out.

    It is exact up to 400 listeners, also with ties; with more, on the grid of `sign_flip_p`.
    """
    from scipy.stats import rankdata

    rounded = np.round(differences, DECIMALS)
    rounded = rounded[rounded != 0]
    if len(rounded) < 2:
        return 1.0  # either sign of a single difference is equally likely
    ranks = np.sign(rounded) * rankdata(np.abs(rounded))
    if len(ranks) > MAX_RANKS:
        return sign_flip_p(ranks)
    return _share_of_patterns(np.rint(2 * ranks).astype(int), 0)  # tied ones share their mean rank, which may be half


def sign_flip_p(differences: Array) -> float:
    """Return the share of all patterns of signs under which the sum of differences (listeners,) is as far from 0.

    Sums are counted on a grid of 100 000 steps. Those that it cannot tell apart count as equal, so that p is never too
    small.

    Source: Fisher, The Design of Experiments (1935), 21; this is the paired form of the permutation test of BS.1534-3,
    attachment 3, which treats samples as unpaired.
    """
    total = float(np.abs(differences).sum())
    if total == 0:
        return 1.0
    return _share_of_patterns(np.rint(differences * (GRID / total)).astype(int), len(differences))


def _share_of_patterns(steps: NDArray[np.int_], tolerance: int) -> float:
    """Return the share of patterns of signs under which whole numbers add up to a sum as far from 0, by a convolution.

    Source: Pagano and Tritchler (1983), Journal of the American Statistical Association 78, 435–440.
    """
    sizes = np.abs(steps)
    chance = np.zeros(int(sizes.sum()) + 1)  # of each sum of the sizes whose sign is +
    chance[0] = 1.0
    reached = 0
    for size in sizes:
        chance[size : reached + size + 1] += chance[: reached + 1].copy()
        chance[: reached + size + 1] *= 0.5
        reached += int(size)
    sums = 2 * np.arange(len(chance)) - reached
    return min(1.0, float(chance[np.abs(sums) >= abs(int(steps.sum())) - tolerance].sum()))


def paired_tests(differences: Array) -> dict[str, Any]:
    """Return the mean `difference` of (listeners,) differences, at least two, its spread, and tests of signs."""
    return {
        "listeners": len(differences),
        "difference": float(differences.mean()),
        "difference_sd": float(differences.std(ddof=1)),
        "wilcoxon_p": wilcoxon_p(differences),
        "sign_flip_p": sign_flip_p(differences),
    }


def with_holm(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return pairs with their p-values adjusted for the number of pairs, see `add_holm`: tests of signs, and claims."""
    for test in ("wilcoxon_p", "sign_flip_p"):
        add_holm(pairs, test)
    for claim in ("these_items", "items_like_these"):
        add_holm([pair[claim] for pair in pairs if pair[claim]], "p")
    return pairs


def add_holm(tested: list[dict[str, Any]], name: str) -> None:
    """Add to each result the p-value `name` adjusted for their number, as `<name>_holm`."""
    for each, p in zip(tested, holm([each[name] for each in tested]), strict=True):
        each[f"{name}_holm"] = p


def holm(p_values: list[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given.

    Source: Holm (1979), Scand. J. Statist. 6, 65–70.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def friedman(table: Array) -> tuple[float, float] | None:
    """Return chi-squared and p of Friedman's test of (listeners, systems); None under 3 systems or 2 listeners."""
    from scipy.stats import friedmanchisquare

    if table.shape[0] < 2 or table.shape[1] < 3:
        return None
    rounded = np.round(table, DECIMALS)
    if (rounded == rounded[:, :1]).all():
        return 0.0, 1.0  # nobody hears a difference: all ranks are tied and the statistic is 0 / 0
    found = friedmanchisquare(*rounded.T)
    return float(found.statistic), float(found.pvalue)


def multimodality(values: Array) -> float | None:
    """Return Sarle's coefficient b of bimodality; above 5/9 listeners may disagree in groups.

    b = (g² + 1) / (k + 3 (n − 1)² / ((n − 2) (n − 3))), with g the skewness and k the excess kurtosis of the sample;
    None with less than 4 values or if all are equal.

    Source: ITU-R BS.1534-3, on multimodal distributions.
    """
    from scipy.stats import kurtosis, skew

    n = len(values)
    if n < 4 or np.ptp(values) == 0:
        return None
    g, k = float(skew(values, bias=False)), float(kurtosis(values, bias=False))
    return (g**2 + 1) / (k + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)))


def box(values: Array) -> dict[str, Any]:
    """Return the figures of a box plot of (n,) values, by Tukey's rule of 1.5 interquartile ranges (BS.1534-3).

    Returns:
        `q1`, `median`, `q3` (linear interpolation), `iqr`, `low` and `high` (the extreme values that are not
        outliers), and `outliers`, which are reported and never removed.
    """
    values = np.sort(np.asarray(values, float))
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    reach = 1.5 * (q3 - q1)
    inside = values[(values >= q1 - reach) & (values <= q3 + reach)]
    outside = values[(values < q1 - reach) | (values > q3 + reach)]
    return {
        "q1": q1,
        "median": median,
        "q3": q3,
        "iqr": q3 - q1,
        "low": float(inside[0]),
        "high": float(inside[-1]),
        "outliers": outside.tolist(),
    }


def exact_binomial(right: int, trials: int) -> tuple[float, float, float]:
    """Return the p of at least `right` right answers by guessing (share 1/2), and the 95 % interval of the share.

    Source: Clopper and Pearson (1934), Biometrika 26, 404–413, for the (two-sided) interval.
    """
    from scipy.stats import binomtest

    found = binomtest(right, trials, 0.5, alternative="greater")
    interval = binomtest(right, trials, 0.5).proportion_ci(CONFIDENCE, method="exact")
    return float(found.pvalue), float(interval.low), float(interval.high)


def fewest_listeners(alpha: float) -> int:
    """Return the smallest number of listeners with which Wilcoxon's and the sign-flip test can reach `alpha` at all.

    By chance, all of n listeners have differences of the same sign with probability 2 · 2⁻ⁿ.

    >>> fewest_listeners(0.05)
    6
    """
    return math.ceil(1 - math.log2(alpha))
