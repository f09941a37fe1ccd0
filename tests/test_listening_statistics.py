"""Statistics of listening tests, compared with published and hand-computed examples and naive oracles."""

import math

import numpy as np
import pytest
import reference
from scipy.stats import binomtest, wilcoxon

from vqaudio.listening.analysis.statistics import (
    box,
    exact_binomial,
    fewest_listeners,
    friedman,
    holm,
    multimodality,
    paired_tests,
    sign_flip_p,
    wilcoxon_p,
    with_holm,
)
from vqaudio.listening.analysis.strengths import bradley_terry, bradley_terry_strengths, linked

# Darwin's cross- and self-fertilised maize, differences in eighths of an inch (Fisher, The Design of Experiments, III).
DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], float)
# Wins of the row over the column, American League East 1987 (Agresti, Categorical Data Analysis, 2nd ed., table 10.10):
# Milwaukee, Detroit, Toronto, New York, Boston, Cleveland, Baltimore.
BASEBALL = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
]
# Three ways of rounding first base, seconds, 22 players (Hollander and Wolfe, 1973, p. 140; in R's friedman.test).
ROUNDING = """5.40 5.50 5.55 5.85 5.70 5.75 5.20 5.60 5.50 5.55 5.50 5.40 5.90 5.85 5.70 5.45 5.55 5.60 5.40 5.40 5.35
5.45 5.50 5.35 5.25 5.15 5.00 5.85 5.80 5.70 5.25 5.20 5.10 5.65 5.55 5.45 5.60 5.35 5.45 5.05 5.00 4.95 5.50 5.50 5.40
5.45 5.55 5.50 5.55 5.55 5.35 5.45 5.50 5.55 5.50 5.45 5.25 5.65 5.60 5.40 5.70 5.65 5.55 6.30 6.30 6.25"""


def test_wilcoxon_of_darwin_s_maize_is_the_published_one():
    """T = 24, two-sided p = 0.041 (scipy's documentation of wilcoxon; exact 1352 / 32768)."""
    assert wilcoxon_p(DARWIN) == pytest.approx(1352 / 32768)


def test_wilcoxon_is_the_share_of_sign_patterns_with_and_without_ties():
    for differences in (
        [1.5, -0.5, 2.5, 3.0, -2.0, 4.0],
        [1.0, 1.0, 2.0, -1.0, 3.0, 2.0],
        [3, 2, 1, -1, -1, -3, -3, -3],
    ):
        oracle = reference.share_of_sign_patterns(differences, reference.signed_rank_sum)
        assert wilcoxon_p(np.array(differences)) == pytest.approx(oracle)


def test_wilcoxon_treats_means_that_differ_in_the_last_bit_as_equal():
    thirds = np.array([0.1 + 0.2, -0.3, 0.3, 0.3])
    assert wilcoxon_p(thirds) == wilcoxon_p(np.array([0.3, -0.3, 0.3, 0.3]))
    assert wilcoxon_p(np.array([1e-17, -1e-17, 0.0])) == wilcoxon_p(np.array([0.0, 2.0])) == 1.0


@pytest.mark.parametrize("listeners", [12, 17, 40, 100])
def test_wilcoxon_is_scipy_s_exact_one_at_any_number_of_listeners(listeners):
    differences = np.random.default_rng(listeners).normal(0.2, 1, listeners)
    assert wilcoxon_p(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue)


@pytest.mark.parametrize(("first", "answers"), [(15, 21), (18, 26), (60, 100)])
def test_with_one_answer_each_both_tests_of_signs_are_the_exact_binomial_one(first, answers):
    """15 of 21: p = 0.078; the normal approximation of Wilcoxon's test has 0.0495."""
    differences = np.repeat([0.5, -0.5], [first, answers - first])
    p = binomtest(first, answers).pvalue
    assert wilcoxon_p(differences) == pytest.approx(p)
    assert sign_flip_p(differences) == pytest.approx(p)


def test_ties_and_zeros_are_exact_beyond_what_all_patterns_could_be_tried_for():
    """A lattice of few values for 24 listeners: the distribution of the sum, counted in whole numbers."""
    differences = np.random.default_rng(1).integers(-2, 4, 24).astype(float)
    assert sign_flip_p(differences) == pytest.approx(reference.share_of_sums(differences.astype(int).tolist()))
    assert sign_flip_p(differences / 7) == pytest.approx(sign_flip_p(differences))


