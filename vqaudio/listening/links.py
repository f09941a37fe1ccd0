"""Adds listeners to a test, each with a pseudonym and a secret token, and returns the links that are sent to them."""

import secrets
from pathlib import Path

from vqaudio.listening.key import read_key
from vqaudio.listening.sessions import make_session
from vqaudio.listening.store import Store


def add_listeners(test: Path, count: int) -> None:
    """Add `count` listeners, each with a token and an order of trials; they are named L001, L002 and so on.

    Raises:
        UserError: the folder contains no test.
    """
    key = read_key(test)
    with Store(test) as store:
        first = len(store.listeners())
        store.add_listeners(
            (f"L{number + 1:03d}", secrets.token_urlsafe(16), make_session(key, number))
            for number in range(first, first + count)
        )


def participant_links(test: Path, url: str) -> list[tuple[str, str]]:
    """Return pseudonym and link of every listener; `url` is the address of the page.

    The token comes after the #, so that no log of a server and no Referer header contains it.

    Raises:
        UserError: the folder contains no test.
    """
    read_key(test)
    with Store(test) as store:
        return [(listener, f"{url.rstrip('/')}/#{token}") for listener, token in store.listeners()]
