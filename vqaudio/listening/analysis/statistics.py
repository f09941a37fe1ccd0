"""Statistics of listening tests; the sample is one of listeners, so intervals and tests are over listeners."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000  # of the bootstrap, and of signs
EXACT_LISTENERS = 16  # with so many or fewer, all patterns of signs are tried
CONFIDENCE = 0.95  # of all intervals
MAX_ROUNDS = 10_000  # of `bradley_terry`
BIMODAL = 5 / 9  # multimodality of the uniform distribution
DECIMALS = 9  # to which means are rounded before ranking: those of equal ratings differ in the last digits

Array = NDArray[np.float64]


def bootstrap_interval(sums: Array, counts: Array, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of a mean of ratings, resampling whole listeners.

    Args:
        sums: (listeners,) sum of each listener's ratings.
        counts: (listeners,) number of ratings of each, at least 1; at least two listeners.
        seed: of the 10 000 resamples.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), 13.3; clusters as in ITU-R BS.1534-3, where
    the ratings of one listener are not independent samples.
    """
    from scipy.stats import bootstrap

    def mean(sums: Array, counts: Array, axis: int) -> Array:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    found = bootstrap(
        (np.asarray(sums, float), np.asarray(counts, float)),
        mean,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def wilcoxon_p(differences: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test of (listeners,) differences; zeros are left out.

    It is exact up to 16 listeners, also with ties, and up to 50 without ties; above, it is the normal approximation.
    """
    from scipy.stats import rankdata, wilcoxon

    rounded = np.round(differences, DECIMALS)
    rounded = rounded[rounded != 0]
    if len(rounded) < 2:
        return 1.0  # either sign of a single difference is equally likely
    if len(rounded) <= EXACT_LISTENERS:  # scipy returns the same, a hundred times slower
        return sign_flip_p(np.sign(rounded) * rankdata(np.abs(rounded)), seed=0)
    return float(wilcoxon(rounded).pvalue)


def sign_flip_p(differences: Array, seed: int) -> float:
    """Return the two-sided p of the mean of differences (listeners,) when their signs are flipped at random.

    It tries all patterns of signs up to 16 listeners, and 10 000 random ones above.

    Source: Fisher, The Design of Experiments (1935), 21; this is the paired form of the permutation test of BS.1534-3,
    attachment 3, which treats samples as unpaired.
    """
    from scipy.stats import permutation_test

    def mean(differences: Array, axis: int) -> Array:
        return differences.mean(axis=axis)

    found = permutation_test(
        (np.asarray(differences, float),),
        mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2 ** len(differences) if len(differences) <= EXACT_LISTENERS else RESAMPLES,
        batch=4096,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def paired_tests(differences: Array, seed: int) -> dict[str, Any]:
    """Return the mean `difference` of (listeners,) differences, at least two; its interval, spread, two-sided tests."""
    low, high = bootstrap_interval(differences, np.ones(len(differences)), seed)
    return {
        "listeners": len(differences),
        "difference": float(differences.mean()),
        "difference_low95": low,
        "difference_high95": high,
        "difference_sd": float(differences.std(ddof=1)),
        "wilcoxon_p": wilcoxon_p(differences),
        "sign_flip_p": sign_flip_p(differences, seed),
    }


def with_holm(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tests of all pairs with p-values adjusted for their number: `wilcoxon_p_holm`, `sign_flip_p_holm`."""
    for test in ("wilcoxon_p", "sign_flip_p"):
        for pair, p in zip(pairs, holm([pair[test] for pair in pairs]), strict=True):
            pair[f"{test}_holm"] = p
    return pairs


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


def bradley_terry(wins: Array, *, tolerance: float = 1e-10) -> Array:
    """Return log-strengths s of mean 0; exp(s_i) / (exp(s_i) + exp(s_j)) is the probability that i is preferred to j.

    Args:
        wins: (..., S, S), how often row was preferred to column; no preference is half a win for each. Comparisons must
            link all systems, and each pair compared must have wins both ways, or the strengths are infinite.
        tolerance: largest change of a log-strength in the last round.

    Returns:
        (..., S) maximum-likelihood estimates.

    Source: Hunter (2004), Annals of Statistics 32, 384–406, equation 3.
    """
    wins = np.asarray(wins, float)
    games = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(axis=-1)
    strengths = np.zeros(won.shape)
    for _ in range(MAX_ROUNDS):
        p = np.exp(strengths)
        updated = np.log(won / (games / (p[..., :, None] + p[..., None, :])).sum(axis=-1))
        updated -= updated.mean(axis=-1, keepdims=True)
        moved = float(np.abs(updated - strengths).max())
        strengths = updated
        if moved < tolerance:
            break
    return strengths


def linked(wins: Array) -> bool:
    """Return whether comparisons (S, S) link every system to every other, so that strengths are on one scale."""
    from scipy.sparse.csgraph import connected_components

    return int(connected_components(wins + wins.T > 0, directed=False, return_labels=False)) == 1


def fewest_listeners(alpha: float) -> int:
    """Return the smallest number of listeners with which Wilcoxon's and the sign-flip test can reach `alpha` at all.

    By chance, all of n listeners have differences of the same sign with probability 2 · 2⁻ⁿ.

    >>> fewest_listeners(0.05)
    6
    """
    return math.ceil(1 - math.log2(alpha))
