"""Shared by the compiled loops of training: which tensors have loops, tensors as arrays, and threads.

Loops exist for float32 and bfloat16 on a CPU. Each item of work (a frame, a row) is computed by one thread alone, so
that the numbers do not depend on the number of threads.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.machine import available_cores

MIN_PARALLEL_SIZE = 1 << 16
"""Numbers per thread, at least; smaller arrays stay on the calling thread."""


def has_loops(tensor: Tensor) -> bool:
    """Return whether this tensor can use the compiled loops (never while exporting)."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.bfloat16)


def flat(tensor: Tensor) -> NDArray:
    """Return the memory of a contiguous tensor as a flat array; bfloat16 as uint16."""
    tensor = tensor.detach().view(-1)
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def in_threads(loop: Callable[..., None], items: int, *arguments: NDArray | int) -> None:
    """Call `loop(*arguments, first, last)` for shares of `items`, on at most as many threads as torch uses."""
    size = max(argument.size for argument in arguments if isinstance(argument, np.ndarray))
    threads = max(1, min(torch.get_num_threads(), items, size // MIN_PARALLEL_SIZE))
    bounds = [items * i // threads for i in range(threads + 1)]
    others = [_pool().submit(loop, *arguments, *bounds[i : i + 2]) for i in range(1, threads)]
    loop(*arguments, *bounds[:2])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="vqaudio")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has no threads of its parent
