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


def gate_forward(y: Tensor, condition: Tensor, h: Tensor) -> None:
    """Fill ``h`` (T * B, H), and leave tanh(a) and sigmoid(b) in ``y`` (T * B, 2 H) for the backward.

    ``condition`` (N, B, 2 H) holds at each frame for T / N rows of every utterance.
    """
    if not _compiled(y):
        return forward_reference(y, condition, h)
    from vqaudio import gate_kernel

    return _over_frames(gate_kernel.forward, condition.shape, y, condition, h)


def gate_backward(grad_h: Tensor, activated: Tensor, grad_y: Tensor, grad_condition: Tensor) -> None:
    """Fill ``grad_y`` (T * B, 2 H) and ``grad_condition`` (N, B, 2 H), and leave ``h`` in place of ``grad_h``.

    ``activated`` is ``y`` after ``gate_forward``. The condition's gradient is float32 for bfloat16.
    """
    if not _compiled(grad_h):
        return backward_reference(grad_h, activated, grad_y, grad_condition)
    from vqaudio import gate_kernel

    return _over_frames(gate_kernel.backward, grad_condition.shape, grad_h, activated, grad_y, grad_condition)


def forward_reference(y: Tensor, condition: Tensor, h: Tensor) -> None:
    """Do what ``gate_forward`` does in plain PyTorch."""
    N, B, channels = condition.shape
    y.view(N, -1, B, channels).add_(condition.unsqueeze(1))
    a, b = y.chunk(2, dim=1)
    torch.mul(a.tanh_(), b.sigmoid_(), out=h)


def backward_reference(grad_h: Tensor, activated: Tensor, grad_y: Tensor, grad_condition: Tensor) -> None:
    """Do what ``gate_backward`` does in plain PyTorch."""
    (N, B, channels), dtype = grad_condition.shape, grad_condition.dtype
    (a, b), (grad_a, grad_b) = activated.chunk(2, dim=1), grad_y.chunk(2, dim=1)
    torch.ops.aten.tanh_backward.grad_input(grad_h * b, a, grad_input=grad_a)
    torch.ops.aten.sigmoid_backward.grad_input(grad_h * a, b, grad_input=grad_b)
    torch.sum(grad_y.view(N, -1, B, channels), 1, dtype=dtype, out=grad_condition)
    torch.mul(a, b, out=grad_h)


def _compiled(rows: Tensor) -> bool:
    return rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.bfloat16)


def _over_frames(kernel: Callable[..., None], condition: torch.Size, *tensors: Tensor) -> None:
    """Run a kernel on all N frames of tensors, on a share of them in every thread."""
    N, B, channels = condition
    S = tensors[0].shape[0] // (N * B)
    arrays = [_array(tensor) for tensor in tensors]
    threads = min(torch.get_num_threads(), N, 1 + arrays[0].size // SMALL)
    bounds = [N * i // threads for i in range(threads + 1)]
    shares = [(*arrays, S, B, channels // 2, *bounds[i : i + 2]) for i in range(threads)]
    others = [_pool().submit(kernel, *share) for share in shares[1:]]
    kernel(*shares[0])
    for other in others:
        other.result()


def _array(tensor: Tensor) -> NDArray:
    """Return a tensor's memory as a flat array; bfloat16 as uint16."""
    flat = tensor.detach().view(-1)
    return flat.view(torch.int16).numpy().view(np.uint16) if flat.dtype == torch.bfloat16 else flat.numpy()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gate")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of its parent's threads
