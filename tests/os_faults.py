"""Lets the n-th call of one function of the operating system fail, where `vqaudio.files` calls it."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vqaudio import files

OPERATIONS = ("open", "write", "fsync", "close", "replace")
"""What is done to every file that is written."""


class Fault:
    """Counts the calls of an operation, and lets call number `at` and all later ones fail (0: none).

    Later ones fail as well because a full disk stays full.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, operation: str, number: int, at: int) -> None:
        self.number, self.at, self.calls = number, at, 0
        if operation == "close":
            plain = files.NamedFile.close

            def close(file: files.NamedFile) -> None:
                closed = file.closed
                plain(file)
                if not closed:
                    self.count(file.name)

            monkeypatch.setattr(files.NamedFile, "close", close)
        else:
            monkeypatch.setattr(os, operation, self.wrap(getattr(os, operation)))

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts and fails when `vqaudio.files`, or pathlib for it, calls it to write."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1)
            if caller.f_globals.get("__name__", "").startswith("pathlib"):
                caller = caller.f_back
            reading = function.__name__ == "open" and args[1:2] == (os.O_RDONLY,)
            if caller is not None and caller.f_globals.get("__name__") == files.__name__ and not reading:
                self.count(args[0])
            return function(*args, **kwargs)

        return wrapped

    def count(self, place: object) -> None:
        """Count a call, and let it fail if its turn has come."""
        self.calls += 1
        if self.at and self.calls >= self.at:
            named = (place,) if isinstance(place, (str, os.PathLike)) else ()
            raise OSError(self.number, os.strerror(self.number), *map(str, named))


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EFBIG]
FORBIDDEN = [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR]


@contextlib.contextmanager
def closed_pipe() -> Iterator[int]:
    """Yield the end to write of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)
