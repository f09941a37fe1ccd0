"""Linear heads that predict clusters of MFCC and log-mel magnitudes, in training only; the model is saved without."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.model.clustering import kmeans, nearest_label

MIN_MAGNITUDE = 1e-5
"""Mel magnitudes below this count as silence."""

MIN_WINDOW_SECONDS = 0.04
"""Shortest window of `mel_targets`."""


class LabelHead(nn.Module):
    """A linear map from latents `z` (B, D, N) to a label of every frame: the cluster of its MFCC.

    MFCC normalised over the utterance say little about voice and microphone, and a window of them says more about the
    phone than one frame does. An encoder that is to name their clusters, also of frames it cannot see, learns phones.

    Source: Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units"
    (2021), section II.
    """

    centroids: Tensor
    started: Tensor

    def __init__(self, latent_dim: int, labels: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_dim, labels)
        self.register_buffer("centroids", torch.zeros(labels, features))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, N, labels) of `z` (B, D, N)."""
        return self.linear(z.transpose(1, 2))

    @torch.no_grad()
    def start(self, features: Tensor, generator: torch.Generator) -> None:
        """Cluster `features` (M, F) by k-means; the clusters are the labels."""
        self.centroids.copy_(kmeans(features, len(self.centroids), generator=generator))
        self.started.fill_(True)

    def labels(self, features: Tensor) -> Tensor:
        """Return the labels (B, N) of `features` (B, N, F)."""
        return nearest_label(features.flatten(0, 1), self.centroids).view(features.shape[:2])


class MelHead(nn.Module):
    """A linear map from the condition (B, C, N) to log-mel magnitudes (B, bins, N)."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, bins)
        nn.init.constant_(self.linear.bias, -5.0)  # about the mean of speech

    def forward(self, condition: Tensor) -> Tensor:
        """Predict log-mel magnitudes (B, bins, N) from the condition (B, C, N)."""
        return self.linear(self.norm(condition.transpose(1, 2))).transpose(1, 2)


@functools.lru_cache
def _mel_filters(sample_rate: int, fft_size: int, bins: int) -> Tensor:
    import torchaudio

    return torchaudio.functional.melscale_fbanks(
        fft_size // 2 + 1, 0.0, sample_rate / 2, bins, sample_rate, norm="slaney", mel_scale="slaney"
    )


def mel_targets(wav: Tensor, *, sample_rate: int, hop_length: int, bins: int) -> Tensor:
    """Return what `MelHead` predicts: log-mel magnitudes (B, bins, N) of `wav` (B, T), T = N * hop_length.

    Natural logarithms; Hann windows centred on hops, of a power of two that is at least `MIN_WINDOW_SECONDS` and four
    hops; zeros outside the waveform; Slaney's mel scale. The windows follow the hop, unlike those of `log_mel_power` in
    `vqaudio.audio.features` (for MFCC) and of `log_mel_magnitudes` in `vqaudio.metrics.reconstruction` (for scores).
    """
    fft_size = 2 ** math.ceil(max(MIN_WINDOW_SECONDS * sample_rate, 4 * hop_length) - 1).bit_length()
    margin = (fft_size - hop_length) // 2
    padded = F.pad(wav.float(), (margin, fft_size - hop_length - margin))
    window = torch.hann_window(fft_size, device=wav.device)
    spectrum = torch.stft(padded, fft_size, hop_length, window=window, center=False, return_complex=True).abs()
    filters = _mel_filters(sample_rate, fft_size, bins).to(wav.device)
    return (spectrum.transpose(1, 2) @ filters).clamp_min(MIN_MAGNITUDE).log().transpose(1, 2)
