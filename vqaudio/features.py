"""Features that k-means turns into units: MFCC and log-mel of audio, or frames that other tools saved as .npy."""

import functools
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import Tensor

from vqaudio import audio
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError

KINDS = ("mfcc", "log-mel", "npy")
WINDOW = 0.025  # seconds
BANDS = 40
COEFFICIENTS = 13  # with c0; 39 with Δ and ΔΔ
LEVEL = -25.0  # dBFS that utterances are scaled to: the level then tells loud phones, not loud recordings


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


def read_features(utterance: Utterance, kind: str, *, sample_rate: int, hop_length: int) -> Tensor:
    """Read an utterance as features (N, D), float32: its audio as `mfcc` or `log_mel`, or its .npy file as it is.

    Audio is resampled to ``sample_rate`` (Hz) and scaled to -25 dBFS first. A .npy file holds (N, D) real numbers;
    it is never unpickled.

    Raises:
        UserError: the file cannot be read, or does not hold finite features.

    """
    if kind == "npy":
        return _read_npy(utterance.path)
    wav, _ = audio.read(utterance.path, sample_rate, utterance.start, utterance.end)
    samples = torch.from_numpy(wav * audio.level_gain(wav, LEVEL))
    return (mfcc if kind == "mfcc" else log_mel)(samples, sample_rate=sample_rate, hop_length=hop_length)


def _read_npy(path: Path) -> Tensor:
    cure = "save one array of frames (N, D) a file with numpy.save"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: correct the list") from None
    except Exception as error:  # a broken header raises what Python's own parser does
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a .npy file of numbers ({reason}); {cure}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        found = f"{array.shape} of {array.dtype}" if isinstance(array, np.ndarray) else "an archive"
        raise UserError(f"{path}: holds {found}; {cure}")
    features = torch.from_numpy(np.array(array, dtype=np.float32))
    if not features.isfinite().all():
        raise UserError(f"{path}: {int((~features.isfinite()).sum())} values are NaN or infinite; compute it again")
    return features
