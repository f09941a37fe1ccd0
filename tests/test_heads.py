"""What training predicts from codewords."""

import torch

from vqaudio.training.heads import MelHead, MfccHead, mel_targets


def test_the_window_of_a_frame_holds_its_neighbours_and_repeats_the_ends() -> None:
    features = torch.arange(2 * 6 * 3.0).view(2, 6, 3)
    window = MfccHead(4, 2, [-2, 0, 1]).window(features)
    assert window.shape == (2, 6, 3, 2)
    for n in range(6):
        for place, offset in enumerate([-2, 0, 1]):
            assert torch.equal(window[:, n, place], features[:, min(5, max(0, n + offset)), :2])


def test_each_codeword_predicts_its_window_alone() -> None:
    torch.manual_seed(0)
    head = MfccHead(4, 13, [-1, 0, 1])
    z_q = torch.randn(2, 4, 7)
    predicted = head(z_q)
    assert predicted.shape == (2, 7, 3, 13)
    changed = z_q.clone()
    changed[:, :, 3] += 1
    moved = (head(changed) != predicted).flatten(2).any(2).any(0)
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
