"""Claims about these items and about items like these: against plain sums, by hand, and by simulated panels."""

import math

import numpy as np
import pytest
import reference
from scipy.stats import t, ttest_1samp

from vqaudio.listening.analysis import claims as module
from vqaudio.listening.analysis.cells import RATING
from vqaudio.listening.analysis.claims import Cells, Grain, describe_claims, item_sd, means_of


def grid(listeners: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    of_listener, of_item = np.meshgrid(np.arange(listeners), np.arange(items), indexing="ij")
    return of_listener.ravel(), of_item.ravel()


def differences(rng, listeners: int, items: int, item_effect: float, mean: float = 0.0) -> Cells:
    """Listeners differ by sd 6, items by `item_effect`, answers by 12."""
    of_listener, of_item = grid(listeners, items)
    values = mean + rng.normal(0, 6, listeners)[of_listener] + rng.normal(0, item_effect, items)[of_item]
    return Cells(values + rng.normal(0, 12, len(values)), of_listener, of_item)


def latin(rng, listeners: int, items: int, systems: int, item_effect: float) -> tuple[Cells, float]:
    """Ratings of which everybody gives one on each item; and the difference of two systems on these items."""
    of_listener, of_item = grid(listeners, items)
    of_system = (of_listener + of_item) % systems
    by_item = rng.normal(0, item_effect / math.sqrt(2), (items, systems))
    by_listener = rng.normal(0, 6 / math.sqrt(2), (listeners, systems))
    values = rng.normal(0, 8, listeners)[of_listener] + rng.normal(0, 10, items)[of_item]
    values += by_item[of_item, of_system] + by_listener[of_listener, of_system]
    values += rng.normal(0, 12 / math.sqrt(2), len(values))
    return Cells(values, of_listener, of_item, of_system), float((by_item[:, 0] - by_item[:, 1]).mean())


def test_the_claim_about_these_items_is_the_t_test_of_the_listeners_means():
    cells = differences(np.random.default_rng(0), 7, 5, 0, mean=3)
    found = describe_claims(means_of(cells), RATING)["these_items"]
    test = ttest_1samp(cells.values.reshape(7, 5).mean(axis=1), 0)
    assert found["p"] == pytest.approx(test.pvalue)
    assert (found["low95"], found["high95"]) == pytest.approx(tuple(test.confidence_interval(0.95)))


@pytest.mark.parametrize("item_effect", [0, 5, 30])
def test_over_listeners_and_items_the_variance_is_that_of_plain_sums(item_effect):
    cells = differences(np.random.default_rng(1), 6, 9, item_effect)
    variance, freedom = reference.crossed_variance(cells.values.reshape(6, 9).tolist())
    spread = means_of(cells).spread
    assert [float(v) for v in spread.both] == pytest.approx([variance, freedom])


def test_sums_of_squares_of_any_layout_give_the_same_on_a_complete_matrix():
    cells = differences(np.random.default_rng(2), 7, 5, 5)
    general, single = module._spread(cells.values, module._differences(cells))
    for found, expected in zip(general, means_of(cells).spread, strict=True):
        assert [float(v) for v in found] == pytest.approx([float(v) for v in expected])
    assert single == pytest.approx(1 / 35)


def test_the_interval_about_items_like_these_is_that_of_the_plain_sums():
    cells = differences(np.random.default_rng(3), 8, 6, 8)
    variance, freedom = reference.crossed_variance(cells.values.reshape(8, 6).tolist())
    found = describe_claims(means_of(cells), RATING)["items_like_these"]
    assert (found["high95"] - found["low95"]) / 2 == pytest.approx(t.isf(0.025, freedom) * math.sqrt(variance))


def test_a_claim_about_more_is_never_surer_than_one_about_less():
    """Also where the variance over both comes out below that over listeners, even negative."""
    rng = np.random.default_rng(4)
    negative = 0
    for _ in range(200):
        means = means_of(differences(rng, 6, 5, 0))
        negative += float(means.spread.both[0]) < 0
        found = describe_claims(means, RATING)
        here, elsewhere = found["these_items"], found["items_like_these"]
        assert elsewhere["high95"] >= here["high95"]
        assert elsewhere["p"] >= here["p"]
        assert math.isfinite(elsewhere["high95"])
    assert negative > 0


def test_interval_and_p_never_contradict_each_other():
    rng = np.random.default_rng(5)
    for number in range(200):
        cells = differences(rng, 8, 8, 5, mean=4) if number % 2 else latin(rng, 8, 8, 2, 5)[0]
        for claim in describe_claims(means_of(cells), Grain(1 / 12, None, 0.5 * (number % 3))).values():
            assert (claim["low95"] > 0 or claim["high95"] < 0) == (claim["p"] < 0.05)


def test_one_item_says_nothing_about_others_and_equal_answers_are_not_certain():
    listeners, items = grid(4, 1)
    means = means_of(Cells(np.full(4, 2.0), listeners, items))
    found = describe_claims(means, RATING)
    assert found["items_like_these"] is None
    assert item_sd(means) is None
    assert found["these_items"]["high95"] - 2 == pytest.approx(3.1824 * math.sqrt(1 / 12 / 4), rel=1e-4)


def test_the_spread_of_items_is_recovered_without_that_of_answers():
    rng = np.random.default_rng(6)
    found = [item_sd(means_of(differences(rng, 30, 40, 10))) for _ in range(30)]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(10, rel=0.1)


def test_missing_cells_are_allowed_and_every_listener_counts_once():
    cells = differences(np.random.default_rng(7), 6, 5, 5)
    kept = np.random.default_rng(8).random(30) < 0.7
    some = Cells(cells.values[kept], cells.listeners[kept], cells.items[kept])
    means = means_of(some)
    expected = [some.values[some.listeners == n].mean() for n in range(6)]
    assert means.by_listener == pytest.approx(expected)
    assert describe_claims(means, RATING)["items_like_these"]["p"] > 0


def test_in_a_latin_square_items_of_different_difficulty_do_not_count_as_listeners_who_disagree():
    """Without noise, the difference is that of the systems for each listener, however difficult the items are."""
    listeners, items = grid(6, 6)
    systems = (listeners + items) % 3
    values = 5.0 * (systems == 0) + 20.0 * items + 3.0 * listeners
    means = means_of(Cells(values, listeners, items, systems, (0, 1)))
    assert means.by_listener == pytest.approx(np.full(6, 5.0))
    assert means.by_item == pytest.approx(np.full(6, 5.0))


def test_what_main_effects_take_is_taken_from_the_degrees_of_freedom():
    """With two systems, eight listeners and items: one degree less each than the seven of plain means."""
    spread = means_of(latin(np.random.default_rng(8), 8, 8, 2, 5)[0]).spread
    assert [float(spread.listeners[1]), float(spread.items[1])] == pytest.approx([6, 6])


def test_components_of_a_latin_square_add_up_to_the_variance_that_panels_show():
    """The mean of the estimated variances over panels is the variance of the difference over panels."""
    rng = np.random.default_rng(9)
    found = [means_of(latin(rng, 9, 6, 3, 8)[0]) for _ in range(1500)]
    differences = [means.by_listener.mean() for means in found]
    assert np.mean([means.spread.both[0] for means in found]) == pytest.approx(np.var(differences), rel=0.12)


@pytest.mark.parametrize(
    ("listeners", "items", "systems"), [(8, 8, 0), (15, 8, 0), (30, 20, 0), (8, 8, 2), (15, 20, 3)]
)
def test_95_percent_intervals_hold_the_truth_about_as_often_as_they_say(listeners, items, systems):
    """Items × systems with sd 5; tests over listeners alone would call up to a quarter of equal systems different."""
    rng = np.random.default_rng(10)
    held = []
    for _ in range(400):
        if systems:
            cells, here = latin(rng, listeners, items, systems, 5)
        else:
            of_item = rng.normal(0, 5, items)
            cells, here = differences(rng, listeners, items, 0), float(of_item.mean())
            cells = Cells(cells.values + of_item[cells.items], cells.listeners, cells.items)
        found = describe_claims(means_of(cells), RATING)
        truths = (("these_items", here), ("items_like_these", 0.0))
        held.append([found[claim]["low95"] < truth < found[claim]["high95"] for claim, truth in truths])
    here, elsewhere = np.mean(held, axis=0)
    assert 0.925 <= here <= 0.975
    assert 0.93 <= elsewhere <= 0.99
