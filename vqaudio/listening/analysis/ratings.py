"""Reads the answers of a test and puts the true labels in the place of random names."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqaudio.listening.answers import FORM
from vqaudio.listening.key import Key, read_key
from vqaudio.listening.pages import failures
from vqaudio.listening.people import SCREENED
from vqaudio.listening.people import Person as Listener
from vqaudio.listening.people import people as all_people
from vqaudio.listening.sessions import oriented, rated_stimuli
from vqaudio.listening.store import Event, Store, Value
from vqaudio.listening.study import Study, read_study
from vqaudio.metrics.word_error import normalise, word_errors

KNOWN_ANSWERS = ("gold", "attention")
"""Checks among the trials that count: clips whose quality is known, and clips that say what to answer."""


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

    `failed` says of listeners who must not count why not (wrong answers to checks), `people` how far each one got,
    `asked_items` how many items the test has, and `replies` what each listener answered to questions by their names.
    """

    type: str
    ratings: list[Rating]
    sample_rate: int
    seed: int
    attribute: str | None = None
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    asked_items: int | None = None
    replies: dict[str, dict[str, Value]] = field(default_factory=dict)


def read_results(test: Path) -> Results:
    """Read the answers of a test folder from its `private/key.json` and `private/results.sqlite`.

    Raises:
        UserError: the folder contains no test.
    """
    key, study = read_key(test), read_study(test)
    ratings: list[Rating] = []
    found: dict[str, dict[str, Any]] = {"failed": {}, "people": {}, "replies": {}}
    with Store.snapshot(test) as store:
        for listener, person in all_people(store).items():
            session, final = store.session(listener), store.final_events(listener)
            scored = [shown for shown in session if _is_scored(key, shown["id"])]
            given = [
                _rating(key, listener, shown, number, final[shown["id"], stimulus])
                for number, shown in enumerate(scored, 1)
                for stimulus in rated_stimuli(key.type, shown)
                if (shown["id"], stimulus) in final
            ]
            ratings += given
            of = sum(len(rated_stimuli(key.type, shown)) for shown in scored)
            found["people"][listener] = Person(
                listener, len(given), of, person.started_ms, person.minutes, person.outcome
            )
            found["replies"][listener] = {name: e.value for (trial, name), e in final.items() if trial == FORM}
            if reasons := _reasons(key, study, person, session, {name: e.value for name, e in final.items()}):
                found["failed"][listener] = reasons
    items = {trial.item for name, trial in key.trials.items() if _is_scored(key, name)}
    return Results(key.type, ratings, key.sample_rate, key.seed, key.attribute, asked_items=len(items), **found)


def _is_scored(key: Key, trial: str) -> bool:
    return not key.trials[trial].training and not key.trials[trial].check


def _reasons(
    key: Key, study: Study, person: Listener, session: list[dict[str, Any]], final: dict[tuple[str, str], Value]
) -> tuple[str, ...]:
    """Return why a listener must not count, as the study has it."""
    reasons = ["screened out before the test"] if person.outcome == SCREENED else []
    for check in KNOWN_ANSWERS:
        wrong, answered = failures(key, session, final, check)
        if wrong > study.allowed_failures:
            reasons.append(f"{wrong} of {answered} {check} answers wrong (allowed: {study.allowed_failures})")
    return tuple(reasons)


def _rating(key: Key, listener: str, shown: dict[str, Any], number: int, event: Event) -> Rating:
    """Return one answer with its true labels; `shown` is trial `number` as this listener saw it."""
    stimulus = key.stimuli[event.stimulus]
    about: dict[str, Any] = {
        "trial": number,
        "position": 1 + shown["stimuli"].index(event.stimulus) if event.stimulus in shown["stimuli"] else None,
        "clock_ms": event.client_ms,
        "seconds": None if event.shown_ms is None else event.shown_ms / 1000,
        "plays": event.plays,
    }
    if key.type == "words":
        text = str(event.value)
        counts = word_errors(normalise(key.words[stimulus.item]), normalise(text))
        percent = 100 * counts.errors / counts.words
        return Rating(listener, stimulus.item, stimulus.system, percent, text=text, words=counts.words, **about)
    value = oriented(key, shown, event.stimulus, int(event.value))
    if key.type not in ("ccr", "ab", "abx"):
        return Rating(listener, stimulus.item, stimulus.system, float(value), **about)
    one, two = (key.stimuli[name].system for name in key.trials[shown["id"]].stimuli)
    score = 0.5 + 0.5 * value if key.type == "ab" else float(value)
    return Rating(listener, stimulus.item, one, score, two, **about)
