"""The baseline of every unit figure: k-means on MFCC with the codebook size and frame rate of the units."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import Tensor

from vqaudio import audio
from vqaudio.datadir import Utterance, read_ctm, read_utterances
from vqaudio.errors import UserError
from vqaudio.kmeans import kmeans, nearest
from vqaudio.metrics.units import read_frames, score
from vqaudio.units import read_units

WINDOW = 0.025  # seconds
COEFFICIENTS = 13  # with c0; 39 with Δ and ΔΔ
LEVEL = -25.0  # dBFS that utterances are scaled to: c0 then tells loud phones, not loud recordings
FRAMES = 300_000  # frames that a codebook is fitted on, at most


@dataclass(frozen=True)
class MfccKMeans:
    """A codebook of standardised MFCC; make one with `fit`."""

    sample_rate: int
    """Hz."""
    hop_length: int
    """Samples per frame."""
    mean: Tensor
    """(39,) of the training frames."""
    std: Tensor
    """(39,) of the training frames."""
    codebook: Tensor
    """(K, 39), standardised."""

    def encode(self, utterance: Utterance) -> np.ndarray:
        """Turn an utterance into codes (1, N), N = ceil(T / hop_length).

        Raises:
            UserError: the audio cannot be read.

        """
        features = _read_mfcc(utterance, self.sample_rate, self.hop_length)
        return nearest((features - self.mean) / self.std, self.codebook)[0][None].numpy()


def mfcc(wav: Tensor, *, sample_rate: int, hop_length: int) -> Tensor:
    """Compute 13 MFCC with Δ and ΔΔ: wav (T,) to (N, 39), N = ceil(T / hop_length).

    Hann windows of 25 ms (or a hop, if that is longer) centred on frame n, which is the samples
    [n, n + 1) · hop_length; zeros outside the wav. 40 mel bands, natural logarithm, orthonormal DCT; Δ over
    five frames.
    """
    window = max(round(WINDOW * sample_rate), hop_length)
    fft_size = 2 ** (window - 1).bit_length()
    num_frames = -(-len(wav) // hop_length)
    left = (fft_size - hop_length) // 2
    right = fft_size - hop_length - left + num_frames * hop_length - len(wav)
    transform = torchaudio.transforms.MFCC(
        sample_rate,
        n_mfcc=COEFFICIENTS,
        log_mels=True,
        melkwargs={
            "n_fft": fft_size,
            "win_length": window,
            "hop_length": hop_length,
            "n_mels": 40,
            "center": False,
        },
    )
    static = transform(torch.nn.functional.pad(wav, (left, right)))  # (13, N)
    delta = torchaudio.functional.compute_deltas(static)
    return torch.cat([static, delta, torchaudio.functional.compute_deltas(delta)]).T


def fit(data: Path, units: Path, *, seed: int = 0) -> MfccKMeans:
    """Fit a codebook on a data directory, with the codebook size, rate and hop of a unit directory.

    With groups the baseline still has K codes in one group. Utterances are drawn at random until there are
    300 000 frames; each dimension is standardised on them. Audio that cannot be read is passed over.

    Raises:
        UserError: an input cannot be read, or no audio of `data` can.

    """
    info = read_units(units).info
    utterances = sorted(read_utterances(data), key=lambda utterance: utterance.utt)
    random.Random(seed).shuffle(utterances)
    features: list[Tensor] = []
    error: UserError | None = None
    for utterance in utterances:
        if sum(map(len, features)) >= FRAMES:
            break
        try:
            features.append(_read_mfcc(utterance, info.sample_rate, info.hop_length))
        except UserError as reason:
            error = reason
    if not features:
        raise UserError(f"{data}: no audio for the MFCC baseline" + (f": {error}" if error else ""))
    frames = torch.cat(features)
    mean, std = frames.mean(dim=0), frames.std(dim=0, correction=0).clamp_min(1e-5)
    generator = torch.Generator().manual_seed(seed)
    codebook = kmeans((frames - mean) / std, info.codebook_size, generator=generator)
    return MfccKMeans(info.sample_rate, info.hop_length, mean, std, codebook)


def evaluate(
    model: MfccKMeans,
    units: Path,
    data: Path,
    alignment: Path,
    *,
    mapping_units: Path | None = None,
    mapping_data: Path | None = None,
    mapping_alignment: Path | None = None,
) -> dict[str, float]:
    """Score the baseline on the utterances of a unit directory, by the functions that score its units.

    Args:
        model: the fitted baseline.
        units: unit directory that names the utterances.
        data: their data directory.
        alignment: CTM of their phones.
        mapping_units: as in `vqaudio.metrics.units.evaluate`.
        mapping_data: data directory of the utterances of `mapping_units`; by default `data`.
        mapping_alignment: CTM of their phones; by default `alignment`.

    Raises:
        UserError: an input cannot be read, or whatever `vqaudio.metrics.units.score` raises.

    """
    mapping = None
    if mapping_units is not None:
        codes = encode(model, mapping_data or data, read_frames(mapping_units)[1])
        mapping = (codes, read_ctm(mapping_alignment or alignment))
    return score(
        encode(model, data, read_frames(units)[1]),
        read_ctm(alignment),
        frame_rate=model.sample_rate / model.hop_length,
        codebook_size=len(model.codebook),
        mapping=mapping,
    )


def encode(model: MfccKMeans, data: Path, utts: Collection[str]) -> dict[str, np.ndarray]:
    """Encode the named utterances of a data directory to codes (1, N) each.

    Raises:
        UserError: the data directory lacks one of them, or its audio cannot be read.

    """
    utterances = {utterance.utt: utterance for utterance in read_utterances(data)}
    if missing := sorted(set(utts) - utterances.keys()):
        raise UserError(f"{data}: lacks {len(missing)} utterances that have units, {missing[0]} first")
    return {utt: model.encode(utterances[utt]) for utt in utts}


def _read_mfcc(utterance: Utterance, sample_rate: int, hop_length: int) -> Tensor:
    wav, _ = audio.read(utterance.path, sample_rate, utterance.start, utterance.end)
    wav = wav * audio.level_gain(wav, LEVEL)
    return mfcc(torch.from_numpy(wav), sample_rate=sample_rate, hop_length=hop_length)
