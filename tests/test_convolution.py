"""Convolutions over rows with GELU: equal to nn.Conv1d and F.gelu, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import naive_conditioner, naive_encoder
from torch import Tensor, nn

from vqaudio.model.convolution import convolve_each, convolve_gelu
from vqaudio.model.decoder import Conditioner
from vqaudio.model.encoder import Encoder


def gradients(out: Tensor, upstream: Tensor, *tensors: Tensor) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out, tensors, upstream)]


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 4), st.integers(1, 6), st.integers(1, 20))
def test_rows_and_gradients_equal_those_of_conv1d(C: int, kernel: int, stride: int, length: int, out: int) -> None:
    torch.manual_seed(C + 3 * kernel + 5 * stride + 7 * length + 11 * out)
    conv, rows = nn.Conv1d(C, out, kernel, stride), torch.randn(stride * length + kernel - 1, C)
    rows = rows[: len(rows) // stride * stride].requires_grad_()
    if len(rows) < kernel:
        return
    exact = F.gelu(conv(rows.t().unsqueeze(0)), approximate="tanh")[0].t()
    ours = convolve_gelu(rows, conv)
    assert len(ours) == len(rows) // stride
    upstream = torch.randn(exact.shape)
    results = [
        gradients(y, upstream, rows, conv.weight, conv.bias) for y in (ours[: len(exact)], exact)
    ]  # the rows of no meaning get no gradient
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(*results, strict=True))


def test_gradients_are_those_of_the_numbers() -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(2, 3, 5, 2).double()
    assert torch.autograd.gradcheck(
        lambda rows: convolve_gelu(rows, conv), torch.randn(12, 2).double().requires_grad_()
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.sampled_from([1, 3, 9, 15]), st.integers(1, 30))
def test_rows_and_gradients_of_each_channel_equal_those_of_conv1d(C: int, kernel: int, length: int) -> None:
    torch.manual_seed(C + 3 * kernel + 5 * length)
    conv = nn.Conv1d(C, C, kernel, padding=kernel // 2, groups=C)
    rows, upstream = torch.randn(length, C, requires_grad=True), torch.randn(length, C)
    exact = conv(rows.t().unsqueeze(0))[0].t()
    results = [gradients(y, upstream, rows, conv.weight, conv.bias) for y in (convolve_each(rows, conv), exact)]
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
def test_an_encoder_equals_plain_convolutions(batch: int, autocast: bool) -> None:
    torch.manual_seed(0)
    encoder = Encoder(
        channels=[16, 24], kernels=[7, 4], strides=[4, 3], context_layers=2, context_kernel=3, latent_dim=8
    )
    padded, results = torch.randn(batch, encoder.left + 9 * 12 + encoder.right) / 20, []
    for forward in (encoder.frames, lambda padded: naive_encoder(encoder, padded)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            z = forward(padded)
        results.append(gradients(z, torch.ones_like(z).cumsum(1), *encoder.parameters()))
    bound = 0.05 if autocast else 1e-4
    assert all((a - b).norm() <= bound * b.norm() + 1e-5 for a, b in zip(*results, strict=True))


def test_a_conditioner_equals_plain_convolutions() -> None:
    torch.manual_seed(0)
    conditioner = Conditioner(latent_dim=4, channels=12, layers=2, kernel=5, speakers=3)
    z_q, speaker, results = torch.randn(3, 4, 7, requires_grad=True), torch.tensor([2, 0, 1]), []
    for condition in (conditioner(z_q, speaker), naive_conditioner(conditioner, z_q, speaker)):
        results.append(gradients(condition, torch.ones_like(condition).cumsum(2), z_q, *conditioner.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(*results, strict=True))
    with pytest.raises(ValueError, match="must be odd, not 4"):
        Conditioner(latent_dim=4, channels=12, layers=2, kernel=4, speakers=3)


def test_an_exporter_sees_an_encoder_in_pytorch_operations() -> None:
    torch.manual_seed(0)
    encoder = Encoder(
        channels=[6, 8], kernels=[7, 4], strides=[4, 2], context_layers=1, context_kernel=3, latent_dim=5
    ).eval()
    with torch.no_grad():
        exported = torch.export.export(encoder, (torch.randn(1, 160),)).module()
        wav = torch.randn(1, 160)
        assert torch.allclose(exported(wav), encoder(wav), atol=1e-5)
