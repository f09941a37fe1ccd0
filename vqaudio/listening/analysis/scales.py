"""Results of tests that rate one clip at a time on a scale (MUSHRA, ACR, DCR, SMOS), or count words that are wrong."""

import itertools
from collections import defaultdict
from typing import Any

import numpy as np

from vqaudio.listening.analysis.cells import by_item, compare_systems, describe_votes, places
from vqaudio.listening.analysis.ratings import Rating
from vqaudio.listening.analysis.statistics import friedman, with_holm
from vqaudio.listening.key import ANCHOR_3500, ANCHOR_7000, REFERENCE


def analyse_scale(ratings: list[Rating], kind: str) -> dict[str, Any]:
    """Return `systems` (reference, systems from best to worst, anchors), `pairs`, `omnibus` and `by_item`.

    Pairs leave out the anchors, which only fix the scale; the omnibus test also leaves out the reference, and is None
    with fewer than three systems. In `words` a lower mean is better, and each system has the `pooled` errors of all
    listeners in per cent of all words.
    """
    votes: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        votes[rating.system].append(rating)
    described = [describe_votes(votes[name], system=name) for name in sorted(votes)]
    sign = 1 if kind == "words" else -1
    described.sort(key=lambda system: (_place(system["system"]), sign * system["mean"]))
    if kind == "words":
        for system in described:
            system["pooled"] = _pooled(votes[system["system"]])
    tested = [system["system"] for system in described if _place(system["system"]) < 2]
    rated = {name: places(votes[name]) for name in tested}
    pairs = []
    for a, b in itertools.combinations(tested, 2):
        found = compare_systems(rated, a, b)
        if found:
            pairs.append({"a": a, "b": b, **found})
    means = {system["system"]: system["listener_means"] for system in described}
    return {
        "systems": described,
        "omnibus": _omnibus([means[name] for name in tested if name != REFERENCE]),
        "pairs": with_holm(pairs),
        "by_item": by_item({system["system"]: votes[system["system"]] for system in described}),
    }


def _place(system: str) -> int:
    """Return 0 for the reference, 1 for a system, 2 and 3 for the anchors."""
    return {REFERENCE: 0, ANCHOR_7000: 2, ANCHOR_3500: 3}.get(system, 1)


def _pooled(ratings: list[Rating]) -> float | None:
    """Return the word errors of all answers in per cent of their words; None if the numbers of words are not known."""
    words = [rating.words or 0 for rating in ratings]
    errors = sum(rating.value * count for rating, count in zip(ratings, words, strict=True))
    return errors / sum(words) if all(words) else None


def _omnibus(means: list[dict[str, float]]) -> dict[str, Any] | None:
    """Return Friedman's test of the means of the listeners who rated all systems; None if it cannot be computed."""
    if len(means) < 3:
        return None
    complete = sorted(set.intersection(*(set(of_system) for of_system in means)))
    table = np.array([[of_system[listener] for of_system in means] for listener in complete])
    found = friedman(table) if complete else None
    if found is None:
        return None
    return {"test": "Friedman", "systems": len(means), "listeners": len(complete), "chi2": found[0], "p": found[1]}
