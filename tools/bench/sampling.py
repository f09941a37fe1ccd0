"""Sampling on one core: ours, the PyTorch twin, and the limits of the machine, measured in the same rounds.

One utterance at a time cannot be faster than the core reads the weights, eight in step not faster than it multiplies;
the limits are a plain loop over as many bytes, and a large matrix product.
"""

import os
from collections.abc import Callable

import measure
import numpy as np
import torch
from numba import njit

from vqaudio.model.decoder import WaveNet
from vqaudio.sampling import generate, generate_reference

RATE, HOP = 16000, 160  # Hz, samples per frame
BASE = {"layers": 20, "cycle": 10, "residual": 64, "gate": 128, "skip": 128}
TINY = {"layers": 16, "cycle": 8, "residual": 48, "gate": 96, "skip": 96}
NETS = {
    "base preset: 20 layers, 64/128/128, 4 bands": {**BASE, "bands": 4},
    "tiny preset: 16 layers, 48/96/96, 4 bands": {**TINY, "bands": 4},
    "the same with 1 band": {**TINY, "bands": 1},
}
BYTES = {"float32": 4, "bfloat16": 2}
BATCHES = (1, 3, 8)


@njit(nogil=True, fastmath=True, cache=True)
def read(weights: np.ndarray, times: int) -> float:
    """Return the sum of an array, `times` times, read in four streams as the kernel reads its weights."""
    total, quarter = np.float32(0), len(weights) // 4
    for _ in range(times):
        a = b = c = d = np.float32(0)
        for i in range(quarter):
            a += weights[i]
            b += weights[quarter + i]
            c += weights[2 * quarter + i]
            d += weights[3 * quarter + i]
        total += a + b + c + d
    return total


def multiply_adds(net: WaveNet) -> int:
    """Return the multiply-adds of a step, which are the weights that it reads: all but those of the condition."""
    matrices = [*net.dilated, *net.out, net.head, net.logits]
    return sum(matrix.weight.numel() for matrix in matrices)


def per_second(times: measure.Times) -> tuple[float, float, float]:
    """Return the median, lowest and highest rate for `times`."""
    return 1 / times.median, 1 / max(times.seconds), 1 / min(times.seconds)


def on_two_cores(call: Callable[[], object]) -> Callable[[], object]:
    """Return `call` without the effect of `measure.one_core`."""

    def run() -> None:
        one = os.sched_getaffinity(0)
        os.sched_setaffinity(0, measure.AFFINITY)
        call()
        os.sched_setaffinity(0, one)

    return run


def rows(label: str, sizes: dict[str, int], frames: int, rounds: int) -> list[list[object]]:
    torch.manual_seed(0)
    net = WaveNet(levels=256, kernel=2, condition=128, **sizes)
    weights, samples, steps_per_frame = multiply_adds(net), frames * HOP, HOP // net.bands

    def sampling(count: int, kind: str, threads: int = 1) -> Callable[[], object]:
        conditions, options = (
            [torch.randn(128, frames)] * count,
            {"steps_per_frame": steps_per_frame, "seeds": [0] * count},
        )
        return lambda: generate(net, conditions, **options, weights=kind, threads=threads)

    calls = {(count, kind): sampling(count, kind) for kind in BYTES for count in BATCHES}
    reads = max(1, samples // net.bands // 8)
    for kind, size in BYTES.items():
        array = np.ones(weights * size // 4, np.float32)
        calls["read", kind] = lambda array=array: read(array, reads)
    calls["product"] = measure.matrix_product()
    calls["twin"] = lambda: generate_reference(net, [torch.randn(128, 1)], steps_per_frame=steps_per_frame, seeds=[0])
    if len(measure.AFFINITY) > 1:
        calls["two"] = on_two_cores(sampling(16, "float32", threads=2))
    times = measure.interleaved(calls, rounds)

    def rate(key: object, count: int) -> measure.Times:
        return measure.Times([s / count for s in times[key].seconds], [s / count for s in times[key].wall])

    product = rate("product", net.bands * 1024**3 // weights)
    found = []
    for kind, count in ((kind, count) for kind in BYTES for count in BATCHES):
        ours = rate((count, kind), count * samples)
        limits = {1: (rate(("read", kind), net.bands * reads), "reading"), 8: (product, "multiplying")}
        speed = "{:.1f} ({:.1f} to {:.1f})".format(*(s / 1000 for s in per_second(ours)))
        found.append([label, kind, count, speed, f"{per_second(ours)[0] / RATE:.1f}"])
        if count in limits:
            limit, name = limits[count]
            found[-1] += [f"{per_second(limit)[0] / 1000:.1f}, {name}", f"{100 * limit.over(ours):.0f} %"]
        else:
            found[-1] += ["", ""]
    alone, twin = rate((1, "float32"), samples), rate("twin", HOP)
    found.append([label, "PyTorch twin", 1, f"{1 / twin.median / 1000:.2f}", f"{1 / twin.median / RATE:.2f}"])
    reading = twin.over(rate(("read", "float32"), net.bands * reads))
    found[-1] += ["", f"{twin.over(alone):.0f} × slower than ours, {reading:.0f} × than reading the weights"]
    if "two" in times:
        # CPU time shows the speed of two free cores; wall time would show how busy the machine is.
        together, eight = rate("two", 16 * samples), rate((8, "float32"), 8 * samples)
        found.append([label, "float32, two threads", "2 × 8", f"{2 / together.median / 1000:.1f} by CPU time"])
        found[-1] += [f"{2 / together.median / RATE:.1f}", "", f"{2 * eight.over(together):.2f} × one thread"]
    return found


def main() -> None:
    quick = measure.options(__doc__).quick
    measure.one_core()
    header = [
        "network",
        "weights",
        "batch",
        "thousand samples/s, median (range)",
        "× real time",
        "limit",
        "of the limit",
    ]
    settings = {"frames": 5, "rounds": 1} if quick else {"frames": 100, "rounds": 9}
    body = [row for label, sizes in NETS.items() for row in rows(label, sizes, **settings)]
    measure.report(
        "Sampling, one thread", f"{measure.machine(['numba'])}\n\n{measure.table(header, body)}", save=not quick
    )


if __name__ == "__main__":
    main()
