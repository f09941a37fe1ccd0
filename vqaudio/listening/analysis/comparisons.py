"""Results of tests that compare two systems at a time: CCR, AB and ABX."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from vqaudio.listening.analysis.cells import RATING, Votes, by_item, compare_with_zero, describe_votes, places
from vqaudio.listening.analysis.claims import Grain
from vqaudio.listening.analysis.ratings import Rating
from vqaudio.listening.analysis.statistics import add_holm, exact_binomial, with_holm
from vqaudio.listening.analysis.strengths import Pair, bradley_terry_strengths

UNDECIDED = 0.5  # share of answers that prefers neither, or of right answers by guessing


def analyse_preference(ratings: list[Rating], kind: str) -> dict[str, Any]:
    """Return `pairs` of CCR or AB answers, `a` over `b`: their mean, and tests against the answer that prefers neither.

    Each listener counts once in a pair, with their mean answer. In AB, `a` is the one that is preferred, the mean is
    its share with answers without a preference counted as half, `prefer_a`, `prefer_neither` and `prefer_b` count
    answers, and there are `strengths`, see `bradley_terry_strengths`.
    """
    shares, pairs = kind == "ab", []
    found = _by_pair(ratings)
    if shares:
        found = dict(_preferred_first(pair, answers) for pair, answers in found.items())
    for (a, b), answers in found.items():
        grain = _grain_of_shares(answers) if shares else RATING
        tests = compare_with_zero(_from(UNDECIDED if shares else 0.0, answers), grain)
        if tests is None:
            continue
        pair = describe_votes(answers, a=a, b=b) | tests
        pairs.append(pair | _share_claims(tests) | _counts(answers) if shares else pair)
    items = by_item({f"{a} : {b}": answers for (a, b), answers in found.items()})
    figures: dict[str, Any] = {"pairs": with_holm(pairs), "by_item": items}
    if shares:
        figures["strengths"] = bradley_terry_strengths({pair: _votes(answers) for pair, answers in found.items()})
    return figures


def analyse_discrimination(ratings: list[Rating]) -> dict[str, Any]:
    """Return `pairs` of ABX answers, and all answers together as `overall`, each with its exact binomial test.

    A listener who guesses is right half the time, so the binomial test may count all answers together. The
    Clopper–Pearson interval treats answers as independent even if listeners hear a difference; the claims
    `these_items` and `items_like_these` do not, they are None with a single listener.
    """
    found = _by_pair(ratings)
    pairs = [{"a": a, "b": b, **_right(answers)} for (a, b), answers in found.items()]
    people = [{"listener": name, **_share(values)} for name, values in sorted(_votes(ratings).items())]
    for tested in (pairs, people):
        add_holm(tested, "binomial_p")
    for claim in ("these_items", "items_like_these"):
        add_holm([pair[claim] for pair in pairs if pair[claim]], "p")
    items = by_item({f"{a} : {b}": answers for (a, b), answers in found.items()})
    return {"pairs": pairs, "overall": _right(ratings), "by_listener": people, "by_item": items}


def _by_pair(ratings: list[Rating]) -> dict[Pair, list[Rating]]:
    """Return the answers about each pair; `Rating` says which system of a pair is the first."""
    found: dict[Pair, list[Rating]] = defaultdict(list)
    for rating in ratings:
        found[rating.system, str(rating.other)].append(rating)
    return dict(sorted(found.items()))


def _votes(ratings: list[Rating]) -> Votes:
    found: Votes = defaultdict(list)
    for rating in ratings:
        found[rating.listener].append(rating.value)
    return found


def _preferred_first(pair: Pair, answers: list[Rating]) -> tuple[Pair, list[Rating]]:
    """Return a pair and its answers, turned if listeners prefer the second on average."""
    if np.mean([np.mean(values) for values in _votes(answers).values()]) >= UNDECIDED:
        return pair, answers
    return pair[::-1], [replace(answer, system=pair[1], other=pair[0], value=1 - answer.value) for answer in answers]


def _from(neutral: float, answers: list[Rating]) -> dict[tuple[str, str], float]:
    """Return how far the answers of each listener on each item are from the neutral one."""
    return {place: value - neutral for place, value in places(answers).items()}


def _grain_of_shares(answers: list[Rating]) -> Grain:
    """Return the grain of answers that are shares: they vary at least as they would if all were independent.

    The variance is that of all answers and of one more for either side: of six answers, all for the same, the seventh
    could have been for the other.
    """
    values = [*(answer.value for answer in answers), 0.0, 1.0]
    return Grain(float(np.var(values, ddof=1)), len(values) - 1, 0.5 / len(answers))


def _share_claims(tests: dict[str, Any]) -> dict[str, Any]:
    """Return the claims about a share from those about its difference from 1/2; no share is below 0 or above 1."""
    found: dict[str, Any] = {}
    for name in ("these_items", "items_like_these"):
        claim = tests[name]
        low, high = (np.clip(UNDECIDED + claim[end], 0.0, 1.0) for end in ("low95", "high95")) if claim else (0.0, 1.0)
        found[name] = claim and {**claim, "low95": float(low), "high95": float(high)}
    return found


def _counts(answers: list[Rating]) -> dict[str, int]:
    values = [answer.value for answer in answers]
    return {f"prefer_{who}": values.count(value) for who, value in (("a", 1.0), ("neither", 0.5), ("b", 0.0))}


def _share(values: list[float]) -> dict[str, Any]:
    """Return the share of right answers and its exact test."""
    right = round(sum(values))
    p, low, high = exact_binomial(right, len(values))
    return {
        "trials": len(values),
        "right": right,
        "share": right / len(values),
        "low95": low,
        "high95": high,
        "binomial_p": p,
    }


def _right(answers: list[Rating]) -> dict[str, Any]:
    """Return the share of right answers of several listeners, its exact test, and both claims about its mean."""
    tests = compare_with_zero(_from(UNDECIDED, answers), _grain_of_shares(answers))
    found = {"listeners": len(_votes(answers)), **_share([answer.value for answer in answers])}
    if tests is None:
        return {**found, "these_items": None, "items_like_these": None}
    spreads = {name: tests[name] for name in ("difference", "difference_sd", "item_sd", "items")}
    return {**found, **spreads, **_share_claims(tests)}
