"""Sampling on a GPU: one step of a whole batch, recorded as a CUDA graph and replayed.

A step consists of about a hundred tiny kernels. Launched one by one from Python they take milliseconds; replayed as a
graph they take only the time the GPU needs. Without the graph the same code runs on a CPU, where it is tested.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.model.decoder import WaveNet

MAX_BATCH = 64
"""Utterances sampled in step, at most."""
MAX_UNROLL = 16
"""Steps in one graph, at most."""


@torch.no_grad()
def generate_batched(
    wavenet: WaveNet,
    conditions: Sequence[Tensor],
    *,
    steps_per_frame: int,
    seeds: Sequence[int],
    temperature: float,
    progress: Callable[[int], None] | None = None,
) -> list[Tensor]:
    """Sample as `generate` does, with the same random numbers, on the WaveNet's own device.

    The arithmetic differs from that of the CPU kernel in the last bits, so a level may differ; from there on the rest
    of the utterance differs too.
    """
    results = [torch.empty(0, dtype=torch.int64)] * len(conditions)
    order = sorted(range(len(conditions)), key=lambda i: -conditions[i].shape[1])
    for first in range(0, len(order), MAX_BATCH):
        rows = order[first : first + MAX_BATCH]
        if conditions[rows[0]].shape[1] == 0:
            break
        sampler = BatchSampler(
            wavenet, [conditions[i] for i in rows], [seeds[i] for i in rows], steps_per_frame, temperature
        )
        levels = sampler.run(progress).cpu()
        for column, i in enumerate(rows):
            results[i] = levels[: conditions[i].shape[1] * steps_per_frame, column].clone()
    return results


class BatchSampler:
    """The state of a batch, in tensors that stay in place: past activations, last levels and the number of the step."""

    def __init__(
        self,
        wavenet: WaveNet,
        conditions: Sequence[Tensor],
        seeds: Sequence[int],
        steps_per_frame: int,
        temperature: float,
    ) -> None:
        self.net, self.steps_per_frame, self.temperature = wavenet, steps_per_frame, temperature
        device = wavenet.embedding.weight.device
        self.ends = [condition.shape[1] * steps_per_frame for condition in conditions]
        frames = max(condition.shape[1] for condition in conditions)
        padded = [F.pad(c.detach().float().to(device), (0, frames - c.shape[1])) for c in conditions]
        self.table = wavenet.condition(torch.stack(padded).permute(2, 0, 1))  # (N, B, layers * gate)
        B, past = len(conditions), wavenet.kernel - 1
        self.rings = [torch.zeros(past * d, B, wavenet.residual, device=device) for d in wavenet.dilations]
        # Rings hold past activations. Tap j of layer i at time t is in slot (t - delay) modulo the ring's length.
        self.delays = torch.tensor([(past - j) * d for d in wavenet.dilations for j in range(past)], device=device)
        self.lengths = torch.tensor([past * d for d in wavenet.dilations for _ in range(past)], device=device)
        self.start = mix(torch.tensor([wrapped(seed) for seed in seeds], device=device))
        self.last = torch.full((B, wavenet.bands), wavenet.silence, device=device)
        self.bands = torch.arange(wavenet.bands, device=device)
        self.time = torch.zeros(1, dtype=torch.int64, device=device)
        self.levels = torch.zeros(frames * steps_per_frame, B, wavenet.bands, dtype=torch.int64, device=device)

    def run(self, progress: Callable[[int], None] | None) -> Tensor:
        """Return all levels (S, B, M), padding included; `progress` counts the samples of utterances only."""
        unroll = max(n for n in range(1, MAX_UNROLL + 1) if self.steps_per_frame % n == 0)
        advance = self.capture(unroll) if self.last.is_cuda else lambda: self.steps(unroll)
        for start in range(0, len(self.levels), unroll):
            advance()
            if progress is not None:
                progress(unroll * self.net.bands * sum(end > start for end in self.ends))
        return self.levels

    def capture(self, unroll: int) -> Callable[[], None]:
        """Record `unroll` steps as a CUDA graph; return its replay."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.steps(1)  # lets libraries choose their kernels before the recording
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.steps(unroll)
        self.reset()
        return graph.replay

    def reset(self) -> None:
        """Restore the state before the first step."""
        for ring in self.rings:
            ring.zero_()
        self.last.fill_(self.net.silence)
        self.time.zero_()

    def steps(self, count: int) -> None:
        """Draw `count` steps of each utterance."""
        for _ in range(count):
            self.last.copy_(self.draw(self.logits()))
            self.levels.index_copy_(0, self.time, self.last.unsqueeze(0))
            self.time.add_(1)

    def logits(self) -> Tensor:
        """Return the logits (B, M, Q) of the current step, and store the activations that later steps need."""
        net, gate, past = self.net, self.net.gate, self.net.kernel - 1
        condition = self.table.index_select(0, self.time // self.steps_per_frame)[0]
        slots = (self.time - self.delays) % self.lengths
        x = net.embed(self.last)
        skips = x.new_zeros(len(x), net.skip)
        for i, ring in enumerate(self.rings):
            taps = [ring.index_select(0, slots[i * past + j : i * past + j + 1])[0] for j in range(past)]
            y = net.dilated[i](torch.cat([*taps, x], 1)) + condition[:, i * gate : (i + 1) * gate]
            if past:
                ring.index_copy_(0, slots[i * past : i * past + 1], x.unsqueeze(0))  # in place of the oldest
            a, b = y.chunk(2, 1)
            update = net.out[i](torch.tanh(a) * torch.sigmoid(b))
            x = x + update[:, : net.residual]
            skips = skips + update[:, net.residual :]
        logits = net.logits(F.relu(net.head(F.relu(skips * len(self.rings) ** -0.5))))
        return logits.unflatten(1, (net.bands, net.levels))

    def draw(self, logits: Tensor) -> Tensor:
        """Return the first levels (B, M) at which the cumulative softmax exceeds this step's random numbers."""
        if self.temperature == 0:
            return logits.argmax(2)
        cumulative = (logits / self.temperature).softmax(2).cumsum(2)
        numbers = self.time * self.net.bands + self.bands  # (M,)
        bits = mix(self.start.unsqueeze(1) + (numbers + 1) * wrapped(0x9E3779B97F4A7C15))
        uniform = shifted(bits, 40).float() * 2.0**-24
        below = cumulative <= (uniform * cumulative[..., -1]).unsqueeze(2)
        return below.sum(2).clamp(max=logits.shape[2] - 1)


def mix(z: Tensor) -> Tensor:
    """Return the output function of splitmix64 for int64 numbers, whose products wrap around as unsigned ones do."""
    z = (z ^ shifted(z, 30)) * wrapped(0xBF58476D1CE4E5B9)
    z = (z ^ shifted(z, 27)) * wrapped(0x94D049BB133111EB)
    return z ^ shifted(z, 31)


def shifted(z: Tensor, bits: int) -> Tensor:
    """Shift int64 numbers to the right as unsigned ones."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def wrapped(number: int) -> int:
    """Return the int64 with the low 64 bits of `number`."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


__all__ = ["BatchSampler", "generate_batched"]
