"""The compiled loop over samples.

Everything that is compiled stands in this one file, because numba's cache looks only at the file of the function
that is called to tell whether it is stale.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

_COMPILE = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy", "boundscheck": False}

LOG2_E = np.float32(1.4426950408889634)
# 2 ** f for f in [-0.5, 0.5], interpolated at Chebyshev nodes: relative error 1e-7.
C0, C1, C2, C3, C4, C5 = (
    np.float32(c) for c in (1.00000012, 0.693147182, 0.240221068, 0.0555035696, 0.00967603177, 0.00133908633)
)
ONE, HALF, BIAS, MANTISSA = np.float32(1), np.float32(0.5), np.int32(127), np.int32(23)

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S30, S27, S31, S40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)
TWO_TO_MINUS_24 = np.float32(2.0**-24)


@intrinsic
def _float_of_bits(typingctx, bits):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Reinterpret an int32 as a float32."""

    def generate_code(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.float32(types.int32), generate_code


@njit(**_COMPILE)
def _exp(x):
    """Return e ** x for |x| < 87, to a relative 2e-7, in operations that vectorise."""
    x = x * LOG2_E
    n = np.floor(x + HALF)
    f = x - n
    p = C0 + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * C5))))
    return p * _float_of_bits((np.int32(n) + BIAS) << MANTISSA)


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
def _product(out, weights, offset, inputs, size):
    """Add the product of a packed matrix (``size`` inputs, len(out) outputs) and ``inputs`` to ``out``."""
    width = out.shape[0]
    for k in range(size):
        x = inputs[k]
        row = offset + k * width
        for j in range(width):
            out[j] += x * weights[row + j]


@njit(**_COMPILE)
def _gate(h, y, lanes):
    """Write tanh(a) * sigmoid(b) to ``h``; ``y`` holds a, and b ``lanes`` further."""
    for j in range(h.shape[0]):
        a = min(max(y[j], np.float32(-20)), np.float32(20))
        b = min(max(y[lanes + j], np.float32(-40)), np.float32(40))
        p = _exp(np.float32(-2) * a)
        h[j] = (ONE - p) / ((ONE + p) * (ONE + _exp(-b)))


@njit(**_COMPILE)
def _draw(logits, levels, inverse_temperature, uniform):
    """Return a level drawn by inverting the cumulative softmax of ``logits``; it overwrites them.

    An inverse temperature of zero asks for the most likely level.
    """
    top = logits[0]
    best = 0
    for q in range(1, levels):
        if logits[q] > top:
            top = logits[q]
            best = q
    if inverse_temperature == 0:
        return best
    total = np.float32(0)
    for q in range(levels):
        p = _exp(max((logits[q] - top) * inverse_temperature, np.float32(-80)))
        logits[q] = p
        total += p
    left = uniform * total
    for q in range(levels):
        left -= logits[q]
        if left < 0:
            return q
    return best


@njit(**_COMPILE)
def advance(
    net, weights, offsets, biases, embedding, dilations, ring_offsets, slots, rings, previous, times, seeds,
    inverse_temperature, hop, conditions, forced, codes, logits,
):  # fmt: skip
    """Sample ``conditions.shape[1] * hop`` further samples of every utterance in ``slots``.

    Args:
        net: sizes: kernel, residual, half of the gate, skip, levels, condition.
        weights, offsets: packed matrices and where each begins: per layer the dilated one and the one of the outputs,
            then head, logits, and per layer the condition's.
        biases: vectors in the order of the matrices, (2 + 3 * layers, longest).
        embedding: (levels, residual lanes).
        dilations, ring_offsets: per layer; a ring holds a power of two of past inputs.
        slots: (B,) which rows of the state below belong to this batch.
        rings, previous, times, seeds: the state: past inputs (S, all rings), last level, next sample's index, seed.
        inverse_temperature: zero asks for the most likely level.
        hop: samples per frame.
        conditions: (B, frames, C).
        forced: (B, samples) levels to feed instead of those drawn; empty when sampling freely.
        codes: (B, samples) the levels drawn.
        logits: (B, samples, levels) receives the logits unless it is empty.
    """
    kernel, residual, half, skip, levels, condition_size = net
    R, H, S, Q = _lanes(residual), _lanes(half), _lanes(skip), _lanes(levels)
    layers = dilations.shape[0]
    scale = np.float32(1) / np.sqrt(np.float32(layers))
    table = np.empty((layers, 2 * H), np.float32)
    inputs = np.empty((layers, kernel * R), np.float32)
    y, h = np.empty(2 * H, np.float32), np.empty(H, np.float32)
    x, out = np.empty(R, np.float32), np.empty(R + S, np.float32)
    skips, hidden, scores = np.empty(S, np.float32), np.empty(S, np.float32), np.empty(Q, np.float32)
    newest = (kernel - 1) * R
    for b in range(slots.shape[0]):
        s = slots[b]
        ring = rings[s]
        level = previous[s]
        t = times[s]
        for i in range(conditions.shape[1] * hop):
            if i % hop == 0:
                for layer in range(layers):
                    table[layer] = biases[layer, : 2 * H]
                    _product(
                        table[layer], weights, offsets[2 * layers + 2 + layer], conditions[b, i // hop], condition_size
                    )
            for layer in range(layers):
                d = dilations[layer]
                mask = (ring_offsets[layer + 1] - ring_offsets[layer]) // R - 1
                for tap in range(kernel - 1):
                    row = ring_offsets[layer] + ((t - (kernel - 1 - tap) * d) & mask) * R
                    for j in range(R):
                        inputs[layer, tap * R + j] = ring[row + j]
            x[:] = embedding[level]
            skips[:] = np.float32(0)
            for layer in range(layers):
                mask = (ring_offsets[layer + 1] - ring_offsets[layer]) // R - 1
                row = ring_offsets[layer] + (t & mask) * R
                for j in range(R):
                    inputs[layer, newest + j] = x[j]
                    ring[row + j] = x[j]
                y[:] = table[layer]
                _product(y, weights, offsets[2 * layer], inputs[layer], kernel * R)
                _gate(h, y, H)
                out[:] = biases[layers + layer, : R + S]
                _product(out, weights, offsets[2 * layer + 1], h, half)
                for j in range(R):
                    x[j] += out[j]
                for j in range(S):
                    skips[j] += out[R + j]
            for j in range(S):
                skips[j] = max(skips[j] * scale, np.float32(0))
            hidden[:] = biases[2 * layers, :S]
            _product(hidden, weights, offsets[2 * layers], skips, skip)
            for j in range(S):
                hidden[j] = max(hidden[j], np.float32(0))
            scores[:] = biases[2 * layers + 1, :Q]
            _product(scores, weights, offsets[2 * layers + 1], hidden, skip)
            if logits.shape[1] > 0:
                logits[b, i] = scores[:levels]
            level = _draw(scores, levels, inverse_temperature, _uniform(seeds[s], t))
            codes[b, i] = level
            if forced.shape[1] > 0:
                level = forced[b, i]
            t += 1
        previous[s] = level
        times[s] = t


LANES = 16


@njit(**_COMPILE)
def _lanes(size):
    """Round ``size`` up to whole vectors."""
    return (size + LANES - 1) // LANES * LANES


def lanes(size: int) -> int:
    """Round ``size`` up to whole vectors."""
    return -(-size // LANES) * LANES
