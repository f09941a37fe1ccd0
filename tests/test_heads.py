"""What training predicts from latents and conditions."""

import torch

from vqaudio.training.heads import LabelHead, MelHead, mel_targets


def test_labels_are_the_clusters_of_the_features() -> None:
    torch.manual_seed(0)
    centres, truth = 10 * torch.randn(4, 6), torch.randint(0, 4, (3, 50))
    features = centres[truth] + 0.01 * torch.randn(3, 50, 6)
    head = LabelHead(5, 4, 6)
    head.start(features.flatten(0, 1), torch.Generator().manual_seed(0))
    labels = head.labels(features)
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


def test_the_mel_head_starts_at_the_level_of_quiet_speech() -> None:
    torch.manual_seed(0)
    predicted = MelHead(8, 20)(torch.randn(2, 8, 5))
    assert predicted.shape == (2, 20, 5)
    assert abs(predicted.mean().item() + 5) < 0.5


def test_mel_targets_are_centred_on_their_hops() -> None:
    wav = torch.zeros(1, 16000)
    wav[0, 160 * 40 + 80] = 1.0  # the middle of frame 40
    energy = mel_targets(wav, sample_rate=16000, hop_length=160, bins=80).exp().sum(1)[0]
    assert energy.shape == (100,)
    assert energy.argmax() == 40
    assert torch.allclose(energy[39], energy[41], rtol=1e-2)
