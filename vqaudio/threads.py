"""The number of threads that torch uses in the calling thread."""

import contextlib
import threading
from collections.abc import Iterator

import torch

_lock = threading.Lock()
_inside = 0  # threads inside `one_thread`
_outside = 1  # torch's number of threads before the first of those entered


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch on one thread, so that sums have one order, whatever the number of cores. It cannot be nested.

    torch's number of threads belongs to the calling thread, but new threads begin with what was set last. What they
    find while this runs may be 1; therefore each thread restores the number from before any thread was inside.
    """
    global _inside, _outside
    with _lock:
        if _inside == 0:
            _outside = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            torch.set_num_threads(_outside)
