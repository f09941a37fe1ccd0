"""Signals that ask a run to save its state and stop."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C, the end of a job, the end of a terminal, and what schedulers send before a job's time is up."""


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list that a stop signal adds its number to, so that the loop can save and stop.

    A second Ctrl-C raises KeyboardInterrupt at once. Signals that this process ignores, such as SIGHUP under nohup,
    stay ignored.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and number in received:
            raise KeyboardInterrupt
        if not received:
            with contextlib.suppress(OSError):  # not by print: it may be in the middle of a line
                os.write(2, b"vqaudio: saving the state; Ctrl-C stops without it\n")
        received.append(number)

    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, note) for number in heard}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
