"""The decoder: a conditioner at frame rate and a WaveNet over mu-law codes of frequency bands.

WaveNet is that of van den Oord et al., "WaveNet: A Generative Model for Raw Audio" (2016), sections 2.1 to 2.5, in
(T, B, C) layout, where dilated convolutions are plain matrix products.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.model.convolution import convolve_gelu
from vqaudio.model.loops.gate import gate_backward, gate_forward


class Conditioner(nn.Module):
    """Turns `z_q` and a speaker into the condition of the WaveNet and the mel head, at frame rate."""

    def __init__(self, *, latent_dim: int, channels: int, layers: int, kernel: int, speakers: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(
                f"kernel must be odd, not {kernel}; add or take 1, so that it reaches equally far both ways"
            )
        self.side = kernel // 2
        self.context = layers * self.side  # frames on each side that a frame depends on
        self.project = nn.Conv1d(latent_dim, channels, 1)
        self.speaker = nn.Embedding(speakers, channels)
        nn.init.normal_(self.speaker.weight, std=0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))
        self.convs = nn.ModuleList(nn.Conv1d(channels, channels, kernel) for _ in range(layers))

    def forward(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """Map `z_q` (B, D, N) and `speaker` (B,) to the condition (B, C, N)."""
        x = (self.project(z_q) + self.speaker(speaker).unsqueeze(2)).transpose(1, 2)
        B, N, _ = x.shape
        for norm, conv in zip(self.norms, self.convs, strict=True):
            assert isinstance(conv, nn.Conv1d)
            rows = F.pad(norm(x), (0, 0, self.side, self.side)).flatten(0, 1)
            x = x + convolve_gelu(rows, conv).unflatten(0, (B, -1))[:, :N]
        return x.transpose(1, 2)


class WaveNet(nn.Module):
    """Causal dilated gated convolutions with residual and skip paths and a categorical output over mu-law levels.

    A step reads and predicts the level of each of M bands (see `vqaudio.model.bands`): their embeddings are summed, and
    their outputs do not depend on one another.

    Layer `i` has dilation `2 ** (i % cycle)`. With `x` the residual stream and `c` the condition of the frame:

        a, b = split(sum_j W_j x[t - (kernel - 1 - j) * dilation] + V c + v);  h = tanh(a) * sigmoid(b)
        residual, skip = split(U h + u);  x <- x + residual
    """

    first_rows: Tensor

    def __init__(
        self,
        *,
        bands: int,
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
            raise ValueError(f"gate must be even, not {gate}; add or take 1, because it is split into two halves")
        self.bands, self.levels, self.kernel = bands, levels, kernel
        self.residual, self.gate, self.skip = residual, gate, skip
        self.silence = levels // 2  # the mu-law level of a zero sample, which comes before the first one
        self.dilations = [2 ** (i % cycle) for i in range(layers)]
        self.receptive_field = 1 + (kernel - 1) * sum(self.dilations)
        self.embedding = nn.Embedding(bands * levels, residual)  # row m * levels + q is level q of band m
        # One projection for all layers, computed once per frame and never per sample; its bias is the layers' bias.
        self.condition = nn.Linear(condition, layers * gate)
        self.dilated = nn.ModuleList(nn.Linear(kernel * residual, gate, bias=False) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(gate // 2, residual + skip) for _ in range(layers))
        self.head = nn.Linear(skip, skip)
        self.logits = nn.Linear(skip, bands * levels)
        self.register_buffer("first_rows", levels * torch.arange(bands), persistent=False)
        for band in range(bands):
            rows = slice(band * levels, (band + 1) * levels)
            smooth_rows(self.embedding.weight[rows], std=bands**-0.5)
            smooth_rows(self.logits.weight[rows], std=skip**-0.5)

    def forward(self, previous: Tensor, condition: Tensor) -> Tensor:
        """Return logits (B, S, M, Q) of each step given those before it (teacher forcing).

        `previous` (B, S, M) holds the mu-law levels before each predicted step: `shift(codes)`. Each frame of
        `condition` (B, C, N) applies to S / N steps. Activations before the first step are zeros.

        Raises:
            ValueError: S is not a multiple of N.
        """
        B, S, _ = previous.shape
        N = condition.shape[2]
        if S % N:
            raise ValueError(f"{S} steps do not divide into {N} frames of condition")
        # Time comes first: a delay of d steps is then an offset of d * B rows, and nothing is copied.
        conditions = self.condition(condition.permute(2, 0, 1))  # (N, B, layers * gate)
        layers = len(self.dilations)
        skips = _Layers.apply(
            self.embed(previous.transpose(0, 1).flatten(0, 1)).to(conditions.dtype),
            conditions.view(N, B, layers, self.gate).permute(2, 0, 1, 3).contiguous(),
            [dilation * B for dilation in self.dilations],
            torch.is_grad_enabled(),
            *[linear.weight for linear in self.dilated],
            *[linear.weight for linear in self.out],
            *[linear.bias for linear in self.out],
        )
        # The small matrix takes the scale of the mean over layers: relu(s x) = s relu(x).
        hidden = F.linear(F.relu_(skips), self.head.weight * layers**-0.5, self.head.bias)
        return self.logits(F.relu_(hidden)).view(S, B, self.bands, self.levels).transpose(0, 1)

    def embed(self, levels: Tensor) -> Tensor:
        """Return the sum (rows, R) of the embeddings of the levels (rows, M) of all bands."""
        return F.embedding_bag(levels + self.first_rows, self.embedding.weight, mode="sum")

    def shift(self, codes: Tensor) -> Tensor:
        """Return the levels before each step of `codes` (B, S, M): silence before the first one."""
        return F.pad(codes[:, :-1], (0, 0, 1, 0), value=self.silence)


class _Layers(torch.autograd.Function):
    """All layers on rows (T * B), with a backward that copies and pads nothing and reuses its memory.

    Plain autograd spends most of a training step on the zeros, copies and sums that slicing causes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, conditions: Tensor, delays: list[int], training: bool, *parameters: Tensor
    ) -> Tensor:
        """Return the sum of the layers' skips (T * B, S).

        Args:
            ctx: keeps what `backward` needs.
            x: (T * B, R), the embedded levels of T steps.
            conditions: (layers, N, B, gate).
            delays: the dilations in rows.
            training: whether to keep what `backward` needs.
            parameters: each layer's dilated weight (gate, kernel * R), oldest tap first; then each layer's output
                weight (R + S, gate / 2); then each layer's output bias (R + S,).
        """
        layers, R = len(delays), x.shape[1]
        weights = [parameter.to(x.dtype) for parameter in parameters]
        dilated, out, biases = weights[:layers], weights[layers : 2 * layers], weights[2 * layers :]
        skips = torch.stack(biases)[:, R:].sum(0).repeat(len(x), 1)
        h = x.new_empty(len(x), conditions.shape[3] // 2)
        saved = []
        for i, delay in enumerate(delays):
            y = x @ dilated[i][:, -R:].t()
            for rows, columns in _taps(dilated[i], delay, x)[1:]:
                y[rows:].addmm_(x[: len(x) - rows], dilated[i][:, columns].t())
            gate_forward(y, conditions[i], h)
            if training:
                saved += [x, y]
            skips.addmm_(h, out[i][R:].t())
            x = torch.addmm(biases[i][:R], h, out[i][:R].t()).add_(x)
        ctx.save_for_backward(*saved, *dilated, *out)
        ctx.delays, ctx.condition_shape = delays, conditions.shape
        return skips

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_skips: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `forward`'s tensors; autograd casts them to the parameters' type."""
        saved, layers = ctx.saved_tensors, len(ctx.delays)
        dilated, out = saved[2 * layers : 3 * layers], saved[3 * layers :]
        R, sum_type = saved[0].shape[1], torch.promote_types(grad_skips.dtype, torch.float32)
        grad_conditions = grad_skips.new_empty(ctx.condition_shape, dtype=sum_type)
        grad_dilated = [torch.zeros_like(weight) for weight in dilated]
        grad_out, grad_biases = [], []
        grad_x, grad_y = torch.zeros_like(saved[0]), torch.empty_like(saved[1])
        grad_h = grad_skips.new_empty(len(grad_skips), grad_y.shape[1] // 2)
        skip_bias = grad_skips.sum(0)
        for i in reversed(range(layers)):
            x, activated = saved[2 * i : 2 * i + 2]
            torch.mm(grad_skips, out[i][R:], out=grad_h).addmm_(grad_x, out[i][:R])
            gate_backward(grad_h, activated, grad_y, grad_conditions[i])
            h = grad_h
            grad_out.append(torch.cat([grad_x.t() @ h, grad_skips.t() @ h]))
            grad_biases.append(torch.cat([grad_x.sum(0), skip_bias]))
            for rows, columns in _taps(dilated[i], ctx.delays[i], x):
                late, early = grad_y[rows:], slice(len(x) - rows)
                grad_dilated[i][:, columns] = late.t() @ x[early]
                grad_x[early].addmm_(late, dilated[i][:, columns])
        return grad_x, grad_conditions, None, None, *grad_dilated, *reversed(grad_out), *reversed(grad_biases)


def _taps(dilated: Tensor, delay: int, x: Tensor) -> list[tuple[int, slice]]:
    """Return (offset in rows, columns of the weight) of the taps that reach into the sequence, newest first."""
    R = x.shape[1]
    kernel = dilated.shape[1] // R
    return [(k * delay, slice((kernel - 1 - k) * R, (kernel - k) * R)) for k in range(kernel) if k * delay < len(x)]


@torch.no_grad()
def smooth_rows(weight: Tensor, std: float, waves: int = 16) -> None:
    """Fill `weight` (Q, channels) with random rows that change slowly from level to level.

    Neighbouring levels are neighbouring amplitudes; a network that starts with this knowledge needs far fewer steps.
    """
    levels = (torch.arange(len(weight)) + 0.5) / len(weight)
    order = torch.arange(1, waves + 1)
    basis = torch.cos(math.pi * levels.unsqueeze(1) * order) / order  # (Q, waves)
    rows = basis @ torch.randn(waves, weight.shape[1])
    weight.copy_(std * rows / rows.std())
