"""Trains in several processes, as torchrun would start them, and keeps what each of them draws and computes."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

SCRIPT = """
import json, os, signal, sys, torch
from vqaudio.errors import StoppedError
from vqaudio.model import gumbel_softmax
from vqaudio.training import loop, start
from vqaudio.training.app import compose
from vqaudio.training.objective import Objective

folder, jobs, ports = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
rank = int(os.environ["RANK"])
forward, housekeeping, to_the_end = Objective.forward, loop.Training.housekeeping, loop.Training.loop

def recording(self, batch, temperature, decoder):
    noise = torch.get_rng_state()
    losses, stats = forward(self, batch, temperature, decoder)
    if self.training:
        values = torch.stack([losses[name].detach().double() for name in sorted(losses)])
        drawn.append((batch.padded.clone(), noise, values))
    return losses, stats

def stopping(self, *args):
    housekeeping(self, *args)
    if self.step == job.get("stop") and rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)

def keeping(self, stop):
    global net
    to_the_end(self, stop)
    net = self.net.state_dict()

start.START_FRAMES = 1000
Objective.forward, loop.Training.housekeeping, loop.Training.loop = recording, stopping, keeping
rand_like, found = torch.rand_like, []
for job, port in zip(jobs, ports):
    drawn, net, os.environ["MASTER_PORT"] = [], {}, str(port)
    torch.rand_like = (lambda x: torch.full_like(x, 0.5)) if job.get("quiet") else rand_like
    try:
        loop.train(compose(job["overrides"]))
        assert "stop" not in job
    except StoppedError:
        assert "stop" in job
    found.append({"drawn": drawn, "net": net})
torch.save(found, f"{folder}/rank{rank}.pt")
"""


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on, below those that the system gives to connections: gloo makes many."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(12000, 30000), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == number:
            return found
    raise OSError("no free ports")


def run_ranks(folder: Path, number: int, jobs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Run trainings one after the other, each in the same processes; return `drawn` and `net` by rank and job.

    A job has `overrides`; with `stop`, the second process gets SIGTERM after that step; with `quiet`, Gumbel noise is
    the same everywhere. `drawn` holds the samples, the state of the random numbers and the losses of each step.
    """
    ports = free_ports(len(jobs))
    folder.mkdir(exist_ok=True)
    running = []
    for rank in range(number):
        environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(number), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SCRIPT, str(folder), json.dumps(jobs), json.dumps(ports)]
        env = {**os.environ, **environment, "MASTER_ADDR": "127.0.0.1"}
        running.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0] * number, "".join(text[-2000:] for text in errors)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(number)]