def test_sign_flips_of_darwin_s_maize_are_fisher_s():
    """Fisher counted 863 of 32768 patterns at least as high, 5.267 % two-sided (The Design of Experiments, 21)."""
    assert sign_flip_p(DARWIN) == pytest.approx(2 * 863 / 32768)
    assert reference.share_of_sign_patterns(DARWIN.tolist(), sum) == pytest.approx(2 * 863 / 32768)


def test_sign_flips_of_many_listeners_come_close_to_the_normal_limit():
    differences = np.random.default_rng(2).normal(0.3, 1, 300)
    z = differences.sum() / math.sqrt((differences**2).sum())
    assert sign_flip_p(differences) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=0.05)
    assert sign_flip_p(np.zeros(5)) == 1.0


def test_holm_steps_down_and_never_decreases():
    """By hand: 4 × 0.005, 3 × 0.01, 2 × 0.03, then max(0.06, 1 × 0.04)."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_friedman_of_rounding_first_base_is_the_published_one():
    """chi-squared 11.143 on 2 degrees of freedom, p = 0.003805 (R's friedman.test)."""
    chi2, p = friedman(np.array(ROUNDING.split(), float).reshape(22, 3))
    assert chi2 == pytest.approx(11.143, abs=5e-4)
    assert p == pytest.approx(0.003805, abs=5e-7)


def test_friedman_needs_three_systems_and_two_listeners_and_accepts_equal_ratings():
    assert friedman(np.ones((5, 2))) is None
    assert friedman(np.ones((1, 3))) is None
    assert friedman(np.full((4, 3), 0.1)) == (0.0, 1.0)


def test_multimodality_of_five_even_steps_is_the_hand_computed_one():
    """1, 2, 3, 4, 5: no skewness, excess kurtosis −1.2, so b = 1 / (−1.2 + 3 · 16 / 6) = 1 / 6.8."""
    assert multimodality(np.arange(1.0, 6)) == pytest.approx(1 / 6.8)


@pytest.mark.parametrize("seed", range(3))
def test_multimodality_is_the_definition_from_power_sums(seed):
    values = np.random.default_rng(seed).gamma(2, 10, 30)
    assert multimodality(values) == pytest.approx(reference.bimodality(values.tolist()))


def test_multimodality_tells_two_camps_from_one():
    rng = np.random.default_rng(0)
    assert multimodality(np.concatenate([rng.normal(20, 5, 50), rng.normal(80, 5, 50)])) > 5 / 9
    assert multimodality(rng.normal(50, 5, 100)) < 5 / 9
    assert multimodality(np.full(10, 3.0)) is None
    assert multimodality(np.array([1.0, 2, 3])) is None


def test_box_is_the_hand_computed_one():
    """1 … 9 and 15: Q1 = 3.25, median 5.5, Q3 = 7.75, so values beyond −3.5 and 14.5 are outliers."""
    found = box(np.array([15.0, *range(1, 10)]))
    assert found == {"q1": 3.25, "median": 5.5, "q3": 7.75, "iqr": 4.5, "low": 1.0, "high": 9.0, "outliers": [15.0]}


def test_exact_binomial_of_12_right_of_16_is_the_hand_computed_one():
    """(1820 + 560 + 120 + 16 + 1) / 65536 = 0.0384; for none or all right, 1 − 0.025^(1/n) and its mirror."""
    assert exact_binomial(12, 16)[0] == pytest.approx(2517 / 65536)
    assert exact_binomial(0, 10)[1:] == pytest.approx((0.0, 1 - 0.025**0.1))
    assert exact_binomial(10, 10) == pytest.approx((2**-10, 0.025**0.1, 1.0))


def test_exact_binomial_interval_leaves_2_5_percent_on_either_side():
    _, low, high = exact_binomial(12, 16)
    assert sum(math.comb(16, k) * low**k * (1 - low) ** (16 - k) for k in range(12, 17)) == pytest.approx(0.025)
    assert sum(math.comb(16, k) * high**k * (1 - high) ** (16 - k) for k in range(13)) == pytest.approx(0.025)


def test_bradley_terry_of_baseball_is_the_published_one():
    """Relative to Baltimore, as in the vignette of R's BradleyTerry2 for Agresti's data."""
    strengths = bradley_terry(np.array(BASEBALL, float))
    published = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0]
    assert strengths - strengths[-1] == pytest.approx(np.array(published), abs=6e-5)


