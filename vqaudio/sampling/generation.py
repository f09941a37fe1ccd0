"""Sampling of whole utterances: state, slices and threads around the kernel."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from vqaudio.decoder import SILENCE, WaveNet
from vqaudio.sampling.kernel import advance
from vqaudio.sampling.packing import Array, PackedWaveNet, pack

SLICE = 4000
"""Samples between two reports of progress, about; the kernel runs that long without a word."""


class _Sampler:
    """The state of one utterance between slices."""

    def __init__(self, packed: PackedWaveNet, seed: int, temperature: float, hop_length: int) -> None:
        self.packed, self.hop_length = packed, hop_length
        self.inverse_temperature = np.float32(1 / temperature if temperature else 0)
        self.slots = np.zeros(1, np.int64)
        self.rings = np.zeros((1, packed.ring_offsets[-1]), np.float32)
        self.previous = np.full(1, SILENCE, np.int64)
        self.times = np.zeros(1, np.int64)
        self.seeds = np.array([seed & (1 << 64) - 1], np.uint64)

    def advance(self, condition: Array, forced: Array | None = None) -> tuple[Array, Array]:
        """Sample the frames of ``condition`` (frames, C); return codes (samples,) and, when forced, logits."""
        samples = len(condition) * self.hop_length
        codes = np.empty((1, samples), np.int64)
        logits = np.empty((1, 0 if forced is None else samples, self.packed.net[4]), np.float32)
        advance(
            *self.packed.arguments, self.slots, self.rings, self.previous, self.times, self.seeds,
            self.inverse_temperature, self.hop_length, condition[None],
            np.empty((1, 0), np.int64) if forced is None else forced[None], codes, logits,
        )  # fmt: skip
        return codes[0], logits[0]


def generate(
    wavenet: WaveNet,
    conditions: Sequence[Tensor],
    *,
    hop_length: int,
    seeds: Sequence[int],
    temperature: float = 1.0,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Tensor]:
    """Sample one utterance of mu-law levels per condition.

    ``conditions`` are float32 tensors (C, N_i), each frame of which holds for ``hop_length`` samples; the result is a
    list of int64 tensors (N_i * hop_length,). Activations before the first sample are zeros. An utterance depends on
    its condition, its seed and ``temperature`` alone; temperature 0 takes the most likely level. ``threads`` (all
    cores by default) share the utterances, longest first. ``progress`` is told, now and then and from any of the
    threads, how many further samples are finished.
    """
    packed = pack(wavenet)
    results: list[Tensor] = [torch.empty(0, dtype=torch.int64)] * len(conditions)

    def run(i: int) -> None:
        chunks = []
        for chunk in _stream(packed, conditions[i], hop_length, seeds[i], temperature, SLICE):
            chunks.append(chunk)
            if progress is not None:
                progress(len(chunk))
        if chunks:
            results[i] = torch.cat(chunks)

    longest_first = sorted(range(len(conditions)), key=lambda i: -conditions[i].shape[1])
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for _ in pool.map(run, longest_first):
            pass
    return results


def stream(
    wavenet: WaveNet,
    condition: Tensor,
    *,
    hop_length: int,
    seed: int,
    temperature: float = 1.0,
    chunk: int = SLICE,
) -> Iterator[Tensor]:
    """Yield the levels of one utterance while it is sampled, about ``chunk`` samples at a time, in constant memory.

    The concatenated chunks equal what ``generate`` returns for the same condition (C, N), seed and temperature.
    """
    return _stream(pack(wavenet), condition, hop_length, seed, temperature, chunk)


def _stream(
    packed: PackedWaveNet, condition: Tensor, hop_length: int, seed: int, temperature: float, chunk: int
) -> Iterator[Tensor]:
    sampler = _Sampler(packed, seed, temperature, hop_length)
    frames = max(1, chunk // hop_length)
    for part in condition.detach().float().T.split(frames) if condition.shape[1] else ():
        codes, _ = sampler.advance(np.ascontiguousarray(part.numpy()))
        yield torch.from_numpy(codes)


def teacher_forced_logits(wavenet: WaveNet, condition: Tensor, codes: Tensor, *, hop_length: int) -> Tensor:
    """Return the kernel's logits (T, Q) of each sample when the samples before it are ``codes`` (T,)."""
    sampler = _Sampler(pack(wavenet), 0, 1.0, hop_length)
    _, logits = sampler.advance(np.ascontiguousarray(condition.detach().float().T.numpy()), codes.numpy())
    return torch.from_numpy(logits)
