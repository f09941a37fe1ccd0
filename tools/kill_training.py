"""Kills a small training at random moments, starts it again each time, and compares what comes out at the end.

    .venv/bin/python tools/kill_training.py [KILLS] [--seed N] [--folder DIR]

A run that was never killed comes first. Then the same command is killed (SIGKILL) after a random time and given again,
until it ends by itself; that is one run, and runs follow until there were enough kills. The final weights and states of
each must be those of the run that was never killed, byte by byte and bit by bit, and after each kill the newest state
must be whole. Prints the table of tests/faults/README.md; exit code 1 if anything differs.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tiny_training import states_agree, tiny_overrides, write_tones  # noqa: E402

from vqaudio.training.state import load_state, states  # noqa: E402

STEPS, SAVE_EVERY = 200, 4
"""States are written often, so that many kills meet one that is being written."""
SCRIPT = """
import sys
from vqaudio.cli import main
from vqaudio.training import start
start.START_FRAMES = 1000  # of the codebook: seconds less
sys.exit(main(sys.argv[1:]))
"""
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
    training(data, folder / "whole").wait()
    seconds = time.monotonic() - began
    seen: Counter[str] = Counter()
    runs = differ = broken = 0
    while seen.total() < kills:
        runs += 1
        exp = folder / f"run{runs}"
        while seen.total() < kills and (end := killed(data, exp, moments.uniform(0, seconds), seen)) is not None:
            broken += end
        if not (found := states(exp)) or found[0].name != f"step-{STEPS}":
            training(data, exp).wait()
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


def training(data: Path, exp: Path) -> "subprocess.Popen[bytes]":
    """Start the training of a folder, which resumes what is there."""
    options = [f"trainer.save_every={SAVE_EVERY}", "trainer.validate_every=50", "trainer.log_every=50"]
    command = [sys.executable, "-c", SCRIPT, "train", *tiny_overrides(data, exp, steps=STEPS), *options]
    with exp.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def killed(data: Path, exp: Path, seconds: float, seen: "Counter[str]") -> bool | None:
    """Start a training and kill it after some time; count the moment in `seen`.

    Returns:
        Whether the newest state is broken, or None if the training ended before it was killed.
    """
    process = training(data, exp)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    else:
        if code != 0:
            raise SystemExit(f"kill_training: a training failed; see {exp.with_suffix('.log')}")
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
