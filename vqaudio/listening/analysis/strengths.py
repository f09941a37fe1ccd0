"""Strengths of systems from preferences between pairs, after Bradley and Terry."""

from typing import Any

import numpy as np

from vqaudio.listening.analysis.cells import Votes
from vqaudio.listening.analysis.claims import CONFIDENCE, Array

MAX_ROUNDS = 10_000  # of `bradley_terry`
Pair = tuple[str, str]


def bradley_terry_strengths(answers: dict[Pair, Votes]) -> list[dict[str, Any]] | None:
    """Return the log-strength of each system, the strongest first; None if some are not linked.

    The mean is 0; of two systems whose strengths differ by s, the stronger is preferred with probability
    1 / (1 + exp(−s)). One undecided answer is added to each pair; without it, a system that always won would be
    infinitely strong. The interval, about these items, is by the jackknife: each listener is left out once; it is None
    for a single listener.

    Args:
        answers: for each pair the answers of each listener, 1 if the first was preferred, 0 if the second.

    Source: Tukey (1958), Annals of Mathematical Statistics 29, 614, for the jackknife with Student's t.
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
    half = _half_widths(wins, extra, strengths)
    found = [
        {
            "system": name,
            "strength": float(strengths[i]),
            "low95": None if half is None else float(strengths[i] - half[i]),
            "high95": None if half is None else float(strengths[i] + half[i]),
        }
        for i, name in enumerate(systems)
    ]
    return sorted(found, key=lambda system: -system["strength"])


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


def _half_widths(wins: Array, extra: Array, strengths: Array) -> Array | None:
    """Return half the widths (S,) of the 95 % intervals of strengths; `wins` is (listeners, S, S).

    They are at least those of independent answers (normal, by the inverse of the Fisher information): answers of a few
    listeners may agree by chance.
    """
    from scipy.stats import norm, t

    listeners = len(wins)
    if listeners < 2:
        return None
    total = wins.sum(axis=0) + extra
    without = bradley_terry(total - wins)
    jackknife = (listeners - 1) ** 2 / listeners * without.var(axis=0, ddof=1)
    chance = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    information = -(total + total.T) * chance * (1 - chance)
    information -= np.diag(information.sum(axis=1))
    tail = (1 - CONFIDENCE) / 2
    independent = norm.isf(tail) * np.sqrt(np.diag(np.linalg.pinv(information)))
    return np.maximum(t.isf(tail, listeners - 1) * np.sqrt(jackknife), independent)
