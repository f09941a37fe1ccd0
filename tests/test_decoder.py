"""WaveNet and conditioner: causality, the layer's own backward, and the conditions' place in time."""

import pytest
import torch
import torch.nn.functional as F
from reference import naive_wavenet

from vqaudio.audio import mu_law_encode
from vqaudio.model.decoder import Conditioner, WaveNet


def small_wavenet(kernel: int = 2, **changes: int) -> WaveNet:
    torch.manual_seed(0)
    options = {"levels": 16, "layers": 5, "cycle": 3, "residual": 5, "gate": 6, "skip": 7, "condition": 4}
    return WaveNet(kernel=kernel, **{**options, **changes})


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("samples", [4, 24])
def test_logits_and_gradients_equal_those_of_plain_convolutions(kernel: int, samples: int) -> None:
    net = small_wavenet(kernel)
    previous, target = torch.randint(0, 16, (2, 3, samples))
    results = []
    for forward in (net, lambda previous, condition: naive_wavenet(net, previous, condition)):
        condition = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
        logits = forward(previous, condition)
        net.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), target.flatten()).backward()
        results.append([logits.detach(), condition.grad, *(p.grad.clone() for p in net.parameters())])
    for ours, naive in zip(*results, strict=True):
        assert torch.allclose(ours, naive, atol=1e-6)


def test_a_logit_depends_on_its_receptive_field_and_nothing_else() -> None:
    net = small_wavenet().eval()
    previous = torch.randint(0, 16, (1, 40))
    condition = torch.randn(1, 4, 10)
    base = net(previous, condition)
    for position in (0, 11, 25):
        changed = previous.clone()
        changed[0, position] = (changed[0, position] + 5) % 16
        touched = (net(changed, condition) - base).abs().sum(-1)[0] > 1e-7
        expected = torch.zeros(40, dtype=torch.bool)
        expected[position : position + net.receptive_field] = True
        assert torch.equal(touched, expected)


def test_a_prefix_gives_the_logits_of_the_whole() -> None:
    net = small_wavenet().eval()
    previous, condition = torch.randint(0, 16, (2, 40)), torch.randn(2, 4, 10)
    assert torch.allclose(net(previous[:, :20], condition[:, :, :5]), net(previous, condition)[:, :20], atol=1e-6)


def test_a_condition_reaches_the_samples_of_its_frame_first() -> None:
    net = small_wavenet().eval()
    previous, condition = torch.randint(0, 16, (1, 40)), torch.randn(1, 4, 10)
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
def test_the_level_of_a_zero_sample_comes_before_the_first_sample(levels: int) -> None:
    (silence,) = mu_law_encode(torch.zeros(1), levels).tolist()
    assert small_wavenet(levels=levels).shift(torch.tensor([[3, 4, 5]])).tolist() == [[silence, 3, 4]]


def test_neighbouring_levels_start_out_alike() -> None:
    weight = small_wavenet(levels=256).embedding.weight
    near, far = (weight[1:] - weight[:-1]).norm(dim=1).mean(), (weight[128:] - weight[:128]).norm(dim=1).mean()
    assert far > 10 * near


def test_uneven_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not divide into 3 frames"):
        small_wavenet()(torch.zeros(1, 10, dtype=torch.long), torch.zeros(1, 4, 3))
    with pytest.raises(ValueError, match="must be even, not 5"):
        small_wavenet(gate=5)
