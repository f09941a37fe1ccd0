"""Log-mel spectra at the frame rate of the units."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-5
"""Mel magnitudes below this count as silence."""


@functools.lru_cache
def _mel_filters(sample_rate: int, fft_size: int, bins: int) -> Tensor:
    import torchaudio

    return torchaudio.functional.melscale_fbanks(
        fft_size // 2 + 1, 0.0, sample_rate / 2, bins, sample_rate, norm="slaney", mel_scale="slaney"
    )


def log_mel(wav: Tensor, *, sample_rate: int, hop_length: int, bins: int) -> Tensor:
    """Return natural log-mel magnitudes (B, bins, N) of ``wav`` (B, T), T = N * hop_length, frames centred on hops.

    Hann windows of at least 40 ms and four hops, one frame a hop, zeros outside the waveform.
    """
    fft_size = 2 ** (max(0.04 * sample_rate, 4 * hop_length) - 1).__ceil__().bit_length()
    margin = (fft_size - hop_length) // 2
    padded = F.pad(wav.float(), (margin, fft_size - hop_length - margin))
    window = torch.hann_window(fft_size, device=wav.device)
    spectrum = torch.stft(padded, fft_size, hop_length, window=window, center=False, return_complex=True).abs()
    filters = _mel_filters(sample_rate, fft_size, bins).to(wav.device)
    return (spectrum.transpose(1, 2) @ filters).clamp_min(FLOOR).log().transpose(1, 2)
