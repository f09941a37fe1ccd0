"""The decoder: a conditioner at frame rate and a WaveNet over mu-law samples.

WaveNet is that of van den Oord et al., "WaveNet: A Generative Model for Raw Audio" (2016), sections 2.1 to 2.5, in
(T, B, C) layout, where its dilated convolutions are plain matrix products.
"""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SILENCE = 128
"""The mu-law level of a zero sample among 256: what the decoder hears before the first sample."""


class Conditioner(nn.Module):
    """Turns ``z_q`` and a speaker into the condition that the WaveNet and the mel head read, at frame rate."""

    def __init__(self, *, latent_dim: int, channels: int, layers: int, kernel: int, speakers: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(latent_dim, channels, 1)
        self.speaker = nn.Embedding(speakers, channels)
        nn.init.normal_(self.speaker.weight, std=0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in range(layers)
        )

    def forward(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """Map ``z_q`` (B, D, N) and ``speaker`` (B,) to the condition (B, C, N)."""
        x = self.project(z_q) + self.speaker(speaker).unsqueeze(2)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = norm(x.transpose(1, 2)).transpose(1, 2)
            x = x + F.gelu(conv(y), approximate="tanh")
        return x


class WaveNet(nn.Module):
    """Causal dilated gated convolutions with residual and skip paths and a categorical output over mu-law levels.

    Layer ``i`` has dilation ``2 ** (i % cycle)``. With ``x`` the residual stream, ``c`` the condition of the frame:

        a, b = split(sum_j W_j x[t - (kernel - 1 - j) * dilation] + V c + v);  h = tanh(a) * sigmoid(b)
        residual, skip = split(U h + u);  x <- x + residual
    """

    def __init__(
        self,
        *,
        levels: int,
        layers: int,
        cycle: int,
        kernel: int,
        residual: int,
        gate: int,
        skip: int,
        condition: int,
    ) -> None:
        super().__init__()
        if gate % 2:
            raise ValueError(f"gate is split into two halves and must be even, not {gate}")
        self.levels, self.kernel, self.residual, self.gate, self.skip = levels, kernel, residual, gate, skip
        self.dilations = [2 ** (i % cycle) for i in range(layers)]
        self.receptive_field = 1 + (kernel - 1) * sum(self.dilations)
        self.embedding = nn.Embedding(levels, residual)
        # One projection serves all layers; its bias is the layers' bias. Once per frame, never per sample.
        self.condition = nn.Linear(condition, layers * gate)
        self.dilated = nn.ModuleList(nn.Linear(kernel * residual, gate, bias=False) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(gate // 2, residual + skip) for _ in range(layers))
        self.head = nn.Linear(skip, skip)
        self.logits = nn.Linear(skip, levels)
        smooth_rows(self.embedding.weight, std=1.0)
        smooth_rows(self.logits.weight, std=skip**-0.5)

    def forward(self, previous: Tensor, condition: Tensor) -> Tensor:
        """Return logits (B, T, Q) of each sample given those before it (teacher forcing).

        ``previous`` (B, T) holds mu-law levels, the sample before each predicted one: ``shift(codes)``. ``condition``
        (B, C, N) holds at each frame for T / N samples. Samples before the first count as zero activations.
        """
        B, T = previous.shape
        N = condition.shape[2]
        if T % N:
            raise ValueError(f"{T} samples do not divide into {N} frames of condition")
        # Time comes first: a delay of d samples is then a plain offset of d * B rows, and nothing is ever copied.
        conditions = self.condition(condition.permute(2, 0, 1))  # (N, B, layers * gate)
        dtype = conditions.dtype
        x = F.embedding(previous.t().reshape(-1), self.embedding.weight.to(dtype))  # (T * B, R)
        skips = x.new_zeros(T * B, self.skip)
        for i, dilation in enumerate(self.dilations):
            out = cast(nn.Linear, self.out[i])
            x, skips = _Layer.apply(
                x,
                skips,
                conditions[:, :, i * self.gate : (i + 1) * self.gate],
                self.dilated[i].weight.to(dtype),
                out.weight.to(dtype),
                out.bias[: self.residual].to(dtype),
                dilation * B,
            )
        bias = torch.stack([cast(nn.Linear, out).bias[self.residual :] for out in self.out]).sum(0)
        skips = (skips + bias.to(dtype)) * len(self.dilations) ** -0.5
        logits = self.logits(F.relu(self.head(F.relu(skips))))
        return logits.view(T, B, self.levels).transpose(0, 1)


class _Layer(torch.autograd.Function):
    """One layer of the WaveNet on rows (T * B), with a backward that copies and pads nothing.

    Plain autograd spends most of a training step on the zeros, copies and sums that slices leave behind.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        skips: Tensor,
        condition: Tensor,
        dilated: Tensor,
        out: Tensor,
        bias: Tensor,
        delay: int,
    ) -> tuple[Tensor, Tensor]:
        """Map ``x`` (T * B, R) to the next layer's, and add this layer's part to ``skips`` (T * B, S) in place.

        ``condition`` (N, B, gate); ``dilated`` (gate, kernel * R), oldest tap first; ``out`` (R + S, gate / 2);
        ``bias`` (R,) of the residual path; ``delay`` is the dilation in rows.
        """
        R, (N, B, G) = x.shape[1], condition.shape
        kernel = dilated.shape[1] // R
        y = x @ dilated[:, -R:].t()
        for rows, tap in _taps(kernel, delay, len(x)):
            y[rows:].addmm_(x[: len(x) - rows], dilated[:, tap * R : (tap + 1) * R].t())
        y.view(N, -1, B, G).add_(condition.unsqueeze(1))
        a, b = y[:, : G // 2].tanh(), y[:, G // 2 :].sigmoid()
        h = a * b
        skips.addmm_(h, out[R:].t())
        ctx.mark_dirty(skips)
        ctx.save_for_backward(x, a, b, dilated, out)
        ctx.delay, ctx.frames, ctx.kernel = delay, (N, B), kernel
        return torch.addmm(bias, h, out[:R].t()).add_(x), skips

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_x: Tensor, grad_skips: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of ``forward``'s tensors."""
        x, a, b, dilated, out = ctx.saved_tensors
        R, H = x.shape[1], a.shape[1]
        N, B = ctx.frames
        h = a * b
        grad_out = torch.cat([grad_x.t() @ h, grad_skips.t() @ h])
        grad_h = (grad_x @ out[:R]).addmm_(grad_skips, out[R:])
        grad_y = torch.empty(len(x), 2 * H, dtype=x.dtype, device=x.device)
        torch.ops.aten.tanh_backward.grad_input(grad_h * b, a, grad_input=grad_y[:, :H])
        torch.ops.aten.sigmoid_backward.grad_input(grad_h * a, b, grad_input=grad_y[:, H:])
        grad_condition = grad_y.view(N, -1, B, 2 * H).sum(1)
        grad_input = torch.addmm(grad_x, grad_y, dilated[:, -R:])
        grad_dilated = torch.zeros_like(dilated)
        grad_dilated[:, -R:] = grad_y.t() @ x
        for rows, tap in _taps(ctx.kernel, ctx.delay, len(x)):
            columns = slice(tap * R, (tap + 1) * R)
            grad_input[: len(x) - rows].addmm_(grad_y[rows:], dilated[:, columns])
            grad_dilated[:, columns] = grad_y[rows:].t() @ x[: len(x) - rows]
        return grad_input, grad_skips, grad_condition, grad_dilated, grad_out, grad_x.sum(0), None


def _taps(kernel: int, delay: int, rows: int) -> list[tuple[int, int]]:
    """Return (offset in rows, index) of the delayed taps that reach into a sequence of ``rows`` rows."""
    return [((kernel - 1 - tap) * delay, tap) for tap in range(kernel - 1) if (kernel - 1 - tap) * delay < rows]


@torch.no_grad()
def smooth_rows(weight: Tensor, std: float, waves: int = 16) -> None:
    """Fill ``weight`` (Q, channels) at random, with rows that change slowly from level to level.

    Neighbouring levels are neighbouring amplitudes; a network that starts out knowing so needs far fewer steps.
    """
    levels = (torch.arange(len(weight)) + 0.5) / len(weight)
    order = torch.arange(1, waves + 1)
    basis = torch.cos(math.pi * levels.unsqueeze(1) * order) / order  # (Q, waves)
    rows = basis @ torch.randn(waves, weight.shape[1])
    weight.copy_(std * rows / rows.std())


def shift(codes: Tensor) -> Tensor:
    """Return the sample before each of ``codes`` (B, T); silence stands before the first."""
    return F.pad(codes[:, :-1], (1, 0), value=SILENCE)
