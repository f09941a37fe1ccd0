"""Sampling: equal to the plain twin, the same for any batch, order, thread, vector width and division into pieces."""

import os
import platform
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vqaudio
from vqaudio.defaults import Weights
from vqaudio.model.decoder import WaveNet
from vqaudio.sampling import generate, generate_reference, generation, stream, teacher_forced_logits


def make_net(seed: int) -> WaveNet:
    """A network of one, two or four bands and random sizes, most of which fill no vector."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    net = WaveNet(
        bands=(4, 1, 2)[seed % 3],
        levels=draw.randint(20, 520),
        layers=draw.randint(1, 6),
        cycle=draw.randint(1, 5),
        kernel=draw.randint(2, 4),
        residual=draw.randint(1, 70),
        gate=2 * draw.randint(1, 50),
        skip=draw.randint(1, 130),
        condition=draw.randint(1, 40),
    )
    for linear in (*net.out, net.head):
        nn.init.normal_(linear.bias, std=0.1)
    nn.init.normal_(net.logits.weight, std=0.5)
    return net


def random_conditions(net: WaveNet, lengths: list[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(net.condition.in_features, n, generator=generator) for n in lengths]


@pytest.mark.parametrize("seed", range(12))
def test_logits_equal_those_of_the_teacher_forced_network(seed: int) -> None:
    net = make_net(seed)
    (condition,) = random_conditions(net, [9])
    codes = torch.randint(0, net.levels, (9 * 20, net.bands), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = net(net.shift(codes[None]), condition[None])[0]
    logits = teacher_forced_logits(net, condition, codes, steps_per_frame=20)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_codes_equal_those_of_the_plain_twin(seed: int, temperature: float) -> None:
    net = make_net(seed)
    conditions = random_conditions(net, [seed % 5, 0, 3, 1])
    options = {"steps_per_frame": 5 + seed, "seeds": [7, 8, -9, 1 << 70], "temperature": temperature}
    codes = generate(net, conditions, threads=1 + seed % 3, **options)
    for ours, theirs in zip(codes, generate_reference(net, conditions, **options), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_a_seed_gives_the_same_audio_in_any_company(weights: Weights) -> None:
    net = make_net(3)
    lengths = [3, 9, 1, 12, 5, 2, 2, 8, 30, 4, 6, 9, 9, 9, 9, 9, 9]  # batches of eight, and of all smaller sizes
    conditions, seeds = random_conditions(net, lengths), list(range(len(lengths)))
    alone = [
        generate(net, [c], steps_per_frame=8, seeds=[s], weights=weights)[0]
        for c, s in zip(conditions, seeds, strict=True)
    ]
    for threads in (1, 3):
        options = {"steps_per_frame": 8, "seeds": seeds[::-1], "threads": threads, "weights": weights}
        together = generate(net, conditions[::-1], **options)[::-1]
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_adjacent_seeds_give_different_audio() -> None:
    net = make_net(3)
    a, b = generate(net, random_conditions(net, [9]) * 2, steps_per_frame=8, seeds=[0, 1])
    assert (a != b).float().mean() > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_16_bit_weights_are_those_of_the_network_with_rounded_matrices(seed: int) -> None:
    net = make_net(seed)
    (condition,) = random_conditions(net, [9])
    codes = torch.randint(0, net.levels, (9 * 20, net.bands), generator=torch.Generator().manual_seed(3))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.weight.data = module.weight.data.bfloat16().float()
    with torch.inference_mode():
        expected = net(net.shift(codes[None]), condition[None])[0]
    net.head.weight.data *= 1 + 1e-4  # what rounding takes away again
    logits = teacher_forced_logits(net, condition, codes, steps_per_frame=20, weights="bfloat16")
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("features", ["+avx,+avx2,+fma", ""], ids=["avx2", "plain"])
def test_machines_with_narrower_vectors_sample_the_same(features: str, tmp_path: Path) -> None:
    environment = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    if platform.machine() != "x86_64":
        pytest.skip("names the features of x86-64")
    tests = ["plain_twin", "any_company", "teacher_forced"]
    command = [sys.executable, "-m", "pytest", __file__, "-k", " or ".join(tests)]
    subprocess.run(command, check=True, env={**os.environ, **environment})


@pytest.mark.slow
def test_the_cache_sees_changes_of_every_file_and_no_private_option_is_needed(tmp_path: Path) -> None:
    shutil.copytree(Path(vqaudio.__file__).parent, tmp_path / "vqaudio", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import sys; from numba.core.registry import cpu_target\n"
        "for kind in cpu_target.options.__mro__:\n"
        "    if '_nrt' in vars(kind) and sys.argv[1:]: del kind._nrt\n"
        "from test_sampling import *; from vqaudio.sampling.kernel import advance\n"
        "net = make_net(5); options = dict(steps_per_frame=8, seeds=[1], temperature=1.0)\n"
        "ours, exact = (f(net, random_conditions(net, [9]), **options)[0] for f in (generate, generate_reference))\n"
        "assert torch.equal(ours, exact)\n"
        "print(sum(advance.stats.cache_hits.values()), sum(advance.stats.cache_misses.values()))\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def hits_and_misses(*arguments: str) -> str:
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        ).stdout

    assert hits_and_misses() == "0 1\n"
    assert hits_and_misses() == "1 0\n"
    with (tmp_path / "vqaudio" / "sampling" / "vectors.py").open("a") as file:
        file.write("# changed\n")
    assert hits_and_misses("without the option") == "0 1\n"


def test_an_error_in_the_progress_report_ends_the_sampling() -> None:
    net = make_net(5)

    def fail(samples: int) -> None:
        raise OSError(f"no room for {samples} samples")

    with pytest.raises(OSError, match="no room"):
        generate(net, random_conditions(net, [400] * 4), steps_per_frame=100, seeds=[0] * 4, threads=2, progress=fail)


def test_a_missing_seed_a_negative_temperature_and_unknown_weights_are_refused() -> None:
    net = make_net(5)
    conditions = random_conditions(net, [2, 2])
    with pytest.raises(ValueError, match="1 seeds for 2 conditions"):
        generate(net, conditions, steps_per_frame=10, seeds=[0])
    with pytest.raises(ValueError, match="temperature is -1"):
        generate(net, conditions, steps_per_frame=10, seeds=[0, 1], temperature=-1.0)
    with pytest.raises(ValueError, match="weights is 'float16'; give float32 or bfloat16"):
        generate(net, conditions, steps_per_frame=10, seeds=[0, 1], weights="float16")


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_a_stream_yields_the_same_levels_in_chunks(weights: Weights, monkeypatch) -> None:
    net = make_net(5)
    (condition,) = random_conditions(net, [11])
    (whole,) = generate(net, [condition], steps_per_frame=10, seeds=[4], weights=weights)
    monkeypatch.setattr(generation, "SLICE", 60)
    pieces = condition.split([7, 4], dim=1)
    chunks = list(stream(net, pieces, steps_per_frame=10, seed=4, temperature=1.0, weights=weights))
    assert [chunk.shape for chunk in chunks] == [(steps, 2) for steps in (30, 30, 10, 30, 10)]
    assert torch.equal(torch.cat(chunks), whole)


def test_progress_counts_every_sample() -> None:
    net = make_net(5)
    done: list[int] = []
    generate(net, random_conditions(net, [50, 20]), steps_per_frame=100, seeds=[0, 1], threads=2, progress=done.append)
    assert sum(done) == 7000 * net.bands
    assert len(done) > 2


def test_sampling_works_inside_inference_mode() -> None:
    net = make_net(1)
    conditions = random_conditions(net, [3])
    with torch.inference_mode():
        (inside,) = generate(net, conditions, steps_per_frame=8, seeds=[1])
    assert torch.equal(inside, generate(net, conditions, steps_per_frame=8, seeds=[1])[0])
