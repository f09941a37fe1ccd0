"""Results of tests that compare two systems at a time: CCR, AB and ABX."""

from collections import defaultdict
from typing import Any

import numpy as np

from vqaudio.listening.analysis.ratings import Rating
from vqaudio.listening.analysis.scales import Votes, describe_votes
from vqaudio.listening.analysis.statistics import (
    CONFIDENCE,
    RESAMPLES,
    Array,
    bradley_terry,
    exact_binomial,
    holm,
    linked,
    paired_tests,
    with_holm,
)

NEUTRAL = {"ccr": 0.0, "ab": 0.5}  # the answer that prefers neither of the two
Pair = tuple[str, str]


def analyse_preference(ratings: list[Rating], kind: str, seed: int) -> dict[str, Any]:
    """Return `pairs` of CCR or AB answers, `a` over `b`: their mean, and tests against the answer that prefers neither.

    Each listener counts once in a pair, with their mean answer. AB adds `strengths`, see `bradley_terry_strengths`.
    """
    pairs = []
    answers = _by_pair(ratings)
    for (a, b), votes in answers.items():
        described = describe_votes(votes, seed, a=a, b=b)
        means = np.array(list(described["listener_means"].values()))
        if len(means) > 1:
            pairs.append({**described, **paired_tests(means - NEUTRAL[kind], seed)})
    found: dict[str, Any] = {"pairs": with_holm(pairs)}
    if kind == "ab":
        found["strengths"] = bradley_terry_strengths(answers, seed)
    return found


def bradley_terry_strengths(answers: dict[Pair, Votes], seed: int) -> list[dict[str, Any]] | None:
    """Return the log-strength of each system by Bradley and Terry, the strongest first; None if some are not linked.

    The mean is 0; of two systems whose strengths differ by s, the stronger is preferred with probability
    1 / (1 + exp(−s)). The interval is the 95 % percentile interval of 10 000 resamples of listeners. One undecided
    answer is added to each pair; without it, a system that always won would be infinitely strong.
    """
    systems = sorted({name for pair in answers for name in pair})
    listeners = sorted({listener for votes in answers.values() for listener in votes})
    wins = np.zeros((len(listeners), len(systems), len(systems)))
    extra = np.zeros(wins.shape[1:])
    for (a, b), votes in answers.items():
        i, j = systems.index(a), systems.index(b)
        extra[i, j] = extra[j, i] = 0.5
        for listener, values in votes.items():
            wins[listeners.index(listener), i, j] += sum(values)
            wins[listeners.index(listener), j, i] += len(values) - sum(values)
    if not linked(extra):
        return None
    strengths = bradley_terry(wins.sum(axis=0) + extra)
    low, high = _resampled_strengths(wins, extra, seed)
    found = [
        {"system": name, "strength": float(strengths[i]), "low95": float(low[i]), "high95": float(high[i])}
        for i, name in enumerate(systems)
    ]
    return sorted(found, key=lambda system: -system["strength"])


def analyse_discrimination(ratings: list[Rating]) -> dict[str, Any]:
    """Return `pairs` of ABX answers, and all answers together as `overall`, with exact binomial tests.

    A listener who guesses is right half the time, so the test may count all answers together. The Clopper–Pearson
    interval treats answers as independent even if listeners hear a difference.
    """
    pairs = []
    for (a, b), votes in _by_pair(ratings).items():
        pairs.append({"a": a, "b": b, **_share(votes)})
    for pair, p in zip(pairs, holm([pair["binomial_p"] for pair in pairs]), strict=True):
        pair["binomial_p_holm"] = p
    everyone: Votes = defaultdict(list)
    for rating in ratings:
        everyone[rating.listener].append(rating.value)
    listeners = [{"listener": name, **_share({name: everyone[name]})} for name in sorted(everyone)]
    return {"pairs": pairs, "overall": _share(everyone), "by_listener": listeners}


def _by_pair(ratings: list[Rating]) -> dict[Pair, Votes]:
    """Return each listener's answers about each pair; `Rating` says which system of a pair is the first."""
    found: dict[Pair, Votes] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        found[rating.system, str(rating.other)][rating.listener].append(rating.value)
    return dict(sorted(found.items()))


def _share(votes: Votes) -> dict[str, Any]:
    """Return the share of right answers and its exact test."""
    values = [value for answers in votes.values() for value in answers]
    right = round(sum(values))
    p, low, high = exact_binomial(right, len(values))
    return {
        "listeners": len(votes),
        "trials": len(values),
        "right": right,
        "share": right / len(values),
        "low95": low,
        "high95": high,
        "binomial_p": p,
    }


def _resampled_strengths(wins: Array, extra: Array, seed: int) -> tuple[Array, Array]:
    """Return the ends (S,) of the intervals of strengths; `wins` is (listeners, S, S)."""
    listeners = len(wins)
    drawn = np.random.default_rng(seed).multinomial(listeners, np.full(listeners, 1 / listeners), size=RESAMPLES)
    strengths = bradley_terry(np.tensordot(drawn, wins, axes=1) + extra, tolerance=1e-5)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(strengths, [tail, 100 - tail], axis=0)
    return low, high
