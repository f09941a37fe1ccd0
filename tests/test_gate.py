"""The fused gate: equal to plain PyTorch, whatever the shape, the type and the number of threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vqaudio import gate
from vqaudio.gate import backward_reference, forward_reference, gate_backward, gate_forward

TYPES = [torch.float32, torch.bfloat16]
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 2**-8}
size = st.integers(1, 5)


def numbers(rows: int, channels: int, dtype: torch.dtype, scale: float = 2.0) -> Tensor:
    return (scale * torch.randn(rows, channels)).to(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@settings(deadline=None, max_examples=30)
@given(N=size, S=size, B=size, H=st.integers(1, 40))
def test_both_directions_equal_plain_pytorch_in_float32(dtype: torch.dtype, N: int, S: int, B: int, H: int) -> None:
    torch.manual_seed(N + 7 * S + 11 * B + H)
    y, grad_h = numbers(N * S * B, 2 * H, dtype), numbers(N * S * B, H, dtype)
    condition = numbers(N * B, 2 * H, dtype).view(N, B, 2 * H)
    exact_y, exact_grad = y.float().clone(), grad_h.float().clone()
    exact_h = forward_reference(exact_y, condition.float())
    h = gate_forward(y, condition)
    assert torch.allclose(y.float(), exact_y, atol=ROUNDING[dtype])
    assert torch.allclose(h.float(), exact_h, atol=2 * ROUNDING[dtype])

    expected = backward_reference(exact_grad, y.float(), (N, B))
    grad_y, grad_condition = gate_backward(grad_h, y, (N, B))
    assert torch.allclose(grad_y.float(), expected[0], rtol=ROUNDING[dtype], atol=1e-6)
    assert torch.allclose(grad_condition.float(), expected[1], rtol=ROUNDING[dtype], atol=1e-5)
    assert torch.equal(grad_h, h)


@pytest.mark.parametrize("dtype", TYPES)
def test_sums_over_a_long_frame_do_not_lose_what_bfloat16_would(dtype: torch.dtype) -> None:
    y = torch.zeros(1000, 2, dtype=dtype)
    gate_forward(y, torch.zeros(1, 1, 2, dtype=dtype))
    _, grad_condition = gate_backward(torch.ones(1000, 1, dtype=dtype), y, (1, 1))
    assert grad_condition[0, 0, 0] == 500  # adding halves, bfloat16 would stay at 128


@pytest.mark.parametrize("dtype", TYPES)
def test_saturated_and_non_finite_inputs_stay_what_they_are(dtype: torch.dtype) -> None:
    y = torch.tensor(
        [[1e4, 1e4], [-1e4, -1e4], [torch.inf, torch.inf], [torch.nan, 0.0], [0.0, torch.nan]], dtype=dtype
    )
    h = gate_forward(y, torch.zeros(1, 1, 2, dtype=dtype))
    assert torch.allclose(y[:3].float(), torch.tensor([[1.0, 1.0], [-1.0, 0.0], [1.0, 1.0]]), atol=1e-6)
    assert h.isnan().flatten().tolist() == [False, False, False, True, True]
    assert y.isnan().tolist()[3:] == [[True, False], [False, True]]


def test_bfloat16_rounds_to_nearest_even() -> None:
    a = torch.arange(0, 0x7F80, dtype=torch.int16).view(torch.bfloat16)  # every finite number from 0 on
    a = a[a < 0.2].unsqueeze(1)
    y = torch.cat([a, torch.zeros_like(a)], dim=1)
    h = gate_forward(y.clone(), torch.zeros(1, 1, 2, dtype=torch.bfloat16))
    exact = (a.float().tanh().bfloat16() * 0.5).float()
    assert (h.float() == exact).float().mean() > 0.999  # tanh itself differs by float32 rounding


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_does_not_change_a_bit(dtype: torch.dtype, threads: int, monkeypatch) -> None:
    torch.manual_seed(0)
    N, S, B, H = 5, 40, 3, 8
    y, grad_h = numbers(N * S * B, 2 * H, dtype), numbers(N * S * B, H, dtype)
    condition = numbers(N * B, 2 * H, dtype).view(N, B, 2 * H)
    monkeypatch.setattr(gate, "SMALL", 1)
    results = []
    for count in (1, threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        activated, grad = y.clone(), grad_h.clone()
        h = gate_forward(activated, condition)
        results.append([h, activated, *gate_backward(grad, activated, (N, B)), grad])
    assert all(torch.equal(one, many) for one, many in zip(*results, strict=True))


def test_types_without_a_compiled_loop_run_in_plain_pytorch() -> None:
    y, condition = torch.randn(12, 6, dtype=torch.float64), torch.randn(2, 3, 6, dtype=torch.float64)
    a, b = (y.view(2, 2, 3, 6) + condition.unsqueeze(1)).view(12, 6).chunk(2, dim=1)
    assert torch.equal(gate_forward(y, condition), a.tanh() * b.sigmoid())


def test_gates_of_several_threads_at_once_do_not_disturb_each_other(monkeypatch) -> None:
    monkeypatch.setattr(gate, "SMALL", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    y, condition = torch.randn(4000, 16), torch.randn(4, 5, 16)
    expected = gate_forward(y.clone(), condition)
    with ThreadPoolExecutor(4) as pool:
        for h in pool.map(lambda _: gate_forward(y.clone(), condition), range(40)):
            assert torch.equal(h, expected)


def test_a_forked_process_has_threads_of_its_own() -> None:
    script = (
        "import os, torch\n"
        "from vqaudio import gate\n"
        "gate.SMALL, torch.get_num_threads = 1, lambda: 2\n"
        "run = lambda: gate.gate_forward(torch.zeros(400, 16), torch.zeros(4, 5, 16))\n"
        "run()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    run()\n"
        "    os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "7", done.stderr
