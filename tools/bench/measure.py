"""Shared by the benchmarks: one core, medians of interleaved runs, the limits of the machine, and RESULTS.md."""

import argparse
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from vqaudio.machine import available_cores

CORES = available_cores()
AFFINITY = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""Cores of this process before `one_core`: their number, and which they are if the system says so."""
PRODUCT_SIZE = 1024
"""Rows and columns of the matrices of `matrix_product`."""
RESULTS = Path(__file__).resolve().with_name("RESULTS.md")
HEAD = """# Benchmark results

Each section names its command and its machine; a run replaces its section. `--quick` is a check with small sizes and
saves nothing. Install the other libraries with the extra `bench`:
`.venv/bin/pip install -c constraints.txt -e '.[bench]'`; the row of a missing library says so.

Processes run on one core. Times are their CPU time, which other load on the machine inflates less than wall time (the
two are equal on an idle core). Every round measures everything once, and ratios are medians over the rounds: compare
ratios, not times of different runs, whose load is stated. Limits are large matrix products measured in the same rounds;
a library whose matrix products are slow on a processor makes them too low.
"""


class Times(NamedTuple):
    """Seconds of each round: CPU time of the whole process, and wall time."""

    seconds: list[float]
    wall: list[float]

    @property
    def median(self) -> float:
        """The median CPU time in seconds."""
        return statistics.median(self.seconds)

    def over(self, other: "Times") -> float:
        """Return how many times longer this took than `other` in the same round, the median over the rounds."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))

    def __str__(self) -> str:
        ms = [1000 * s for s in (self.median, min(self.seconds), max(self.seconds))]
        digits = 2 if ms[0] < 10 else 1 if ms[0] < 100 else 0
        return "{:.{d}f} ({:.{d}f} to {:.{d}f})".format(*ms, d=digits)


def options(description: str) -> argparse.Namespace:
    """Return the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes, some seconds; leaves RESULTS.md alone")
    return parser.parse_args()


def one_core() -> None:
    """Keep this process on one core, the last that it may use, if the system can do that."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Return the times of all calls, each once per round, so that all meet the same load; a first round warms up."""
    times = {name: Times([], []) for name in calls}
    for i in range(rounds + 1):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            if i:
                times[name].seconds.append(time.process_time() - cpu)
                times[name].wall.append(time.perf_counter() - wall)
    return times


def matrix_product(dtype: torch.dtype = torch.float32, size: int = PRODUCT_SIZE) -> Callable[[], object]:
    """Return a product of large matrices, whose speed is the limit of the machine's arithmetic, see `gflops`."""
    a, b, out = (torch.randn(size, size).to(dtype) for _ in range(3))
    return lambda: torch.mm(a, b, out=out)


def gflops(product: Times) -> float:
    """Return the GFLOP/s of `matrix_product`, a multiply-add counted as two."""
    return 2 * PRODUCT_SIZE**3 / product.median / 1e9


def version(package: str) -> str:
    """Return a package's version, or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def machine(packages: Sequence[str] = ()) -> str:
    """Return one line about the processor, its load and the versions that matter."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", *packages))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {CORES} cores, {capability}{load}; Python {platform.python_version()}, {versions}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def report(title: str, text: str, *, save: bool) -> None:
    """Print a section; with `save`, replace the section of that title in RESULTS.md."""
    command = "python " + " ".join([f"tools/bench/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    section = f"## {title}\n\n`{command}`, {time.strftime('%Y-%m-%d')}\n\n{text.strip()}\n"
    print(section)
    if not save:
        return
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = old.split("\n## ")[1:]
    kept = [s for s in sections if s.splitlines()[0] != title] + [section.removeprefix("## ")]
    parts = [HEAD.rstrip(), *(s.rstrip() for s in sorted(kept))]
    RESULTS.write_text("\n\n## ".join(parts) + "\n", encoding="utf-8")
