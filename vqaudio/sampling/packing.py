"""The weights of a WaveNet, in the order and layout in which the kernel reads them."""

from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from vqaudio.defaults import Weights
from vqaudio.model.decoder import WaveNet
from vqaudio.sampling.kernel import Net, Work
from vqaudio.sampling.vectors import BLOCK, LANES

Array = NDArray[Any]


def pack(wavenet: WaveNet, weights: Weights) -> Net:
    """Return a copy of the weights of `wavenet` in the kernel's layout; "bfloat16" rounds matrices to 16 bits.

    Raises:
        ValueError: `weights` is neither "float32" nor "bfloat16".
    """
    if weights not in get_args(Weights):
        raise ValueError(f"weights is {weights!r}; give float32 or bfloat16")
    layers, half = len(wavenet.dilations), wavenet.gate // 2
    R = _whole(wavenet.residual)
    gates, outputs = (half, half), (wavenet.residual, wavenet.skip)
    head, levels = (wavenet.skip,), (wavenet.levels,) * wavenet.bands
    per_layer = (layers, wavenet.gate, wavenet.condition.in_features)
    conditions = _array(wavenet.condition.weight).reshape(per_layer)
    dilated = [_pad(_array(linear.weight), gates) for linear in wavenet.dilated]
    out = [_pad(_array(linear.weight), outputs) for linear in wavenet.out]
    out_biases = np.stack([_array(linear.bias) for linear in wavenet.out])
    matrices = [matrix for pair in zip(dilated, out, strict=True) for matrix in pair]
    matrices += [_pad(_array(wavenet.head.weight), head), _pad(_array(wavenet.logits.weight), levels)]
    matrices += [_pad(matrix, gates) for matrix in conditions]
    blocks = [_blocks(matrix, weights) for matrix in matrices]
    rings = [1 << ((wavenet.kernel - 1) * d - 1).bit_length() for d in wavenet.dilations]
    return Net(
        wavenet.kernel, wavenet.residual, half, wavenet.skip, wavenet.bands, wavenet.levels, wavenet.silence,
        wavenet.condition.in_features,
        per_word=2 if weights == "bfloat16" else 1,
        weights=_aligned(np.concatenate(blocks)),
        offsets=np.cumsum([0] + [block.size for block in blocks]),
        gate_biases=np.stack([_pad(v, gates) for v in _array(wavenet.condition.bias).reshape(layers, -1)]),
        residual_biases=_pad(out_biases.T, outputs)[:R].T.copy(),
        skip_bias=_pad(out_biases.sum(0), outputs)[R:],
        head_bias=_pad(_array(wavenet.head.bias), head),
        logit_bias=_pad(_array(wavenet.logits.bias), levels, fill=-1e30),
        embedding=_pad(_array(wavenet.embedding.weight).T, outputs[:1])[:R].T.copy(),
        dilations=np.array(wavenet.dilations),
        ring_offsets=np.cumsum([0, *rings]) * R,
        ring_masks=np.array(rings) - 1,
    )  # fmt: skip


def make_work(net: Net, batch: int) -> Work:
    """Return memory for the intermediate results of `batch` utterances."""
    (layers, gates), R = net.gate_biases.shape, net.residual_biases.shape[1]
    # After the inputs there is room for the channels that fill the last vector.
    widths = net.kernel * net.residual + LANES, gates, gates, gates // 2, R + len(net.skip_bias)
    rows = batch, layers * batch, batch, batch, batch
    inputs, table, y, h, streams = (np.zeros(shape, np.float32) for shape in zip(rows, widths, strict=True))
    hidden = np.zeros((batch, len(net.head_bias)), np.float32)
    scores = np.zeros((batch, len(net.logit_bias)), np.float32)
    sums = np.zeros(_whole(net.levels) // LANES, np.float32)
    return Work(inputs, table, y, h, streams, hidden, scores, sums)


def _array(parameter: Any) -> Array:
    return parameter.detach().float().cpu().numpy()


def _whole(size: int) -> int:
    """Return a number of channels, rounded up to whole vectors."""
    return -(-size // LANES) * LANES


def _pad(array: Array, parts: tuple[int, ...], fill: float = 0) -> Array:
    """Return `array` with each part of its leading dimension padded to whole vectors, and all to pairs of vectors."""
    total = sum(_whole(size) for size in parts)
    padded = np.full((-(-total // BLOCK) * BLOCK, *array.shape[1:]), fill, np.float32)
    source = target = 0
    for size in parts:
        padded[target : target + size] = array[source : source + size]
        source, target = source + size, target + _whole(size)
    return padded


def _blocks(matrix: Array, weights: Weights) -> Array:
    """Return a matrix (outputs, inputs) as flat 32-bit words: blocks of two vectors of outputs, inputs first."""
    blocks = [np.ascontiguousarray(matrix[start : start + BLOCK].T) for start in range(0, len(matrix), BLOCK)]
    words = [_pair(block) if weights == "bfloat16" else block.view(np.uint32) for block in blocks]
    return np.concatenate([block.ravel() for block in words])


def _pair(block: Array) -> Array:
    """Return (inputs, outputs) in bfloat16, with vectors 2i and 2i + 1 as the low and high halves of one."""
    halves = torch.from_numpy(block).bfloat16().view(torch.int16).numpy().view(np.uint16).astype(np.uint32)
    vectors = halves.reshape(len(block), -1, 2, LANES)
    return vectors[:, :, 0] | vectors[:, :, 1] << np.uint32(16)


def _aligned(array: Array) -> Array:
    """Return a copy of a flat array of 4-byte items that begins at a cache line."""
    buffer = np.empty(array.size + 16, array.dtype)
    start = -(buffer.ctypes.data // 4) % 16
    buffer[start : start + array.size] = array
    return buffer[start : start + array.size]
