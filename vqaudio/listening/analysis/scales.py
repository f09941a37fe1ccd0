"""Results of tests that rate systems on a scale: MUSHRA, ACR and DCR."""

import itertools
from collections import defaultdict
from typing import Any

import numpy as np

from vqaudio.listening.analysis.ratings import Rating
from vqaudio.listening.analysis.statistics import (
    Array,
    bootstrap_interval,
    box,
    friedman,
    multimodality,
    paired_tests,
    with_holm,
)
from vqaudio.listening.key import ANCHOR_3500, ANCHOR_7000, REFERENCE

Votes = dict[str, list[float]]  # listener -> values


def analyse_scale(ratings: list[Rating], seed: int) -> dict[str, Any]:
    """Return `systems` (reference, systems from best to worst, anchors), `pairs` and `omnibus` of scale ratings.

    Pairs leave out the anchors, which only fix the scale; the omnibus test also leaves out the reference, and is None
    with fewer than three systems. In a pair each listener counts once, with the mean difference over the items of which
    they rated both.
    """
    votes: dict[str, Votes] = defaultdict(lambda: defaultdict(list))
    by_item: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        votes[rating.system][rating.listener].append(rating.value)
        by_item[rating.system][rating.listener, rating.item].append(rating.value)
    described = [describe_votes(votes[name], seed, system=name) for name in sorted(votes)]
    described.sort(key=lambda system: (_place(system["system"]), -system["mean"]))
    tested = [system["system"] for system in described if _place(system["system"]) < 2]
    pairs = []
    for a, b in itertools.combinations(tested, 2):
        differences = _differences(by_item[a], by_item[b])
        if len(differences) > 1:
            pairs.append({"a": a, "b": b, **paired_tests(differences, seed)})
    omnibus = _omnibus(votes, [name for name in tested if name != REFERENCE])
    return {"systems": described, "omnibus": omnibus, "pairs": with_holm(pairs)}


def describe_votes(votes: Votes, seed: int, **names: str) -> dict[str, Any]:
    """Return statistics of the votes about a system or a pair: mean with its interval, box, multimodality."""
    listeners = sorted(votes)
    values = np.array([value for name in listeners for value in votes[name]])
    sums = np.array([sum(votes[name]) for name in listeners])
    counts = np.array([len(votes[name]) for name in listeners])
    low, high = bootstrap_interval(sums, counts, seed) if len(listeners) > 1 else (None, None)
    return {
        **names,
        "listeners": len(listeners),
        "votes": len(values),
        "mean": float(values.mean()),
        "low95": low,
        "high95": high,
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "box": box(values),
        "multimodality": multimodality(values),
        "listener_means": {name: float(mean) for name, mean in zip(listeners, sums / counts, strict=True)},
    }


def _place(system: str) -> int:
    """Return 0 for the reference, 1 for a system, 2 and 3 for the anchors."""
    return {REFERENCE: 0, ANCHOR_7000: 2, ANCHOR_3500: 3}.get(system, 1)


def _differences(a: dict[tuple[str, str], list[float]], b: dict[tuple[str, str], list[float]]) -> Array:
    """Return the mean difference of each listener (listeners,) over the items of which they rated both."""
    found: Votes = defaultdict(list)
    for listener, item in sorted(a.keys() & b.keys()):
        found[listener].append(float(np.mean(a[listener, item]) - np.mean(b[listener, item])))
    return np.array([np.mean(values) for values in found.values()])


def _omnibus(votes: dict[str, Votes], systems: list[str]) -> dict[str, Any] | None:
    """Return Friedman's test of the means of the listeners who rated all systems; None if it cannot be computed."""
    if len(systems) < 3:
        return None
    complete = sorted(set.intersection(*(set(votes[name]) for name in systems)))
    table = np.array([[np.mean(votes[name][listener]) for name in systems] for listener in complete])
    found = friedman(table) if complete else None
    if found is None:
        return None
    return {"test": "Friedman", "systems": len(systems), "listeners": len(complete), "chi2": found[0], "p": found[1]}
