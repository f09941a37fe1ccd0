"""A linear head that predicts clusters of MFCC, in training only; the model is saved without."""

import torch
from torch import Tensor, nn

from vqaudio.model.clustering import kmeans


class LabelHead(nn.Module):
    """A linear map from latents `z` (B, D, N) to a label of every frame: the cluster of its MFCC.

    MFCC normalised over the utterance say little about voice and microphone, and a window of them says more about the
    phone than one frame does. An encoder that is to name their clusters learns phones.

    Source of such labels: Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of
    Hidden Units" (2021), section II.
    """

    centroids: Tensor
    started: Tensor

    def __init__(self, latent_dim: int, labels: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_dim, labels)
        self.register_buffer("centroids", torch.zeros(labels, features))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, N, labels) of `z` (B, D, N)."""
        return self.linear(z.transpose(1, 2))

    @torch.no_grad()
    def start(self, features: Tensor, generator: torch.Generator) -> None:
        """Cluster `features` (M, F) by k-means; the clusters are the labels."""
        self.centroids.copy_(kmeans(features, len(self.centroids), generator=generator))
        self.started.fill_(True)
