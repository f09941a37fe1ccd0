"""From ratings to figures of one system or one pair: statistics of its votes, tests over listeners, and both claims."""

from collections import defaultdict
from typing import Any

import numpy as np

from vqaudio.listening.analysis.claims import Cells, Grain, describe_claims, item_sd, means_of
from vqaudio.listening.analysis.ratings import Rating
from vqaudio.listening.analysis.statistics import box, multimodality, paired_tests

RATING, DIFFERENCE = Grain(1 / 12), Grain(2 / 12)
"""Answers are rounded to whole numbers: those that agree exactly may still differ by so much variance."""

Votes = dict[str, list[float]]  # listener -> values
Places = dict[tuple[str, str], float]  # listener, item -> mean of the values there


def places(ratings: list[Rating]) -> Places:
    """Return the mean of the ratings that each listener gave on each item."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for rating in ratings:
        found[rating.listener, rating.item].append(rating.value)
    return {place: sum(values) / len(values) for place, values in sorted(found.items())}


def describe_votes(ratings: list[Rating], **names: str) -> dict[str, Any]:
    """Return statistics of the votes about a system or a pair: mean with its intervals, box, multimodality.

    The mean is that of the means of listeners, so that each listener counts once. Without a second listener there are
    no intervals: `these_items` and `items_like_these` are None.
    """
    votes: Votes = defaultdict(list)
    for rating in ratings:
        votes[rating.listener].append(rating.value)
    values = np.array([value for name in sorted(votes) for value in votes[name]])
    means = {name: float(np.mean(votes[name])) for name in sorted(votes)}
    described: dict[str, Any] = {"these_items": None, "items_like_these": None}
    if len(votes) > 1:
        described = describe_claims(means_of(_cells(places(ratings))), RATING)
        for claim in filter(None, described.values()):
            del claim["p"]  # whether a mean is 0 is no question
    return {
        **names,
        "listeners": len(votes),
        "votes": len(values),
        "mean": float(np.mean(list(means.values()))),
        **described,
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "box": box(values),
        "multimodality": multimodality(values),
        "listener_means": means,
    }


def compare_with_zero(found: Places, grain: Grain) -> dict[str, Any] | None:
    """Return both claims and the tests of signs about the mean of values, against 0; None with a single listener."""
    return _tested(_cells(found), grain) if len({listener for listener, _ in found}) > 1 else None


def compare_systems(systems: dict[str, Places], a: str, b: str) -> dict[str, Any] | None:
    """Return both claims and the tests of signs about `a` minus `b`; None if not two listeners rated both.

    Each listener counts once, with the mean difference over the items of which they rated both; `unpaired` ratings, of
    items rated with only one of the two, do not count then. If most are such, as where everybody hears an item with one
    system only, all ratings count: differences are those of means after the main effects of listeners and items, taken
    from the ratings of all `systems`, were taken out.
    """
    first, second = systems[a], systems[b]
    both = {place: first[place] - second[place] for place in first if place in second}
    ratings = len(first) + len(second)
    if 4 * len(both) >= ratings:
        found = compare_with_zero(both, DIFFERENCE)
        return found and {**found, "unpaired": ratings - 2 * len(both)}
    if len({listener for listener, _ in first} & {listener for listener, _ in second}) < 2:
        return None
    names = sorted(systems)
    rated = [(place, number, value) for number, name in enumerate(names) for place, value in systems[name].items()]
    listeners, items = (_numbers([place[side] for place, _, _ in rated]) for side in (0, 1))
    cells = Cells(
        np.array([value for _, _, value in rated]),
        listeners,
        items,
        np.array([number for _, number, _ in rated]),
        (names.index(a), names.index(b)),
    )
    return {**_tested(cells, RATING), "unpaired": 0}


def by_item(ratings: dict[str, list[Rating]]) -> list[dict[str, Any]]:
    """Return for each item the mean rating of each name: `{"item": ..., "means": {name: mean}}`."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name, of_name in ratings.items():
        for rating in of_name:
            found[rating.item][name].append(rating.value)
    return [
        {"item": item, "means": {name: float(np.mean(values)) for name, values in found[item].items()}}
        for item in sorted(found)
    ]


def _tested(cells: Cells, grain: Grain) -> dict[str, Any]:
    means = means_of(cells)
    return {
        **paired_tests(means.by_listener),
        "items": len(means.by_item),
        "item_sd": item_sd(means),
        **describe_claims(means, grain),
    }


def _cells(found: Places) -> Cells:
    listeners, items = (_numbers([place[side] for place in found]) for side in (0, 1))
    return Cells(np.array(list(found.values())), listeners, items)


def _numbers(names: list[str]) -> Any:
    """Return the number of each name, from 0, in the order of names."""
    return np.unique(np.array(names), return_inverse=True)[1]
