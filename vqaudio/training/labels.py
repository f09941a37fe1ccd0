"""The labels that the encoder learns to predict: clusters of stacked MFCC, one for every frame of an utterance."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vqaudio.audio.features import stacked_mfcc
from vqaudio.model.clustering import nearest_label
from vqaudio.training.recordings import MAX_KEPT, Recordings


class Labeller:
    """Gives the frames of utterances their labels, once there are `centroids` of `stacked_mfcc`."""

    def __init__(self, recordings: Recordings, hop_length: int, coefficients: int, seconds: Sequence[float]) -> None:
        self.recordings, self.hop_length = recordings, hop_length
        self.coefficients, self.seconds = coefficients, seconds
        self.centroids = torch.zeros(1, coefficients * len(seconds))  # all frames have label 0
        self.labels = functools.lru_cache(MAX_KEPT)(self._labels)

    def use(self, centroids: Tensor) -> None:
        """Take `centroids` (K, F) from now on."""
        self.centroids = centroids.cpu()
        self.labels.cache_clear()

    def features(self, row: int) -> Tensor:
        """Return the features (N, F) of all frames of an utterance.

        Raises:
            UserError: the utterance cannot be read.
        """
        return stacked_mfcc(
            torch.from_numpy(self.recordings.whole(row)),
            sample_rate=self.recordings.sample_rate,
            hop_length=self.hop_length,
            coefficients=self.coefficients,
            seconds=self.seconds,
        )

    def _labels(self, row: int) -> np.ndarray:
        """Return the labels (N,) int32 of all frames of an utterance."""
        return nearest_label(self.features(row), self.centroids).to(torch.int32).numpy()


__all__ = ["Labeller"]
