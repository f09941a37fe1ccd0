"""Checks what browsers send before `store` saves it."""

from collections.abc import Callable
from typing import Any

from vqaudio.listening.key import CHECK_SCALES, SCALES, Key
from vqaudio.listening.sessions import rated_stimuli
from vqaudio.listening.store import Event, Value
from vqaudio.listening.study import Question, Study

FORM = "form"
"""Stands for the trial in answers to questions; the stimulus is then the name of the question."""

CONSENT = "consent"
MAX_SEQ = 1_000_000
MAX_CLIENT_MS = 10**14  # milliseconds since 1970
MAX_SHOWN_MS = 10**10
MAX_PLAYS = 100_000
MAX_TEXT = 2000  # characters

Check = Callable[[Any], Value]


def wanted_answers(key: Key, study: Study, session: list[dict[str, Any]]) -> dict[tuple[str, str], Check]:
    """Return what a listener may answer, by trial and stimulus: functions that return a value or raise ValueError."""
    wanted: dict[tuple[str, str], Check] = {}
    for shown in session:
        kind = key.kind(shown["id"])
        scale = (SCALES | CHECK_SCALES)[kind]
        for stimulus in rated_stimuli(kind, shown):
            wanted[shown["id"], stimulus] = _text if scale is None else _within(*scale)
    for name, question in study.questions.items():
        wanted[FORM, name] = _reply_to(question)
    if study.consent:
        wanted[FORM, CONSENT] = _within(1, 1)
    return wanted


def parse_events(data: Any, wanted: dict[tuple[str, str], Check]) -> list[Event]:
    """Return the events of a JSON request, which may be about `wanted_answers`.

    Raises:
        ValueError: `data` is not a list of answers within their ranges; the message says what is wrong.
    """
    if not isinstance(data, list) or not data:
        raise ValueError("events must be a list that is not empty")
    return [_parse_event(entry, wanted) for entry in data]


def parse_page(data: Any, pages: int) -> int:
    """Return the number of one of so many pages, from 0.

    Raises:
        ValueError: there is no such page.
    """
    return whole("page", data, 0, pages - 1)


def parse_person(data: Any) -> str | None:
    """Return the id of a listener on a platform, None if there is none.

    Raises:
        ValueError: it is not a short word of printable ASCII characters.
    """
    if data is None or data == "":
        return None
    if not isinstance(data, str) or len(data) > 100 or not all("!" <= letter <= "~" for letter in data):
        raise ValueError("person must be at most 100 printable ASCII characters without blanks")
    return data


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number within its bounds; JSON's true is not a number.

    Raises:
        ValueError: it is something else.
    """
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}")
    return value


def _parse_event(entry: Any, wanted: dict[tuple[str, str], Check]) -> Event:
    """Return one answer, checked."""
    needed, more = {"trial", "stimulus", "seq", "value", "client_ms"}, {"shown_ms", "plays"}
    if not isinstance(entry, dict) or not needed <= set(entry) <= needed | more:
        raise ValueError(
            "an event must have trial, stimulus, seq, value and client_ms, and may have shown_ms and plays"
        )
    trial, stimulus = entry["trial"], entry["stimulus"]
    if not isinstance(trial, str) or not isinstance(stimulus, str) or (trial, stimulus) not in wanted:
        raise ValueError(
            "an event must name a trial of this listener and a stimulus that is rated in it, or a question"
        )
    shown, plays = entry.get("shown_ms"), entry.get("plays")
    return Event(
        trial,
        stimulus,
        whole("seq", entry["seq"], 0, MAX_SEQ),
        wanted[trial, stimulus](entry["value"]),
        whole("client_ms", entry["client_ms"], 0, MAX_CLIENT_MS),
        None if shown is None else whole("shown_ms", shown, 0, MAX_SHOWN_MS),
        None if plays is None else whole("plays", plays, 0, MAX_PLAYS),
    )


def _within(low: int, high: int) -> Check:
    return lambda value: whole("value", value, low, high)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
        raise ValueError(f"value must be a text of at most {MAX_TEXT} characters")
    return value


def _reply_to(question: Question) -> Check:
    """Return the check of an answer to a question."""
    if question.type == "number":
        low = -(10**9) if question.min is None else question.min
        return _within(low, 10**9 if question.max is None else question.max)
    if question.type == "text":
        return _text

    def one_of(value: Any) -> str:
        if value not in question.choices:
            raise ValueError("value must be one of the choices")
        return str(value)

    return one_of
