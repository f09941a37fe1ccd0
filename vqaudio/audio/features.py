"""MFCC and log-mel power of audio, at the frame rate of units."""

import functools

import torch
import torchaudio
from torch import Tensor

WINDOW_SECONDS = 0.025
MEL_BANDS = 40
MFCC_COEFFICIENTS = 13  # with c0; three times as many features with Δ and ΔΔ
MIN_POWER = 1e-6  # added before the logarithm


def log_mel_power(wav: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """Return the natural logarithm of the power of 40 mel bands of a wav (…, T): (…, N, 40), N = ceil(T / hop_length).

    Frame n is the samples [n, n + 1) · hop_length. Its Hann window of 25 ms (or a hop, if that is longer) has the same
    centre; the wav is padded with zeros. HTK mel scale from 0 Hz to half the rate; 1e-6 is added to the power. Those of
    `vqaudio.training.heads` and `vqaudio.metrics.reconstruction` are of magnitudes, on other scales.
    """
    window = max(round(WINDOW_SECONDS * sample_rate), hop_length)
    fft_size = 2 ** (window - 1).bit_length()
    num_frames = -(-wav.shape[-1] // hop_length)
    left = (fft_size - hop_length) // 2
    right = fft_size - hop_length - left + num_frames * hop_length - wav.shape[-1]
    transform = _mel_spectrogram(sample_rate, fft_size, window, hop_length, wav.device)
    return (transform(torch.nn.functional.pad(wav, (left, right))) + MIN_POWER).log().mT


@functools.lru_cache
def _mel_spectrogram(
    sample_rate: int, fft_size: int, window: int, hop_length: int, device: torch.device
) -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate, n_fft=fft_size, win_length=window, hop_length=hop_length, n_mels=MEL_BANDS, center=False
    ).to(device)


def mfcc(wav: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """Return 13 MFCC with Δ and ΔΔ of a wav (…, T): (…, N, 39), N = ceil(T / hop_length).

    They are the orthonormal DCT of `log_mel_power`, c0 included; Δ is over five frames.
    """
    mel = log_mel_power(wav, sample_rate=sample_rate, hop_length=hop_length)
    static = (mel @ torchaudio.functional.create_dct(MFCC_COEFFICIENTS, MEL_BANDS, norm="ortho").to(mel.device)).mT
    delta = torchaudio.functional.compute_deltas(static)
    return torch.cat([static, delta, torchaudio.functional.compute_deltas(delta)], dim=-2).mT
