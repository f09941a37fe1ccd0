"""The negative log likelihood of codes under logits, without float32 copies of the logits in memory."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.model.loops.threads import flat, has_loops, in_threads


def negative_log_likelihood(logits: Tensor, codes: Tensor) -> Tensor:
    """Return -log softmax(`logits` (B, T, …, Q))[`codes` (B, T, …)] as float32 (B, T, …), in nats.

    Fastest for logits that are time first in memory, as those of `WaveNet` are. On a CPU, float32 and bfloat16 use
    compiled loops; all else uses `F.cross_entropy`.

    Raises:
        IndexError: a code is outside 0 .. Q - 1.
    """
    if not has_loops(logits):
        return F.cross_entropy(logits.flatten(0, -2).float(), codes.flatten(), reduction="none").view_as(codes)
    Q = logits.shape[-1]
    if codes.min() < 0 or codes.max() >= Q:
        raise IndexError(f"codes from {codes.min()} to {codes.max()} do not index {Q} logits")
    rows = logits.transpose(0, 1).contiguous().view(-1, Q)
    codes = codes.transpose(0, 1)
    return _Likelihood.apply(rows, codes.reshape(-1)).view(codes.shape).transpose(0, 1)


class _Likelihood(torch.autograd.Function):
    """Errors (M,) of `logits` (M, Q) and `codes` (M,)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, codes: Tensor) -> Tensor:
        from vqaudio.model.loops import likelihood_kernel

        (M, Q), (log_sums, errors) = logits.shape, logits.new_empty(2, len(logits), dtype=torch.float32)
        in_threads(likelihood_kernel.forward, M, *map(flat, (logits, codes, log_sums, errors)), Q)
        ctx.save_for_backward(logits, codes, log_sums)
        return errors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        from vqaudio.model.loops import likelihood_kernel

        logits, codes, log_sums = ctx.saved_tensors
        out = torch.empty_like(logits)
        arrays = map(flat, (logits, codes, log_sums, grad.contiguous(), out))
        in_threads(likelihood_kernel.backward, *logits.shape[:1], *arrays, logits.shape[1])
        return out, None
