"""The plain PyTorch twin of the kernel: the same levels, in code written to be read."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.defaults import TEMPERATURE
from vqaudio.model.decoder import WaveNet

_MASK = (1 << 64) - 1


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniforms(seed: int, count: int) -> NDArray[np.float32]:
    """Return the numbers 0 to `count` - 1 in [0, 1) under `seed`: 24 bits of splitmix64 each."""
    start = _mix(seed & _MASK)
    return np.array(
        [(_mix((start + (n + 1) * 0x9E3779B97F4A7C15) & _MASK) >> 40) * 2.0**-24 for n in range(count)], np.float32
    )


@torch.inference_mode()
def generate_reference(
    wavenet: WaveNet,
    conditions: Sequence[Tensor],
    *,
    steps_per_frame: int,
    seeds: Sequence[int],
    temperature: float = TEMPERATURE,
) -> list[Tensor]:
    """Sample as `generate` does, with the same random numbers: one utterance, step, layer and band after another."""
    return [
        _sample(wavenet, condition, steps_per_frame, seed, temperature)
        for condition, seed in zip(conditions, seeds, strict=True)
    ]


def _sample(wavenet: WaveNet, condition: Tensor, steps_per_frame: int, seed: int, temperature: float) -> Tensor:
    kernel, R, steps, M = wavenet.kernel, wavenet.residual, condition.shape[1] * steps_per_frame, wavenet.bands
    uniform = uniforms(seed, steps * M).reshape(steps, M)
    table = wavenet.condition(condition.T).unflatten(1, (-1, wavenet.gate))  # (N, layers, gate)
    rings = [torch.zeros((kernel - 1) * d, R) for d in wavenet.dilations]
    codes = torch.empty(steps, M, dtype=torch.int64)
    levels = [wavenet.silence] * M
    for t in range(steps):
        x = torch.stack([wavenet.embedding.weight[m * wavenet.levels + q] for m, q in enumerate(levels)]).sum(0)
        skips = torch.zeros(wavenet.skip)
        for i, (d, ring) in enumerate(zip(wavenet.dilations, rings, strict=True)):
            taps = [ring[(t - (kernel - 1 - tap) * d) % len(ring)] for tap in range(kernel - 1)]
            y = wavenet.dilated[i](torch.cat([*taps, x])) + table[t // steps_per_frame, i]
            ring[t % len(ring)] = x
            a, b = y.chunk(2)
            update = wavenet.out[i](torch.tanh(a) * torch.sigmoid(b))
            x = x + update[:R]
            skips = skips + update[R:]
        hidden = F.relu(wavenet.head(F.relu(skips * len(rings) ** -0.5)))
        logits = wavenet.logits(hidden).view(M, wavenet.levels)
        levels = [draw(row, float(u), temperature) for row, u in zip(logits, uniform[t], strict=True)]
        codes[t] = torch.tensor(levels)
    return codes


def draw(logits: Tensor, uniform: float, temperature: float) -> int:
    """Return the first level at which the cumulative softmax of `logits` (Q,) exceeds `uniform`."""
    if temperature == 0:
        return int(logits.argmax())
    cumulative = (logits / temperature).softmax(0).cumsum(0)
    return min(int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True)), len(logits) - 1)
