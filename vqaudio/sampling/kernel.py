# mypy: ignore-errors
"""The compiled loop over samples: a batch of utterances advances in step and shares each reading of the weights."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from vqaudio.sampling import tiles, vectors
from vqaudio.sampling.tiles import make_tile
from vqaudio.sampling.vectors import (
    BLOCK,
    LANES,
    WIDE,
    add,
    copy,
    exponentials,
    gate,
    maximum,
    prefetch,
    rectify,
)  # fmt: skip

_OPTIONS = {"nogil": True, "error_model": "numpy"}
if hasattr(cpu_target.options, "_nrt"):
    # Without numba's reference counts, whose atomic instructions cost as much as the arithmetic of a small network.
    _OPTIONS["_nrt"] = False
_INLINE = {**_OPTIONS, "forceinline": True}

SOURCES = zlib.crc32(b"".join(Path(module.__file__).read_bytes() for module in (tiles, vectors)))
"""A checksum of the other files; as a default argument it makes Numba's cache, which watches this file, see theirs."""

ZERO, ONE = np.float32(0), np.float32(1)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S30, S27, S31, S40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)
TWO_TO_MINUS_24 = np.float32(2.0**-24)


class Net(NamedTuple):
    """A network as the kernel reads it.

    Parts of a matrix's outputs (the halves of the gate; residual and skip) begin at whole vectors, and matrices have
    whole blocks of outputs. Where channels are missing, biases are zeros.
    """

    kernel: int
    residual: int
    half: int
    skip: int
    levels: int
    silence: int
    """The level before the first sample."""
    condition: int
    per_word: int
    """Weights in a word of `weights`: one float32 or two bfloat16."""
    weights: NDArray
    """32-bit words of matrices: per layer dilated and output, then head, logits, and per layer the condition's."""
    offsets: NDArray
    """Where each matrix begins."""
    gate_biases: NDArray
    residual_biases: NDArray
    skip_bias: NDArray
    """The sum over layers."""
    head_bias: NDArray
    logit_bias: NDArray
    embedding: NDArray
    dilations: NDArray
    ring_offsets: NDArray
    """Where each layer's ring begins."""
    ring_masks: NDArray
    """One less than the number of past inputs in each layer's ring, which is a power of two."""


class State(NamedTuple):
    """The progress of utterances, one row each: past inputs, last level, index of the next sample, seed."""

    rings: NDArray
    previous: NDArray
    times: NDArray
    seeds: NDArray


class Work(NamedTuple):
    """Memory for one sample of a batch, one row per utterance; `table` has one per layer and utterance."""

    inputs: NDArray
    table: NDArray
    y: NDArray
    h: NDArray
    streams: NDArray
    hidden: NDArray
    scores: NDArray
    sums: NDArray


_alone_4, _alone_3, _alone_2, _alone_1 = (make_tile(1, blocks) for blocks in (4, 3, 2, 1))
_rows_4, _rows_8 = make_tile(4, 1), make_tile(8, 1)


