"""What the compiled loops of training share: tensors as arrays, and threads.

Loops exist for float32 and bfloat16 on a CPU. Each item of work (a frame, a row) is computed whole by one thread, so
that the numbers do not depend on how many there are.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.cores import available_cores

SMALL = 1 << 16
"""Numbers that are not worth waking a thread for."""


def has_loops(tensor: Tensor) -> bool:
    """Whether there are compiled loops for tensors like this one; an exporter sees PyTorch's own operations."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.bfloat16)


def flat(tensor: Tensor) -> NDArray:
    """Return a contiguous tensor's memory as a flat array; bfloat16 as uint16."""
    tensor = tensor.detach().view(-1)
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def in_threads(loop: Callable[..., None], items: int, *arguments: NDArray | int) -> None:
    """Call `loop(*arguments, first, last)` on shares of `items`, in as many threads as torch uses."""
    size = max(argument.size for argument in arguments if isinstance(argument, np.ndarray))
    threads = max(1, min(torch.get_num_threads(), items, size // SMALL))
    bounds = [items * i // threads for i in range(threads + 1)]
    others = [_pool().submit(loop, *arguments, *bounds[i : i + 2]) for i in range(1, threads)]
    loop(*arguments, *bounds[:2])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="vqaudio")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of its parent's threads
