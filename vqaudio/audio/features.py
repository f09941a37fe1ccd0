"""MFCC and log-mel power of audio, at the frame rate of units."""

import functools
from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor

WINDOW_SECONDS = 0.025
MEL_BANDS = 40
MFCC_COEFFICIENTS = 13  # with c0; three times as many features with Δ and ΔΔ
MIN_POWER = 1e-6  # added before the logarithm
MIN_STD = 1e-2  # least standard deviation that MFCC are divided by: those of digital silence do not vary

STACKED_COEFFICIENTS = 26
"""Of `stacked_mfcc`: 13 MFCC and their Δ."""

STACKED_SECONDS = (-0.04, -0.02, 0.0, 0.02, 0.04)
"""Of `stacked_mfcc`: from a frame to those that stand side by side for it."""


def log_mel_power(wav: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """Return the natural logarithm of the power of 40 mel bands of a wav (…, T): (…, N, 40), N = ceil(T / hop_length).

    Frame n is the samples [n, n + 1) · hop_length. Its Hann window of 25 ms (or a hop, if that is longer) has the same
    centre; the wav is padded with zeros. HTK mel scale from 0 Hz to half the rate; 1e-6 is added to the power. Those of
    `vqaudio.model.shaping` and `vqaudio.metrics.reconstruction` are of magnitudes, on other scales.
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


def stacked_mfcc(
    wav: Tensor,
    *,
    sample_rate: int,
    hop_length: int,
    coefficients: int = STACKED_COEFFICIENTS,
    seconds: Sequence[float] = STACKED_SECONDS,
) -> Tensor:
    """Return MFCC that tell phones rather than voices of an utterance (T,): (N, len(seconds) * coefficients).

    The first `coefficients` of `mfcc`, each with zero mean and unit variance over the utterance, of the frames at some
    `seconds` around each frame, side by side; beyond an end of the utterance its outermost frame is repeated.
    """
    frames = mfcc(wav, sample_rate=sample_rate, hop_length=hop_length)[:, :coefficients]
    std, mean = torch.std_mean(frames, dim=0, correction=0)
    normal = (frames - mean) / std.clamp_min(MIN_STD)
    offsets = torch.tensor([round(s * sample_rate / hop_length) for s in seconds])
    around = torch.arange(len(normal)).unsqueeze(1) + offsets
    return normal[around.clamp(0, len(normal) - 1)].flatten(1)
