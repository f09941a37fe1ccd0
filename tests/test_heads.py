"""What training predicts from latents."""

import torch

from vqaudio.training.heads import LabelHead


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
