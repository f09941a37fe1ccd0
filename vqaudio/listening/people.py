"""The listeners of a test: added with personal links, or joining by one address; how far they are, and how it ends."""

import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from vqaudio.errors import UserError
from vqaudio.listening.key import Key, read_key
from vqaudio.listening.sessions import make_session
from vqaudio.listening.store import Store
from vqaudio.listening.study import Platform

FINISHED, SCREENED, REMOVED = "finished", "screened", "removed"


class Full(Exception):  # noqa: N818 (an answer, not an error)
    """All listeners that the test wants have finished or are at work."""


@dataclass(frozen=True)
class Person:
    """A listener: pseudonym, number of the session, and how far they are; times in milliseconds since 1970."""

    listener: str
    number: int
    person: str | None
    joined_ms: int | None
    run: int
    outcome: str | None
    ended_ms: int | None
    started_ms: int | None
    seen_ms: int | None
    answers: int

    @property
    def minutes(self) -> float | None:
        """Time from the first to the last sign of life, None before there were two."""
        if self.started_ms is None or self.seen_ms is None or self.seen_ms == self.started_ms:
            return None
        return ((self.ended_ms or self.seen_ms) - self.started_ms) / 60_000


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return round(time.time() * 1000)


def people(store: Store) -> dict[str, Person]:
    """Return all listeners by pseudonym, in the order in which they were added, without those who were removed."""
    rows = store.connection.execute(
        """SELECT people.listener, number, person, joined_ms, run, outcome, ended_ms,
             (SELECT min(t) FROM (SELECT min(server_ms) AS t FROM pages WHERE listener = people.listener UNION ALL
                                  SELECT min(server_ms) FROM events WHERE listener = people.listener)),
             (SELECT max(t) FROM (SELECT max(server_ms) AS t FROM pages WHERE listener = people.listener UNION ALL
                                  SELECT max(server_ms) FROM events WHERE listener = people.listener)),
             (SELECT count(*) FROM (SELECT DISTINCT trial, stimulus FROM events WHERE listener = people.listener))
           FROM people WHERE outcome IS NOT 'removed' ORDER BY rowid"""
    )
    return {row[0]: Person(*row) for row in rows}


def add_listeners(test: Path, count: int) -> None:
    """Add `count` listeners with personal links, each with a token and an order of trials: L001, L002 and so on.

    Raises:
        UserError: the folder contains no test.
    """
    key = read_key(test)
    with Store(test) as store, store.writing() as connection:
        for _ in range(count):
            _add(connection, key, _free_number(store, None))


def participant_links(test: Path, url: str) -> list[tuple[str, str]]:
    """Return pseudonym and link of every listener; `url` is the address of the page.

    The token comes after the #, so that no log of a server and no Referer header contains it.

    Raises:
        UserError: the folder contains no test.
    """
    read_key(test)
    with Store.snapshot(test) as store:
        found = people(store)
        return [
            (listener, f"{url.rstrip('/')}/#{token}")
            for listener, token in store.listeners()
            if listener in found and found[listener].joined_ms is None
        ]


def join(store: Store, key: Key, platform: Platform, person: str | None, token: str | None) -> str:
    """Return the token of a listener who opened the common address: a known one by id or token, or a new one.

    Raises:
        Full: no more listeners are wanted.
    """
    with store.writing() as connection:
        if person is not None:
            known = "SELECT token FROM people JOIN listeners USING (listener) WHERE person = ?"
            if row := connection.execute(known, (person,)).fetchone():
                return row[0]
        elif token is not None and store.find(token):
            return token
        working = [p for p in people(store).values() if p.joined_ms is not None and _holds(p, platform)]
        if platform.limit and len(working) >= platform.limit:
            raise Full
        return _add(connection, key, _free_number(store, platform), person, now_ms())


def end(store: Store, listener: str, outcome: str) -> None:
    """Save how it ended for a listener; the first outcome stays."""
    with store.writing() as connection:
        connection.execute(
            "UPDATE people SET outcome = ?, ended_ms = ? WHERE listener = ? AND outcome IS NULL",
            (outcome, now_ms(), listener),
        )


def reset(test: Path, listeners: list[str]) -> None:
    """Delete the answers of listeners, who may then start again with the same link.

    Raises:
        UserError: there is no such listener, or no test; nothing is deleted.
    """
    read_key(test)
    with Store(test) as store, store.writing() as connection:
        for listener in _checked(test, store, listeners):
            _delete_answers(connection, listener)
            connection.execute(
                "UPDATE people SET run = run + 1, outcome = NULL, ended_ms = NULL WHERE listener = ?", (listener,)
            )


def remove(test: Path, listeners: list[str]) -> None:
    """Delete listeners with all that is known of them; their links end, their names are not given again.

    Raises:
        UserError: there is no such listener, or no test; nothing is deleted.
    """
    read_key(test)
    with Store(test) as store, store.writing() as connection:
        for listener in _checked(test, store, listeners):
            _delete_answers(connection, listener)
            connection.execute("DELETE FROM listeners WHERE listener = ?", (listener,))
            connection.execute(
                "UPDATE people SET person = NULL, joined_ms = NULL, ended_ms = NULL, outcome = ? WHERE listener = ?",
                (REMOVED, listener),
            )


def forget(test: Path) -> int:
    """Delete the ids by which a platform knows the listeners, and return how many there were; answers stay.

    Raises:
        UserError: the folder contains no test.
    """
    read_key(test)
    with Store(test) as store, store.writing() as connection:
        return connection.execute("UPDATE people SET person = NULL WHERE person IS NOT NULL").rowcount


def _checked(test: Path, store: Store, listeners: list[str]) -> list[str]:
    known = people(store)
    for listener in listeners:
        if listener not in known:
            raise UserError(f"{listener}: no listener of {test}; `vqaudio listen status` names them")
    return listeners


def _delete_answers(connection: sqlite3.Connection, listener: str) -> None:
    for table in ("events", "pages"):
        connection.execute(f"DELETE FROM {table} WHERE listener = ?", (listener,))  # noqa: S608


def _add(
    connection: sqlite3.Connection, key: Key, number: int, person: str | None = None, joined_ms: int | None = None
) -> str:
    """Add a listener with session `number`; return the token."""
    (count,) = connection.execute("SELECT count(*) FROM people").fetchone()  # removed ones, too
    listener = f"L{count + 1:03d}"
    token = secrets.token_urlsafe(16)
    session = json.dumps(make_session(key, number))
    connection.execute("INSERT INTO listeners VALUES (?, ?, ?)", (listener, token, session))
    connection.execute(
        "INSERT INTO people (listener, number, person, joined_ms) VALUES (?, ?, ?, ?)",
        (listener, number, person, joined_ms),
    )
    return token


def _free_number(store: Store, platform: Platform | None) -> int:
    """Return the lowest number of a session that no listener holds, so that designs stay balanced."""
    held = {p.number for p in people(store).values() if _holds(p, platform)}
    return next(number for number in range(len(held) + 1) if number not in held)


def _holds(person: Person, platform: Platform | None) -> bool:
    """Return whether a listener holds the place in the design: has finished, or may still do so."""
    if person.outcome is not None or person.joined_ms is None or platform is None:
        return person.outcome != SCREENED
    idle = now_ms() - max(person.joined_ms, person.seen_ms or 0)
    return idle < platform.idle_minutes * 60_000
