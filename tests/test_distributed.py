"""Several processes on the CPU: what they draw and share, and runs that other numbers of processes continue."""

import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import soundfile
import torch
from ranks import run_ranks
from tiny_training import RATE, states_agree, tiny_overrides, write_tones

from vqaudio import distributed
from vqaudio.errors import UserError
from vqaudio.training.app import compose
from vqaudio.training.loop import train
from vqaudio.training.state import load_state, states

STEPS, STOP = 20, 13

TOLERANCE = 2e-5
"""Largest difference between one process and two with half the batch, in 20 steps: of losses, relative to each, and of
weights, relative to the largest of a tensor.

Both add the same numbers in another order, which rounds differently by about 1e-7 of a sum of float32. Adam divides
each gradient by its size, so that those that are nearly 0 move a weight as far as large ones do.
"""


class Pair(NamedTuple):
    """What two processes drew in each step of a whole and of a stopped run, and their weights at the end."""

    folder: Path
    data: Path
    ranks: list[dict[str, Any]]


def overrides_of(data: Path) -> list[str]:
    return [*tiny_overrides(data, Path("exp"), quantizer="gumbel", steps=STEPS), "trainer.jitter=0.2"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    data = write_tones(folder / "data")
    whole, stopped = ([*overrides_of(data), f"exp_dir={folder / name}"] for name in ("whole", "stopped"))
    dying = [*tiny_overrides(data, folder / "dying", steps=STEPS), "quantizer.options.restart_threshold=0.9"]
    dying += ["quantizer.options.decay=0.5", "trainer.decoder_start=1"]
    jobs = [{"overrides": whole}, {"overrides": stopped, "stop": STOP}, {"overrides": stopped}, {"overrides": dying}]
    ranks = []
    for first, before, after, last in run_ranks(folder, 2, jobs):
        drawn = {"whole": first["drawn"], "stopped": before["drawn"] + after["drawn"]}
        ranks.append({**drawn, "net": after["net"], "dying": last["net"]})
    return Pair(folder, data, ranks)


def all_differ(steps: tuple[Any, ...]) -> bool:
    """Whether in each step no two processes drew the same samples or have the same random numbers."""
    return all(
        not torch.equal(one[part], other[part])
        for ranks in zip(*steps, strict=True)
        for i, one in enumerate(ranks)
        for other in ranks[:i]
        for part in (0, 1)
    )


@pytest.mark.parametrize("run", ["whole", "stopped"])
def test_processes_draw_different_segments_and_noise_in_every_step(pair: Pair, run: str) -> None:
    steps = tuple(rank[run] for rank in pair.ranks)
    assert [len(drawn) for drawn in steps] == [STEPS, STEPS]  # the stopped run after its resume included
    assert all_differ(steps)


def test_a_stopped_run_of_two_processes_equals_a_whole_one_bit_for_bit(pair: Pair) -> None:
    for rank in pair.ranks:
        for step, same in zip(rank["whole"], rank["stopped"], strict=True):
            assert all(torch.equal(x, y) for x, y in zip(step, same, strict=True))
    assert states_agree(pair.folder / "whole", pair.folder / "stopped")
    weights = [(pair.folder / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("run", ["net", "dying"])
def test_processes_hold_the_same_weights_and_codebook(pair: Pair, run: str) -> None:
    """In `dying` codes restart in every step, and each process has latents of its own for them."""
    first, second = (rank[run] for rank in pair.ranks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["model.quantizer.initialised"]


def test_a_run_of_two_processes_continues_with_one(pair: Pair, tmp_path: Path, caplog) -> None:
    exp = Path(shutil.copytree(pair.folder / "whole", tmp_path / "exp"))
    assert len(load_state(states(exp)[0])["random"]["cpu"]) == 2
    with caplog.at_level(logging.INFO, logger="vqaudio.training"):
        train(compose([*overrides_of(pair.data), f"exp_dir={exp}", f"trainer.max_steps={STEPS + 10}"]))
    assert "the state is of 2 processes on the CPU, this run has 1 on the CPU" in caplog.text
    assert states(exp)[0].name == f"step-{STEPS + 10}"
    assert len(load_state(states(exp)[0])["random"]["cpu"]) == 1


@pytest.mark.slow
def test_a_run_of_two_processes_continues_with_three_from_the_same_state(pair: Pair, tmp_path: Path) -> None:
    exp = Path(shutil.copytree(pair.folder / "whole", tmp_path / "exp"))
    state = load_state(states(exp)[0])
    more = [*overrides_of(pair.data), f"exp_dir={exp}", f"trainer.max_steps={STEPS + 3}"]
    found = [rank[0] for rank in run_ranks(tmp_path / "ranks", 3, [{"overrides": more, "stop": STEPS + 1}])]
    assert all_differ(tuple(rank["drawn"] for rank in found))
    stopped = load_state(states(exp)[0])
    assert stopped["step"] == STEPS + 1
    counts = [{int(value["step"]) for value in each["optimizer"]["state"].values()} for each in (state, stopped)]
    assert max(counts[1]) == max(counts[0]) + 1  # the optimizer goes on counting
    assert stopped["average"]["age"] == state["average"]["age"] + 1
    for part in ("encoder", "quantizer"):  # which no longer change
        names = [name for name in state["net"] if name.startswith(f"model.{part}")]
        assert names
        assert all(torch.equal(state["net"][name], stopped["net"][name]) for name in names)


def uneven_tones(folder: Path) -> Path:
    """Write tones of which some are so short that segments of a batch have different numbers of frames inside."""
    data = write_tones(folder)
    for name, samples in (("s0_0", 1200), ("s1_2", 2400)):
        wav, _ = soundfile.read(data / f"{name}.wav")
        soundfile.write(data / f"{name}.wav", wav[:samples], RATE)
    return data


KINDS = {
    "kmeans": ["quantizer=kmeans", "quantizer.options.restart_threshold=0"],
    "gradient": ["quantizer=kmeans", "quantizer.options.restart_threshold=0", "quantizer.options.update=gradient"],
    "gumbel": ["quantizer=gumbel", "quantizer.options.diversity=1"],
}


def equality_job(kind: str, data: Path, exp: Path, segments: int) -> dict[str, Any]:
    overrides = [*tiny_overrides(data, exp, steps=STEPS)[:1], *KINDS[kind], *tiny_overrides(data, exp, steps=STEPS)[2:]]
    overrides += [f"trainer.{phase}_phase.segments={segments}" for phase in ("codebook", "decoder")]
    return {"overrides": [*overrides, "trainer.decoder_phase.frames=20"], "quiet": True}


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process does with six segments in a batch, and two with three each: losses and weights by kind."""
    folder = tmp_path_factory.mktemp("halves")
    data, found = uneven_tones(folder / "data"), {}
    for number in (1, 2):
        jobs = [equality_job(kind, data, folder / f"{kind}{number}", 6 // number) for kind in KINDS]
        found[number] = run_ranks(folder, number, jobs)
    return {kind: {number: [rank[i] for rank in found[number]] for number in found} for i, kind in enumerate(KINDS)}


def apart(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    return float((x.double() - y.double()).abs().max() / x.double().abs().max().clamp_min(1e-9))


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_half_the_batch_equal_one(halves: dict[str, Any], kind: str) -> None:
    (one,), two = halves[kind][1], halves[kind][2]
    for step, *parts in zip(one["drawn"], *(rank["drawn"] for rank in two), strict=True):
        assert torch.equal(step[0], torch.cat([part[0] for part in parts]))  # the same segments
        assert apart(step[2], sum(part[2] for part in parts) / 2) < TOLERANCE
    assert max(apart(value, two[0]["net"][name]) for name, value in one["net"].items()) < TOLERANCE


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with (
        pytest.raises(UserError, match=r"trainer\.device=cuda: torch finds 0 GPUs here.*; set trainer\.device=cpu"),
        distributed.processes("cuda"),
    ):
        pass
    with distributed.processes("auto") as world:
        assert world == (0, 1, torch.device("cpu"))


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with (
        pytest.raises(UserError, match=r"finds 2 GPUs here, and process 2 needs one.*--nproc-per-node=2"),
        distributed.processes("auto"),
    ):
        pass


def test_the_cpu_may_be_chosen_although_there_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with distributed.processes("cpu") as world:
        assert world.device == torch.device("cpu")
        assert world.agree(3.0) == 3.0
        assert torch.equal(world.gather(torch.arange(3))[0], torch.arange(3))
