"""Batches made ahead of the steps that take them, by one thread or several, whose number changes no batch.

Threads share what is known of recordings (levels, labels, voices), and decoding and resampling release Python's lock.
Processes would each measure every recording again, and one that outlives a killed training would keep its lock.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from vqaudio.machine import available_cores
from vqaudio.threads import one_thread

Item = TypeVar("Item")

MAX_WORKERS = 8
"""Threads of a process that feed a GPU."""

AHEAD = 4
"""Batches that each thread makes in advance."""


def workers_for(device: torch.device) -> int:
    """Return how many threads to make batches on: one beside a CPU, which is ten times slower than it, else several.

    The processes of a machine that torchrun started share its cores.
    """
    if device.type == "cpu":
        return 1
    cores = available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(MAX_WORKERS, max(1, cores - 1))


def prefetch(make: Callable[[int], Item], first: int, workers: int = 1) -> Iterator[Item]:
    """Yield `make(first)`, `make(first + 1)`, …, of which some threads make up to `AHEAD` each in advance.

    What `make` raises is raised in its place. The threads end with the iterator.
    """

    def make_alone(step: int) -> Item:
        with one_thread():  # OpenMP would make a second team, and then let the threads of training sleep at every wait
            return make(step)

    steps = itertools.count(first)
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque(pool.submit(make_alone, next(steps)) for _ in range(AHEAD * workers))
        try:
            while True:
                item = ahead.popleft().result()
                ahead.append(pool.submit(make_alone, next(steps)))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)
