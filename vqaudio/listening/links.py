"""Participants of a test: pseudonyms, secret tokens, and the links that are sent to them."""

import secrets
from pathlib import Path

from vqaudio.listening.key import read_key
from vqaudio.listening.sessions import make_session
from vqaudio.listening.store import Store


def add_listeners(test: Path, count: int) -> None:
    """Add `count` listeners, each with a token and an order of trials; they are named L001, L002 and so on.

    Raises:
        UserError: the folder holds no test.
    """
    key = read_key(test)
    with Store(test) as store:
        first = len(store.listeners())
        store.add_listeners(
            (f"L{number + 1:03d}", secrets.token_urlsafe(16), make_session(key, number))
            for number in range(first, first + count)
        )


def participant_links(test: Path, url: str) -> list[tuple[str, str]]:
    """Return pseudonym and link of every listener; `url` is where the page is reached.

    The token stands behind the #, so that it is in no log of a server and in no Referer header.

    Raises:
        UserError: the folder holds no test.
    """
    read_key(test)
    with Store(test) as store:
        return [(listener, f"{url.rstrip('/')}/#{token}") for listener, token in store.listeners()]
