"""The fused gate: equal to plain PyTorch, whatever the shape, the type and the number of threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vqaudio.model.loops.gate import backward_reference, forward_reference, gate_backward, gate_forward

TYPES = [torch.float32, torch.bfloat16]
size = st.integers(1, 5)


def numbers(*shape: int, dtype: torch.dtype, scale: float = 2.0) -> Tensor:
    return (scale * torch.randn(shape)).to(dtype)


def both(y: Tensor, condition: Tensor, grad_h: Tensor, forward=gate_forward, backward=gate_backward) -> list[Tensor]:
    """Run copies forwards and backwards; return h, the activations, and the gradients of y and the condition."""
    y, h, grad_y, h_again = y.clone(), torch.empty_like(grad_h), torch.empty_like(y), grad_h.clone()
    grad_condition = torch.empty(condition.shape, dtype=torch.promote_types(y.dtype, torch.float32))
    forward(y, condition, h)
    backward(h_again, y, grad_y, grad_condition)
    assert torch.equal(h, h_again)
    return [h, y, grad_y, grad_condition]


@settings(deadline=None, max_examples=60)
@given(dtype=st.sampled_from(TYPES), N=size, S=size, B=size, H=st.integers(1, 70))
def test_both_directions_equal_plain_pytorch_in_float32(dtype: torch.dtype, N: int, S: int, B: int, H: int) -> None:
    torch.manual_seed(N + 7 * S + 11 * B + H)
    tensors = [
        numbers(N * S * B, 2 * H, dtype=dtype),
        numbers(N, B, 2 * H, dtype=dtype),
        numbers(N * S * B, H, dtype=dtype),
    ]
    h, activated, grad_y, grad_condition = both(*tensors)
    y, condition, grad_h = (tensor.to(torch.float32, copy=True) for tensor in tensors)
    exact_h, exact_y, exact_condition = (torch.empty_like(tensor) for tensor in (grad_h, y, condition))
    forward_reference(y, condition, exact_h)
    bound = {torch.float32: 2e-6, torch.bfloat16: 2**-8}[dtype]
    assert torch.allclose(activated.float(), y, atol=bound)
    assert torch.allclose(h.float(), exact_h, atol=2 * bound)
    # Backward starts from the rounded activations.
    backward_reference(grad_h, activated.float(), exact_y, exact_condition)
    assert torch.allclose(grad_y.float(), exact_y, rtol=bound, atol=1e-6)
    assert torch.allclose(grad_condition, exact_condition, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", TYPES)
def test_sums_over_a_long_frame_do_not_lose_what_bfloat16_would(dtype: torch.dtype) -> None:
    zeros, ones = torch.zeros(1000, 2, dtype=dtype), torch.ones(1000, 1, dtype=dtype)
    _, _, _, grad_condition = both(zeros, zeros[:1].view(1, 1, 2), ones)
    assert grad_condition[0, 0, 0] == 500  # adding halves, bfloat16 would stay at 128


@pytest.mark.parametrize("dtype", TYPES)
def test_saturated_and_non_finite_inputs_stay_what_they_are(dtype: torch.dtype) -> None:
    inf, nan = torch.inf, torch.nan
    y = torch.tensor([[1e4, 1e4], [-1e4, -1e4], [inf, inf], [nan, 0.0], [0.0, nan]], dtype=dtype)
    h = torch.empty(5, 1, dtype=dtype)
    gate_forward(y, torch.zeros(1, 1, 2, dtype=dtype), h)
    assert torch.allclose(y[:3].float(), torch.tensor([[1.0, 1.0], [-1.0, 0.0], [1.0, 1.0]]), atol=1e-6)
    assert h.isnan().flatten().tolist() == [False, False, False, True, True]
    assert y.isnan().tolist()[3:] == [[True, False], [False, True]]


def test_bfloat16_rounds_to_nearest_even() -> None:
    a = torch.arange(0, 0x7F80, dtype=torch.int16).view(torch.bfloat16).unsqueeze(1)  # every finite number from 0 on
    y, h = torch.cat([a, torch.zeros_like(a)], dim=1), torch.empty_like(a)
    gate_forward(y, torch.zeros(1, 1, 2, dtype=torch.bfloat16), h)
    assert (y[:, :1] == a.float().tanh().bfloat16()).float().mean() > 0.999  # but for the last bit of tanh
    assert torch.equal(h, y[:, :1] * 0.5)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_does_not_change_a_bit(dtype: torch.dtype, threads: int, monkeypatch) -> None:
    torch.manual_seed(0)
    N, S, B, H = 5, 40, 3, 8
    tensors = [
        numbers(N * S * B, 2 * H, dtype=dtype),
        numbers(N, B, 2 * H, dtype=dtype),
        numbers(N * S * B, H, dtype=dtype),
    ]
    monkeypatch.setattr("vqaudio.model.loops.threads.MIN_PARALLEL_SIZE", 1)
    results = []
    for count in (1, threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        results.append(both(*tensors))
    assert all(torch.equal(one, many) for one, many in zip(*results, strict=True))


def test_types_without_a_compiled_loop_run_in_plain_pytorch() -> None:
    y, condition = torch.randn(12, 6, dtype=torch.float64), torch.randn(2, 3, 6, dtype=torch.float64)
    a, b = (y.view(2, 2, 3, 6) + condition.unsqueeze(1)).view(12, 6).chunk(2, dim=1)
    h, *_ = both(y, condition, torch.randn(12, 3, dtype=torch.float64))
    assert torch.equal(h, a.tanh() * b.sigmoid())


def test_gates_of_several_threads_at_once_do_not_disturb_each_other(monkeypatch) -> None:
    monkeypatch.setattr("vqaudio.model.loops.threads.MIN_PARALLEL_SIZE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    tensors = torch.randn(4000, 16), torch.randn(4, 5, 16), torch.randn(4000, 8)
    expected = both(*tensors)
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: both(*tensors), range(40)):
            assert all(torch.equal(ours, one) for ours, one in zip(results, expected, strict=True))


def test_a_forked_process_has_threads_of_its_own() -> None:
    script = (
        "import os, torch\n"
        "from vqaudio.model.loops import threads, gate\n"
        "threads.MIN_PARALLEL_SIZE, torch.get_num_threads = 1, lambda: 2\n"
        "run = lambda: gate.gate_forward(torch.zeros(400, 16), torch.zeros(4, 5, 16), torch.zeros(400, 8))\n"
        "run()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    run()\n"
        "    os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "7", done.stderr