def test_bradley_terry_of_many_tables_at_once_is_that_of_each():
    wins = np.random.default_rng(0).integers(1, 9, (4, 3, 3)).astype(float) * (1 - np.eye(3))
    together = bradley_terry(wins)
    for table, strengths in zip(wins, together, strict=True):
        assert strengths == pytest.approx(reference.strengths_by_ascent(table.tolist()), abs=1e-6)


def test_bradley_terry_of_two_systems_is_the_log_odds():
    strengths = bradley_terry(np.array([[0.0, 9], [3, 0]]))
    assert strengths[0] - strengths[1] == pytest.approx(math.log(3))


def test_intervals_of_strengths_are_those_of_pseudo_values():
    """The jackknife by hand: a listener's pseudo-value is n times all minus n − 1 times without them; t over these."""
    rng = np.random.default_rng(3)
    names, n = ("A", "B", "C"), 7
    answers = {
        (a, b): {f"L{k}": [float(x) for x in rng.random(10) < rng.choice([0.05, 0.95])] for k in range(n)}
        for a, b in (("A", "B"), ("A", "C"), ("B", "C"))
    }

    def strengths(kept):
        wins = [[0.0 if i == j else 0.5 for j in names] for i in names]
        for (a, b), votes in answers.items():
            for k in kept:
                wins[names.index(a)][names.index(b)] += sum(votes[f"L{k}"])
                wins[names.index(b)][names.index(a)] += 10 - sum(votes[f"L{k}"])
        return np.array(reference.strengths_by_ascent(wins))

    everybody = strengths(range(n))
    pseudo = np.array([n * everybody - (n - 1) * strengths(set(range(n)) - {k}) for k in range(n)])
    half = 2.4469 * pseudo.std(axis=0, ddof=1) / math.sqrt(n)  # t of 6 degrees of freedom
    for found in bradley_terry_strengths(answers):
        i = names.index(found["system"])
        assert found["strength"] == pytest.approx(everybody[i], abs=1e-4)
        assert found["high95"] - found["strength"] == pytest.approx(half[i], rel=1e-3)


def test_unanimous_listeners_do_not_make_strengths_certain():
    """Six of six for A: two systems differ by log(6.5 / 0.5), with variance 1 / 6.5 + 1 / 0.5, half of it each."""
    strong, _ = bradley_terry_strengths({("A", "B"): {f"L{k}": [1.0] for k in range(6)}})
    half = 1.95996 * math.sqrt((1 / 6.5 + 1 / 0.5) / 4)
    assert strong["high95"] - strong["strength"] == pytest.approx(half, rel=1e-3)


def test_one_listener_has_strengths_without_intervals():
    strong, weak = bradley_terry_strengths({("A", "B"): {"L0": [1.0, 1.0, 0.0]}})
    assert (strong["low95"], weak["high95"]) == (None, None)


def test_systems_that_no_chain_of_comparisons_joins_are_not_linked():
    apart = np.zeros((4, 4))
    apart[0, 1] = apart[2, 3] = 1
    assert not linked(apart)
    apart[3, 0] = 1
    assert linked(apart)


def test_below_the_fewest_listeners_even_agreement_is_not_significant():
    least = fewest_listeners(0.05)
    assert wilcoxon_p(np.arange(1.0, least + 1)) < 0.05
    assert wilcoxon_p(np.arange(1.0, least)) > 0.05


def test_paired_tests_hold_the_hand_computed_mean_and_spread_and_holm_covers_both_tests():
    tests = paired_tests(np.array([1.0, 2, 3, 4, 5, 6]))
    assert tests["difference"] == 3.5
    assert tests["difference_sd"] == pytest.approx(math.sqrt(3.5))
    assert tests["wilcoxon_p"] == tests["sign_flip_p"] == pytest.approx(2 / 64)
    claims = ({"these_items": {"p": 0.01}, "items_like_these": like} for like in ({"p": 0.3}, None))
    both = with_holm([{**tests, **of_pair} for of_pair in claims])
    assert [pair["wilcoxon_p_holm"] for pair in both] == pytest.approx([4 / 64, 4 / 64])
    assert [pair["sign_flip_p_holm"] for pair in both] == pytest.approx([4 / 64, 4 / 64])
    assert [pair["these_items"]["p_holm"] for pair in both] == [0.02, 0.02]
    assert both[0]["items_like_these"]["p_holm"] == 0.3  # the only one of its kind
