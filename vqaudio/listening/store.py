"""Where answers reach the disk: `private/results.sqlite` holds listeners, answers and pages, and overwrites nothing."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
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
    trial     TEXT NOT NULL,     -- or 'form'
    stimulus  TEXT NOT NULL,     -- or the name of a question
    value     NOT NULL,          -- whole number or text
    client_ms INTEGER NOT NULL,  -- the listener's clock, milliseconds since 1970
    server_ms INTEGER NOT NULL,
    shown_ms  INTEGER,           -- milliseconds since the page was shown
    plays     INTEGER,           -- how often the stimulus had been started on this page
    PRIMARY KEY (listener, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pages (
    listener  TEXT NOT NULL REFERENCES listeners,
    page      INTEGER NOT NULL,  -- a page that the listener has reached
    server_ms INTEGER NOT NULL,
    PRIMARY KEY (listener, page)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS people (
    listener  TEXT PRIMARY KEY,
    number    INTEGER NOT NULL,  -- of the session; that of a listener who does not finish is given to another
    person    TEXT UNIQUE,       -- id on the platform
    joined_ms INTEGER,           -- null for a personal link
    run       INTEGER NOT NULL DEFAULT 0,  -- grows when the listener is reset
    outcome   TEXT,              -- finished, screened or removed
    ended_ms  INTEGER
);
INSERT OR IGNORE INTO people (listener, number) SELECT listener, rowid - 1 FROM listeners;
"""
ADDED_COLUMNS = (("shown_ms", "INTEGER"), ("plays", "INTEGER"))  # since the first tables of events
Value = int | str


class SequenceTaken(Exception):  # noqa: N818 (the browser has to choose other numbers; nothing failed)
    """Another answer of the listener has this sequence number, because a second window is open."""


@dataclass(frozen=True)
class Event:
    """One answer: the value given to a stimulus of a trial; `seq` orders the answers of a listener.

    `shown_ms` is the time since the page was shown (ms), and `plays` how often the stimulus had been started.
    """

    trial: str
    stimulus: str
    seq: int
    value: Value
    client_ms: int
    shown_ms: int | None = None
    plays: int | None = None


class Store:
    """The database of one test; a write is on disk when the method returns.

    There is one file: SQLite's rollback journal keeps nothing beside it between two writes, so that a copy of
    `results.sqlite` is complete.

    Raises:
        UserError: the file cannot be opened, or is not a database.
    """

    def __init__(self, test: Path) -> None:
        self.path = results_path(test)
        with explained(self.path):
            self.connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
            self.connection.execute("PRAGMA journal_mode = DELETE")
            self.connection.execute("PRAGMA synchronous = FULL")  # an acknowledged answer survives a power cut
            self.connection.execute("PRAGMA secure_delete = ON")  # of a listener who is removed, nothing stays
            _complete(self.connection)

    @classmethod
    def snapshot(cls, test: Path) -> "Store":
        """Return a copy in memory, which writes nothing to the disk, not even where the folder allows it.

        Raises:
            UserError: there is no such file, or it is not a database.
        """
        store = cls.__new__(cls)
        store.path = results_path(test)
        if not store.path.is_file():
            raise UserError(f"{store.path}: no such file; give a folder that `vqaudio listen build` made")
        with explained(store.path):
            store.connection = sqlite3.connect(":memory:", isolation_level=None)
            _read_into(store.path, store.connection)
            _complete(store.connection)
        return store

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def content(self) -> bytes:
        """Return the bytes of a file with the same tables."""
        with tempfile.TemporaryDirectory(prefix="vqaudio-") as folder:
            copy = Path(folder) / self.path.name
            with closing(sqlite3.connect(copy)) as connection:
                self.connection.backup(connection)
            return copy.read_bytes()

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection whose changes are made together, or not at all; no other process writes meanwhile."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

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

    def save(self, listener: str, events: Iterable[Event], server_ms: int) -> int:
        """Save answers, all or none, and return how many are new; those that were saved before stay as they are.

        Raises:
            SequenceTaken: a sequence number belongs to another answer.
        """
        added = 0
        with self.writing() as connection:
            for event in events:
                answer = (event.trial, event.stimulus, event.value, event.client_ms)
                known = connection.execute(
                    "SELECT trial, stimulus, value, client_ms FROM events WHERE listener = ? AND seq = ?",
                    (listener, event.seq),
                ).fetchone()
                if known is None:
                    connection.execute(
                        "INSERT INTO events (listener, seq, trial, stimulus, value, client_ms, server_ms, shown_ms,"
                        " plays) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (listener, event.seq, *answer, server_ms, event.shown_ms, event.plays),
                    )
                    added += 1
                elif known != answer:
                    raise SequenceTaken(event.seq)
        return added

    def final(self, listener: str) -> dict[tuple[str, str], Value]:
        """Return the final value by trial and stimulus: that with the highest sequence number, whenever it arrived."""
        return {key: event.value for key, event in self.final_events(listener).items()}

    def final_events(self, listener: str) -> dict[tuple[str, str], Event]:
        """Return the final answers by trial and stimulus."""
        rows = self.connection.execute(
            "SELECT trial, stimulus, seq, value, client_ms, shown_ms, plays FROM events"
            " WHERE listener = ? ORDER BY seq",
            (listener,),
        )
        return {(row[0], row[1]): Event(*row) for row in rows}

    def next_seq(self, listener: str) -> int:
        """Return the sequence number after the highest in use."""
        row = self.connection.execute("SELECT max(seq) FROM events WHERE listener = ?", (listener,)).fetchone()
        return 0 if row[0] is None else row[0] + 1

    def reach(self, listener: str, page: int, server_ms: int) -> None:
        """Save that a listener has reached a page."""
        with self.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO pages VALUES (?, ?, ?)", (listener, page, server_ms))

    def page(self, listener: str) -> int:
        """Return the furthest page that a listener has reached, 0 at the start."""
        row = self.connection.execute("SELECT max(page) FROM pages WHERE listener = ?", (listener,)).fetchone()
        return row[0] or 0


def results_path(test: Path) -> Path:
    """Return the path of the database of a test."""
    return test / "private" / "results.sqlite"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an error of SQLite into one that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{path}: cannot be used ({error}); check the folder and the disk") from None


def _complete(connection: sqlite3.Connection) -> None:
    """Make the tables and columns that are missing, as in a test that an earlier version made."""
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    present = {row[1] for row in connection.execute("PRAGMA table_info(events)")}
    for name, kind in ADDED_COLUMNS:
        if name not in present:
            connection.execute(f"ALTER TABLE events ADD COLUMN {name} {kind}")


def _read_into(path: Path, connection: sqlite3.Connection) -> None:
    """Copy a database, also one that lies in a folder where nothing may be written.

    There, SQLite refuses a file beside which a server that was killed left something; a copy of all of it is read then.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as source:
            source.backup(connection)
            return
    except sqlite3.OperationalError:
        pass
    with tempfile.TemporaryDirectory(prefix="vqaudio-") as folder:
        for end in ("", "-journal", "-wal"):
            beside = path.with_name(path.name + end)
            if beside.exists():
                shutil.copyfile(beside, Path(folder) / beside.name)
        with closing(sqlite3.connect(Path(folder) / path.name)) as source:
            source.backup(connection)
