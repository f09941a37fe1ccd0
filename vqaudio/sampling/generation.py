"""Sampling of utterances on a CPU: state, slices and threads around the kernel."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import torch
from torch import Tensor

from vqaudio.defaults import TEMPERATURE, WEIGHTS, Weights
from vqaudio.machine import available_cores
from vqaudio.model.decoder import WaveNet
from vqaudio.sampling.cuda import generate_batched
from vqaudio.sampling.kernel import Net, State, advance
from vqaudio.sampling.packing import Array, make_work, pack

SLICE = 4000
"""Samples that one call of the kernel draws, about; between two calls a thread reports progress and may stop."""
MAX_BATCH = 8
"""Utterances that one thread samples in step, at most."""


class Sampler:
    """Samples up to `slots` utterances in step on one thread; a slot can take a new one when its own has ended."""

    def __init__(self, net: Net, *, slots: int, steps_per_frame: int, temperature: float) -> None:
        self.net, self.steps_per_frame = net, steps_per_frame
        self.slice_frames = max(1, SLICE // (steps_per_frame * net.bands))
        self.inverse_temperature = np.float32(1 / temperature if temperature else 0)
        self.state = State(
            rings=np.zeros((slots, net.ring_offsets[-1]), np.float32),
            previous=np.zeros((slots, net.bands), np.int64),
            times=np.zeros(slots, np.int64),
            seeds=np.zeros(slots, np.uint64),
        )

    def begin(self, slot: int, seed: int) -> None:
        """Begin an utterance in `slot`."""
        self.state.rings[slot] = 0
        self.state.previous[slot] = self.net.silence
        self.state.times[slot] = 0
        self.state.seeds[slot] = seed & (1 << 64) - 1

    def advance(
        self, slots: Sequence[int], conditions: Sequence[Tensor], forced: Tensor | None = None
    ) -> tuple[Array, Array]:
        """Sample the frames of `conditions`, one (C, frames) for each of `slots`.

        Returns:
            Codes (B, S, M) and logits (B, S, M, Q). The logits are empty unless `forced` (S, M) gives the levels to
            feed back.
        """
        table = torch.stack([condition.T for condition in conditions]).contiguous().numpy()
        codes = np.empty((len(slots), table.shape[1] * self.steps_per_frame, self.net.bands), np.int64)
        fed = np.empty((len(slots), 0, self.net.bands), np.int64) if forced is None else forced.numpy()[None]
        logits = np.empty((*fed.shape, self.net.levels), np.float32)
        work = make_work(self.net, len(slots))
        advance(
            self.net, work, self.state, np.array(slots), self.inverse_temperature, self.steps_per_frame,
            table.reshape(len(slots), -1), fed, codes, logits,
        )  # fmt: skip
        return codes, logits


def generate(
    wavenet: WaveNet,
    conditions: Sequence[Tensor],
    *,
    steps_per_frame: int,
    seeds: Sequence[int],
    temperature: float = TEMPERATURE,
    weights: Weights = WEIGHTS,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Tensor]:
    """Sample one utterance of mu-law levels per condition: int64 tensors (N_i * steps_per_frame, M).

    An utterance depends on its condition, its seed, `temperature` and `weights` alone. Activations before its first
    step are zeros. A WaveNet on a GPU samples there (see `vqaudio.sampling.cuda`).

    Args:
        wavenet: the network.
        conditions: float32 tensors (C, N_i).
        steps_per_frame: steps to which a frame of condition applies: the samples of a frame, divided by M.
        seeds: one for each utterance.
        temperature: divides the logits; 0 takes the most likely level.
        weights: "bfloat16" rounds the matrices to 16 bits: faster for fewer than four utterances per thread, since
            their time goes into reading weights; not quite the same audio. A GPU samples in float32.
        threads: share the utterances, longest first, each up to `MAX_BATCH` in step; None means all cores.
        progress: called from time to time, from any of the threads, with the number of samples finished since; a step
            has M.

    Raises:
        ValueError: the seeds are not one for each condition, or `temperature` or `weights` cannot be used.
    """
    if len(seeds) != len(conditions):
        raise ValueError(f"{len(seeds)} seeds for {len(conditions)} conditions; give one each")
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}; give 0 or more")
    if wavenet.embedding.weight.is_cuda:
        return generate_batched(
            wavenet,
            conditions,
            steps_per_frame=steps_per_frame,
            seeds=seeds,
            temperature=temperature,
            progress=progress,
        )
    net = pack(wavenet, weights)
    frames = [condition.detach().float().cpu() for condition in conditions]
    slots, threads = _shares(len(frames), threads)
    results = [np.empty((c.shape[1] * steps_per_frame, net.bands), np.int64) for c in frames]
    waiting = iter(sorted((i for i, c in enumerate(frames) if c.shape[1]), key=lambda i: -frames[i].shape[1]))
    stop = Event()

    def run() -> None:
        sampler = Sampler(net, slots=slots, steps_per_frame=steps_per_frame, temperature=temperature)
        jobs = ((i, frames[i], seeds[i]) for i in waiting if not stop.is_set())
        for done in _sample_in_step(sampler, slots, jobs):
            for i, start, codes in done:
                results[i][start : start + len(codes)] = codes
            if progress is not None:
                progress(sum(codes.numel() for _, _, codes in done))
            if stop.is_set():
                return

    _run_in_threads(run, threads, stop)
    return [torch.from_numpy(levels) for levels in results]


def _shares(utterances: int, threads: int | None) -> tuple[int, int]:
    """Return how many utterances a thread advances in step, and the number of threads; None means all cores."""
    threads = max(1, min(threads or available_cores(), utterances))
    return min(MAX_BATCH, -(-utterances // threads)), threads


def _run_in_threads(run: Callable[[], None], threads: int, stop: Event) -> None:
    """Call `run` in several threads and wait; `stop` is set at the end, also when one fails or on an interruption."""
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in [pool.submit(run) for _ in range(threads)]:
                job.result()
        finally:
            stop.set()


def _sample_in_step(
    sampler: Sampler, slots: int, jobs: Iterator[tuple[int, Tensor, int]]
) -> Iterator[list[tuple[int, int, Tensor]]]:
    """Sample jobs (name, condition, seed), up to `slots` in step; when one ends, the next takes its slot.

    Yields:
        What each slice finished: (name, first step, codes (s, M)) of every utterance in it.
    """
    free = list(range(slots))
    running: dict[int, tuple[int, Tensor, int]] = {}  # slot -> name, condition, next frame
    while True:
        while free and (job := next(jobs, None)) is not None:
            name, condition, seed = job
            slot = free.pop()
            sampler.begin(slot, seed)
            running[slot] = (name, condition, 0)
        if not running:
            return
        # A slice ends where the first of them ends.
        frames = min(sampler.slice_frames, *(c.shape[1] - frame for _, c, frame in running.values()))
        codes, _ = sampler.advance(list(running), [c[:, frame : frame + frames] for _, c, frame in running.values()])
        rows = zip(running.values(), torch.from_numpy(codes), strict=True)
        yield [(name, frame * sampler.steps_per_frame, row) for (name, _, frame), row in rows]
        for slot, (name, condition, frame) in list(running.items()):
            running[slot] = (name, condition, frame + frames)
            if frame + frames == condition.shape[1]:
                del running[slot]
                free.append(slot)


def stream(
    wavenet: WaveNet,
    pieces: Iterable[Tensor],
    *,
    steps_per_frame: int,
    seed: int,
    temperature: float,
    weights: Weights,
) -> Iterator[Tensor]:
    """Yield the levels (s, M) of one utterance while it is sampled, about `SLICE` samples at a time, on a CPU.

    `pieces` (C, n) are its condition, frame after frame. Only one is held at a time, so memory does not grow. The
    concatenated levels equal what `generate` returns for the concatenated condition with the same options.
    """
    sampler = Sampler(pack(wavenet, weights), slots=1, steps_per_frame=steps_per_frame, temperature=temperature)
    sampler.begin(0, seed)
    for piece in pieces:
        for frames in piece.detach().float().cpu().split(sampler.slice_frames, dim=1):
            codes, _ = sampler.advance([0], [frames])
            yield torch.from_numpy(codes[0])


def teacher_forced_logits(
    wavenet: WaveNet, condition: Tensor, codes: Tensor, *, steps_per_frame: int, weights: Weights = WEIGHTS
) -> Tensor:
    """Return the kernel's logits (S, M, Q) of each step when the steps before it are `codes` (S, M)."""
    sampler = Sampler(pack(wavenet, weights), slots=1, steps_per_frame=steps_per_frame, temperature=TEMPERATURE)
    sampler.begin(0, 0)
    _, logits = sampler.advance([0], [condition.detach().float().cpu()], forced=codes)
    return torch.from_numpy(logits[0])
