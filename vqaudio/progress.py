"""What the long commands share: one writer to a folder at a time, and progress that suits a terminal or a log."""

import contextlib
import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from vqaudio.errors import UserError

SECONDS_BETWEEN_LINES = 30.0


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make the folder and hold it, so that a second job that writes to it is refused.

    Raises:
        UserError: another process holds it, or it cannot be made.

    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{directory}: cannot be made ({error.strerror}); choose another folder") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{directory}: another job is writing here; wait for it or choose another folder") from None
        except OSError:
            pass  # some network file systems cannot lock a folder: there it is up to the user
        yield
    finally:
        os.close(handle)


class Progress:
    """A bar on a terminal; elsewhere a plain line on stderr now and then.

    Args:
        what: what is done, for people: ``extract``.
        total: number of ``unit`` that make the whole.
        unit: what is counted: ``utterances``.

    """

    def __init__(self, what: str, total: float, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0.0
        self.lock = threading.Lock()
        self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(desc=what, total=round(total), unit=f" {unit}")

    def update(self, count: float = 1) -> None:
        """Count ``count`` more; any thread may."""
        with self.lock:
            self.done += count
            if self.bar is not None:
                self.bar.update(int(self.done) - self.bar.n)
            elif time.monotonic() >= self.next_line:
                self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES
                print(f"{self.what}: {self.done:.0f} of {self.total:.0f} {self.unit}", file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


__all__ = ["Progress", "locked"]
