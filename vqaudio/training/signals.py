"""Signals that ask a run to save its state and stop."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Yield a list that SIGTERM or SIGUSR1 adds its name to, so that the loop can save and stop."""
    received: list[str] = []
    handlers = {
        number: signal.signal(number, lambda caught, _: received.append(signal.Signals(caught).name))
        for number in (signal.SIGTERM, signal.SIGUSR1)
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
