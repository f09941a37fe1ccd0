"""Kills a small training at random moments, starts it again each time, and compares what comes out at the end.

    .venv/bin/python tools/kill_training.py [KILLS] [--seed N] [--folder DIR]

A run that was never killed comes first. Then the same command is killed (SIGKILL) after a random time and given again,
until it ends by itself; that is one run, and runs follow until there were enough kills. The final weights and states of
each must be those of the run that was never killed, byte by byte and bit by bit, and after each kill the newest state
must be whole. Commands begin in copies of this process, which has imported everything, so that kills meet the training.
Prints the table of tests/faults/README.md; exit code 1 if anything differs.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from tiny_training import states_agree, tiny_overrides, write_tones  # noqa: E402

from vqaudio.cli import main as command  # noqa: E402
from vqaudio.training import loop, start  # noqa: E402, F401
from vqaudio.training.state import load_state, states  # noqa: E402

STEPS, SAVE_EVERY = 100, 4
"""States are written often, so that many kills meet one that is being written."""
MOMENTS = ("before there was a state", "while a state was written", "between states")


def main() -> int:
    """Kill and compare; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kills", nargs="?", type=int, default=100, help="number of kills (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to train; a temporary folder by default")
    args = parser.parse_args()
    if args.folder is not None:
        return kill(args.folder, args.kills, random.Random(args.seed))
    with tempfile.TemporaryDirectory() as folder:
        return kill(Path(folder), args.kills, random.Random(args.seed))


def kill(folder: Path, kills: int, moments: random.Random) -> int:
    """Train in `folder`, killed so many times in all; print the table, and return the exit code."""
    data = write_tones(folder / "data")
    began = time.monotonic()
    wait(training(data, folder / "whole"), None)
    seconds = time.monotonic() - began
    seen: Counter[str] = Counter()
    runs = differ = broken = 0
    while seen.total() < kills:
        runs += 1
        exp = folder / f"run{runs}"
        while seen.total() < kills and (end := killed(data, exp, moments.uniform(0, seconds), seen)) is not None:
            broken += end
        if not (found := states(exp)) or found[0].name != f"step-{STEPS}":
            wait(training(data, exp), None)
        same = (folder / "whole" / "model.safetensors").read_bytes() == (exp / "model.safetensors").read_bytes()
        differ += not (same and states_agree(folder / "whole", exp))
        print(f"run {runs}: {seen.total()} kills so far, {differ} runs differ", file=sys.stderr, flush=True)
    print(f"{kills} kills of a training of {STEPS} steps, which writes a state every {SAVE_EVERY} steps:\n")
    print("| killed | times |\n| --- | --- |")
    for moment in MOMENTS:
        print(f"| {moment} | {seen[moment]} |")
    print(f"\nNewest states that were not whole after a kill: {broken}.", end=" ")
    print(f"Runs that ended with the weights and the state of one never killed: {runs - differ} of {runs}.")
    return int(bool(differ or broken))


def training(data: Path, exp: Path) -> int:
    """Start the training of a folder, which resumes what is there; return the number of its process."""
    options = [f"trainer.save_every={SAVE_EVERY}", "trainer.validate_every=50", "trainer.log_every=50"]
    child = os.fork()
    if child:
        return child
    with exp.with_suffix(".log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    start.START_FRAMES = 1000  # of the codebook: seconds less
    torch.set_num_threads(1)
    os._exit(command(["train", *tiny_overrides(data, exp, steps=STEPS), *options]))


def wait(process: int, seconds: float | None) -> bool:
    """Wait for a training; kill it after some seconds (None: never), and return whether it was killed.

    Raises:
        SystemExit: it failed.
    """
    until = time.monotonic() + (float("inf") if seconds is None else seconds)
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
            ended = os.waitpid(process, 0)
            break
        time.sleep(0.005)
    if ended[1] not in (0, signal.SIGKILL):
        raise SystemExit(f"kill_training: a training ended with {os.waitstatus_to_exitcode(ended[1])}; see its log")
    return ended[1] != 0


def killed(data: Path, exp: Path, seconds: float, seen: "Counter[str]") -> bool | None:
    """Start a training and kill it after some time; count the moment in `seen`.

    Returns:
        Whether the newest state is broken, or None if the training ended before it was killed.
    """
    if not wait(training(data, exp), seconds):
        return None
    found = states(exp)
    if list((exp / "state").glob(".*")):
        seen[MOMENTS[1]] += 1
    else:
        seen[MOMENTS[2] if found else MOMENTS[0]] += 1
    try:
        return bool(found) and not load_state(found[0])
    except ValueError:
        return True


if __name__ == "__main__":
    sys.exit(main())
