"""The encoder: a stack of strided 1-D convolutions over the raw waveform."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.model.convolution import convolve_each, convolve_gelu

INPUT_SCALE = 20.0
"""Factor that brings speech at -26 dBFS RMS to unit variance, which the initial weights expect."""


class Encoder(nn.Module):
    """Strided convolutions down to the frame rate, then residual convolutions that give each frame context.

    Only the waveform is padded with zeros, no convolution is. So frame `n` is a function of
    `wav[n * hop_length - left : (n + 1) * hop_length + right]` alone, and chunks of a long recording, with this
    context, give the same frames as the whole.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        context_layers: int,
        context_kernel: int,
        latent_dim: int,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernels) == len(strides):
            raise ValueError(
                f"channels, kernels and strides must be equally long, not {len(channels)}, {len(kernels)} and "
                f"{len(strides)}; give one of each for every layer"
            )
        self.hop_length = math.prod(strides)
        receptive_field, step = 1, 1
        for kernel, stride in zip(kernels, strides, strict=True):
            receptive_field += (kernel - 1) * step
            step *= stride
        receptive_field += context_layers * (context_kernel - 1) * step
        self.lead = context_layers * (context_kernel // 2)  # frames of context before the first frame
        if receptive_field < self.hop_length:
            raise ValueError(
                f"the receptive field ({receptive_field} samples) must cover a hop ({self.hop_length} samples); "
                "use longer kernels"
            )
        self.receptive_field = receptive_field
        self.left = (receptive_field - self.hop_length) // 2
        self.right = receptive_field - self.hop_length - self.left
        sizes = [1, *channels]
        strided = [nn.Conv1d(sizes[i], sizes[i + 1], kernels[i], strides[i]) for i in range(len(channels))]
        for conv in strided:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        self.strided = nn.ModuleList(strided)
        self.context = nn.ModuleList(ContextLayer(channels[-1], context_kernel) for _ in range(context_layers))
        self.project = nn.Conv1d(channels[-1], latent_dim, 1)

    def num_frames(self, num_samples: int) -> int:
        """Return the number of frames of a waveform: N = ceil(T / hop_length)."""
        return -(-num_samples // self.hop_length)

    def forward(self, wav: Tensor) -> Tensor:
        """Return `z` (B, D, N) of `wav` (B, T), N = `num_frames(T)`."""
        end = self.num_frames(wav.shape[1]) * self.hop_length - wav.shape[1]
        return self.frames(F.pad(wav, (self.left, end + self.right)))

    def frames(self, padded: Tensor) -> Tensor:
        """Return `z` (B, D, N) of `padded` (B, left + N * hop_length + right), whose context is already there.

        Each vector of `z` has zero mean and unit variance over D, which fixes the scale of the codebook.
        """
        (B, T), hop = padded.shape, self.hop_length
        N = (T - self.left - self.right) // hop
        # All segments are one sequence of rows. The rows at the ends of a segment, which mix two of them, are dropped.
        rows = F.pad(padded, (0, -T % hop)).view(-1, 1) * INPUT_SCALE
        for conv in self.strided:
            assert isinstance(conv, nn.Conv1d)
            rows = convolve_gelu(rows, conv)
        for layer in self.context:
            rows = layer(rows)
        z = F.linear(rows, self.project.weight.squeeze(2), self.project.bias)
        z = z.unflatten(0, (B, -1))[:, self.lead : self.lead + N]
        return F.layer_norm(z.float(), z.shape[-1:]).transpose(1, 2)


class ContextLayer(nn.Module):
    """A residual depthwise-separable convolution over normalised channels at frame rate, centred on its frame."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"context_kernel must be odd, not {kernel}; add or take 1, so that it has a centre")
        self.norm = nn.LayerNorm(channels)
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.pointwise = nn.Conv1d(channels, channels, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (rows, C) of (rows, C)."""
        return rows + convolve_gelu(convolve_each(self.norm(rows), self.depthwise), self.pointwise)


__all__ = ["Encoder"]
