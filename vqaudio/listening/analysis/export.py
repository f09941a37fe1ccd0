"""Writes the answers of a test as tidy tables: ratings.csv, one in each row, and questions.csv."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from vqaudio.listening.analysis.ratings import Rating, Results
from vqaudio.listening.analysis.screening import Verdict

COLUMNS = (
    *("type", "listener", "item", "system", "other", "value", "text"),
    *("trial", "position", "clock", "seconds", "plays", "excluded"),
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet reads a cell that begins so as a formula


def long_csv(results: Results, verdicts: Mapping[str, Verdict]) -> str:
    """Return all ratings as CSV, sorted; `excluded` is why the listener does not count, what is not known is empty.

    `clock` is the time of the answer by the listener's clock (ISO 8601, UTC), `seconds` the time since the trial was
    shown. Text that a spreadsheet would read as a formula gets an apostrophe before it.
    """
    rows = []
    for rating in sorted(results.ratings, key=_order):
        texts = (results.type, rating.listener, rating.item, rating.system, rating.other or "")
        numbers = (rating.trial, rating.position, _clock(rating.clock_ms), _number(rating.seconds), rating.plays)
        reason = "; ".join(verdicts[rating.listener].excluded)
        value = (_number(rating.value), _plain(rating.text or ""))
        rows.append([*map(_plain, texts), *value, *numbers, _plain(reason)])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def replies_csv(results: Results) -> str:
    """Return what listeners answered to questions as CSV, a row for each listener and a column for each question."""
    names = sorted({name for replies in results.replies.values() for name in replies})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["listener", *names])
    for listener, replies in sorted(results.replies.items()):
        writer.writerow([listener, *(_plain(str(replies.get(name, ""))) for name in names)])
    return text.getvalue()


def clock_date(clock_ms: int | None) -> str | None:
    """Return the day (ISO 8601, UTC) of milliseconds since 1970; None for None.

    >>> clock_date(1_700_000_000_000)
    '2023-11-14'
    """
    clock = _clock(clock_ms)
    return clock and clock[:10]


def _clock(clock_ms: int | None) -> str | None:
    if clock_ms is None:
        return None
    clock = datetime.fromtimestamp(clock_ms / 1000, timezone.utc)
    return clock.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.12g}"


def _order(rating: Rating) -> tuple[Any, ...]:
    return rating.listener, rating.item, rating.system, rating.other or "", rating.trial or 0


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
