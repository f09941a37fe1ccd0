"""WaveNet and conditioner: causality, the layer's own backward, and the conditions' place in time."""

import pytest
import torch
import torch.nn.functional as F
from reference import naive_wavenet

from vqaudio.audio import mu_law_encode
from vqaudio.model.decoder import Conditioner, WaveNet


def small_wavenet(kernel: int = 2, **changes: int) -> WaveNet:
    torch.manual_seed(0)
    options = {"bands": 2, "levels": 16, "layers": 5, "cycle": 3, "residual": 5, "gate": 6, "skip": 7, "condition": 4}
    return WaveNet(kernel=kernel, **{**options, **changes})


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("steps", [4, 24])
@pytest.mark.parametrize("bands", [1, 4])
def test_logits_and_gradients_equal_those_of_plain_convolutions(kernel: int, steps: int, bands: int) -> None:
    net = small_wavenet(kernel, bands=bands)
    previous, target = torch.randint(0, 16, (2, 3, steps, bands))
    results = []
    for forward in (net, lambda previous, condition: naive_wavenet(net, previous, condition)):
        condition = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
        logits = forward(previous, condition)
        net.zero_grad()
        F.cross_entropy(logits.flatten(0, 2), target.flatten()).backward()
        results.append([logits.detach(), condition.grad, *(p.grad.clone() for p in net.parameters())])
    for ours, naive in zip(*results, strict=True):
        assert torch.allclose(ours, naive, atol=1e-6)


def test_a_logit_depends_on_its_receptive_field_and_nothing_else() -> None:
    net = small_wavenet().eval()
    previous = torch.randint(0, 16, (1, 40, 2))
    condition = torch.randn(1, 4, 10)
    base = net(previous, condition)
    for position, band in ((0, 0), (11, 1), (25, 0)):
        changed = previous.clone()
        changed[0, position, band] = (changed[0, position, band] + 5) % 16
        touched = (net(changed, condition) - base).abs().sum(-1)[0] > 1e-7
        expected = torch.zeros(40, 2, dtype=torch.bool)
        expected[position : position + net.receptive_field] = True
        assert torch.equal(touched, expected)


def test_a_prefix_gives_the_logits_of_the_whole() -> None:
    net = small_wavenet().eval()
    previous, condition = torch.randint(0, 16, (2, 40, 2)), torch.randn(2, 4, 10)
    assert torch.allclose(net(previous[:, :20], condition[:, :, :5]), net(previous, condition)[:, :20], atol=1e-6)


def test_a_condition_reaches_the_steps_of_its_frame_first() -> None:
    net = small_wavenet().eval()
    previous, condition = torch.randint(0, 16, (1, 40, 2)), torch.randn(1, 4, 10)
    changed = condition.clone()
    changed[:, :, 6] += 1
    touched = (net(previous, changed) - net(previous, condition)).abs().sum(-1)[0] > 1e-7
    assert not touched[:24].any()
    assert touched[24:28].all()


def test_the_speaker_changes_the_condition_everywhere() -> None:
    torch.manual_seed(0)
    conditioner = Conditioner(latent_dim=3, channels=6, layers=2, kernel=3, speakers=4)
    z_q = torch.randn(1, 3, 9).expand(2, 3, 9)
    condition = conditioner(z_q, torch.tensor([1, 2]))
    assert condition.shape == (2, 6, 9)
    assert ((condition[0] - condition[1]).abs().sum(0) > 1e-3).all()


@pytest.mark.parametrize("levels", [15, 64, 256, 512])
def test_the_level_of_a_zero_sample_comes_before_the_first_step_in_every_band(levels: int) -> None:
    (silence,) = mu_law_encode(torch.zeros(1), levels).tolist()
    assert small_wavenet(levels=levels).shift(torch.tensor([[[3, 6], [4, 7], [5, 8]]])).tolist() == [
        [[silence, silence], [3, 6], [4, 7]]
    ]


def test_neighbouring_levels_start_out_alike() -> None:
    for weight in small_wavenet(levels=256).embedding.weight.view(2, 256, -1):
        near, far = (weight[1:] - weight[:-1]).norm(dim=1).mean(), (weight[128:] - weight[:128]).norm(dim=1).mean()
        assert far > 10 * near


def test_uneven_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not divide into 3 frames"):
        small_wavenet()(torch.zeros(1, 10, 2, dtype=torch.long), torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match="must be even, not 5"):
        small_wavenet(gate=5)
