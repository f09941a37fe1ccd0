"""Shows the progress of long commands: a bar on a terminal, plain lines in a log."""

import sys
import threading
import time

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """A bar on a terminal; elsewhere a line on stderr every `SECONDS_BETWEEN_LINES`.

    Args:
        what: name of the work, such as `extract`.
        total: the whole work, in units.
        unit: name of the unit, such as `utterances`.
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
        """Add `count` units of finished work; any thread may call this."""
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
