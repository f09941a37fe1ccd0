"""What k-means works on: the features of an utterance, frame by frame, and the sample of them that it is fitted on."""

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from vqaudio import audio
from vqaudio.audio.features import log_mel_power, mfcc, stacked_mfcc
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.progress import Progress
from vqaudio.units.npy import read_npy
from vqaudio.units.reservoir import Reservoir

if TYPE_CHECKING:
    from vqaudio.units.ssl import Encoder

LEVEL_DB = -25.0
"""dBFS that utterances are scaled to, so that features tell loud phones from soft ones, not loud recordings."""
MAX_SEEN = 4
"""A sample reads at most this many times the frames that it keeps."""
FEWER = "ask for fewer (--codebook-size), or give more speech (--frames samples more of it)"

FROM_AUDIO = {"mfcc": mfcc, "mfcc-stacked": stacked_mfcc, "log-mel": log_mel_power}
"""Features that are computed from audio by a formula; they are standardised for k-means, others are not."""


class Features(NamedTuple):
    """A kind of features, and what it takes to read them."""

    kind: str
    """One of `vqaudio.defaults.FEATURES`."""
    sample_rate: int
    """Hz."""
    hop_length: int
    """Samples per frame."""
    encoder: "Encoder | None" = None
    """The network, for hf."""

    def pieces(self, utterance: Utterance) -> Iterable[Tensor]:
        """Return the features of an utterance in order, as pieces (n, D), float32; only hf has more than one.

        Raises:
            UserError: the file cannot be read, or its features are not finite, now or while pieces are taken.
        """
        if self.encoder is not None:
            return self.encoder.pieces(utterance)
        return [read_features(utterance, self.kind, sample_rate=self.sample_rate, hop_length=self.hop_length)]


def read_features(utterance: Utterance, kind: str, *, sample_rate: int, hop_length: int) -> Tensor:
    """Return the features (N, D), float32, of an utterance: those of `FROM_AUDIO`, or what its .npy file holds.

    Audio is first resampled to `sample_rate` (Hz), freed of its mean and scaled to −25 dBFS. A .npy file holds (N, D)
    real numbers; it is never unpickled.

    Raises:
        UserError: the file cannot be read, or its features are not finite.
    """
    if kind == "npy":
        return read_npy(utterance.path)
    wav, _ = audio.read(utterance.path, sample_rate, utterance.start, utterance.end, utterance.channel)
    samples = torch.from_numpy(audio.level_change(wav, LEVEL_DB).apply(wav))
    return FROM_AUDIO[kind](samples, sample_rate=sample_rate, hop_length=hop_length)


def sample(features: Features, utterances: Iterable[Utterance], *, least: int, frames: int, seed: int) -> Tensor:
    """Return a uniform sample (n, D) of at most `frames` frames, at least `least` of them.

    Utterances are read in random order until 4 · `frames` frames have been seen; those that cannot be read are skipped.

    Raises:
        UserError: none can be read, they have features of different size, or too few.

    Source: Vitter 1985 (reservoir sampling, algorithm R).
    """
    ordered = sorted(utterances, key=lambda utterance: utterance.utt)
    random.Random(seed).shuffle(ordered)
    reservoir = Reservoir(frames, seed)
    error = "no utterances"

    def readable(utterance: Utterance) -> Iterator[Tensor]:
        nonlocal error
        try:
            yield from features.pieces(utterance)
        except UserError as reason:
            error = str(reason)

    with Progress("read features", len(ordered), "utterances") as progress:
        for utterance in ordered:
            if reservoir.seen >= MAX_SEEN * frames:
                break
            progress.update()
            for rows in readable(utterance):
                if reservoir.kept is not None:
                    check_size(utterance, rows, reservoir.kept.shape[1])
                reservoir.add(rows.numpy())
    if reservoir.seen == 0:
        raise UserError(f"no {features.kind} features to fit k-means on ({error}); repair the input")
    if len(reservoir.rows) < least:
        found = f"{len(reservoir.rows)} frames are fewer than the {least} units asked for"
        raise UserError(f"{ordered[0].path}{' and others' if len(ordered) > 1 else ''}: {found}; {FEWER}")
    return torch.from_numpy(reservoir.rows)


def check_size(utterance: Utterance, rows: Tensor, size: int) -> None:
    """Raise unless features (n, D) have `size` dimensions."""
    if rows.shape[1] != size:
        raise UserError(f"{utterance.path}: {rows.shape[1]} features per frame, not {size}; use those of one model")
