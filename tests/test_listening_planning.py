"""The number of listeners that a test needs, compared with published tables and by simulation."""

import argparse
import json
import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from vqaudio.cli.listen_analyse import add_analyse
from vqaudio.cli.parser import Parser
from vqaudio.errors import UserError
from vqaudio.listening.analysis import ratings
from vqaudio.listening.analysis.cells import DIFFERENCE
from vqaudio.listening.analysis.claims import Cells, describe_claims, means_of
from vqaudio.listening.analysis.figures import analyse
from vqaudio.listening.analysis.planning import ASSUMED, plan_text, plans
from vqaudio.listening.analysis.power import Effect, abx_listeners, listeners_for, power
from vqaudio.listening.analysis.ratings import Rating, Results


def needs(kind, **options):
    return plans(None, kind=kind, **options)["plans"][0]["needs"]


@pytest.mark.parametrize(("effect", "listeners"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_paired_t_needs_the_published_numbers(effect, listeners):
    """Small, medium and large effects of Cohen (1988), two-sided 0.05, power 0.8, as G*Power gives them."""
    one_item = Effect(effect, 1.0, 1, 0.0, share=False)
    assert listeners_for(lambda n: power(one_item, n, 0.05, items_like_these=False) >= 0.8) == listeners


def binomial_power(n: int, share: float) -> float:
    at_least = [sum(math.comb(n, k) for k in range(c, n + 1)) / 2**n for c in range(n + 2)]
    critical = next(c for c in range(n + 2) if at_least[c] <= 0.05)
    chance = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    return sum(chance[critical:])


@pytest.mark.parametrize("share", [0.7, 0.8, 0.95])
def test_abx_listeners_are_past_the_last_number_that_is_too_small(share):
    n = abx_listeners(Effect(share - 0.5, 0.1, 1, 0.0, share=True), 0.05, 0.8)
    assert binomial_power(n - 1, share) < 0.8
    assert min(binomial_power(m, share) for m in range(n, n + 60)) >= 0.8


def test_18_answers_find_4_right_of_5_in_abx():
    """By hand: 13 of 18 right are significant (p = 0.048), and happen with probability 0.867 at a share of 0.8."""
    assert needs("abx", difference=0.8) == [{"difference": 0.8, "listeners": 18}]
    assert binomial_power(18, 0.8) == pytest.approx(0.867, abs=5e-4)


def test_simulated_tests_with_the_planned_listeners_find_the_difference_with_the_planned_probability():
    planned = needs("mushra", difference=8.0, sd=10.0)[0]["listeners"]
    rng = np.random.default_rng(0)
    found = [ttest_1samp(rng.normal(8, 10, planned), 0).pvalue < 0.05 for _ in range(600)]
    assert 0.75 < np.mean(found) < 0.88


def test_a_plan_with_items_holds_for_claims_about_items_like_these():
    """Half of the variance of listeners is noise of their answers, as the plan takes it."""
    planned = needs("mushra", difference=8.0, sd=10.0, items=10, item_sd=5.0)[0]["items_like_these"]
    rng = np.random.default_rng(1)
    listeners, items = (axis.ravel() for axis in np.meshgrid(np.arange(planned), np.arange(10), indexing="ij"))
    found = []
    for _ in range(600):
        values = 8 + rng.normal(0, 5, 10)[items] + rng.normal(0, math.sqrt(50), planned)[listeners]
        means = means_of(Cells(values + rng.normal(0, math.sqrt(500), len(values)), listeners, items))
        found.append(describe_claims(means, DIFFERENCE)["items_like_these"]["p"] < 0.05)
    assert 0.75 < np.mean(found) < 0.86


@pytest.mark.parametrize(
    ("kind", "share", "sd", "items"), [("ab", 0.7, 0.15, 10), ("ab", 0.7, 0.1, 1), ("abx", 0.65, 0.15, 8)]
)
def test_the_analysis_of_answers_that_are_shares_finds_as_much_as_planned(kind, share, sd, items):
    """Shares of listeners are drawn from a beta distribution, their answers by these."""
    planned = needs(kind, difference=share, sd=sd, items=items)[0]["listeners"]
    rng = np.random.default_rng(2)
    size = share * (1 - share) / sd**2 - 1
    found = []
    for _ in range(250):
        ratings = [
            Rating(f"L{listener}", f"i{item}", "A", float(rng.random() < own), "B")
            for listener, own in enumerate(rng.beta(share * size, (1 - share) * size, planned))
            for item in range(items)
        ]
        (pair,) = analyse(Results(kind, ratings, 16000, 0))["pairs"]
        p = pair["binomial_p"] if kind == "abx" else pair["these_items"]["p"]
        found.append(p < 0.05 and (kind == "abx" or pair["a"] == "A"))
    assert 0.73 < np.mean(found) < 0.92


def test_too_few_items_are_too_few_for_any_number_of_listeners():
    (row,) = needs("mushra", difference=5.0, sd=10.0, items=5, item_sd=8.0)
    assert row["items_like_these"] is None
    text = plan_text(plans(None, kind="mushra", difference=5.0, sd=10.0, items=5, item_sd=8.0))
    assert "34 listeners for these items; for items like these, 5 items are too few" in text


def test_a_smaller_difference_a_larger_spread_and_more_pairs_need_more_listeners():
    base = needs("mushra", difference=5.0, sd=10.0)[0]["listeners"]
    assert needs("mushra", difference=3.0, sd=10.0)[0]["listeners"] > base
    assert needs("mushra", difference=5.0, sd=15.0)[0]["listeners"] > base
    assert needs("mushra", difference=5.0, sd=10.0, pairs=6)[0]["listeners"] > base


def test_never_fewer_listeners_than_can_be_significant():
    assert needs("mushra", difference=90.0)[0]["listeners"] == 6
    assert needs("mushra", difference=90.0, pairs=10)[0]["listeners"] == 9
    assert needs("ab", difference=0.9, items=100)[0]["listeners"] == 6
    assert needs("abx", difference=0.9, items=100)[0]["listeners"] == 1


def test_all_types_are_planned_without_options_and_the_text_states_the_assumptions():
    planned = plans(None)
    assert [of_type["type"] for of_type in planned["plans"]] == list(ASSUMED)
    text = plan_text(planned)
    assert "sd over listeners of a listener's mean difference 10 (assumed" in text
    assert "1 answer from each listener about a pair" in text
    assert "probability 0.8, at level 0.05" in text
    json.dumps(planned, allow_nan=False)


def pilot() -> Results:
    """Differences of listeners: 10, 20, 30; of items: 14 and 26, whose variance 72 has no noise in it."""
    found = []
    for listener in range(3):
        for item, extra in (("i1", -6.0), ("i2", 6.0)):
            found.append(Rating(f"L{listener}", item, "A", 60.0 + 10 * listener + extra))
            found.append(Rating(f"L{listener}", item, "B", 50.0))
    return Results("acr", found, 48000, 0)


def test_a_pilot_gives_its_type_items_and_spreads(tmp_path, monkeypatch):
    monkeypatch.setattr(ratings, "read_results", lambda test: pilot())
    planned = plans(tmp_path, difference=5.0)
    assert planned["plans"][0]["type"] == "acr"
    assert planned["plans"][0]["sd"] == pytest.approx(10.0)
    assert planned["plans"][0]["items"] == 2
    assert planned["plans"][0]["item_sd"] == pytest.approx(math.sqrt(72))
    assert f"(from {tmp_path})" in plan_text(planned)
    with pytest.raises(UserError, match="leave out --type, --sd, --items and --item-sd"):
        plans(tmp_path, sd=3.0)


def test_a_pilot_of_ab_gives_the_spread_of_listeners_without_that_of_their_answers(tmp_path, monkeypatch):
    """Shares of a beta distribution with mean 0.6 and sd 0.15."""
    rng = np.random.default_rng(3)
    found = [
        Rating(f"L{listener}", f"i{item}", "A", float(rng.random() < own), "B")
        for listener, own in enumerate(rng.beta(5.8, 3.87, 300))
        for item in range(20)
    ]
    monkeypatch.setattr(ratings, "read_results", lambda test: Results("ab", found, 16000, 0))
    (planned,) = plans(tmp_path)["plans"]
    assert planned["sd"] == pytest.approx(0.15, abs=0.02)
    assert (planned["items"], planned["item_sd"]) == (20, pytest.approx(0, abs=0.02))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"kind": "mushra", "difference": 0.0}, "above 0"),
        ({"kind": "mushra", "difference": math.nan}, "above 0"),
        ({"kind": "mushra", "sd": -1.0}, "above 0"),
        ({"kind": "mushra", "difference": 1e-5}, "a million listeners"),
        ({"kind": "ab", "difference": 0.5}, "not a share"),
        ({"kind": "abx", "difference": 1.01}, "not a share"),
        ({"kind": "abx", "difference": 0.5001}, "1000000 answers"),
        ({"kind": "abx", "sd": 0.6}, "cannot vary so much"),
        ({"kind": "acr", "items": 3}, "give --item-sd too"),
        ({"kind": "acr", "item_sd": 0.3}, "give --items too"),
        ({"kind": "acr", "items": 1, "item_sd": 0.3}, "give 2 or more"),
        ({"kind": "acr", "items": 4, "item_sd": -0.3}, "0 or above"),
        ({"difference": 5.0}, "--type"),
    ],
)
def test_what_cannot_be_planned_is_one_line_with_a_cure(options, part):
    with pytest.raises(UserError, match=part) as error:
        plans(None, **options)
    assert "\n" not in str(error.value)


def run(*argv: str) -> None:
    parser = Parser(prog="vqaudio listen")
    add_analyse(parser.add_subparsers(parser_class=Parser))
    args: argparse.Namespace = parser.parse_args(["analyse", *argv])
    args.run(args)


def test_the_command_plans_without_a_test(capsys):
    run("--plan", "--type", "mushra", "--difference", "5", "--sd", "12")
    assert "  5      48 listeners" in capsys.readouterr().out
    run("--plan", "--type", "abx", "--items", "10")
    assert "10 answers from each listener" in capsys.readouterr().out
    run("--plan", "--type", "acr", "--difference", "0.5", "--items", "10", "--item-sd", "0.2")
    assert "10 listeners for these items, 12 for items like these" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["--sd", "3"],
        [],
        ["--plan", "--out", "x"],
        ["--item-sd", "3", "test"],
        ["--plan", "--exclude", "L001=asleep"],
        ["--plan", "--no-screening"],
    ],
)
def test_options_that_would_do_nothing_are_refused(argv):
    with pytest.raises(UserError):
        run(*argv)
