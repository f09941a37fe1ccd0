# mypy: ignore-errors
"""The compiled loops of ``vqaudio.gate``, for float32 and for bfloat16 in arrays of uint16.

What happens to a vector of channels stands here as LLVM instructions: left to itself, LLVM checks for every row of a
few dozen channels whether the arrays overlap, which takes as long as the row. A NaN stays one: training looks for it.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 16
"""Channels in a vector. Where registers hold fewer, LLVM takes several."""

_FLOAT, _INT, _SHORT = (ir.VectorType(kind, LANES) for kind in (ir.FloatType(), ir.IntType(32), ir.IntType(16)))
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}

# tanh(x) = x p(x^2) / q(x^2) up to BOUND, to 3e-7: the rational function of Eigen (Core/MathFunctionsImpl.h).
_BOUND = 7.90531110763549805
_P = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)


@njit(**_OPTIONS)
def forward(y: NDArray, condition: NDArray, h: NDArray, first: int, last: int) -> None:
    """Activate the frames from ``first`` to before ``last`` of ``y`` (N, T / N, B, 2 H) in place, and fill ``h``."""
    _, S, B, H = h.shape
    rest, whole = H % LANES, H - H % LANES
    rest_y, rest_condition, rest_h = (
        np.zeros((2, LANES), y.dtype),
        np.zeros((2, LANES), y.dtype),
        np.zeros(LANES, y.dtype),
    )
    y, condition, h = y.reshape(-1, 2, H), condition.reshape(-1, 2, H), h.reshape(-1, H)
    for n in range(first, last):
        for row in range(n * S * B, (n + 1) * S * B):
            i = n * B + row % B
            for k in range(0, whole, LANES):
                _activate(y, row * 2 * H + k, condition, i * 2 * H + k, h, row * H + k, H)
            if rest:
                rest_y[:, :rest], rest_condition[:, :rest] = y[row, :, whole:], condition[i, :, whole:]
                _activate(rest_y, 0, rest_condition, 0, rest_h, 0, LANES)
                y[row, :, whole:], h[row, whole:] = rest_y[:, :rest], rest_h[:rest]


@njit(**_OPTIONS)
def backward(grad_h: NDArray, activated: NDArray, grad_y: NDArray, totals: NDArray, first: int, last: int) -> None:
    """Fill ``grad_y`` (N, T / N, B, 2 H), its float32 sums ``totals`` (N, B, 2 H), and ``grad_h`` anew with ``h``."""
    _, S, B, H = grad_h.shape
    rest, whole = H % LANES, H - H % LANES
    rest_h, rest_activated = np.zeros(LANES, grad_h.dtype), np.zeros((2, LANES), grad_h.dtype)
    rest_y, rest_totals = np.zeros((2, LANES), grad_h.dtype), np.zeros((2, LANES), np.float32)
    totals[first:last] = 0
    grad_h, activated = grad_h.reshape(-1, H), activated.reshape(-1, 2, H)
    grad_y, totals = grad_y.reshape(-1, 2, H), totals.reshape(-1, 2, H)
    for n in range(first, last):
        for row in range(n * S * B, (n + 1) * S * B):
            i = n * B + row % B
            for k in range(0, whole, LANES):
                at = row * 2 * H + k
                _differentiate(grad_h, row * H + k, activated, at, grad_y, at, totals, i * 2 * H + k, H)
            if rest:
                rest_h[:rest], rest_activated[:, :rest] = grad_h[row, whole:], activated[row, :, whole:]
                rest_totals[:, :rest] = totals[i, :, whole:]
                _differentiate(rest_h, 0, rest_activated, 0, rest_y, 0, rest_totals, 0, LANES)
                grad_h[row, whole:], grad_y[row, :, whole:] = rest_h[:rest], rest_y[:, :rest]
                totals[i, :, whole:] = rest_totals[:, :rest]


class _Code:
    """The instructions of an operation on arrays, each followed by the index of its vector; the last argument is H."""

    def __init__(self, context, builder, signature, args):
        self.builder, self.half = builder, args[-1]
        self.kinds = signature.args[0:-1:2]
        self.data = [context.make_array(kind)(context, builder, args[2 * i]).data for i, kind in enumerate(self.kinds)]
        self.begins = args[1:-1:2]

    def place(self, array, second, kind):
        index = self.builder.add(self.begins[array], self.half) if second else self.begins[array]
        return self.builder.bitcast(self.builder.gep(self.data[array], [index]), kind.as_pointer())

    def load(self, array, second=False):
        """Return a vector of an array, or the one H items later."""
        if self.kinds[array].dtype == types.float32:
            return self.builder.load(self.place(array, second, _FLOAT), align=4)
        bits = self.builder.zext(self.builder.load(self.place(array, second, _SHORT), align=2), _INT)
        return self.builder.bitcast(self.builder.shl(bits, _ints(16)), _FLOAT)

    def store(self, value, array, second=False):
        """Store a vector and return it as stored; bfloat16 rounds to nearest, ties to even."""
        if self.kinds[array].dtype == types.float32:
            self.builder.store(value, self.place(array, second, _FLOAT), align=4)
            return value
        bits = self.builder.bitcast(value, _INT)
        odd = self.builder.and_(self.builder.lshr(bits, _ints(16)), _ints(1))
        bits = self.builder.lshr(self.builder.add(self.builder.add(bits, _ints(0x7FFF)), odd), _ints(16))
        self.builder.store(self.builder.trunc(bits, _SHORT), self.place(array, second, _SHORT), align=2)
        return self.builder.bitcast(self.builder.shl(bits, _ints(16)), _FLOAT)

    def multiply(self, *factors):
        product = factors[0]
        for factor in factors[1:]:
            product = self.builder.fmul(product, factor, flags=["contract"])
        return product

    def add(self, a, b):
        return self.builder.fadd(a, b, flags=["contract"])

    def one_minus(self, a):
        return self.builder.fsub(_floats(1), a, flags=["contract"])

    def polynomial(self, coefficients, x):
        value = _floats(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.add(self.multiply(value, x), _floats(coefficient))
        return value

    def tanh(self, x):
        for bound, larger in ((_floats(-_BOUND), "<"), (_floats(_BOUND), ">")):
            x = self.builder.select(self.builder.fcmp_ordered(larger, x, bound), bound, x)  # NaN is neither
        square = self.multiply(x, x)
        return self.builder.fdiv(self.multiply(x, self.polynomial(_P, square)), self.polynomial(_Q, square))


def _floats(number):
    return ir.Constant(_FLOAT, [float(np.float32(number))] * LANES)


def _ints(number):
    return ir.Constant(_INT, [number] * LANES)


@intrinsic
def _activate(typingctx, y, i, condition, j, h, k, H):  # noqa: ARG001
    """Put tanh(a) and sigmoid(b) in place of ``y``, and their product in ``h``."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature, args)
        a = code.tanh(code.add(code.load(0), code.load(1)))
        b = code.multiply(_floats(0.5), code.add(code.load(0, second=True), code.load(1, second=True)))
        b = code.add(code.multiply(_floats(0.5), code.tanh(b)), _floats(0.5))
        code.store(code.multiply(code.store(a, 0), code.store(b, 0, second=True)), 2)
        return context.get_dummy_value()

    return types.void(y, types.int64, condition, types.int64, h, types.int64, types.int64), generate


@intrinsic
def _differentiate(typingctx, grad_h, i, activated, j, grad_y, k, totals, l, H):  # noqa: ARG001, E741
    """Put the gradient in ``grad_y``, add it to ``totals``, and put ``h`` in place of ``grad_h``."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature, args)
        grad, a, b = code.load(0), code.load(1), code.load(1, second=True)
        h = code.multiply(a, b)
        grad_a = code.multiply(grad, b, code.one_minus(code.multiply(a, a)))
        grad_b = code.multiply(grad, h, code.one_minus(b))
        for grad, second in ((grad_a, False), (grad_b, True)):
            code.store(grad, 2, second)
            code.store(code.add(code.load(3, second), grad), 3, second)
        code.store(h, 0)
        return context.get_dummy_value()

    index = types.int64
    return types.void(grad_h, index, activated, index, grad_y, index, totals, index, index), generate
