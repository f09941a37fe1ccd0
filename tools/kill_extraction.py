"""Kills extraction, merging, decoding and conversion at random moments, and compares what comes out at the end.

    .venv/bin/python tools/kill_extraction.py [KILLS] [--seed N] [--folder DIR]

For each kind of work, one that was never killed comes first. Then the same work is killed (SIGKILL) after a random time
and started again, until it ends by itself; that is one run, and runs follow until there were KILLS kills of each kind.
Every file of a run must be the byte of the one that was never killed. Prints the table of tests/faults/README.md; exit
code 1 if anything differs.
"""

import argparse
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
from tiny_model import save_tiny_model  # noqa: E402

from vqaudio.cli import main as vqaudio  # noqa: E402
from vqaudio.datadir import Utterance, write_utterances  # noqa: E402
from vqaudio.units.synthesis import decode as _  # noqa: E402, F401 (imported before the forks, which are then quick)

UTTERANCES, RATE, SHARDS = 60, 8000, 3
Work = Callable[[Path, Path], None]


def main() -> int:
    """Kill and compare; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kills", nargs="?", type=int, default=100, help="kills of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads must not fork
    with tempfile.TemporaryDirectory() as folder:
        return kill_all(args.folder or Path(folder), args.kills, random.Random(args.seed))


def kill_all(folder: Path, kills: int, moments: random.Random) -> int:
    """Kill each kind of work so many times; print the table, and return the exit code."""
    make_corpus(folder)
    print("| work | kills | runs | of these, the same bytes as without a kill |\n| --- | --- | --- | --- |")
    differ = 0
    for name, work in WORKS.items():
        runs, same = kill(folder, name, work, kills, moments)
        print(f"| {name} | {kills} | {runs} | {same} |", flush=True)
        differ += runs - same
    return int(differ > 0)


def make_corpus(folder: Path) -> None:
    """Write a model, a data directory of noise, and units of a part of it to decode."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tiny_model(folder / "model")
    rng = np.random.default_rng(0)
    utterances = []
    for n in range(UTTERANCES):
        path = folder / f"u{n:02d}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(2000 + 3000 * (n % 4)), RATE)
        utterances.append(Utterance(path.stem, path, "s"))
    write_utterances(folder / "data", utterances)
    write_utterances(folder / "few", [u for n, u in enumerate(utterances) if n % 4 == 0][:8])
    in_child(
        lambda: run("extract", "--model", folder / "model", "--data", folder / "few", "--out", folder / "few units")
    )


def extract(folder: Path, out: Path) -> None:
    """Extract all."""
    run("extract", "--model", folder / "model", "--data", folder / "data", "--out", out, "--jobs", 2)


def extract_shards(folder: Path, out: Path) -> None:
    """Extract in shards, the last of which merges them."""
    for index in range(1, SHARDS + 1):
        shard = f"{index}/{SHARDS}"
        run(
            "extract",
            "--model",
            folder / "model",
            "--data",
            folder / "data",
            "--out",
            out,
            "--shard",
            shard,
            "--jobs",
            1,
        )


def decode(folder: Path, out: Path) -> None:
    """Synthesise some."""
    run("decode", "--model", folder / "model", "--units", folder / "few units", "--out", out, "--jobs", 2)


def convert(folder: Path, out: Path) -> None:
    """Write units as Parquet."""
    out.mkdir(exist_ok=True)
    run("units", "convert", folder / "few units", out / "units.parquet", "--to", "parquet")


WORKS: dict[str, Work] = {
    "extract": extract,
    f"extract in {SHARDS} shards, and merge": extract_shards,
    "decode": decode,
}
if importlib.util.find_spec("pyarrow"):
    WORKS["units convert to Parquet"] = convert


def run(*arguments: object) -> None:
    """Run a command; end the process if it fails."""
    code = vqaudio([str(argument) for argument in arguments])
    if code:
        os._exit(code)


def kill(folder: Path, name: str, work: Work, kills: int, moments: random.Random) -> tuple[int, int]:
    """Kill a kind of work so many times; return how many runs that were, and how many of them ended as they should."""
    place = folder / "".join(letter for letter in name if letter.isalnum())
    in_child(lambda: work(folder, place))
    whole = contents(place)
    place.rename(place.with_name(f"{place.name}-whole"))
    began = time.monotonic()  # of the second time, when compiled code is there
    in_child(lambda: work(folder, place))
    seconds = time.monotonic() - began
    seen: Counter[str] = Counter()
    runs = same = 0
    while seen.total() < kills:
        runs += 1
        place.rename(place.with_name(f"{place.name}-{runs}"))  # the same place again: wav.scp names it
        while seen.total() < kills:
            if in_child(lambda: work(folder, place), moments.uniform(0, seconds)):
                break
            seen["kills"] += 1
        in_child(lambda: work(folder, place))
        same += contents(place) == whole
        print(f"{name}: {seen.total()} kills, {same} of {runs} runs the same", file=sys.stderr, flush=True)
    return runs, same


def in_child(work: Callable[[], None], seconds: float | None = None) -> bool:
    """Do something in a process of its own, which is killed after some seconds; return whether it ended by itself.

    Raises:
        SystemExit: it failed.
    """
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        work()
        os._exit(0)
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            if status:
                raise SystemExit(f"kill_extraction: the work failed with status {status}")
            return True
        if deadline is not None and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            return not os.waitpid(child, 0)[1]
        time.sleep(0.002)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder that a user reads, by their names."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    hidden = [name for name in found if any(part.startswith(".") or part == "shards" for part in name.parts)]
    return {str(name): path.read_bytes() for name, path in found.items() if name not in hidden}


if __name__ == "__main__":
    sys.exit(main())