@njit(**_INLINE)
def _product(net, matrix, out, i, width, a, j, stride, inputs, k, size, batch):
    """Compute out = a + matrix * inputs for every row of the batch.

    `width` outputs from `i` in each row of `out`; rows of `a` lie `stride` apart; `size` inputs from `k`
    in each row of `inputs`.
    """
    weights, m, n = net.weights, out.shape[1], inputs.shape[1]
    word = net.per_word
    words = size * BLOCK // word
    eights = batch // 8 * 8 if WIDE else 0
    fours = batch // 4 * 4
    blocks = width // BLOCK
    for block in range(blocks):
        w = net.offsets[matrix] + block * words
        o, p = i + block * BLOCK, j + block * BLOCK
        for b in range(0, eights, 8):
            _rows_8(out, b * m + o, m, a, b * stride + p, stride, inputs, b * n + k, n, weights, w, size, word)
        for b in range(eights, fours, 4):
            _rows_4(out, b * m + o, m, a, b * stride + p, stride, inputs, b * n + k, n, weights, w, size, word)
    for b in range(fours, batch):
        block = 0
        while block < blocks:
            w = net.offsets[matrix] + block * words
            o, p, q = b * m + i + block * BLOCK, b * stride + j + block * BLOCK, b * n + k
            left = blocks - block
            # A tile of one block waits for its own sums, so the last blocks are divided evenly: 6 as 3 + 3, 5 as 3 + 2.
            if left == 4 or left > 6:
                _alone_4(out, o, m, a, p, stride, inputs, q, n, weights, w, size, word)
                block += 4
            elif left >= 3:
                _alone_3(out, o, m, a, p, stride, inputs, q, n, weights, w, size, word)
                block += 3
            elif left == 2:
                _alone_2(out, o, m, a, p, stride, inputs, q, n, weights, w, size, word)
                block += 2
            else:
                _alone_1(out, o, m, a, p, stride, inputs, q, n, weights, w, size, word)
                block += 1


@njit(**_INLINE)
def _mix(z):
    """Return the output function of splitmix64 (Steele et al., "Fast splittable pseudorandom number generators")."""
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


@njit(**_INLINE)
def _uniform(seed, t):
    """Return the uniform number in [0, 1) of sample `t` under `seed`: 24 bits of splitmix64."""
    return np.float32(_mix(_mix(seed) + (np.uint64(t) + np.uint64(1)) * GOLDEN) >> S40) * TWO_TO_MINUS_24


