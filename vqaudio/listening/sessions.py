"""Decides which trials a listener gets, in which order, with which stimuli first: drawn from a seed, balanced.

Orders are rows of Williams squares (E. J. Williams, 1949): over n listeners (2 n for odd n) each item is at each place
equally often, and follows each other item equally often. In a Latin square design of C systems (or pairs), listener n
hears system (i + n) mod C at item i: each C listeners in a row hear every system at every item once.
"""

import random
from collections import defaultdict
from typing import Any

from vqaudio.listening.key import CHECK_SCALES, Key, Trial


def make_session(key: Key, number: int) -> list[dict[str, Any]]:
    """Return the trials of listener `number` (from 0) in order: checks, training, then the others.

    Each is `{"id": trial, "stimuli": [as presented]}`, in ABX with `"x"`, the stimulus to identify.
    """
    before = [name for name, trial in key.trials.items() if trial.check in CHECK_SCALES]
    known = [name for name, trial in key.trials.items() if trial.check and trial.check not in CHECK_SCALES]
    training = _rounds(key, number, [name for name, trial in key.trials.items() if trial.training])
    scored = _scored(key, number)
    if training and scored and key.trials[training[-1]].item == key.trials[scored[0]].item:
        scored = scored[1:] + scored[:1]
    parts = [before, training, _spread(_shuffled(key, known, f"checks {number}"), scored)]
    places = {name: place for place, name in enumerate(key.trials)}  # same for all listeners
    session = []
    for part in parts:
        flips, hidden = _coins(key, number, part)
        for name in part:
            trial = key.trials[name]
            shown = {"id": name, "stimuli": _stimulus_order(key, trial, places[name], number, flips[name])}
            if trial.hidden:
                same = shown["stimuli"][hidden[name]]
                shown["x"] = trial.hidden[trial.stimuli.index(same)]
            session.append(shown)
    return session


def rated_stimuli(kind: str, shown: dict[str, Any]) -> list[str]:
    """Return the stimuli of a trial, as presented, that the listener rates."""
    if kind == "abx":
        return [shown["x"]]
    return shown["stimuli"][1:] if kind in ("ccr", "ab", "quiet") else shown["stimuli"]


def oriented(key: Key, shown: dict[str, Any], stimulus: str, value: int) -> int:
    """Return an answer to a trial as it would be if its stimuli had been presented in the order of the key.

    In `ccr`, `ab` and `quiet` it then says how much better the first is than the second; in `abx` it is 1 if right and
    0 if wrong. Other answers do not depend on an order.
    """
    trial, kind = key.trials[shown["id"]], key.kind(shown["id"])
    if kind == "abx":
        chosen = shown["stimuli"][int(value > 0)]
        return int(key.stimuli[chosen].system == key.stimuli[stimulus].system)
    if kind in ("ccr", "ab", "quiet"):
        return value if shown["stimuli"][1] == trial.stimuli[0] else -value
    return value


def balanced_order(n: int, row: int) -> list[int]:
    """Return row `row` of the Williams design of `n`: 0 to n − 1, each once.

    >>> [balanced_order(4, row) for row in range(4)]
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    zigzag = [(k + 1) // 2 if k % 2 else -(k // 2) for k in range(n)]
    order = [(place + row) % n for place in zigzag]
    return order[::-1] if n % 2 and row // n % 2 else order


def _scored(key: Key, number: int) -> list[str]:
    """Return the trials of a listener that count, in order."""
    by_item: dict[str, list[str]] = defaultdict(list)
    for name, trial in key.trials.items():
        if not trial.training and not trial.check:
            by_item[trial.item].append(name)
    items = _shuffled(key, sorted(by_item), "items")
    conditions = max(map(len, by_item.values()), default=1)
    # Listeners who share their items: in a Latin square they hear all systems at each of them.
    block, place = divmod(number, conditions) if key.design == "latin" else (number, 0)
    count = key.items_per_listener or len(items)
    mine = [(block * count + n) % len(items) for n in range(count)] if items else []
    if key.design != "latin":
        return _rounds(key, number, [name for n in mine for name in by_item[items[n]]])
    systems = _shuffled(key, range(conditions), "systems")
    # The row is that of the block, so that over a block each system is at each place once.
    order = [mine[n] for n in balanced_order(len(mine), block)]
    return [by_item[items[n]][systems[(n + place) % conditions]] for n in order]


def _rounds(key: Key, number: int, names: list[str]) -> list[str]:
    """Return trials in rounds with one trial of every item, so that no item comes twice in a row."""
    order: list[str] = []
    by_item: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_item[key.trials[name].item].append(name)
    items = _shuffled(key, sorted(by_item), "items")
    for round_ in range(max(map(len, by_item.values()), default=0)):
        places = balanced_order(len(items), number + round_)
        if order and len(places) > 1 and key.trials[order[-1]].item == items[places[0]]:
            places = places[1:] + places[:1]
        for place in places:
            trials = _shuffled(key, by_item[items[place]], f"trials {items[place]}")
            order.append(trials[(place + round_ + number) % len(trials)])
    return order


def _spread(few: list[str], many: list[str]) -> list[str]:
    """Return `many` in order with `few` among them, as far from each other as possible.

    >>> _spread(["x", "y"], list("abcdef"))
    ['a', 'b', 'x', 'c', 'd', 'y', 'e', 'f']
    """
    found = list(many)
    for n, name in reversed(list(enumerate(few))):
        found.insert(round((n + 1) * len(many) / (len(few) + 1)), name)
    return found


def _stimulus_order(key: Key, trial: Trial, place: int, number: int, flip: int) -> list[str]:
    """Return the order of a trial's stimuli: of two by a balanced coin, of more by a row of the trial's own square."""
    if len(trial.stimuli) == 2:
        return list(trial.stimuli[::-1] if flip else trial.stimuli)
    stimuli = _shuffled(key, trial.stimuli, f"stimuli {place}")
    return [stimuli[place] for place in balanced_order(len(stimuli), number)]


def _coins(key: Key, number: int, names: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return two values, 0 or 1, for each trial: whether to swap its stimuli, and which of those presented is X.

    Both are balanced over the trials of a pair of systems for each listener. Of four listeners in a row, each trial
    gets all four combinations; the place of X differs between neighbours.
    """
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    wanted = set(names)
    for name, trial in key.trials.items():
        if name in wanted:
            groups[tuple(key.stimuli[stimulus].system for stimulus in trial.stimuli)].append(name)
    found: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for purpose, bit, coins in (("x", number & 1, found[1]), ("first", number >> 1 & 1, found[0])):
        first = 0  # groups of odd sizes take turns in what they have more of
        for systems, members in sorted(groups.items()):
            drawn = [(first + n) % 2 for n in range(len(members))]
            first = (first + len(members)) % 2
            drawn = _shuffled(key, drawn, f"{purpose} {systems} {number // 4}")
            coins |= {name: coin ^ bit for name, coin in zip(members, drawn, strict=True)}
    return found


def _shuffled(key: Key, things: Any, purpose: str) -> list[Any]:
    """Return things in an order that depends only on the seed and the purpose."""
    shuffled = list(things)
    random.Random(f"{key.seed} {purpose}").shuffle(shuffled)
    return shuffled
