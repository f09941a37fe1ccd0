"""What training predicts from latents."""

import torch

from vqaudio.model.clustering import nearest_label
from vqaudio.training.heads import LabelHead


def test_labels_are_the_clusters_of_the_features() -> None:
    torch.manual_seed(0)
    centres, truth = 10 * torch.randn(4, 6), torch.randint(0, 4, (3, 50))
    features = centres[truth] + 0.01 * torch.randn(3, 50, 6)
    head = LabelHead(5, 4, 6)
    head.start(features.flatten(0, 1), torch.Generator().manual_seed(0))
    labels = nearest_label(features.flatten(0, 1), head.centroids)
    assert head.started
    assert len({(t, n) for t, n in zip(truth.flatten().tolist(), labels.flatten().tolist(), strict=True)}) == 4


def test_each_latent_predicts_the_label_of_its_frame_alone() -> None:
    torch.manual_seed(0)
    head = LabelHead(4, 6, 5)
    z = torch.randn(2, 4, 7)
    predicted = head(z)
    assert predicted.shape == (2, 7, 6)
    changed = z.clone()
    changed[:, :, 3] += 1
    moved = (head(changed) != predicted).any(2).any(0)
    assert moved.tolist() == [False, False, False, True, False, False, False]
