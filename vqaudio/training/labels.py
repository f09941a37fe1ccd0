"""The labels that the encoder learns to predict: clusters of normalised MFCC, one for every frame of an utterance."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vqaudio.model.clustering import nearest_label
from vqaudio.training.recordings import MAX_KEPT, Recordings


class Labeller:
    """Gives the frames of utterances their labels, once there are `centroids`.

    The features of a frame are the first `coefficients` of `Recordings.mfcc` at the frames `offsets` around it; beyond
    an end of the utterance its outermost frame is repeated.
    """

    def __init__(self, recordings: Recordings, hop_length: int, coefficients: int, offsets: Sequence[int]) -> None:
        self.recordings, self.hop_length = recordings, hop_length
        self.coefficients, self.offsets = coefficients, torch.tensor(offsets)
        self.size = coefficients * len(offsets)
        self.centroids = torch.zeros(1, self.size)  # all frames have label 0
        self.labels = functools.lru_cache(MAX_KEPT)(self._labels)

    def use(self, centroids: Tensor) -> None:
        """Take `centroids` (K, size) from now on."""
        self.centroids = centroids.cpu()
        self.labels.cache_clear()

    def features(self, row: int) -> Tensor:
        """Return the features (N, size) of all frames of an utterance.

        Raises:
            UserError: the utterance cannot be read.
        """
        frames = self.recordings.mfcc(row, self.hop_length)[:, : self.coefficients]
        around = torch.arange(len(frames)).unsqueeze(1) + self.offsets
        return frames[around.clamp(0, len(frames) - 1)].flatten(1)

    def _labels(self, row: int) -> np.ndarray:
        """Return the labels (N,) int32 of all frames of an utterance."""
        return nearest_label(self.features(row), self.centroids).to(torch.int32).numpy()


__all__ = ["Labeller"]
