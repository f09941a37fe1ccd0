# mypy: ignore-errors
"""The compiled loop over steps: a batch of utterances advances together and shares each reading of the weights."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vqaudio.sampling import drawing, tiles, vectors
from vqaudio.sampling.drawing import INLINE, OPTIONS, draw, uniform
from vqaudio.sampling.tiles import make_tile
from vqaudio.sampling.vectors import BLOCK, LANES, WIDE, add, copy, gate, prefetch, rectify

SOURCES = zlib.crc32(b"".join(Path(module.__file__).read_bytes() for module in (drawing, tiles, vectors)))
"""A checksum of the other files; as a default argument it makes Numba's cache, which watches this file, see theirs."""

ONE = np.float32(1)


class Net(NamedTuple):
    """A network as the kernel reads it.

    Parts of a matrix's outputs (the halves of the gate; residual and skip) begin at whole vectors, and matrices have
    whole blocks of outputs. Where channels are missing, biases are zeros.
    """

    kernel: int
    residual: int
    half: int
    skip: int
    bands: int
    levels: int
    """In each band."""
    silence: int
    """The level before the first step."""
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
    """Of one band after the other, each padded to whole vectors."""
    embedding: NDArray
    """Row `m * levels + q` is level `q` of band `m`."""
    dilations: NDArray
    ring_offsets: NDArray
    """Where each layer's ring begins."""
    ring_masks: NDArray
    """One less than the number of past inputs in each layer's ring, which is a power of two."""


class State(NamedTuple):
    """The progress of utterances, one row each: past inputs, last level of each band, next step, seed."""

    rings: NDArray
    previous: NDArray
    times: NDArray
    seeds: NDArray


class Work(NamedTuple):
    """Memory for one step of a batch, one row per utterance; `table` has one per layer and utterance."""

    inputs: NDArray
    table: NDArray
    y: NDArray
    h: NDArray
    streams: NDArray
    hidden: NDArray
    scores: NDArray
    sums: NDArray
    """One for each vector of a band's scores."""


_alone_4, _alone_3, _alone_2, _alone_1 = (make_tile(1, blocks) for blocks in (4, 3, 2, 1))
_rows_4, _rows_8 = make_tile(4, 1), make_tile(8, 1)


@njit(**INLINE)
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


@njit(**INLINE)
def _tabulate(net, table, conditions, frame, batch):
    """Fill `table` with the projected condition of a frame, biases included, for every layer and utterance."""
    layers, width = net.gate_biases.shape
    for layer in range(layers):
        begin = layer * batch * width
        _product(
            net, 2 * layers + 2 + layer, table, begin, width, net.gate_biases, layer * width, 0,
            conditions, frame * net.condition, net.condition, batch,
        )  # fmt: skip


@njit(**INLINE)
def _past(net, state, slot, layer, delay):
    """Return the place in `state.rings` of the input of `layer` from `delay` steps ago."""
    row = (state.times[slot] - delay) & net.ring_masks[layer]
    return slot * state.rings.shape[1] + net.ring_offsets[layer] + row * net.residual_biases.shape[1]


@njit(**INLINE)
def _begin(net, work, state, slots):
    """Begin the streams: the summed embeddings of the levels of the step before, and the skips' biases."""
    streams, residual, skip = work.streams, net.residual_biases.shape[1], net.skip_bias.shape[0]
    for b in range(slots.shape[0]):
        x = b * streams.shape[1]
        copy(streams, x, net.embedding, state.previous[slots[b], 0] * residual, residual)
        for band in range(1, net.bands):
            row = band * net.levels + state.previous[slots[b], band]
            add(streams, x, net.embedding, row * residual, residual)
        copy(streams, x + residual, net.skip_bias, 0, skip)


@njit(**INLINE)
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


@njit(**INLINE)
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


@njit(**INLINE)
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


@njit(cache=True, **OPTIONS)
def advance(
    net, work, state, slots, inverse_temperature, steps_per_frame, conditions, forced, codes, logits,
    sources=SOURCES,  # noqa: ARG001
):  # fmt: skip
    """Draw `frames * steps_per_frame` further steps of every utterance in `slots`.

    `slots` (B,) are rows of `state`; `conditions` is (B, frames * C); an `inverse_temperature` of zero takes the most
    likely level. `codes` (B, S, M) receives the levels drawn. If `forced` (B, S, M) is not empty, its levels are fed
    back instead of those, and `logits` (B, S, M, Q) receives the logits.
    """
    batch, width, force = slots.shape[0], work.sums.shape[0] * LANES, forced.shape[1] > 0
    for i in range(codes.shape[1]):
        if i % steps_per_frame == 0:
            _tabulate(net, work.table, conditions, i // steps_per_frame, batch)
        _begin(net, work, state, slots)
        for layer in range(net.dilations.shape[0]):
            _layer(net, work, state, slots, layer)
        _score(net, work, batch)
        for b in range(batch):
            s = slots[b]
            for band in range(net.bands):
                if force:
                    for q in range(net.levels):
                        logits[b, i, band, q] = work.scores[b, band * width + q]
                number = uniform(state.seeds[s], state.times[s] * net.bands + band)
                level = draw(work.scores, work.sums, b, band * width, net.levels, inverse_temperature, number)
                codes[b, i, band] = level
                state.previous[s, band] = forced[b, i, band] if force else level
            state.times[s] += 1
