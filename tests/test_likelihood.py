"""The likelihood of codes: equal to PyTorch's cross entropy, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vqaudio.model.loops.likelihood import negative_log_likelihood

TYPES = [torch.float32, torch.bfloat16]
size = st.integers(1, 5)


def gradient(function, logits: Tensor, codes: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().requires_grad_()
    errors = function(logits, codes)
    errors.backward(upstream)
    return errors.detach(), logits.grad


def plain(logits: Tensor, codes: Tensor) -> Tensor:
    return F.cross_entropy(logits.double().flatten(0, -2), codes.flatten(), reduction="none").view_as(codes).float()


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(TYPES),
    st.tuples(size, size, st.lists(st.integers(1, 4), max_size=1)),
    st.integers(1, 70),
    st.booleans(),
    st.sampled_from([0.1, 3.0, 60.0]),
)
def test_errors_and_gradients_equal_cross_entropy(
    dtype: torch.dtype, sizes: tuple[int, int, list[int]], Q: int, time_first: bool, scale: float
) -> None:
    B, T, bands = sizes
    torch.manual_seed(B + 7 * T + 11 * Q)
    shape = (T, B, *bands, Q) if time_first else (B, T, *bands, Q)
    logits = (scale * torch.randn(shape)).to(dtype)
    logits = logits.transpose(0, 1) if time_first else logits
    codes, upstream = torch.randint(0, Q, (B, T, *bands)), torch.randn(B, T, *bands)
    errors, grad = gradient(negative_log_likelihood, logits, codes, upstream)
    exact, exact_grad = gradient(plain, logits.float(), codes, upstream)
    assert errors.dtype == torch.float32
    assert torch.allclose(errors, exact, rtol=1e-5, atol=1e-5)
    assert grad.dtype == dtype
    # A softmax is exact to the last bit of the largest logit.
    bound = 1e-6 * max(1.0, logits.abs().max().item())
    assert torch.allclose(grad.float(), exact_grad, rtol=2**-8 if dtype == torch.bfloat16 else 1e-4, atol=bound)


@pytest.mark.parametrize("dtype", TYPES)
def test_extreme_logits_neither_overflow_nor_hide(dtype: torch.dtype) -> None:
    inf, nan = torch.inf, torch.nan
    logits = torch.tensor([[[1e30, 0.0, -1e30]], [[-inf, 0.0, 0.0]], [[nan, 0.0, 0.0]], [[inf, 0.0, 0.0]]]).to(dtype)
    errors = negative_log_likelihood(logits, torch.tensor([[0], [1], [1], [1]])).flatten()
    assert torch.allclose(errors[:2], torch.tensor([0.0, 0.6931472]))
    assert not errors[2:].isfinite().any()


@pytest.mark.parametrize("dtype", TYPES)
def test_the_number_of_threads_does_not_change_a_bit(dtype: torch.dtype, monkeypatch) -> None:
    torch.manual_seed(0)
    logits, codes = torch.randn(3, 50, 32).to(dtype), torch.randint(0, 32, (3, 50))
    monkeypatch.setattr("vqaudio.model.loops.threads.MIN_PARALLEL_SIZE", 1)
    results = []
    for count in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        results.append(gradient(negative_log_likelihood, logits, codes, torch.ones(3, 50)))
    assert all(torch.equal(one, many) for one, many in zip(*results, strict=True))


def test_codes_outside_the_levels_are_refused() -> None:
    for code in (-1, 4):
        with pytest.raises(IndexError, match=f"codes from {min(code, 0)} to {max(code, 0)} do not index 4 logits"):
            negative_log_likelihood(torch.zeros(1, 2, 4), torch.tensor([[0, code]]))


def test_types_without_a_compiled_loop_run_in_plain_pytorch() -> None:
    logits, codes = torch.randn(2, 3, 5, dtype=torch.float64), torch.randint(0, 5, (2, 3))
    assert torch.allclose(negative_log_likelihood(logits, codes), plain(logits, codes), atol=1e-6)
