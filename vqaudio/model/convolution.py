"""Strided convolutions over rows of channels as plain matrix products, with GELU and their own backward.

`stride` rows that are adjacent in memory are one long row. A convolution whose kernel is twice its stride is then the
sum of two matrix products, the second of which begins one long row later: nothing is unfolded or padded.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolve_gelu(rows: Tensor, conv: nn.Conv1d) -> Tensor:
    """Return gelu(`conv`) (L / stride, C') of a sequence of `rows` (L, C), whose L is a multiple of the stride.

    The kernel of row n of the result begins at row n * stride. Rows whose kernel reaches past the end are undefined.
    GELU is the tanh approximation.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)" (2016), section 2.
    """
    (stride,), (kernel,) = conv.stride, conv.kernel_size
    assert conv.bias is not None
    kind = rows.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype
    rows, weight, bias = rows.to(dtype), conv.weight.to(dtype), conv.bias.to(dtype)
    if conv.in_channels == 1:
        # Rows of `stride` samples are too short for a product per tap: unfolded, they need one.
        wav = F.pad(rows.flatten(), (0, max(0, kernel - stride)))
        windows = wav.unfold(0, kernel, stride)[: len(rows) // stride].contiguous()
        return _ConvolveGelu.apply(windows, weight.transpose(0, 1), bias)
    taps = F.pad(weight, (0, -kernel % stride)).unflatten(2, (-1, stride))  # (C', C, taps, stride)
    taps = taps.permute(2, 0, 3, 1).flatten(2)
    return _ConvolveGelu.apply(rows.reshape(len(rows) // stride, -1), taps, bias)


def convolve_each(rows: Tensor, conv: nn.Conv1d) -> Tensor:
    """Return the depthwise `conv` (L, C) of a sequence of `rows` (L, C), padded to as many rows; float32."""
    with torch.autocast(rows.device.type, enabled=False):  # 16 bits would be slower: nothing here is a matrix product
        return _ConvolveEach.apply(rows.float(), conv.weight, conv.bias)


class _ConvolveEach(torch.autograd.Function):
    """The depthwise convolution of `rows` (L, C) with `weight` (C, 1, taps), an odd number, and `bias` (C,).

    With the library's backward, training takes five times as long for 15 taps, and 1.6 times as long for 9.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _each(rows, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors
        grad = grad.contiguous()
        taps, side = weight.shape[2], weight.shape[2] // 2
        padded = F.pad(rows, (0, 0, side, side))
        of_taps = [(padded[k : k + len(rows)] * grad).sum(0) for k in range(taps)]
        return _each(grad, weight.flip(2), None), torch.stack(of_taps, dim=1).unsqueeze(1), grad.sum(0)


def _each(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    image = rows.unsqueeze(0).unsqueeze(0).permute(0, 3, 1, 2)  # the layout that libraries are fastest in
    y = F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, weight.shape[2] // 2), groups=len(weight))
    return y.permute(0, 2, 3, 1)[0, 0]


class _ConvolveGelu(torch.autograd.Function):
    """gelu (L, C') of the convolution of `rows` (L, C) with `taps` (taps, C', C) and `bias` (C',).

    Tap k of row n reads row n + k.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        y = torch.addmm(bias, rows, taps[0].t())
        for k in range(1, min(len(taps), len(rows))):
            y[:-k].addmm_(rows[k:], taps[k].t())
        ctx.save_for_backward(rows, taps, y)
        return F.gelu(y, approximate="tanh")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        rows, taps, y = ctx.saved_tensors
        grad_y = torch.ops.aten.gelu_backward(grad, y, approximate="tanh")
        grad_rows = grad_y @ taps[0] if ctx.needs_input_grad[0] else None
        grad_taps = torch.zeros_like(taps)
        for k in range(min(len(taps), len(rows))):
            late, early = rows[k:], grad_y[: len(rows) - k]
            torch.mm(early.t(), late, out=grad_taps[k])
            if grad_rows is not None and k:
                grad_rows[k:].addmm_(early, taps[k])
        return grad_rows, grad_taps, grad_y.sum(0)
