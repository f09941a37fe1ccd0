# mypy: ignore-errors
"""The compiled loop over samples.

Everything that is compiled stands in this one file, because numba's cache looks only at the file of the function
that is called to tell whether it is stale. A batch of utterances advances in step, so that weights are read once for
all; every sum runs over its inputs in the same order whatever the batch, so that nobody's result depends on it.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import NDArray

_FEATURES = config.CPU_FEATURES if config.CPU_FEATURES is not None else get_host_cpu_features().flatten()
_WIDE = "+avx512f" in _FEATURES
LANES = 16 if _WIDE else 8 if "+avx" in _FEATURES else 4
"""Floats in a vector register of this machine."""
ROWS = 4 if _WIDE else 2
"""Utterances that a tile covers: with COLUMNS vectors each, their sums stay in registers."""
COLUMNS = 4

_COMPILE = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy", "forceinline": True}

LOG2_E = np.float32(1.4426950408889634)
# 2 ** f for f in [-0.5, 0.5], interpolated at Chebyshev nodes: relative error 1e-7.
C0, C1, C2, C3, C4, C5 = (
    np.float32(c) for c in (1.00000012, 0.693147182, 0.240221068, 0.0555035696, 0.00967603177, 0.00133908633)
)
ZERO, ONE, TWO, HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
EXPONENT_BIAS, MANTISSA_BITS = np.int32(127), np.int32(23)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S30, S27, S31, S40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)
TWO_TO_MINUS_24 = np.float32(2.0**-24)


class Net(NamedTuple):
    """A network as the kernel reads it. Parts of a matrix's outputs (halves of the gate, residual and skip) begin at whole
    vectors; matrices have whole pairs of vectors of outputs, because two 16-bit weights share a 32-bit lane.
    """

    kernel: int
    residual: int
    half: int
    skip: int
    levels: int
    condition: int
    per_word: int
    weights: NDArray
    """Matrices in blocks; per layer the dilated and the output one, then head, logits, and per layer the condition's."""
    offsets: NDArray
    gate_biases: NDArray
    residual_biases: NDArray
    skip_bias: NDArray
    head_bias: NDArray
    logit_bias: NDArray
    embedding: NDArray
    dilations: NDArray
    ring_offsets: NDArray
    """Where each layer's ring begins; a ring holds a power of two of past inputs."""


class State(NamedTuple):
    """Where utterances stand, a row each: past inputs, last level, index of the next sample, seed."""

    rings: NDArray
    previous: NDArray
    times: NDArray
    seeds: NDArray


