"""The batched sampler of the GPU: equal to the kernel when it runs on a CPU; nearly so on a GPU."""

import pytest
import torch
from test_sampling import make_net, random_conditions

from vqaudio.sampling import generate
from vqaudio.sampling.cuda import MAX_BATCH, generate_batched, mix, shifted, wrapped
from vqaudio.sampling.reference import uniforms


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_batched_codes_equal_those_of_the_kernel(seed: int, temperature: float) -> None:
    net = make_net(seed)
    conditions = random_conditions(net, [4, 0, 7])
    options = {"steps_per_frame": 15, "seeds": [7, 8, -9], "temperature": temperature}
    ours = generate_batched(net, conditions, **options)
    assert [codes.shape for codes in ours] == [(steps, net.bands) for steps in (60, 0, 105)]
    assert all(torch.equal(a, b) for a, b in zip(ours, generate(net, conditions, **options), strict=True))


def test_more_utterances_than_a_batch_come_back_in_order() -> None:
    net = make_net(5)
    lengths = [1 + i % 3 for i in range(MAX_BATCH + 3)]
    options = {"steps_per_frame": 4, "seeds": list(range(len(lengths))), "temperature": 1.0}
    conditions = random_conditions(net, lengths)
    done: list[int] = []
    ours = generate_batched(net, conditions, **options, progress=done.append)
    assert all(torch.equal(a, b) for a, b in zip(ours, generate(net, conditions, **options), strict=True))
    assert sum(done) == 4 * net.bands * sum(lengths)


@pytest.mark.parametrize("seed", [0, 1, -5, 2**63 + 11, 123456789])
def test_random_numbers_are_those_of_the_kernel(seed: int) -> None:
    start = mix(torch.tensor([wrapped(seed)]))
    times = torch.arange(1, 101)
    bits = shifted(mix(start + times * wrapped(0x9E3779B97F4A7C15)), 40)
    assert torch.equal(bits.float() * 2.0**-24, torch.from_numpy(uniforms(seed, 100)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_replays_the_same_levels() -> None:
    net = make_net(3)
    conditions = random_conditions(net, [6, 3])
    options = {"steps_per_frame": 16, "seeds": [1, 2], "temperature": 1.0}
    expected = generate(net, conditions, **options)
    ours = generate_batched(net.cuda(), conditions, **options)
    same = torch.cat([a == b for a, b in zip(ours, expected, strict=True)]).float().mean()
    assert same > 0.9  # from the first level that rounding turns over, the two go different ways
