"""A linear head that predicts the labels of frames, in training only; the model is saved without."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vqaudio.model.clustering import kmeans
from vqaudio.training.labels import DIMENSIONS, LabelSpace, fit_projection
from vqaudio.training.voices import CLASSES


class LabelHead(nn.Module):
    """A linear map from latents `z` (B, D, N) to a label of every frame, and the label space that labels follow from.

    An encoder that is to name labels, which say little about voice and microphone, learns phones.
    """

    voices: Tensor
    projection: Tensor
    centroids: Tensor
    started: Tensor

    def __init__(self, latent_dim: int, labels: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_dim, labels)
        dimensions = min(DIMENSIONS, features)
        self.register_buffer("voices", torch.zeros(CLASSES, features))
        self.register_buffer("projection", torch.zeros(features, dimensions))
        self.register_buffer("centroids", torch.zeros(labels, dimensions))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, N, labels) of `z` (B, D, N)."""
        return self.linear(z.transpose(1, 2))

    @property
    def space(self) -> LabelSpace:
        """The label space."""
        return LabelSpace(self.voices, self.projection, self.centroids)

    @torch.no_grad()
    def start(self, voices: Tensor, utterances: Sequence[Tensor], generator: torch.Generator) -> None:
        """Make the label space of centroids of voices (C, F) and of the features (N, F) of utterances."""
        self.voices.copy_(voices)
        self.projection.copy_(fit_projection(utterances, len(self.centroids), generator))
        rows = torch.cat(list(utterances)) @ self.projection.to(utterances[0].device)
        self.centroids.copy_(kmeans(rows, len(self.centroids), generator=generator))
        self.started.fill_(True)
