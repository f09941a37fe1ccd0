"""What a browser is told of a test, and the checks on what it sends back."""

from typing import Any

from vqaudio.listening.key import SCALES, Key
from vqaudio.listening.store import Event, Store

MAX_SEQ = 1_000_000
MAX_MS = 10**14


def session_for_browser(key: Key, store: Store, listener: str) -> dict[str, Any]:
    """Return all that the page of a listener needs; it holds random names only."""
    shown = store.session(listener)
    return {
        "type": key.type,
        "scale": SCALES[key.type],
        "sample_rate": key.sample_rate,
        "trials": [
            {**trial, "training": key.trials[trial["id"]].training, "reference": key.trials[trial["id"]].reference}
            for trial in shown
        ],
        "values": [[trial, stimulus, value] for (trial, stimulus), value in store.final(listener).items()],
        "next_seq": store.next_seq(listener),
        "page": store.page(listener),
    }


def rated_stimuli(test_type: str, trial: dict[str, Any]) -> list[str]:
    """Return the stimuli of a trial, as presented, that answers are given to."""
    if test_type == "abx":
        return [trial["x"]]
    return trial["stimuli"][1:] if test_type in ("ccr", "ab") else trial["stimuli"]


def parse_events(data: Any, key: Key, session: list[dict[str, Any]]) -> list[Event]:
    """Turn what came as JSON into events of this session.

    Raises:
        ValueError: it is anything but a list of answers within their ranges; says what is wrong.
    """
    if not isinstance(data, list) or not data:
        raise ValueError("events must be a list with something in it")
    allowed = {(trial["id"], stimulus) for trial in session for stimulus in rated_stimuli(key.type, trial)}
    return [_parse_event(entry, SCALES[key.type], allowed) for entry in data]


def parse_page(data: Any, session: list[dict[str, Any]]) -> int:
    """Return the number of a page; welcome and volume come before the trials, the end after.

    Raises:
        ValueError: there is no such page.
    """
    return _integer("page", data, 0, len(session) + 2)


def _parse_event(entry: Any, scale: tuple[int, int], allowed: set[tuple[str, str]]) -> Event:
    """Check one answer."""
    if not isinstance(entry, dict) or set(entry) != {"trial", "stimulus", "seq", "value", "client_ms"}:
        raise ValueError("an event has trial, stimulus, seq, value and client_ms")
    trial, stimulus = entry["trial"], entry["stimulus"]
    if not isinstance(trial, str) or not isinstance(stimulus, str) or (trial, stimulus) not in allowed:
        raise ValueError("an event's stimulus is not one to be rated in that trial of this listener")
    seq = _integer("seq", entry["seq"], 0, MAX_SEQ)
    value = _integer("value", entry["value"], *scale)
    return Event(trial, stimulus, seq, value, _integer("client_ms", entry["client_ms"], 0, MAX_MS))


def _integer(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number within its bounds; JSON's true is none."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}")
    return value
