"""Strided convolutions over rows of channels as plain matrix products, with GELU, and with a backward of their own.

`stride` rows that lie side by side in memory are one long row. A convolution whose kernel is twice its stride is then
the sum of two matrix products, the second one over rows that begin one later: nothing is unfolded or padded.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.model.loops.gelu import gelu_backward, gelu_forward


def convolve_gelu(rows: Tensor, conv: nn.Conv1d) -> Tensor:
    """Return gelu(`conv`) of a sequence of `rows` (L, C), into (L / stride, C'); L is a multiple of the stride.

    Row n of the result is that of a kernel which begins at row n * stride. Kernels that reach past the end give rows of
    no meaning. GELU is the tanh approximation (Hendrycks and Gimpel, "Gaussian Error Linear Units", section 2).
    """
    (stride,), (kernel,) = conv.stride, conv.kernel_size
    assert conv.bias is not None
    kind = rows.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype
    rows, weight, bias = rows.to(dtype), conv.weight.to(dtype), conv.bias.to(dtype)
    if conv.in_channels == 1:
        # Rows of so few numbers are not worth the calls: unfolded, one product does.
        wav = F.pad(rows.flatten(), (0, max(0, kernel - stride)))
        windows = wav.unfold(0, kernel, stride)[: len(rows) // stride].contiguous()
        return _ConvolveGelu.apply(windows, weight.transpose(0, 1), bias)
    taps = F.pad(weight, (0, -kernel % stride)).unflatten(2, (-1, stride))  # (C', C, taps, stride)
    taps = taps.permute(2, 0, 3, 1).flatten(2)
    return _ConvolveGelu.apply(rows.reshape(len(rows) // stride, -1), taps, bias)


class _ConvolveGelu(torch.autograd.Function):
    """`rows` (L, C), `taps` (taps, C', C) and `bias` (C',) to (L, C'): tap k reads the row k later."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        y = torch.addmm(bias, rows, taps[0].t())
        for k in range(1, min(len(taps), len(rows))):
            y[:-k].addmm_(rows[k:], taps[k].t())
        ctx.save_for_backward(rows, taps, y)
        return gelu_forward(y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        rows, taps, y = ctx.saved_tensors
        grad_y = gelu_backward(grad.contiguous(), y)
        grad_rows = grad_y @ taps[0] if ctx.needs_input_grad[0] else None
        grad_taps = torch.zeros_like(taps)
        for k in range(min(len(taps), len(rows))):
            late, early = rows[k:], grad_y[: len(rows) - k]
            torch.mm(early.t(), late, out=grad_taps[k])
            if grad_rows is not None and k:
                grad_rows[k:].addmm_(early, taps[k])
        return grad_rows, grad_taps, grad_y.sum(0)
