"""The voices of a training set, so that labels of frames tell phones rather than speakers.

Each speaker has a warp of frequencies (vocal tract length normalisation, VTLN), and the mean and standard deviation
of his or her MFCC. The warp is the one with which the speech is nearest to the centroids of all speakers' frames.

Source: Lee and Rose, "A frequency warping approach to speaker normalization" (1998), with k-means for the mixtures.
"""

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqaudio.audio.features import MIN_STD, side_by_side, warped_mfcc
from vqaudio.errors import UserError
from vqaudio.model.clustering import kmeans, nearest
from vqaudio.training.recordings import Recordings

WARPS = tuple(round(1.05**i, 3) for i in range(-5, 6))
"""Warps to choose from, 0.784 to 1.276: the vocal tracts of men, women and children."""

VOICE_SECONDS = 30.0
"""Of a speaker's speech, what a voice is measured on, and the utterance that exceeds it."""

ROUNDS, CLASSES, CLASS_FRAMES = 3, 64, 60_000
"""How often the centroids are made and the warps chosen; the number of centroids, and of the frames to cluster."""


class Voice(NamedTuple):
    """A speaker's warp, and mean and standard deviation (F,) of the MFCC with this warp."""

    warp: float
    mean: Tensor
    std: Tensor


class Voices:
    """Gives frames of utterances as MFCC, as if all utterances had the same voice, once there are `centroids`.

    The features are the first `coefficients` MFCC of the frames at some `seconds` from each frame, side by side.
    """

    def __init__(self, recordings: Recordings, hop_length: int, coefficients: int, seconds: Sequence[float]) -> None:
        self.recordings, self.hop_length, self.coefficients = recordings, hop_length, coefficients
        self.offsets = [round(s * recordings.sample_rate / hop_length) for s in seconds]
        self.centroids = torch.zeros(0, coefficients * len(self.offsets))  # none yet: no warp
        self.rows: dict[str, list[int]] = defaultdict(list)
        for row in np.random.default_rng(0).permutation(len(recordings.utterances)).tolist():
            self.rows[recordings.utterances[row].speaker].append(row)
        self.voice = functools.cache(self._voice)

    def use(self, centroids: Tensor) -> None:
        """Take `centroids` (C, F) from now on."""
        self.centroids = centroids.cpu()
        self.voice.cache_clear()

    def features(self, row: int) -> Tensor:
        """Return the features (N, F) of all frames of an utterance.

        Raises:
            UserError: the utterance cannot be read.
        """
        voice = self.voice(self.recordings.utterances[row].speaker)
        frames = self._mfcc(row, [voice.warp])[0]
        return side_by_side((frames - voice.mean) / voice.std, self.offsets)

    @torch.no_grad()
    def fit(self, speakers: Sequence[str], generator: torch.Generator) -> Tensor:
        """Return centroids (CLASSES, F), made of the speech of some speakers in turns with their warps.

        Their MFCC at all warps are in memory, 3.4 MB a speaker for 26 MFCC at 100 Hz.
        """
        warped = [normal for normal, _, _ in map(self._normal, map(self._measured, speakers))]
        chosen = [WARPS.index(1.0)] * len(warped)
        for _ in range(ROUNDS):
            rows = torch.cat([side_by_side(each[k], self.offsets) for each, k in zip(warped, chosen, strict=True)])
            few = rows[torch.randperm(len(rows), generator=generator)[:CLASS_FRAMES]]
            centroids = kmeans(few, CLASSES, generator=generator)
            chosen = [self._nearest_warp(each, centroids) for each in warped]
        return centroids

    def _voice(self, speaker: str) -> Voice:
        normal, mean, std = self._normal(self._measured(speaker))
        k = self._nearest_warp(normal, self.centroids) if len(self.centroids) else WARPS.index(1.0)
        return Voice(WARPS[k], mean[k, 0], std[k, 0])

    def _measured(self, speaker: str) -> Tensor:
        """Return the MFCC (warps, N, F) of `VOICE_SECONDS` of a speaker; one frame of zeros if none can be read."""
        parts = list(self._some_mfcc(speaker))
        return torch.cat(parts, dim=1) if parts else torch.zeros(len(WARPS), 1, self.coefficients)

    def _some_mfcc(self, speaker: str) -> Iterator[Tensor]:
        seconds = 0.0
        for row in self.rows[speaker]:
            try:
                yield self._mfcc(row, WARPS)
            except UserError as error:
                self.recordings.skip(row, error)
                continue
            seconds += float(self.recordings.durations[row])
            if seconds >= VOICE_SECONDS:
                return

    def _mfcc(self, row: int, warps: Sequence[float]) -> Tensor:
        wav = torch.from_numpy(self.recordings.whole(row))
        rates = {"sample_rate": self.recordings.sample_rate, "hop_length": self.hop_length}
        return warped_mfcc(wav, warps, **rates)[..., : self.coefficients]

    @staticmethod
    def _normal(warped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return MFCC (warps, N, F) with zero mean and unit variance at each warp, and these (warps, 1, F)."""
        std, mean = torch.std_mean(warped, dim=1, correction=0, keepdim=True)
        std = std.clamp_min(MIN_STD)
        return (warped - mean) / std, mean, std

    def _nearest_warp(self, normal: Tensor, centroids: Tensor) -> int:
        """Return the index of the warp of MFCC (warps, N, F) with which they are nearest to centroids (C, F)."""
        distances = [nearest(side_by_side(frames, self.offsets), centroids)[1].mean() for frames in normal]
        return int(torch.stack(distances).argmin())


__all__ = ["CLASSES", "WARPS", "Voice", "Voices"]
