"""Where answers reach the disk: `private/results.sqlite` holds listeners, answers and pages, and overwrites nothing."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.errors import UserError

SCHEMA = """
CREATE TABLE IF NOT EXISTS listeners (
    listener TEXT PRIMARY KEY,   -- pseudonym
    token    TEXT NOT NULL UNIQUE,
    session  TEXT NOT NULL       -- JSON: the trials in this listener's order
);
CREATE TABLE IF NOT EXISTS events (
    listener  TEXT NOT NULL REFERENCES listeners,
    seq       INTEGER NOT NULL,  -- counts the listener's answers; of a stimulus, the highest is final
    trial     TEXT NOT NULL,
    stimulus  TEXT NOT NULL,
    value     INTEGER NOT NULL,
    client_ms INTEGER NOT NULL,  -- the listener's clock, milliseconds since 1970
    server_ms INTEGER NOT NULL,
    PRIMARY KEY (listener, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pages (
    listener  TEXT NOT NULL REFERENCES listeners,
    page      INTEGER NOT NULL,  -- a page that the listener has reached
    server_ms INTEGER NOT NULL,
    PRIMARY KEY (listener, page)
) WITHOUT ROWID;
"""


class SequenceTaken(Exception):  # noqa: N818 (the browser has to choose other numbers; nothing failed)
    """Another answer of the listener has this sequence number, because a second window is open."""


@dataclass(frozen=True)
class Event:
    """One answer: the value given to a stimulus of a trial; `seq` orders the answers of a listener."""

    trial: str
    stimulus: str
    seq: int
    value: int
    client_ms: int


class Store:
    """The database of one test; a write is on disk when the method returns.

    Raises:
        UserError: the file cannot be opened, or is not a database.
    """

    def __init__(self, test: Path) -> None:
        self.path = test / "private" / "results.sqlite"
        try:
            self.connection = sqlite3.connect(self.path, timeout=10)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")  # an acknowledged answer survives a power cut
            self.connection.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: cannot be used ({error}); check the folder and the disk") from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    def add_listeners(self, listeners: Iterable[tuple[str, str, list[dict[str, Any]]]]) -> None:
        """Add listeners: pseudonym, token and session of each."""
        with self.connection:
            self.connection.executemany(
                "INSERT INTO listeners VALUES (?, ?, ?)",
                [(listener, token, json.dumps(session)) for listener, token, session in listeners],
            )

    def listeners(self) -> list[tuple[str, str]]:
        """Return pseudonym and token of every listener in the order in which they were added."""
        return self.connection.execute("SELECT listener, token FROM listeners ORDER BY rowid").fetchall()

    def find(self, token: str) -> str | None:
        """Return the pseudonym of the listener with this token, None if there is none."""
        row = self.connection.execute("SELECT listener FROM listeners WHERE token = ?", (token,)).fetchone()
        return row[0] if row else None

    def session(self, listener: str) -> list[dict[str, Any]]:
        """Return the trials of a listener in order."""
        row = self.connection.execute("SELECT session FROM listeners WHERE listener = ?", (listener,)).fetchone()
        return json.loads(row[0])

    def save(self, listener: str, events: list[Event], server_ms: int) -> None:
        """Save answers, all or none; answers that were saved before stay as they are.

        Raises:
            SequenceTaken: a sequence number belongs to another answer.
        """
        with self.connection:
            for event in events:
                answer = (event.trial, event.stimulus, event.value, event.client_ms)
                known = self.connection.execute(
                    "SELECT trial, stimulus, value, client_ms FROM events WHERE listener = ? AND seq = ?",
                    (listener, event.seq),
                ).fetchone()
                if known is None:
                    self.connection.execute(
                        "INSERT INTO events (listener, seq, trial, stimulus, value, client_ms, server_ms)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (listener, event.seq, *answer, server_ms),
                    )
                elif known != answer:
                    raise SequenceTaken(event.seq)

    def final(self, listener: str) -> dict[tuple[str, str], int]:
        """Return the final value by trial and stimulus: that with the highest sequence number, whenever it arrived."""
        rows = self.connection.execute(
            "SELECT trial, stimulus, value FROM events WHERE listener = ? ORDER BY seq", (listener,)
        )
        return {(trial, stimulus): value for trial, stimulus, value in rows}

    def next_seq(self, listener: str) -> int:
        """Return the sequence number after the highest in use."""
        row = self.connection.execute("SELECT max(seq) FROM events WHERE listener = ?", (listener,)).fetchone()
        return 0 if row[0] is None else row[0] + 1

    def reach(self, listener: str, page: int, server_ms: int) -> None:
        """Save that a listener has reached a page."""
        with self.connection:
            self.connection.execute("INSERT OR IGNORE INTO pages VALUES (?, ?, ?)", (listener, page, server_ms))

    def page(self, listener: str) -> int:
        """Return the furthest page that a listener has reached, 0 at the start."""
        row = self.connection.execute("SELECT max(page) FROM pages WHERE listener = ?", (listener,)).fetchone()
        return row[0] or 0
