"""Two processes on the CPU: what they draw, what they share, and an interrupted run that equals a whole one."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tiny_training import states_agree, tiny_overrides, write_tones

from vqaudio import distributed
from vqaudio.errors import UserError
from vqaudio.training.app import compose
from vqaudio.training.loop import train
from vqaudio.training.state import load_state, states

STEPS, STOP = 20, 13

RANK = """
import os, signal, sys, torch
from vqaudio.errors import JobError
from vqaudio.training import loop, start
from vqaudio.training.app import compose
from vqaudio.training.objective import Objective

folder, ports, overrides = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
rank, drawn, stop_at = int(os.environ["RANK"]), [], 0
forward, housekeeping, to_the_end = Objective.forward, loop.Training.housekeeping, loop.Training.loop

def recording(self, batch, temperature, decoder):
    if self.training:
        drawn.append((batch.padded.clone(), torch.get_rng_state()))
    return forward(self, batch, temperature, decoder)

def stopping(self, *args):
    housekeeping(self, *args)
    if self.step == stop_at and rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)

def keeping(self, stop):
    global net
    to_the_end(self, stop)
    net = self.net.state_dict()

start.START_FRAMES = 1000
Objective.forward, loop.Training.housekeeping, loop.Training.loop = recording, stopping, keeping

def run(name, stop=0):
    global stop_at
    stop_at, os.environ["MASTER_PORT"] = stop, ports.pop()
    try:
        loop.train(compose([*overrides, f"exp_dir={folder}/{name}"]))
    except JobError as error:
        assert stop, error

run("whole")
whole = list(drawn)
drawn.clear()
run("stopped", STOP)
run("stopped")
torch.save({"whole": whole, "stopped": drawn, "net": net}, f"{folder}/rank{rank}.pt")
"""


class Pair(NamedTuple):
    """What two processes drew in each step of a whole and of a stopped run, and their weights at the end."""

    folder: Path
    data: Path
    ranks: list[dict]


def overrides_of(data: Path) -> list[str]:
    return [*tiny_overrides(data, Path("exp"), quantizer="gumbel", steps=STEPS), "trainer.jitter=0.2"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    data = write_tones(folder / "data")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = ",".join(str(s.getsockname()[1]) for s in sockets)
    for s in sockets:
        s.close()
    script = RANK.replace("STOP", str(STOP))
    running = []
    for rank in range(2):
        environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        command = [sys.executable, "-c", script, str(folder), ports, *overrides_of(data)]
        running.append(
            subprocess.Popen(
                command, env={**os.environ, **environment, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
            )
        )
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors[0][-2000:] + errors[1][-2000:]
    return Pair(folder, data, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)])


@pytest.mark.parametrize("run", ["whole", "stopped"])
def test_processes_draw_different_segments_and_noise_in_every_step(pair: Pair, run: str) -> None:
    first, second = (rank[run] for rank in pair.ranks)
    assert len(first) == len(second) == STEPS  # the stopped run after its resume included
    for (segments, noise), (other_segments, other_noise) in zip(first, second, strict=True):
        assert not torch.equal(segments, other_segments)
        assert not torch.equal(noise, other_noise)


def test_a_stopped_run_of_two_processes_equals_a_whole_one_bit_for_bit(pair: Pair) -> None:
    for rank in pair.ranks:
        for (segments, noise), (same_segments, same_noise) in zip(rank["whole"], rank["stopped"], strict=True):
            assert torch.equal(segments, same_segments)
            assert torch.equal(noise, same_noise)
    assert states_agree(pair.folder / "whole", pair.folder / "stopped")
    weights = [(pair.folder / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]


def test_processes_hold_the_same_weights_and_codebook(pair: Pair) -> None:
    first, second = (rank["net"] for rank in pair.ranks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["model.quantizer.initialised"]


def test_a_run_of_two_processes_continues_with_one(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    exp = pair.folder / "whole"
    assert len(load_state(states(exp)[0])["random"]["cpu"]) == 2
    with caplog.at_level(logging.INFO, logger="vqaudio.training"):
        train(compose([*overrides_of(pair.data), f"exp_dir={exp}", f"trainer.max_steps={STEPS + 10}"]))
    assert "the state is of 2 processes on the CPU, this run has 1 on the CPU" in caplog.text
    assert states(exp)[0].name == f"step-{STEPS + 10}"
    assert len(load_state(states(exp)[0])["random"]["cpu"]) == 1


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
