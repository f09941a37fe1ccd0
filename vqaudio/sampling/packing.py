"""Weights of a WaveNet in the order and layout in which the kernel reads them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vqaudio.decoder import WaveNet
from vqaudio.sampling.kernel import lanes

Array = NDArray[Any]


@dataclass(frozen=True)
class PackedWaveNet:
    """The arguments of the kernel that describe the network, in the kernel's order."""

    net: tuple[int, ...]
    weights: Array
    offsets: Array
    biases: Array
    embedding: Array
    dilations: Array
    ring_offsets: Array

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All of it, in the order of the kernel's parameters."""
        return (
            self.net, self.weights, self.offsets, self.biases, self.embedding, self.dilations, self.ring_offsets,
        )  # fmt: skip


def pack(wavenet: WaveNet) -> PackedWaveNet:
    """Copy the weights of ``wavenet`` into the kernel's layout."""
    kernel, residual, half, skip = wavenet.kernel, wavenet.residual, wavenet.gate // 2, wavenet.skip
    layers = len(wavenet.dilations)
    R, H, S, Q = (lanes(n) for n in (residual, half, skip, wavenet.levels))
    gates, outputs, head, logits = ([half, half], [residual, skip], [skip], [wavenet.levels])
    taps = [residual] * kernel
    matrices, vectors = [], []
    condition, condition_bias = _array(wavenet.condition.weight), _array(wavenet.condition.bias)
    gate_rows = [slice(i * wavenet.gate, (i + 1) * wavenet.gate) for i in range(layers)]
    for i in range(layers):
        matrices.append(_pad_inputs(_pad_outputs(_array(wavenet.dilated[i].weight), gates), taps))
        matrices.append(_pad_outputs(_array(wavenet.out[i].weight), outputs))
    matrices.append(_pad_outputs(_array(wavenet.head.weight), head))
    matrices.append(_pad_outputs(_array(wavenet.logits.weight), logits))
    matrices += [_pad_outputs(condition[rows], gates) for rows in gate_rows]
    vectors += [_pad_outputs(condition_bias[rows, None], gates) for rows in gate_rows]
    vectors += [_pad_outputs(_array(out.bias)[:, None], outputs) for out in wavenet.out]
    vectors.append(_pad_outputs(_array(wavenet.head.bias)[:, None], head))
    vectors.append(_pad_outputs(_array(wavenet.logits.bias)[:, None], logits))
    biases = np.zeros((len(vectors), max(2 * H, R + S, Q)), np.float32)
    for row, vector in zip(biases, vectors, strict=True):
        row[: len(vector)] = vector[:, 0]
    rings = [R << ((kernel - 1) * d - 1).bit_length() for d in wavenet.dilations]
    embedding = np.zeros((wavenet.levels, R), np.float32)
    embedding[:, :residual] = _array(wavenet.embedding.weight)
    return PackedWaveNet(
        net=(kernel, residual, half, skip, wavenet.levels, condition.shape[1]),
        weights=np.concatenate([m.T.ravel() for m in matrices]),
        offsets=np.cumsum([0] + [m.size for m in matrices]),
        biases=biases,
        embedding=embedding,
        dilations=np.array(wavenet.dilations, np.int64),
        ring_offsets=np.cumsum([0, *rings]),
    )


def _array(parameter: Tensor) -> Array:
    return parameter.detach().float().cpu().numpy()


def _pad_outputs(matrix: Array, parts: list[int]) -> Array:
    """Pad each part of the rows of (outputs, inputs) with zeros to whole vectors."""
    padded = np.zeros((sum(lanes(n) for n in parts), matrix.shape[1]), np.float32)
    source = target = 0
    for n in parts:
        padded[target : target + n] = matrix[source : source + n]
        source, target = source + n, target + lanes(n)
    return padded


def _pad_inputs(matrix: Array, parts: list[int]) -> Array:
    return np.ascontiguousarray(_pad_outputs(np.ascontiguousarray(matrix.T), parts).T)
