"""The number of listeners that a test needs, compared with published tables and by simulation."""

import argparse
import json
import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from vqaudio.cli.listen_analyse import add_analyse
from vqaudio.cli.parser import Parser
from vqaudio.errors import UserError
from vqaudio.listening.analysis import ratings
from vqaudio.listening.analysis.planning import ASSUMED, binomial_answers, paired_t_listeners, plan_text, plans
from vqaudio.listening.analysis.ratings import Rating, Results


def needs(kind, **options):
    return plans(None, kind=kind, **options)["plans"][0]["needs"]


@pytest.mark.parametrize(("effect", "listeners"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_paired_t_needs_the_published_numbers(effect, listeners):
    """Small, medium and large effects of Cohen (1988), two-sided 0.05, power 0.8, as G*Power gives them."""
    assert paired_t_listeners(effect, 0.05) == listeners


def binomial_power(n: int, share: float, *, two_sided: bool) -> float:
    tail = 0.025 if two_sided else 0.05
    at_least = [sum(math.comb(n, k) for k in range(c, n + 1)) / 2**n for c in range(n + 2)]
    critical = next(c for c in range(n + 2) if at_least[c] <= tail)
    chance = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    return sum(chance[critical:])


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("share", [0.7, 0.8, 0.95])
def test_binomial_answers_are_past_the_last_number_that_is_too_small(share, two_sided):
    n = binomial_answers(share, 0.05, two_sided=two_sided)
    assert binomial_power(n - 1, share, two_sided=two_sided) < 0.8
    assert min(binomial_power(m, share, two_sided=two_sided) for m in range(n, n + 60)) >= 0.8


def test_18_answers_find_4_right_of_5_in_abx():
    """By hand: 13 of 18 right are significant (p = 0.048), and happen with probability 0.867 at a share of 0.8."""
    assert needs("abx", difference=0.8) == [{"difference": 0.8, "answers": 18, "listeners": 18}]
    assert binomial_power(18, 0.8, two_sided=False) == pytest.approx(0.867, abs=5e-4)


def test_simulated_tests_with_the_planned_listeners_find_the_difference_with_the_planned_probability():
    planned = needs("mushra", difference=8.0, sd=10.0)[0]["listeners"]
    rng = np.random.default_rng(0)
    found = [wilcoxon(rng.normal(8, 10, planned)).pvalue < 0.05 for _ in range(600)]
    assert 0.75 < np.mean(found) < 0.88


def test_a_smaller_difference_a_larger_spread_and_more_pairs_need_more_listeners():
    base = needs("mushra", difference=5.0, sd=10.0)[0]["listeners"]
    assert needs("mushra", difference=3.0, sd=10.0)[0]["listeners"] > base
    assert needs("mushra", difference=5.0, sd=15.0)[0]["listeners"] > base
    assert needs("mushra", difference=5.0, sd=10.0, pairs=6)[0]["listeners"] > base


def test_never_fewer_listeners_than_can_be_significant():
    assert needs("mushra", difference=90.0)[0]["listeners"] == 6
    assert needs("mushra", difference=90.0, pairs=10)[0]["listeners"] == 9
    assert needs("ab", difference=0.9, trials=100)[0]["listeners"] == 6
    assert needs("abx", difference=0.9, trials=100)[0]["listeners"] == 1


def test_all_types_are_planned_without_options_and_the_text_states_the_assumptions():
    planned = plans(None)
    assert [of_type["type"] for of_type in planned["plans"]] == list(ASSUMED)
    text = plan_text(planned)
    assert "sd over listeners of a listener's mean difference 10 (assumed" in text
    assert "1 answer from each listener, treated as independent" in text
    assert "probability 0.8, at level 0.05" in text
    json.dumps(planned, allow_nan=False)


def pilot(kind: str, other: str | None = None) -> Results:
    values = {"A": (60.0, 70.0, 80.0), "B": (50.0, 50.0, 50.0)}
    found = [
        Rating(f"L{listener}", "i", system, of[listener], other)
        for system, of in values.items()
        for listener in range(3)
    ]
    return Results(kind, found, 48000, 0)


def test_a_pilot_gives_its_type_and_spread(tmp_path, monkeypatch):
    """Differences 10, 20, 30: sd 10."""
    monkeypatch.setattr(ratings, "read_results", lambda test: pilot("acr"))
    planned = plans(tmp_path, difference=5.0)
    assert planned["plans"][0]["type"] == "acr"
    assert planned["plans"][0]["sd"] == pytest.approx(10.0)
    assert f"(from {tmp_path})" in plan_text(planned)
    with pytest.raises(UserError, match="leave out --type and --sd"):
        plans(tmp_path, sd=3.0)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"kind": "mushra", "difference": 0.0}, "above 0"),
        ({"kind": "mushra", "difference": math.nan}, "above 0"),
        ({"kind": "mushra", "sd": -1.0}, "above 0"),
        ({"kind": "mushra", "difference": 1e-5}, "1000000 listeners"),
        ({"kind": "ab", "difference": 0.5}, "not a share"),
        ({"kind": "abx", "difference": 1.01}, "not a share"),
        ({"kind": "abx", "difference": 0.5001}, "1000000 answers"),
        ({"kind": "abx", "sd": 1.0}, "leave it out"),
        ({"kind": "acr", "trials": 3}, "only for ab and abx"),
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
    assert "  5      51 listeners" in capsys.readouterr().out
    run("--plan", "--type", "abx", "--trials", "10")
    assert "10 answers from each listener" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["--sd", "3"], [], ["--plan", "--out", "x"], ["--trials", "3", "test"]])
def test_options_that_would_do_nothing_are_refused(argv):
    with pytest.raises(UserError):
        run(*argv)
