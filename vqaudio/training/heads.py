"""Linear heads that predict MFCC and log-mel magnitudes at frame rate, in training only; the model is saved without."""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_MAGNITUDE = 1e-5
"""Mel magnitudes below this count as silence."""

MIN_WINDOW_SECONDS = 0.04
"""Shortest window of `mel_targets`."""


class MfccHead(nn.Module):
    """A linear map from one codeword to the normalised MFCC of its frame and of frames around it.

    MFCC normalised over the utterance say little about voice and microphone, and a window of them says more about the
    phone than one frame does: a codebook that is to predict them from a single codeword spends its codes on phones.
    """

    def __init__(self, latent_dim: int, coefficients: int, frames: Sequence[int]) -> None:
        super().__init__()
        self.coefficients, self.frames = coefficients, list(frames)
        self.linear = nn.Linear(latent_dim, coefficients * len(self.frames))

    def forward(self, z_q: Tensor) -> Tensor:
        """Predict (B, N, frames, coefficients) from `z_q` (B, D, N)."""
        return self.linear(z_q.transpose(1, 2)).unflatten(2, (len(self.frames), self.coefficients))

    def window(self, features: Tensor) -> Tensor:
        """Return the targets (B, N, frames, coefficients) out of `features` (B, N, 39); the ends repeat."""
        N = features.shape[1]
        offsets = torch.tensor(self.frames, device=features.device)
        index = (torch.arange(N, device=features.device).unsqueeze(1) + offsets).clamp(0, N - 1)
        return features[:, index, : self.coefficients]


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
