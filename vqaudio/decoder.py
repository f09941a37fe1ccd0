"""The decoder: a conditioner at frame rate and a WaveNet over mu-law samples.

WaveNet is that of van den Oord et al., "WaveNet: A Generative Model for Raw Audio" (2016), sections 2.1 to 2.5, in
(B, T, C) layout: on a CPU its convolutions are matrix products.
"""

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

    def forward(self, previous: Tensor, condition: Tensor) -> Tensor:
        """Return logits (B, T, Q) of each sample given those before it (teacher forcing).

        ``previous`` (B, T) holds mu-law levels, the sample before each predicted one: ``shift(codes)``. ``condition``
        (B, C, N) holds at each frame for T / N samples. Samples before the first count as zero activations.
        """
        B, T = previous.shape
        N = condition.shape[2]
        if T % N:
            raise ValueError(f"{T} samples do not divide into {N} frames of condition")
        conditions = self.condition(condition.transpose(1, 2)).unsqueeze(2)  # (B, N, 1, layers * gate)
        x = F.embedding(previous, self.embedding.weight.to(conditions.dtype))
        skips: Tensor | None = None
        for i, dilation in enumerate(self.dilations):
            y = self._dilated(i, x, dilation).view(B, N, T // N, self.gate)
            a, b = (
                (y + conditions[..., i * self.gate : (i + 1) * self.gate])
                .view(B, T, self.gate)
                .chunk(2, dim=2)
            )
            update = self.out[i](torch.tanh(a) * torch.sigmoid(b))
            x = x + update[..., : self.residual]
            skip = update[..., self.residual :]
            skips = skip if skips is None else skips + skip
        assert skips is not None
        skips = skips * len(self.dilations) ** -0.5
        return self.logits(F.relu(self.head(F.relu(skips))))

    def _dilated(self, i: int, x: Tensor, dilation: int) -> Tensor:
        """Convolve (B, T, R) causally into (B, T, gate): one matrix product a tap."""
        weight = self.dilated[i].weight  # (gate, kernel * R), oldest tap first
        R = self.residual
        y = F.linear(x, weight[:, (self.kernel - 1) * R :])
        for tap in range(self.kernel - 1):
            delay = (self.kernel - 1 - tap) * dilation
            if delay < x.shape[1]:
                past = F.linear(x[:, :-delay], weight[:, tap * R : (tap + 1) * R])
                y = torch.cat([y[:, :delay], y[:, delay:] + past], dim=1)
        return y


def shift(codes: Tensor) -> Tensor:
    """Return the sample before each of ``codes`` (B, T); silence stands before the first."""
    return F.pad(codes[:, :-1], (1, 0), value=SILENCE)
