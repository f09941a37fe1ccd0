"""MFCC and log-mel power of audio, on the frames of the units."""

import functools

import torch
import torchaudio
from torch import Tensor

WINDOW = 0.025  # seconds
BANDS = 40
COEFFICIENTS = 13  # with c0; 39 with Δ and ΔΔ


def log_mel(wav: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """Compute the natural logarithm of 40 mel bands' power: wav (…, T) to (…, N, 40), N = ceil(T / hop_length).

    Hann windows of 25 ms (or a hop, if that is longer) centred on frame n, which is the samples
    [n, n + 1) · hop_length; zeros outside the wav. HTK mel scale from 0 Hz to half the rate; floor 1e-6.
    """
    window = max(round(WINDOW * sample_rate), hop_length)
    fft_size = 2 ** (window - 1).bit_length()
    num_frames = -(-wav.shape[-1] // hop_length)
    left = (fft_size - hop_length) // 2
    right = fft_size - hop_length - left + num_frames * hop_length - wav.shape[-1]
    transform = _mel_spectrogram(sample_rate, fft_size, window, hop_length, wav.device)
    return (transform(torch.nn.functional.pad(wav, (left, right))) + 1e-6).log().mT


@functools.lru_cache
def _mel_spectrogram(
    sample_rate: int, fft_size: int, window: int, hop_length: int, device: torch.device
) -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate, n_fft=fft_size, win_length=window, hop_length=hop_length, n_mels=BANDS, center=False
    ).to(device)


def mfcc(wav: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """Compute 13 MFCC with Δ and ΔΔ: wav (…, T) to (…, N, 39), N = ceil(T / hop_length).

    The orthonormal DCT of `log_mel`, c0 included; Δ over five frames.
    """
    mel = log_mel(wav, sample_rate=sample_rate, hop_length=hop_length)
    static = (mel @ torchaudio.functional.create_dct(COEFFICIENTS, BANDS, norm="ortho").to(mel.device)).mT
    delta = torchaudio.functional.compute_deltas(static)
    return torch.cat([static, delta, torchaudio.functional.compute_deltas(delta)], dim=-2).mT