@njit(**_INLINE)
def _draw(scores, sums, b, levels, inverse_temperature, uniform):
    """Return a level drawn by inverting the cumulative softmax of row `b` of `scores`, which it overwrites.

    An inverse temperature of zero returns the most likely level.
    """
    width = scores.shape[1]
    top = maximum(scores, b * width, width)
    if inverse_temperature == ZERO:
        q = 0
        while scores[b, q] < top:
            q += 1
        return q
    exponentials(scores, b * width, sums, 0, top, inverse_temperature, width)
    total = ZERO
    for v in range(width // LANES):
        total += sums[v]
    left = uniform * total
    v = 0
    while v < (levels - 1) // LANES and left >= sums[v]:
        left -= sums[v]
        v += 1
    q, last = v * LANES, min((v + 1) * LANES, levels) - 1
    while q < last and left >= scores[b, q]:
        left -= scores[b, q]
        q += 1
    return q


@njit(**_INLINE)
def _tabulate(net, table, conditions, frame, batch):
    """Fill `table` with the projected condition of a frame, biases included, for every layer and utterance."""
    layers, width = net.gate_biases.shape
    for layer in range(layers):
        begin = layer * batch * width
        _product(
            net, 2 * layers + 2 + layer, table, begin, width, net.gate_biases, layer * width, 0,
            conditions, frame * net.condition, net.condition, batch,
        )  # fmt: skip


@njit(**_INLINE)
def _past(net, state, slot, layer, delay):
    """Return the place in `state.rings` of the input of `layer` from `delay` samples ago."""
    row = (state.times[slot] - delay) & net.ring_masks[layer]
    return slot * state.rings.shape[1] + net.ring_offsets[layer] + row * net.residual_biases.shape[1]


@njit(**_INLINE)
def _gather_inputs(net, work, state, slots, layer):
    """Gather the inputs of a layer, past ones from its ring, and store the newest in the ring."""
    inputs, streams = work.inputs, work.streams
    width, batch, newest = net.residual_biases.shape[1], slots.shape[0], net.kernel - 1
    for b in range(batch):
        row = b * inputs.shape[1]
        for tap in range(newest):
            past = _past(net, state, slots[b], layer, (newest - tap) * net.dilations[layer])
            # Whole vectors are copied; the next tap overwrites what lies after the channels.
            copy(inputs, row + tap * net.residual, state.rings, past, width)
        x = b * streams.shape[1]
        copy(inputs, row + newest * net.residual, streams, x, width)
        copy(state.rings, _past(net, state, slots[b], layer, 0), streams, x, width)
        add(streams, x, net.residual_biases, layer * width, width)
    # Long rings do not stay in the cache: the inputs of the next layer are fetched while this one computes.
    if layer + 1 < net.dilations.shape[0]:
        for b in range(batch):
            for tap in range(newest):
                past = _past(net, state, slots[b], layer + 1, (newest - tap) * net.dilations[layer + 1])
                prefetch(state.rings, past, width)


@njit(**_INLINE)
def _layer(net, work, state, slots, layer):
    """Add a layer's update to the residual and skip streams, which are the two parts of `work.streams`."""
    inputs, table, y, h, streams = work.inputs, work.table, work.y, work.h, work.streams
    batch = slots.shape[0]
    _gather_inputs(net, work, state, slots, layer)
    gates = y.shape[1]
    _product(
        net, 2 * layer, y, 0, gates, table, layer * batch * gates, gates,
        inputs, 0, net.kernel * net.residual, batch,
    )  # fmt: skip
    for b in range(batch):
        gate(h, b * h.shape[1], y, b * gates, h.shape[1])
    width = streams.shape[1]
    _product(net, 2 * layer + 1, streams, 0, width, streams, 0, width, h, 0, net.half, batch)


@njit(**_INLINE)
def _score(net, work, batch):
    """Turn the skip streams into logits: twice a rectifier and a matrix."""
    streams, hidden, scores = work.streams, work.hidden, work.scores
    layers, residual = net.residual_biases.shape
    skip = net.skip_bias.shape[0]
    for b in range(batch):
        rectify(streams, b * streams.shape[1] + residual, ONE / np.sqrt(np.float32(layers)), skip)
    width = hidden.shape[1]
    _product(net, 2 * layers, hidden, 0, width, net.head_bias, 0, 0, streams, residual, net.skip, batch)
    rectify(hidden, 0, ONE, batch * width)
    width = scores.shape[1]
    _product(net, 2 * layers + 1, scores, 0, width, net.logit_bias, 0, 0, hidden, 0, net.skip, batch)


@njit(cache=True, **_OPTIONS)
def advance(
    net, work, state, slots, inverse_temperature, hop, conditions, forced, codes, logits, sources=SOURCES  # noqa: ARG001
):  # fmt: skip
    """Draw `frames * hop` further samples of every utterance in `slots`.

    `slots` (B,) are rows of `state`; `conditions` is (B, frames * C); an `inverse_temperature` of zero takes the most
    likely level. `codes` (B, samples) receives the levels drawn. If `forced` (B, samples) is not empty, its levels are
    fed back instead of those, and `logits` (B, samples, levels) receives the logits.
    """
    batch, (layers, residual), skip = slots.shape[0], net.residual_biases.shape, net.skip_bias.shape[0]
    for i in range(codes.shape[1]):
        if i % hop == 0:
            _tabulate(net, work.table, conditions, i // hop, batch)
        for b in range(batch):
            copy(work.streams, b * (residual + skip), net.embedding, state.previous[slots[b]] * residual, residual)
            copy(work.streams, b * (residual + skip) + residual, net.skip_bias, 0, skip)
        for layer in range(layers):
            _layer(net, work, state, slots, layer)
        _score(net, work, batch)
        for b in range(batch):
            s = slots[b]
            if forced.shape[1] > 0:
                for q in range(net.levels):
                    logits[b, i, q] = work.scores[b, q]
            uniform = _uniform(state.seeds[s], state.times[s])
            level = _draw(work.scores, work.sums, b, net.levels, inverse_temperature, uniform)
            codes[b, i] = level
            state.previous[s] = forced[b, i] if forced.shape[1] > 0 else level
            state.times[s] += 1
