"""Decides the order of trials and of stimuli for each listener: drawn from a seed, balanced over listeners.

Orders are rows of Williams squares (E. J. Williams, 1949): over n listeners (2 n for odd n) each item is at each place
equally often, and follows each other item equally often.
"""

import random
from typing import Any

from vqaudio.listening.key import Key, Trial


def make_session(key: Key, number: int) -> list[dict[str, Any]]:
    """Return the trials of listener `number` (from 0) in order, training first.

    Each is `{"id": trial, "stimuli": [as presented]}`, in ABX with `"x"`, the stimulus to identify.
    """
    flips = _coins(key, number, "first")
    hidden = _coins(key, number, "x")
    session = []
    places = {name: place for place, name in enumerate(key.trials)}  # same for all listeners
    for name in _trial_order(key, number):
        trial, place = key.trials[name], places[name]
        shown: dict[str, Any] = {"id": name, "stimuli": _stimulus_order(key, trial, place, number, flips[place])}
        if trial.hidden:
            shown["x"] = trial.hidden[hidden[place]]
        session.append(shown)
    return session


def balanced_order(n: int, row: int) -> list[int]:
    """Return row `row` of the Williams design of `n`: 0 to n − 1, each once.

    >>> [balanced_order(4, row) for row in range(4)]
    [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    zigzag = [(k + 1) // 2 if k % 2 else -(k // 2) for k in range(n)]
    order = [(place + row) % n for place in zigzag]
    return order[::-1] if n % 2 and row // n % 2 else order


def _trial_order(key: Key, number: int) -> list[str]:
    """Return the order of trials: rounds with one trial of every item, so that no item comes twice in a row."""
    order: list[str] = []
    for training in (True, False):
        by_item: dict[str, list[str]] = {}
        for name, trial in key.trials.items():
            if trial.training == training:
                by_item.setdefault(trial.item, []).append(name)
        items = _shuffled(key, sorted(by_item), "items")
        for round_ in range(len(by_item[items[0]]) if items else 0):
            places = balanced_order(len(items), number + round_)
            if order and len(places) > 1 and key.trials[order[-1]].item == items[places[0]]:
                places = places[1:] + places[:1]
            for place in places:
                trials = _shuffled(key, by_item[items[place]], f"trials {items[place]}")
                order.append(trials[(place + round_ + number) % len(trials)])
    return order


def _stimulus_order(key: Key, trial: Trial, place: int, number: int, flip: int) -> list[str]:
    """Return the order of a trial's stimuli: of two by a balanced coin, of more by a row of the trial's own square."""
    if len(trial.stimuli) == 2:
        return list(trial.stimuli[::-1] if flip else trial.stimuli)
    stimuli = _shuffled(key, trial.stimuli, f"stimuli {place}")
    return [stimuli[place] for place in balanced_order(len(stimuli), number)]


def _coins(key: Key, number: int, purpose: str) -> list[int]:
    """Return 0 or 1 for each trial, equally often for each listener; the next listener gets the opposite values."""
    coins = [place % 2 for place in range(len(key.trials))]
    coins = _shuffled(key, coins, f"{purpose} {number // 2}")
    return [1 - coin for coin in coins] if number % 2 else coins


def _shuffled(key: Key, things: Any, purpose: str) -> list[Any]:
    """Return things in an order that depends only on the seed and the purpose."""
    shuffled = list(things)
    random.Random(f"{key.seed} {purpose}").shuffle(shuffled)
    return shuffled
