import pytest
import torch
from torch import Tensor, nn

from vqaudio.decoder import WaveNet, shift
from vqaudio.sampling import generate, generate_reference, stream, teacher_forced_logits

# Odd sizes, both kernel sizes, one and several cycles; levels above SILENCE.
NETS = {
    "odd": {"levels": 256, "layers": 5, "cycle": 3, "kernel": 2, "residual": 33, "gate": 46, "skip": 35, "condition": 17},
    "kernel 3": {"levels": 200, "layers": 4, "cycle": 4, "kernel": 3, "residual": 32, "gate": 64, "skip": 64, "condition": 5},
    "kernel 4": {"levels": 130, "layers": 3, "cycle": 2, "kernel": 4, "residual": 7, "gate": 2, "skip": 1, "condition": 1},
    "one layer": {"levels": 129, "layers": 1, "cycle": 1, "kernel": 2, "residual": 16, "gate": 32, "skip": 16, "condition": 16},
}  # fmt: skip


def make_net(name: str) -> WaveNet:
    torch.manual_seed(1)
    net = WaveNet(**NETS[name])
    for linear in (*net.out, net.head):
        nn.init.normal_(linear.bias, std=0.1)
    nn.init.normal_(net.logits.weight, std=0.5)
    return net


def random_conditions(net: WaveNet, lengths: list[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(net.condition.in_features, n, generator=generator) for n in lengths]


@pytest.mark.parametrize("name", NETS)
def test_logits_equal_those_of_the_teacher_forced_network(name: str) -> None:
    net = make_net(name)
    (condition,) = random_conditions(net, [9])
    codes = torch.randint(0, net.levels, (9 * 20,), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = net(shift(codes[None]), condition[None])[0]
    logits = teacher_forced_logits(net, condition, codes, hop_length=20)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_codes_equal_those_of_the_plain_twin(name: str, temperature: float) -> None:
    net = make_net(name)
    conditions = random_conditions(net, [4, 0, 7])
    options = {"hop_length": 15, "seeds": [7, 8, -9], "temperature": temperature}
    codes = generate(net, conditions, **options)
    for ours, theirs in zip(codes, generate_reference(net, conditions, **options), strict=True):
        assert torch.equal(ours, theirs)


def test_a_seed_gives_the_same_audio_in_any_company() -> None:
    net = make_net("odd")
    conditions = random_conditions(net, [3, 9, 1, 12, 5, 2, 2, 8, 30, 4, 6])
    seeds = list(range(11))
    alone = [generate(net, [c], hop_length=8, seeds=[s])[0] for c, s in zip(conditions, seeds, strict=True)]
    for threads in (1, 3):
        together = generate(net, conditions[::-1], hop_length=8, seeds=seeds[::-1], threads=threads)[::-1]
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_stream_yields_the_same_levels_in_chunks() -> None:
    net = make_net("kernel 3")
    (condition,) = random_conditions(net, [11])
    (whole,) = generate(net, [condition], hop_length=10, seeds=[4])
    chunks = list(stream(net, condition, hop_length=10, seed=4, chunk=30))
    assert [len(chunk) for chunk in chunks] == [30, 30, 30, 20]
    assert torch.equal(torch.cat(chunks), whole)


def test_progress_counts_every_sample() -> None:
    net = make_net("one layer")
    done: list[int] = []
    generate(net, random_conditions(net, [50, 20]), hop_length=100, seeds=[0, 1], threads=2, progress=done.append)
    assert sum(done) == 7000
    assert len(done) > 2
