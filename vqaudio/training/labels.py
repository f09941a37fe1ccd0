"""The label of every frame of an utterance, which training predicts: clusters of its MFCC.

The MFCC are those of `vqaudio.training.voices`, projected to the directions that tell clusters apart best.

Source of such labels: Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of
Hidden Units" (2021), section II. Source of the projection: Heck, Sakti and Nakamura, "Unsupervised linear discriminant
analysis for supporting DPGMM clustering in the zero resource scenario" (2016).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqaudio.model.clustering import kmeans
from vqaudio.model.penalty import CodeCosts, PenalisedSearch
from vqaudio.training.recordings import MAX_KEPT, Recordings
from vqaudio.training.voices import Voices

DIMENSIONS = 32
"""Of the projection."""

CHANGE_PENALTY = 1.0
"""Of the clusters that the projection tells apart: phones last longer than frames."""

LABEL_CHANGE_PENALTY = 0.5
"""Of labels."""

RIDGE = 1e-3
"""Added to the variances within clusters, of features whose variance is 1."""


class LabelSpace(NamedTuple):
    """What labels follow from: centroids of voices (C, F), a projection (F, d) and the centroids of labels (K, d)."""

    voices: Tensor
    projection: Tensor
    centroids: Tensor


class Labeller:
    """Gives the frames of utterances their labels, once there is a `LabelSpace`."""

    def __init__(self, recordings: Recordings, hop_length: int, coefficients: int, seconds: Sequence[float]) -> None:
        self.recordings = recordings
        self.voices = Voices(recordings, hop_length, coefficients, seconds)
        self.space: LabelSpace | None = None  # all frames have label 0
        self.labels = functools.lru_cache(MAX_KEPT)(self._labels)

    def use(self, space: LabelSpace) -> None:
        """Take a label space from now on."""
        self.space = LabelSpace(*(part.cpu() for part in space))
        self.costs = CodeCosts.of_distances(self.space.centroids[None])
        self.voices.use(self.space.voices)
        self.labels.cache_clear()

    def _labels(self, row: int) -> np.ndarray:
        """Return the labels (N,) int32 of all frames of an utterance."""
        features = self.voices.features(row)
        if self.space is None:
            return np.zeros(len(features), np.int32)
        return path(features @ self.space.projection, self.costs, LABEL_CHANGE_PENALTY).astype(np.int32)


def fit_projection(utterances: Sequence[Tensor], clusters: int, generator: torch.Generator) -> Tensor:
    """Return a projection (F, d) of the features (N, F) of utterances that tells their clusters apart best.

    It maximises the variance between clusters over that within; d is `DIMENSIONS`, or F if that is less.

    Source: Fisher 1936, linear discriminant analysis.
    """
    rows = torch.cat(list(utterances))
    centroids = kmeans(rows, clusters, generator=generator)
    costs = CodeCosts.of_distances(centroids[None])
    from scipy.linalg import eigh

    labels = torch.from_numpy(np.concatenate([path(each, costs, CHANGE_PENALTY) for each in utterances]))
    x = rows.double() - rows.double().mean(0)
    counts = torch.bincount(labels, minlength=clusters).double().clamp_min(1).unsqueeze(1)
    means = torch.zeros(clusters, x.shape[1], dtype=x.dtype).index_add_(0, labels, x) / counts
    between = (means * counts).T @ means / len(x)
    within = x.T @ x / len(x) - between
    ridge = RIDGE * torch.eye(len(within), dtype=x.dtype)
    _, vectors = eigh(between.numpy(), (within + ridge).numpy())
    return torch.from_numpy(vectors[:, ::-1][:, :DIMENSIONS].copy()).float()


def path(rows: Tensor, costs: CodeCosts, change_penalty: float) -> np.ndarray:
    """Return the clusters (N,) of an utterance's features (N, d) that change seldom; see `vqaudio.model.penalty`."""
    search = PenalisedSearch(costs, change_penalty)
    search.add(rows[None])
    return search.finish()[0]


__all__ = ["DIMENSIONS", "LabelSpace", "Labeller", "fit_projection"]