def _make_tile(rows, blocks, columns):
    """Return an intrinsic that adds a tile of a matrix product to ``out``; its sums stay in registers.

    The tile covers ``rows`` utterances and ``blocks`` adjacent blocks of ``columns`` vectors of outputs. A block holds
    ``columns`` vectors of weights for every input in turn; as 16 bits, two vectors share one.
    """

    def generate_code(context, builder, signature, args):
        out_type, _, _, in_type, _, _, weight_type, _, _ = signature.args
        out, out_start, out_stride, inputs, in_start, in_stride, weights, weight_start, size = args
        vector = ir.VectorType(ir.FloatType(), LANES)
        bits = ir.VectorType(ir.IntType(32), LANES)
        halves = weight_type.dtype == types.uint32
        step = columns // 2 if halves else columns

        def pointer(array_type, array, index, kind):
            data = context.make_array(array_type)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())

        def constant(number):
            return ir.Constant(ir.IntType(64), number)

        def splat(value, kind):
            lane = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            return builder.shuffle_vector(lane, ir.Constant(kind, ir.Undefined), zeros)

        def weight_vectors(index):
            for column in range(step):
                kind = bits if halves else vector
                at = builder.add(index, constant(column * LANES))
                word = builder.load(pointer(weight_type, weights, at, kind), align=4)
                if halves:
                    low = builder.shl(word, splat(ir.Constant(ir.IntType(32), 16), bits))
                    high = builder.and_(word, splat(ir.Constant(ir.IntType(32), 0xFFFF0000), bits))
                    yield from (builder.bitcast(low, vector), builder.bitcast(high, vector))
                else:
                    yield word

        def out_pointer(row, column):
            index = builder.add(out_start, builder.mul(out_stride, constant(row)))
            return pointer(out_type, out, builder.add(index, constant(column * LANES)), vector)

        sums = {}
        for row in range(rows):
            for column in range(blocks * columns):
                sums[row, column] = cgutils.alloca_once(builder, vector)
                builder.store(builder.load(out_pointer(row, column), align=4), sums[row, column])
        with cgutils.for_range(builder, size) as loop:
            k = loop.index
            heard = []
            for row in range(rows):
                index = builder.add(builder.add(in_start, builder.mul(in_stride, constant(row))), k)
                heard.append(splat(builder.load(pointer(in_type, inputs, index, ir.FloatType())), vector))
            for block in range(blocks):
                steps = builder.add(builder.mul(size, constant(block)), k)
                index = builder.add(weight_start, builder.mul(steps, constant(step * LANES)))
                for column, weight in enumerate(weight_vectors(index), block * columns):
                    for row in range(rows):
                        product = builder.fmul(weight, heard[row], flags=["contract"])
                        total = builder.fadd(builder.load(sums[row, column]), product, flags=["contract"])
                        builder.store(total, sums[row, column])
        for (row, column), total in sums.items():
            builder.store(builder.load(total), out_pointer(row, column), align=4)
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, out, out_start, out_stride, inputs, in_start, in_stride, weights, weight_start, size):
        i = types.int64
        return types.void(out, i, i, inputs, i, i, weights, i, i), generate_code

    return tile


_alone_8 = _make_tile(1, 2, COLUMNS)
_alone_4 = _make_tile(1, 1, COLUMNS)
_alone_2 = _make_tile(1, 1, 2)
_rows_4 = _make_tile(ROWS, 1, COLUMNS)
_rows_2 = _make_tile(ROWS, 1, 2)


@njit(**_COMPILE)
def _product(net, matrix, out, start, width, inputs, first, size, batch):
    """Add a packed matrix times ``inputs`` to ``out``: columns from ``start`` and from ``first`` of ``batch`` rows."""
    weights, offset = net.weights, net.offsets[matrix]
    m, n = out.shape[1], inputs.shape[1]
    block = COLUMNS * LANES
    together = batch // ROWS * ROWS
    for j in range(0, width, block):
        w = offset + j * size // net.per_word
        for b in range(0, together, ROWS):
            if j + block <= width:
                _rows_4(out, b * m + start + j, m, inputs, b * n + first, n, weights, w, size)
            else:
                _rows_2(out, b * m + start + j, m, inputs, b * n + first, n, weights, w, size)
    for b in range(together, batch):
        j = 0
        while j < width:
            w = offset + j * size // net.per_word
            if j + 2 * block <= width:
                _alone_8(out, b * m + start + j, m, inputs, b * n + first, n, weights, w, size)
                j += block
            elif j + block <= width:
                _alone_4(out, b * m + start + j, m, inputs, b * n + first, n, weights, w, size)
            else:
                _alone_2(out, b * m + start + j, m, inputs, b * n + first, n, weights, w, size)
            j += block


@intrinsic
def _float_of_bits(typingctx, bits):
    """Reinterpret an int32 as a float32."""

    def generate_code(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.float32(types.int32), generate_code


@njit(**_COMPILE)
def _exp(x):
    """Return e ** x for |x| < 87, to a relative 2e-7, in operations that vectorise."""
    x = x * LOG2_E
    n = np.floor(x + HALF)
    f = x - n
    p = C0 + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * C5))))
    return p * _float_of_bits((np.int32(n) + EXPONENT_BIAS) << MANTISSA_BITS)


