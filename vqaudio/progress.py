"""Progress of long commands: a bar on a terminal, plain lines in a log."""

import sys
import threading
import time

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """A bar on a terminal; elsewhere a plain line on stderr now and then.

    Args:
        what: what is done, for people: `extract`.
        total: number of `unit` that make the whole.
        unit: what is counted: `utterances`.
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
        """Count `count` more; any thread may."""
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
