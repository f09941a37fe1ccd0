"""What a model has that speaks units of other tools: codewords for them, no encoder, and perhaps their durations.

`GivenUnits` stands where a quantizer would be, `NoEncoder` where the encoder would be.
"""

import math
from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.errors import UserError
from vqaudio.model.quantizer import Quantizer
from vqaudio.model.shaping import Shaper

CHANNELS, LAYERS, KERNEL = 128, 2, 5
"""Sizes of the network that predicts durations."""

MAX_DURATION = 1000.0
"""Longest predicted duration in frames, so that no network can ask for endless speech."""

FIRST_DURATION = 3.0
"""Frames that an untrained network predicts for every unit."""


class GivenUnits(Quantizer):
    """Codewords (G, K, d) of units that come from elsewhere: looked up, and learnt with what speaks them."""

    def __init__(self, *, codebook_size: int, groups: int, latent_dim: int) -> None:
        super().__init__(codebook_size=codebook_size, groups=groups, shared=False, latent_dim=latent_dim)
        self.codebook = nn.Parameter(torch.randn(groups, codebook_size, latent_dim // groups))
        self.initialised.fill_(True)


class NoEncoder(nn.Module):
    """Frames without an encoder; the context around a segment (`left`, `right`) is what log-mel of its ends needs."""

    receptive_field = 0  # samples

    def __init__(self, shaper: Shaper) -> None:
        super().__init__()
        self.hop_length, self.left = shaper.hop, shaper.margin
        self.right = shaper.size - shaper.hop - shaper.margin

    def num_frames(self, num_samples: int) -> int:
        """Return the number of frames of a waveform: N = ceil(T / hop_length)."""
        return -(-num_samples // self.hop_length)

    def forward(self, *_: Tensor) -> NoReturn:
        """Raise UserError in place of making latents."""
        raise UserError("the model speaks units of another model and has no encoder; make units with that model")

    frames = forward


class DurationPredictor(nn.Module):
    """Predicts how long each of merged units lasts, from its neighbours and the speaker, by convolutions.

    Source of the idea: Lee et al., "Direct speech-to-speech translation with discrete units" (2022), section 3.2. The
    loss here makes it the mean duration, so that speech becomes as long as it was.
    """

    def __init__(self, *, latent_dim: int, speakers: int) -> None:
        super().__init__()
        self.project = nn.Linear(latent_dim, CHANNELS)
        self.speaker = nn.Embedding(speakers, CHANNELS)
        nn.init.normal_(self.speaker.weight, std=0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(CHANNELS) for _ in range(LAYERS + 1))
        self.convs = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, KERNEL, padding=KERNEL // 2) for _ in range(LAYERS))
        self.out = nn.Linear(CHANNELS, 1)
        nn.init.constant_(self.out.bias, math.log(FIRST_DURATION))

    def forward(self, z_q: Tensor, speaker: Tensor, inside: Tensor) -> Tensor:
        """Return log durations (B, U), in frames, of codewords `z_q` (B, D, U) of units spoken by `speaker` (B,).

        `inside` (B, U) is false behind the last unit of an utterance.
        """
        x = self.project(z_q.transpose(1, 2)) + self.speaker(speaker).unsqueeze(1)
        for norm, conv in zip(self.norms, self.convs, strict=False):  # the last norm is that of the output
            rows = norm(x) * inside.unsqueeze(2)
            x = x + F.gelu(conv(rows.transpose(1, 2)).transpose(1, 2))
        return self.out(self.norms[-1](x)).squeeze(2)

    def loss(self, z_q: Tensor, speaker: Tensor, durations: Tensor) -> Tensor:
        """Return the deviance (nats a frame) of `durations` (B, U) from Poisson distributions; 0 are no units.

        It is least, 0, when each predicted mean is the duration. It teaches the predictor alone, not the codewords.
        """
        inside = durations > 0
        log_mean = self(z_q.detach(), speaker, inside).float()
        d = durations.clamp_min(1).float()
        deviance = log_mean.exp() - d + d * (d.log() - log_mean)
        return (deviance * inside).sum() / durations.sum().clamp_min(1)

    def predict(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """Return durations (U,), whole frames of at least 1, of the codewords `z_q` (1, D, U) of an utterance.

        The ends of units are rounded rather than their durations, so that errors do not add up.
        """
        log_mean = self(z_q, speaker, z_q.new_ones(1, z_q.shape[2], dtype=torch.bool))[0].double()
        ends = log_mean.clamp(max=math.log(MAX_DURATION)).exp().cumsum(0).round()
        return ends.diff(prepend=ends.new_zeros(1)).clamp_min(1).long()


__all__ = ["DurationPredictor", "GivenUnits", "NoEncoder"]
