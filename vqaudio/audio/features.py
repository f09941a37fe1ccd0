"""MFCC and log-mel power of audio, at the frame rate of units."""

import functools
import warnings
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
    return _log_mel(_power(wav, sample_rate, hop_length), sample_rate, 1.0)


def mfcc(wav: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """Return 13 MFCC with Δ and ΔΔ of a wav (…, T): (…, N, 39), N = ceil(T / hop_length).

    They are the orthonormal DCT of `log_mel_power`, c0 included; Δ is over five frames.
    """
    return warped_mfcc(wav, (1.0,), sample_rate=sample_rate, hop_length=hop_length)[0]


def warped_mfcc(wav: Tensor, warps: Sequence[float], *, sample_rate: int, hop_length: int) -> Tensor:
    """Return `mfcc` (len(warps), …, N, 39) of a wav (…, T) as if each frequency f of it were at `warp` · f.

    A warp above 1 makes a longer vocal tract sound like a shorter one.

    Source: Lee and Rose, "A frequency warping approach to speaker normalization" (1998).
    """
    power = _power(wav, sample_rate, hop_length)
    dct = torchaudio.functional.create_dct(MFCC_COEFFICIENTS, MEL_BANDS, norm="ortho").to(wav.device)
    static = torch.stack([_log_mel(power, sample_rate, warp) @ dct for warp in warps]).mT
    delta = torchaudio.functional.compute_deltas(static)
    return torch.cat([static, delta, torchaudio.functional.compute_deltas(delta)], dim=-2).mT


def _power(wav: Tensor, sample_rate: int, hop_length: int) -> Tensor:
    """Return the power spectrum (…, F, N) of a wav (…, T)."""
    window = max(round(WINDOW_SECONDS * sample_rate), hop_length)
    fft_size = 2 ** (window - 1).bit_length()
    num_frames = -(-wav.shape[-1] // hop_length)
    left = (fft_size - hop_length) // 2
    right = fft_size - hop_length - left + num_frames * hop_length - wav.shape[-1]
    padded = torch.nn.functional.pad(wav, (left, right))
    return _spectrogram(fft_size, window, hop_length, wav.device)(padded)


def _log_mel(power: Tensor, sample_rate: int, warp: float) -> Tensor:
    """Return the log-mel power (…, N, 40) of a power spectrum (…, F, N)."""
    return (_mel_scale(sample_rate, warp, power.shape[-2], power.device)(power) + MIN_POWER).log().mT


@functools.lru_cache
def _spectrogram(
    fft_size: int, window: int, hop_length: int, device: torch.device
) -> torchaudio.transforms.Spectrogram:
    transform = torchaudio.transforms.Spectrogram(fft_size, win_length=window, hop_length=hop_length, center=False)
    return transform.to(device)


@functools.lru_cache
def _mel_scale(sample_rate: int, warp: float, bins: int, device: torch.device) -> torchaudio.transforms.MelScale:
    # Bins of a spectrum that was sampled faster lie at higher frequencies.
    with warnings.catch_warnings(action="ignore"):  # a warp below 1 leaves nothing for the highest bands
        scale = torchaudio.transforms.MelScale(MEL_BANDS, round(warp * sample_rate), f_max=sample_rate / 2, n_stft=bins)
        return scale.to(device)


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
    offsets = [round(s * sample_rate / hop_length) for s in seconds]
    return side_by_side((frames - mean) / std.clamp_min(MIN_STD), offsets)


def side_by_side(frames: Tensor, offsets: Sequence[int]) -> Tensor:
    """Return each of the frames (…, N, F) with those at some offsets from it: (…, N, len(offsets) * F).

    Beyond an end, the outermost frame is repeated.
    """
    around = torch.arange(frames.shape[-2]).unsqueeze(1) + torch.tensor(offsets)
    return frames[..., around.clamp(0, frames.shape[-2] - 1), :].flatten(-2)
