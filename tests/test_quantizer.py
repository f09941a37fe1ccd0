"""Quantizers: hygiene that public implementations get wrong, one test each."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import naive_gumbel_gradient, naive_nearest_code

from vqaudio.model.quantizer import GumbelQuantizer, KMeansQuantizer, code_counts, nearest_code, usage_stats


def kmeans_quantizer(**changes: object) -> KMeansQuantizer:
    options = {
        "codebook_size": 8,
        "latent_dim": 6,
        "groups": 1,
        "shared": False,
        "update": "ema",
        "decay": 0.9,
        "commitment": 0.25,
        "restart_threshold": 0.1,
    }
    return KMeansQuantizer(**{**options, **changes})


def gumbel_quantizer(**changes: object) -> GumbelQuantizer:
    options = {
        "codebook_size": 8,
        "latent_dim": 6,
        "groups": 1,
        "shared": False,
        "diversity": 0.1,
        "sharpness": 4.0,
    }
    return GumbelQuantizer(**{**options, **changes})


def started(quantizer: KMeansQuantizer | GumbelQuantizer, rows: int = 200) -> KMeansQuantizer | GumbelQuantizer:
    generator = torch.Generator().manual_seed(1)
    quantizer.initialise(torch.randn(rows, quantizer.latent_dim, generator=generator), generator)
    return quantizer


VARIANTS = [
    pytest.param(lambda **c: kmeans_quantizer(**c), id="kmeans-ema"),
    pytest.param(lambda **c: kmeans_quantizer(update="gradient", **c), id="kmeans-gradient"),
    pytest.param(lambda **c: gumbel_quantizer(**c), id="gumbel"),
]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 9), st.integers(1, 5), st.integers(0, 1000))
def test_nearest_code_equals_the_definition(G: int, M: int, K: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z, codebook = torch.randn(G, M, d, generator=generator), torch.randn(G, K, d, generator=generator)
    assert nearest_code(z, codebook).tolist() == naive_nearest_code(z, codebook)


@pytest.mark.parametrize("make", VARIANTS)
@pytest.mark.parametrize(("groups", "shared"), [(1, False), (2, False), (3, True)])
def test_the_output_is_the_lookup_of_the_codes(make, groups: int, shared: bool) -> None:
    torch.manual_seed(0)
    quantizer = started(make(groups=groups, shared=shared)).eval()
    z = torch.randn(2, 6, 5)
    output = quantizer(z, temperature=1.0)
    assert output.codes.shape == (2, groups, 5)
    assert torch.allclose(output.z_q, quantizer.lookup(output.codes), atol=1e-6)
    assert torch.equal(quantizer.encode(z), output.codes)


@pytest.mark.parametrize("make", VARIANTS)
def test_latents_pass_through_until_the_codebook_is_initialised(make) -> None:
    quantizer = make()
    z = torch.randn(2, 6, 5, requires_grad=True)
    output = quantizer(z, temperature=1.0)
    assert torch.equal(output.z_q, z)
    assert output.losses == {}
    assert not started(quantizer)(z, temperature=1.0).z_q.equal(z)


@pytest.mark.parametrize("make", VARIANTS)
def test_the_codebook_starts_on_the_latents(make) -> None:
    quantizer = make(codebook_size=3)
    centres = torch.eye(3, 6) * 10
    z = centres.repeat_interleave(20, 0) + 0.01 * torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    quantizer.initialise(z, torch.Generator().manual_seed(0))
    distances = torch.cdist(centres, quantizer.codebook[0].detach())
    assert distances.min(1).values.max() < 0.1
    assert torch.equal(quantizer.encode(z.t().unsqueeze(0))[0, 0, ::20].sort().values, torch.arange(3))


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_the_straight_through_gradient_is_the_identity(update: str) -> None:
    quantizer = started(kmeans_quantizer(update=update))
    z = torch.randn(2, 6, 5, requires_grad=True)
    upstream = torch.randn(2, 6, 5)
    (quantizer(z, temperature=1.0).z_q * upstream).sum().backward()
    assert torch.equal(z.grad, upstream)


def test_commitment_pulls_latents_and_the_codebook_loss_pulls_codes() -> None:
    quantizer = started(kmeans_quantizer(update="gradient"))
    z = torch.randn(1, 6, 4, requires_grad=True)
    losses = quantizer(z, temperature=1.0).losses
    error = (z - quantizer.lookup(quantizer.encode(z))).detach()
    assert losses["commitment"].item() == pytest.approx(0.25 * error.square().mean().item(), rel=1e-5)
    assert losses["codebook"].item() == pytest.approx(error.square().mean().item(), rel=1e-5)
    losses["commitment"].backward(retain_graph=True)
    assert torch.allclose(z.grad, 0.25 * 2 * error / error.numel(), atol=1e-6)
    assert quantizer.codebook.grad is None
    z.grad = None
    losses["codebook"].backward()
    assert z.grad is None
    assert quantizer.codebook.grad.abs().sum() > 0


def test_moving_averages_follow_the_paper() -> None:
    quantizer = started(kmeans_quantizer(restart_threshold=0.0))
    size, total = quantizer.cluster_size[0].clone(), quantizer.cluster_sum[0].clone()
    z = torch.randn(1, 6, 50)
    codes = quantizer.encode(z)[0, 0]
    quantizer.train()(z, temperature=1.0)
    for k in range(8):
        members = z[0, :, codes == k]
        size[k] = 0.9 * size[k] + 0.1 * members.shape[1]
        total[k] = 0.9 * total[k] + 0.1 * members.sum(1)
    assert torch.allclose(quantizer.cluster_size[0], size, atol=1e-5)
    assert torch.allclose(quantizer.cluster_sum[0], total, atol=1e-5)
    assert torch.allclose(quantizer.codebook[0], total / size.unsqueeze(1), atol=1e-3)


def test_a_dead_code_stays_alive_after_its_restart() -> None:
    """A restart that leaves the accumulators behind is undone by the very next average."""
    torch.manual_seed(0)
    quantizer = started(kmeans_quantizer(codebook_size=4)).train()
    far = torch.full((6,), 1e7)
    quantizer.codebook[0, 2] = far
    quantizer.cluster_sum[0, 2] = far * 1e-4
    quantizer.cluster_size[0, 2] = 1e-4
    z = torch.randn(1, 6, 100)
    quantizer(z, temperature=1.0)
    for _ in range(3):
        assert (z[0].t() - quantizer.codebook[0, 2]).norm(dim=1).min() < 1.5
        quantizer(z, temperature=1.0)
    assert (quantizer.encode(z) == 2).any()
    assert quantizer.cluster_size[0, 2] > 0.1 * quantizer.cluster_size.mean()


def test_the_restart_threshold_is_relative_to_the_uniform_share() -> None:
    for scale in (1.0, 1000.0):  # the same shares at any batch size lead to the same decision
        quantizer = started(kmeans_quantizer(codebook_size=4, decay=1.0))
        quantizer.cluster_size.copy_(torch.tensor([[1.0, 1.0, 1.0, 0.05]]) * scale)
        quantizer.cluster_sum.copy_(quantizer.codebook * quantizer.cluster_size.unsqueeze(2))
        before = quantizer.codebook.clone()
        quantizer.train()(torch.randn(1, 6, 50), temperature=1.0)
        moved = (quantizer.codebook - before).abs().sum(-1)[0] > 1e-2
        assert moved.tolist() == [False, False, False, True]


def test_an_empty_cluster_keeps_its_codeword() -> None:
    quantizer = started(kmeans_quantizer(restart_threshold=0.0)).train()
    z = quantizer.codebook[0, 0].repeat(20, 1).t().unsqueeze(0)
    before = quantizer.codebook.clone()
    quantizer(z, temperature=1.0)
    assert torch.allclose(quantizer.codebook[0, 1:], before[0, 1:], atol=1e-3)
    assert quantizer.codebook.isfinite().all()


@pytest.mark.parametrize("make", VARIANTS)
def test_padding_never_touches_statistics_or_losses(make) -> None:
    outputs = []
    for padding in (0.0, 1e4):
        torch.manual_seed(0)
        quantizer = started(make()).train()
        z = torch.randn(2, 6, 10)
        z[:, :, 7:] = padding
        mask = (torch.arange(10) < 7).expand(2, 10)
        torch.manual_seed(5)
        output = quantizer(z, temperature=1.0, mask=mask)
        outputs.append((output, {name: value.clone() for name, value in quantizer.state_dict().items()}))
    (first, state), (second, other) = outputs
    assert first.stats["counts"].sum() == 14
    for name in first.losses:
        assert torch.equal(first.losses[name], second.losses[name])
    assert torch.equal(first.stats["counts"], second.stats["counts"])
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("make", VARIANTS)
@pytest.mark.parametrize("training", [False, True])
def test_16_bit_autocast_changes_nothing(make, training: bool) -> None:
    quantizer = started(make(codebook_size=64), rows=1000)
    z, results = torch.randn(1, 6, 1000, generator=torch.Generator().manual_seed(4)), []
    for enabled in (False, True):
        torch.manual_seed(0)
        copied = copy.deepcopy(quantizer).train(training)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = copied(z, temperature=1.0)
            results.append([output.z_q, output.codes, *output.losses.values(), copied.encode(z)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("make", VARIANTS)
def test_inference_touches_no_statistics(make) -> None:
    quantizer = started(make()).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    z = torch.randn(1, 6, 50)
    first = quantizer(z, temperature=1.0).codes
    assert torch.equal(first, quantizer(z, temperature=0.1).codes)
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())


def test_gumbel_gradients_are_those_of_the_soft_sample() -> None:
    torch.manual_seed(0)
    quantizer = started(gumbel_quantizer()).train()
    z = torch.randn(1, 6, 4, requires_grad=True)
    upstream = torch.randn(1, 6, 4)
    torch.manual_seed(3)
    output = quantizer(z, temperature=0.7)
    (output.z_q * upstream).sum().backward()
    torch.manual_seed(3)
    expected_z, expected_book = naive_gumbel_gradient(quantizer, z.detach(), upstream, temperature=0.7)
    assert torch.allclose(z.grad, expected_z, atol=1e-5)
    assert torch.allclose(quantizer.codebook.grad, expected_book, atol=1e-5)
    assert torch.allclose(output.z_q, quantizer.lookup(output.codes), atol=1e-6)


def test_the_gumbel_temperature_is_an_argument_and_no_state() -> None:
    quantizer = started(gumbel_quantizer()).train()
    z = torch.randn(1, 6, 2000)
    sharp = quantizer.encode(z)

    def agreement(temperature: float) -> float:
        torch.manual_seed(0)
        z_leaf = z.clone().requires_grad_()
        quantizer(z_leaf, temperature=temperature).z_q.sum().backward()
        return z_leaf.grad.abs().mean().item()

    assert agreement(0.05) != pytest.approx(agreement(5.0), rel=0.1)
    assert agreement(1.0) == agreement(1.0)
    assert torch.equal(quantizer.encode(z), sharp)


def test_the_diversity_loss_is_zero_when_every_code_is_as_likely() -> None:
    quantizer = started(gumbel_quantizer())
    with torch.no_grad():
        quantizer.weight.zero_()
        quantizer.bias.zero_()
    z = torch.randn(1, 6, 10)
    assert quantizer(z, temperature=1.0).losses["diversity"].item() == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        quantizer.bias[0, 0] = 100.0
    assert quantizer(z, temperature=1.0).losses["diversity"].item() == pytest.approx(0.1 * (1 - 1 / 8), rel=1e-4)


def test_groups_are_quantized_independently() -> None:
    torch.manual_seed(0)
    quantizer = started(kmeans_quantizer(groups=2)).eval()
    z = torch.randn(1, 6, 30)
    changed = z.clone()
    changed[:, 3:] = torch.randn(1, 3, 30)
    assert torch.equal(quantizer.encode(z)[:, 0], quantizer.encode(changed)[:, 0])
    assert not torch.equal(quantizer.encode(z)[:, 1], quantizer.encode(changed)[:, 1])


def test_usage_and_perplexity_are_those_of_the_counts() -> None:
    stats = usage_stats(torch.tensor([[2.0, 2.0, 0.0, 0.0]]))
    assert stats["usage"] == 0.5
    assert stats["perplexity"] == pytest.approx(2.0)
    assert stats["entropy"] == pytest.approx(1.0)
    assert code_counts(torch.tensor([[0, 3, 3], [1, 1, 1]]), 4).tolist() == [[1, 0, 0, 2], [0, 3, 0, 0]]


def test_a_latent_that_does_not_divide_into_groups_is_refused() -> None:
    with pytest.raises(ValueError, match=r"groups \(4\) must divide latent_dim \(6\); change one"):
        kmeans_quantizer(groups=4)
    with pytest.raises(ValueError, match="update=adam must be ema or gradient"):
        kmeans_quantizer(update="adam")
