"""The WaveNet's gated activation and its backward, fused: each reads and writes memory once.

    a, b = split(y + condition);  h = tanh(a) * sigmoid(b)

Rows are (T * B), time first, as in ``vqaudio.decoder``. On a CPU, float32 and bfloat16 run in compiled loops over
frames, shared between as many threads as torch uses. No sum crosses a frame, so that the numbers do not depend on the
threads. Everything else runs in ``forward_reference`` and ``backward_reference``.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALL = 1 << 16
"""Items of ``h`` that are not worth waking a thread for."""


def gate_forward(y: Tensor, condition: Tensor) -> Tensor:
    """Return ``h`` (T * B, H), and leave tanh(a) and sigmoid(b) in ``y`` (T * B, 2 H) for the backward.

    ``condition`` (N, B, 2 H) holds at each frame for T / N rows of every utterance.
    """
    if not _compiled(y):
        return forward_reference(y, condition)
    from vqaudio import gate_kernel

    frames = condition.shape[:2]
    h = y.new_empty(len(y), y.shape[1] // 2)
    _over_frames(gate_kernel.forward, _rows(y, *frames), _array(condition.contiguous()), _rows(h, *frames))
    return h


def gate_backward(grad_h: Tensor, activated: Tensor, frames: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``y`` (T * B, 2 H) and the condition (N, B, 2 H), and leave ``h`` in ``grad_h``.

    ``activated`` is ``y`` after ``gate_forward``, ``frames`` is (N, B).
    """
    if not _compiled(grad_h):
        return backward_reference(grad_h, activated, frames)
    from vqaudio import gate_kernel

    grad_y = torch.empty_like(activated)
    totals = torch.empty(*frames, grad_y.shape[1])
    _over_frames(gate_kernel.backward, *(_rows(rows, *frames) for rows in (grad_h, activated, grad_y)), _array(totals))
    return grad_y, totals.to(grad_y.dtype)


def forward_reference(y: Tensor, condition: Tensor) -> Tensor:
    """Do what ``gate_forward`` does in plain PyTorch."""
    N, B, channels = condition.shape
    y.view(N, -1, B, channels).add_(condition.unsqueeze(1))
    a, b = y.chunk(2, dim=1)
    return a.tanh_() * b.sigmoid_()


def backward_reference(grad_h: Tensor, activated: Tensor, frames: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Do what ``gate_backward`` does in plain PyTorch."""
    a, b = activated.chunk(2, dim=1)
    grad_y = torch.empty_like(activated)
    grad_a, grad_b = grad_y.chunk(2, dim=1)
    torch.ops.aten.tanh_backward.grad_input(grad_h * b, a, grad_input=grad_a)
    torch.ops.aten.sigmoid_backward.grad_input(grad_h * a, b, grad_input=grad_b)
    torch.mul(a, b, out=grad_h)
    return grad_y, grad_y.view(frames[0], -1, frames[1], grad_y.shape[1]).sum(1)


def _compiled(rows: Tensor) -> bool:
    return rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.bfloat16)


def _array(tensor: Tensor) -> NDArray:
    """Return a tensor's memory as an array; bfloat16 as uint16."""
    tensor = tensor.detach()
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _rows(tensor: Tensor, N: int, B: int) -> NDArray:
    return _array(tensor).reshape(N, -1, B, tensor.shape[1])


def _over_frames(kernel: Callable[..., None], *arrays: NDArray) -> None:
    """Run a kernel over all frames, a run of them in every thread."""
    N, threads = len(arrays[0]), min(torch.get_num_threads(), 1 + arrays[0].size // SMALL)
    bounds = [N * i // threads for i in range(threads + 1)]
    others = [_pool().submit(kernel, *arrays, *bounds[i : i + 2]) for i in range(1, threads)]
    kernel(*arrays, *bounds[:2])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gate")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of its parent's threads