@njit(**_COMPILE)
def _mix(z):
    """Return the output function of splitmix64 (Steele et al., "Fast splittable pseudorandom number generators")."""
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


@njit(**_COMPILE)
def _uniform(seed, t):
    """Return the uniform number in [0, 1) of sample ``t`` under ``seed``: 24 bits of splitmix64."""
    return np.float32(_mix(_mix(seed) + (np.uint64(t) + np.uint64(1)) * GOLDEN) >> S40) * TWO_TO_MINUS_24


@njit(**_COMPILE)
def _gate(h, y, b, width):
    """Write tanh(first half) * sigmoid(second half) of row ``b`` of ``y`` to ``h``."""
    for j in range(width):
        p = _exp(min(max(-TWO * y[b, j], np.float32(-30)), np.float32(30)))
        q = _exp(min(max(-y[b, width + j], np.float32(-30)), np.float32(30)))
        h[b, j] = (ONE - p) / ((ONE + p) * (ONE + q))


@njit(**_COMPILE)
def _draw(scores, b, levels, inverse_temperature, uniform):
    """Return a level drawn by inverting the cumulative softmax of row ``b`` of ``scores``, which it overwrites.

    An inverse temperature of zero asks for the most likely level.
    """
    width = scores.shape[1]
    top = scores[b, 0]
    for q in range(width):
        top = max(top, scores[b, q])
    if inverse_temperature == ZERO:
        q = 0
        while scores[b, q] < top:
            q += 1
        return q
    total = ZERO
    for q in range(width):
        p = _exp(max((scores[b, q] - top) * inverse_temperature, np.float32(-80)))
        scores[b, q] = p
        total += p
    left = uniform * total
    # Whole vectors first: a sum over one takes a few instructions, a walk over all levels a thousand cycles.
    for start in range(0, width, LANES):
        part = ZERO
        for q in range(start, start + LANES):
            part += scores[b, q]
        if left < part:
            for q in range(start, min(start + LANES, levels) - 1):
                left -= scores[b, q]
                if left < ZERO:
                    return q
            return min(start + LANES, levels) - 1
        left -= part
    return levels - 1


