"""Reads the answers of a test and puts the true labels in the place of random names."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqaudio.errors import UserError
from vqaudio.listening.key import Key, read_key
from vqaudio.listening.store import Store


@dataclass(frozen=True)
class Rating:
    """The final answer of one listener about one system on one item.

    `system` and `other` are true labels: names given to `listen build`, or `reference`, `anchor_3500`, `anchor_7000`.
    A pair is in the order of the command line, the reference last, whichever clip was first. `value` is 0 to 100 for
    mushra and 1 to 5 for acr, dcr and smos; for ccr, −3 to 3, how much better `system` is than `other`; for ab, 1 if
    `system` was preferred, 0 if `other` was, 0.5 for no preference; for abx, 1 for a right and 0 for a wrong answer;
    for words, the errors of `text` in per cent of the `words` that were spoken.

    `trial` counts the scored trials of the listener and `position` the stimuli of the trial, from 1; `clock_ms` is the
    listener's clock (milliseconds since 1970), `seconds` the time since the trial was shown, and `plays` how often the
    stimulus was started until the answer. All of these are None if they are not known.
    """

    listener: str
    item: str
    system: str
    value: float
    other: str | None = None
    trial: int | None = None
    position: int | None = None
    clock_ms: int | None = None
    seconds: float | None = None
    plays: int | None = None
    text: str | None = None
    words: int | None = None


@dataclass(frozen=True)
class Person:
    """How far a listener got: `answers` of the test given, `of` asked, first and last answer, and how it ended."""

    listener: str
    answers: int
    of: int
    started_ms: int | None = None
    minutes: float | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class Results:
    """All final answers of a test, without those of its training trials; `sample_rate` in Hz.

    `failed` says of listeners who must not count why not (wrong answers to checks), `people` how far each one got, and
    `asked_items` how many items the test has.
    """

    type: str
    ratings: list[Rating]
    sample_rate: int
    seed: int
    attribute: str | None = None
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    asked_items: int | None = None


def read_results(test: Path) -> Results:
    """Read the answers of a test folder from its `private/key.json` and `private/results.sqlite`.

    Raises:
        UserError: the folder contains no test.
    """
    key = read_key(test)
    if not (test / "private" / "results.sqlite").is_file():
        raise UserError(
            f"{test / 'private' / 'results.sqlite'}: no such file; give a folder that `vqaudio listen build` made"
        )
    ratings = []
    with Store(test) as store:
        for listener, _ in store.listeners():
            shown = {trial["id"]: trial for trial in store.session(listener)}
            for (trial, stimulus), value in store.final(listener).items():
                if not key.trials[trial].training:
                    ratings.append(_rating(key, listener, shown[trial], stimulus, value))
    return Results(key.type, ratings, key.sample_rate, key.seed)


def _rating(key: Key, listener: str, shown: dict[str, Any], stimulus: str, value: int) -> Rating:
    """Return one answer with its true labels; `shown` is the trial as this listener saw it."""
    item, system = key.stimuli[stimulus].item, key.stimuli[stimulus].system
    if key.type in ("mushra", "acr", "dcr"):
        return Rating(listener, item, system, float(value))
    first, second = (key.stimuli[name].system for name in shown["stimuli"])
    if key.type == "abx":  # the stimulus is X
        right = (first, second)[value > 0] == system
        other = next(label for label in (first, second) if label != system)
        one, two = _in_order(key, system, other)
        return Rating(listener, item, one, float(right), two)
    one, two = _in_order(key, first, second)
    sign = 1 if one == second else -1  # the answer says how the second compares with the first
    if key.type == "ab":
        return Rating(listener, item, one, 0.5 + 0.5 * sign * value, two)
    return Rating(listener, item, one, float(sign * value), two)


def _in_order(key: Key, one: str, two: str) -> tuple[str, str]:
    """Return a pair of labels in the order of the command line, the reference last."""
    order = [*key.systems, *(label for label in (one, two) if label not in key.systems)]
    return (one, two) if order.index(one) < order.index(two) else (two, one)
