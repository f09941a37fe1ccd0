"""The WaveNet's gated activation and its backward, each in one pass over memory.

    a, b = split(y + condition);  h = tanh(a) * sigmoid(b)

Rows are (T * B), time first, as in `vqaudio.model.decoder`. On a CPU, float32 and bfloat16 use compiled loops over
frames; all else uses `forward_reference` and `backward_reference`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vqaudio.model.loops.threads import flat, has_loops, in_threads


def gate_forward(y: Tensor, condition: Tensor, h: Tensor) -> None:
    """Fill `h` (T * B, H), and replace `y` (T * B, 2 H) by tanh(a) and sigmoid(b), which the backward needs.

    Each frame of `condition` (N, B, 2 H) applies to T / N rows of every utterance.
    """
    if not has_loops(y):
        return forward_reference(y, condition, h)
    from vqaudio.model.loops import gate_kernel

    return _over_frames(gate_kernel.gate_forward, condition.shape, y, condition, h)


def gate_backward(grad_h: Tensor, activated: Tensor, grad_y: Tensor, grad_condition: Tensor) -> None:
    """Fill `grad_y` (T * B, 2 H) and `grad_condition` (N, B, 2 H), and replace `grad_h` by `h`.

    `activated` is `y` after `gate_forward`. The gradient of the condition is float32 even for bfloat16.
    """
    if not has_loops(grad_h):
        return backward_reference(grad_h, activated, grad_y, grad_condition)
    from vqaudio.model.loops import gate_kernel

    return _over_frames(gate_kernel.gate_backward, grad_condition.shape, grad_h, activated, grad_y, grad_condition)


def forward_reference(y: Tensor, condition: Tensor, h: Tensor) -> None:
    """Do what `gate_forward` does in plain PyTorch."""
    N, B, channels = condition.shape
    y.view(N, -1, B, channels).add_(condition.unsqueeze(1))
    a, b = y.chunk(2, dim=1)
    torch.mul(a.tanh_(), b.sigmoid_(), out=h)


def backward_reference(grad_h: Tensor, activated: Tensor, grad_y: Tensor, grad_condition: Tensor) -> None:
    """Do what `gate_backward` does in plain PyTorch."""
    (N, B, channels), dtype = grad_condition.shape, grad_condition.dtype
    (a, b), (grad_a, grad_b) = activated.chunk(2, dim=1), grad_y.chunk(2, dim=1)
    torch.ops.aten.tanh_backward.grad_input(grad_h * b, a, grad_input=grad_a)
    torch.ops.aten.sigmoid_backward.grad_input(grad_h * a, b, grad_input=grad_b)
    torch.sum(grad_y.view(N, -1, B, channels), 1, dtype=dtype, out=grad_condition)
    torch.mul(a, b, out=grad_h)


def _over_frames(loop: Callable[..., None], condition: torch.Size, *rows: Tensor) -> None:
    N, B, channels = condition
    in_threads(loop, N, *map(flat, rows), rows[0].shape[0] // (N * B), B, channels // 2)