@njit(**_COMPILE)
def _tabulate(net, table, conditions, frame, batch):
    """Project a frame's condition of each utterance for every layer; biases are in it."""
    width = table.shape[1]
    for layer in range(net.dilations.shape[0]):
        for b in range(batch):
            for j in range(width):
                table[layer * batch + b, j] = net.gate_biases[layer, j]
    n = conditions.shape[1]
    for layer in range(net.dilations.shape[0]):
        matrix = 2 * net.dilations.shape[0] + 2 + layer
        for b in range(batch):
            row = (b * (conditions.shape[0] // batch) + frame) * n
            at = (layer * batch + b) * width
            _product(net, matrix, table, at, width, conditions, row, net.condition, 1)


@njit(**_COMPILE)
def _recall(net, state, slots, inputs):
    """Copy the past inputs of every layer from the rings: all layers at once, so that the cache misses overlap."""
    width, batch = net.residual, slots.shape[0]
    for layer in range(net.dilations.shape[0]):
        begin = net.ring_offsets[layer]
        mask = (net.ring_offsets[layer + 1] - begin) // width - 1
        for b in range(batch):
            s = slots[b]
            for tap in range(net.kernel - 1):
                past = state.times[s] - (net.kernel - 1 - tap) * net.dilations[layer]
                for j in range(width):
                    inputs[layer * batch + b, tap * width + j] = state.rings[s, begin + (past & mask) * width + j]


@njit(**_COMPILE)
def _layer(net, state, slots, layer, inputs, table, y, h, streams):
    """Add a layer's update to the residual and skip streams, which lie side by side in ``streams``."""
    width, batch = net.residual, slots.shape[0]
    begin = net.ring_offsets[layer]
    mask = (net.ring_offsets[layer + 1] - begin) // width - 1
    newest = (net.kernel - 1) * width
    for b in range(batch):
        s = slots[b]
        row = begin + (state.times[s] & mask) * width
        for j in range(width):
            x = streams[b, j]
            inputs[layer * batch + b, newest + j] = x
            state.rings[s, row + j] = x
            streams[b, j] = x + net.residual_biases[layer, j]
        for j in range(y.shape[1]):
            y[b, j] = table[layer * batch + b, j]
    at = layer * batch * inputs.shape[1]
    _product(net, 2 * layer, y, 0, y.shape[1], inputs, at, inputs.shape[1], batch)
    for b in range(batch):
        _gate(h, y, b, h.shape[1])
    _product(net, 2 * layer + 1, streams, 0, streams.shape[1], h, 0, net.half, batch)


@njit(**_COMPILE)
def _score(net, batch, streams, hidden, scores):
    """Turn the skip streams into logits; two layers with rectifiers before them."""
    layers, residual = net.dilations.shape[0], net.residual_biases.shape[1]
    scale = ONE / np.sqrt(np.float32(layers))
    for b in range(batch):
        for j in range(net.skip):
            streams[b, residual + j] = max(streams[b, residual + j] * scale, ZERO)
        for j in range(hidden.shape[1]):
            hidden[b, j] = net.head_bias[j]
        for q in range(scores.shape[1]):
            scores[b, q] = net.logit_bias[q]
    _product(net, 2 * layers, hidden, 0, hidden.shape[1], streams, residual, net.skip, batch)
    for b in range(batch):
        for j in range(hidden.shape[1]):
            hidden[b, j] = max(hidden[b, j], ZERO)
    _product(net, 2 * layers + 1, scores, 0, scores.shape[1], hidden, 0, net.skip, batch)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def advance(net, state, slots, inverse_temperature, hop, conditions, forced, codes, logits):
    """Sample ``frames * hop`` further samples of every utterance in ``slots``.

    ``slots`` (B,) are rows of ``state``; ``conditions`` is (B * frames, C); ``inverse_temperature`` zero asks for the
    most likely level. ``codes`` (B, samples) receives the levels drawn. Levels fed back are those of ``forced``
    (B, samples) instead when it is not empty; then ``logits`` (B, samples, levels) receives the logits.
    """
    batch, layers = slots.shape[0], net.dilations.shape[0]
    residual, skip = net.residual_biases.shape[1], net.skip_bias.shape[0]
    inputs = np.empty((layers * batch, net.kernel * net.residual), np.float32)
    table = np.empty((layers * batch, net.gate_biases.shape[1]), np.float32)
    y = np.empty((batch, net.gate_biases.shape[1]), np.float32)
    h = np.empty((batch, y.shape[1] // 2), np.float32)
    streams = np.empty((batch, residual + skip), np.float32)
    hidden = np.empty((batch, net.head_bias.shape[0]), np.float32)
    scores = np.empty((batch, net.logit_bias.shape[0]), np.float32)
    for i in range(codes.shape[1]):
        if i % hop == 0:
            _tabulate(net, table, conditions, i // hop, batch)
        _recall(net, state, slots, inputs)
        for b in range(batch):
            level = state.previous[slots[b]]
            for j in range(residual):
                streams[b, j] = net.embedding[level, j]
            for j in range(skip):
                streams[b, residual + j] = net.skip_bias[j]
        for layer in range(layers):
            _layer(net, state, slots, layer, inputs, table, y, h, streams)
        _score(net, batch, streams, hidden, scores)
        for b in range(batch):
            s = slots[b]
            if forced.shape[1] > 0:
                logits[b, i] = scores[b, : net.levels]
            level = _draw(scores, b, net.levels, inverse_temperature, _uniform(state.seeds[s], state.times[s]))
            codes[b, i] = level
            state.previous[s] = forced[b, i] if forced.shape[1] > 0 else level
            state.times[s] += 1
