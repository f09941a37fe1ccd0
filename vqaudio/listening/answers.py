"""Between browser and store: what the page of a listener gets, and the checks before `store` saves an answer."""

from typing import Any

from vqaudio.listening.key import SCALES, Key
from vqaudio.listening.store import Event, Store

MAX_SEQ = 1_000_000
MAX_CLIENT_MS = 10**14  # milliseconds since 1970


def session_for_browser(key: Key, store: Store, listener: str) -> dict[str, Any]:
    """Return all that the page of a listener needs; its only names are random ones."""
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
    """Return the stimuli of a trial, as presented, that the listener rates."""
    if test_type == "abx":
        return [trial["x"]]
    return trial["stimuli"][1:] if test_type in ("ccr", "ab") else trial["stimuli"]


def parse_events(data: Any, key: Key, session: list[dict[str, Any]]) -> list[Event]:
    """Return the events of a JSON request about this session.

    Raises:
        ValueError: `data` is not a list of answers within their ranges; the message says what is wrong.
    """
    if not isinstance(data, list) or not data:
        raise ValueError("events must be a list that is not empty")
    allowed = {(trial["id"], stimulus) for trial in session for stimulus in rated_stimuli(key.type, trial)}
    return [_parse_event(entry, SCALES[key.type], allowed) for entry in data]


def parse_page(data: Any, session: list[dict[str, Any]]) -> int:
    """Return the number of a page: 0 is the welcome, 1 the volume, then come the trials and the end.

    Raises:
        ValueError: there is no such page.
    """
    return _integer("page", data, 0, len(session) + 2)


def _parse_event(entry: Any, scale: tuple[int, int], allowed: set[tuple[str, str]]) -> Event:
    """Return one answer, checked."""
    if not isinstance(entry, dict) or set(entry) != {"trial", "stimulus", "seq", "value", "client_ms"}:
        raise ValueError("an event must have trial, stimulus, seq, value and client_ms, and nothing else")
    trial, stimulus = entry["trial"], entry["stimulus"]
    if not isinstance(trial, str) or not isinstance(stimulus, str) or (trial, stimulus) not in allowed:
        raise ValueError("an event must name a trial of this listener and a stimulus that is rated in it")
    seq = _integer("seq", entry["seq"], 0, MAX_SEQ)
    value = _integer("value", entry["value"], *scale)
    return Event(trial, stimulus, seq, value, _integer("client_ms", entry["client_ms"], 0, MAX_CLIENT_MS))


def _integer(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number within its bounds; JSON's true is not a number."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}")
    return value
