"""The Gumbel-softmax draw with its gradient, piece by piece: what it computes (rows, K) stays in the cache."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vqaudio.model.clustering import rows_at_once


class Draw(NamedTuple):
    """Codewords `words` (G, M, d), their `codes` (G, M), `likeliest` codes (G, M), `mean` softmax (G, K)."""

    words: Tensor
    codes: Tensor
    likeliest: Tensor
    mean: Tensor


def gumbel_draw(
    z: Tensor, weight: Tensor, bias: Tensor, codebook: Tensor, *, temperature: float, share: Tensor
) -> Draw:
    """Draw a codeword for each row of `z` (G, M, d) from softmax((logits + Gumbel noise) / temperature).

    Logits are `z` times `weight` (G, K, d) plus `bias` (G, K). The codeword is one of `codebook` (G, K, d), the
    gradient to the logits is that of the softmax times the codebook (straight through, Jang et al. 2017), the one to
    the codebook goes to the codeword drawn. `mean` is the sum over M of `share` (M,) times softmax(logits).
    """
    with torch.autocast(z.device.type, enabled=False):
        return Draw(*_GumbelDraw.apply(z, weight, bias, codebook, temperature, share))


class _GumbelDraw(torch.autograd.Function):
    """Autograd through single operations would keep and pass over ten arrays of (G, M, K); here there is one."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, weight: Tensor, bias: Tensor, codebook: Tensor, temperature: float, share: Tensor
    ) -> tuple[Tensor, ...]:
        G, M, _ = z.shape
        K = bias.shape[1]
        soft = z.new_empty(G, M, K)
        likeliest, codes = (torch.empty(G, M, dtype=torch.long, device=z.device) for _ in range(2))
        mean = torch.zeros_like(bias)
        for g, rows in _pieces(soft):
            logits = torch.addmm(bias[g], z[g, rows], weight[g].T)
            likeliest[g, rows] = logits.max(1).indices  # max is twice as fast as argmax
            mean[g].addmv_(torch.softmax(logits, 1).T, share[rows])
            # exponential_() would be several times slower than what these uniforms need.
            exponential = torch.rand_like(logits).log_().neg_()
            logits.sub_(exponential.log_()).div_(temperature)
            codes[g, rows] = logits.max(1).indices
            torch.softmax(logits, 1, out=soft[g, rows])
        words = torch.stack([book[chosen] for book, chosen in zip(codebook, codes, strict=True)])
        ctx.save_for_backward(z, weight, bias, codebook, share, soft, codes)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(codes, likeliest)
        return words, codes, likeliest, mean

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_words: Tensor, _codes: Tensor, _likeliest: Tensor, grad_mean: Tensor
    ) -> tuple[Tensor | None, ...]:
        z, weight, bias, codebook, share, soft, codes = ctx.saved_tensors
        grad_z = torch.empty_like(z)
        grad_weight, grad_bias, grad_codebook = (torch.zeros_like(x) for x in (weight, bias, codebook))
        for g, rows in _pieces(soft):
            grad = torch.mm(grad_words[g, rows], codebook[g].T)
            grad = _through_softmax(grad, soft[g, rows]).div_(ctx.temperature)
            # New memory costs more than the softmax of the logits again, so that only the sample's is kept.
            probabilities = torch.addmm(bias[g], z[g, rows], weight[g].T).softmax(1)
            by_mean = _through_softmax(grad_mean[g].expand_as(grad), probabilities)
            grad.addcmul_(by_mean, share[rows].unsqueeze(1))
            torch.mm(grad, weight[g], out=grad_z[g, rows])
            grad_weight[g].addmm_(grad.T, z[g, rows])
            grad_bias[g] += grad.sum(0)
        for g in range(len(z)):
            grad_codebook[g].index_add_(0, codes[g], grad_words[g])
        return grad_z, grad_weight, grad_bias, grad_codebook, None, None


def _pieces(scores: Tensor) -> Iterator[tuple[int, slice]]:
    """Cut (G, M, K) into groups and slices of M."""
    G, M, K = scores.shape
    step = rows_at_once(K, scores.device)
    return ((g, slice(start, min(start + step, M))) for g in range(G) for start in range(0, M, step))


def _through_softmax(grad: Tensor, p: Tensor) -> Tensor:
    """Return the gradient to the logits (M, K) of the one `grad` to their softmax `p`."""
    product = grad * p
    return product.addcmul_(p, product.sum(1, keepdim=True), value=-1)


__all__ = ["Draw", "gumbel_draw"]
