# mypy: ignore-errors
"""The compiled loops of `vqaudio.model.loops.gate`, for float32 and for bfloat16 in arrays of uint16.

The operations on a vector of channels are written as LLVM instructions: compiled from a loop in Python, the code checks
for every row whether the arrays overlap, which for a few dozen channels takes as long as the row itself. NaN stays NaN,
since training looks for it.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 16
"""Channels in a vector. LLVM uses several registers if one holds fewer; the last channels of a row go one by one."""
PREFETCH_VECTORS = 32
"""How far ahead of the loop memory is asked for; without that, both loops take almost twice as long."""

# tanh(x) = x p(x^2) / q(x^2) for |x| < _MAX_X, to 3e-7: the rational function of Eigen (Core/MathFunctionsImpl.h).
_MAX_X = 7.90531110763549805
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


class _Code:
    """Short names for the instructions on vectors of arrays.

    The arguments of an operation are each array and the index of its vector, and last H, the distance between the two
    halves of a row.
    """

    def __init__(self, lanes, context, builder, signature, args):
        self.builder, self.half = builder, args[-1]
        self.kinds = signature.args[0:-1:2]
        self.data = [context.make_array(kind)(context, builder, args[2 * i]).data for i, kind in enumerate(self.kinds)]
        self.begins = args[1:-1:2]
        kinds = ir.FloatType(), ir.IntType(32), ir.IntType(16)
        self.float, self.int, self.short = (ir.VectorType(kind, lanes) for kind in kinds)

    def floats(self, number):
        return ir.Constant(self.float, [float(np.float32(number))] * self.float.count)

    def ints(self, number):
        return ir.Constant(self.int, [number] * self.int.count)

    def is_float32(self, array):
        """Return whether an array contains float32, not bfloat16."""
        return self.kinds[array].dtype == types.float32

    def address(self, array, second):
        """Return the address of an array's vector, or of the `second`, H items later."""
        index = self.builder.add(self.begins[array], self.half) if second else self.begins[array]
        kind = self.float if self.is_float32(array) else self.short
        return self.builder.bitcast(self.builder.gep(self.data[array], [index]), kind.as_pointer())

    def prefetch(self, *vectors):
        """Ask memory for the vectors, each given as (array, second), of a few rows later."""
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = self.builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        for vector in vectors:
            address = self.builder.gep(self.address(*vector), [ir.Constant(number, PREFETCH_VECTORS)])
            options = [ir.Constant(number, option) for option in (1, 3, 1)]  # to write, to keep, data
            self.builder.call(function, [self.builder.bitcast(address, byte), *options])

    def load(self, array, second=False):
        if self.is_float32(array):
            return self.builder.load(self.address(array, second), align=4)
        bits = self.builder.zext(self.builder.load(self.address(array, second), align=2), self.int)
        return self.builder.bitcast(self.builder.shl(bits, self.ints(16)), self.float)

    def store(self, value, array, second=False):
        """Store a vector and return it as stored; bfloat16 rounds to nearest, ties to even."""
        if self.is_float32(array):
            self.builder.store(value, self.address(array, second), align=4)
            return value
        bits = self.builder.bitcast(value, self.int)
        odd = self.builder.and_(self.builder.lshr(bits, self.ints(16)), self.ints(1))
        bits = self.builder.lshr(self.builder.add(self.builder.add(bits, self.ints(0x7FFF)), odd), self.ints(16))
        self.builder.store(self.builder.trunc(bits, self.short), self.address(array, second), align=2)
        return self.builder.bitcast(self.builder.shl(bits, self.ints(16)), self.float)

    def multiply(self, *factors):
        product = factors[0]
        for factor in factors[1:]:
            product = self.builder.fmul(product, factor, flags=["contract"])
        return product

    def add(self, a, b):
        return self.builder.fadd(a, b, flags=["contract"])

    def one_minus(self, a):
        return self.builder.fsub(self.floats(1), a, flags=["contract"])

    def polynomial(self, coefficients, x):
        value = self.floats(coefficients[0])
        for coefficient in coefficients[1:]:
            value = self.add(self.multiply(value, x), self.floats(coefficient))
        return value

    def clamp(self, x, bound):
        """Return x clamped to [-bound, bound]; NaN stays NaN."""
        for limit, beyond in ((self.floats(-bound), "<"), (self.floats(bound), ">")):
            x = self.builder.select(self.builder.fcmp_ordered(beyond, x, limit), limit, x)
        return x

    def tanh(self, x):
        x = self.clamp(x, _MAX_X)
        square = self.multiply(x, x)
        return self.builder.fdiv(self.multiply(x, self.polynomial(_P, square)), self.polynomial(_Q, square))


def _make_activate(lanes):
    """Return an operation that replaces `y` by tanh(a) and sigmoid(b), and puts their product into `h`."""

    def generate(*args):
        code = _Code(lanes, *args)
        code.prefetch((0, False), (0, True), (2, False))
        half = code.floats(0.5)
        a = code.tanh(code.add(code.load(0), code.load(1)))
        b = code.multiply(half, code.add(code.load(0, second=True), code.load(1, second=True)))
        b = code.add(code.multiply(half, code.tanh(b)), half)
        code.store(code.multiply(code.store(a, 0), code.store(b, 0, second=True)), 2)

    @intrinsic
    def activate(typingctx, y, i, condition, j, h, k, H):  # noqa: ARG001
        index = types.int64
        return types.void(y, index, condition, index, h, index, index), generate

    return activate


def _make_differentiate(lanes):
    """Return an operation that puts gradients into `grad_y`, adds them to `totals`, and replaces `grad_h` by h."""

    def generate(*args):
        code = _Code(lanes, *args)
        code.prefetch((0, False), (1, False), (1, True), (2, False), (2, True))
        grad, a, b = code.load(0), code.load(1), code.load(1, second=True)
        h = code.multiply(a, b)
        grad_a = code.multiply(grad, b, code.one_minus(code.multiply(a, a)))
        grad_b = code.multiply(grad, h, code.one_minus(b))
        for grad, second in ((grad_a, False), (grad_b, True)):
            code.store(grad, 2, second)
            code.store(code.add(code.load(3, second), grad), 3, second)
        code.store(h, 0)

    @intrinsic
    def differentiate(typingctx, grad_h, i, activated, j, grad_y, k, totals, l, H):  # noqa: ARG001, E741
        index = types.int64
        return types.void(grad_h, index, activated, index, grad_y, index, totals, index, index), generate

    return differentiate


_activate, _activate_one = _make_activate(LANES), _make_activate(1)
_differentiate, _differentiate_one = _make_differentiate(LANES), _make_differentiate(1)


@njit(cache=True, nogil=True, error_model="numpy")
def gate_forward(y: NDArray, condition: NDArray, h: NDArray, S: int, B: int, H: int, first: int, last: int) -> None:
    """Activate frames `first` to before `last` of `y` (N, S, B, 2 H; flat) in place, and fill `h` (N, S, B, H)."""
    whole = H - H % LANES
    for n in range(first, last):
        for row in range(n * S * B, (n + 1) * S * B):
            at_y, at_condition, at_h = row * 2 * H, (n * B + row % B) * 2 * H, row * H
            for k in range(0, whole, LANES):
                _activate(y, at_y + k, condition, at_condition + k, h, at_h + k, H)
            for k in range(whole, H):
                _activate_one(y, at_y + k, condition, at_condition + k, h, at_h + k, H)


@njit(cache=True, nogil=True, error_model="numpy")
def gate_backward(
    grad_h: NDArray,
    activated: NDArray,
    grad_y: NDArray,
    totals: NDArray,
    S: int,
    B: int,
    H: int,
    first: int,
    last: int,
) -> None:
    """Fill `grad_y` (N, S, B, 2 H) and its float32 sums `totals` (N, B, 2 H), and replace `grad_h` by `h`."""
    whole = H - H % LANES
    for i in range(first * B * 2 * H, last * B * 2 * H):
        totals[i] = 0
    for n in range(first, last):
        for row in range(n * S * B, (n + 1) * S * B):
            at_y, at_total, at_h = row * 2 * H, (n * B + row % B) * 2 * H, row * H
            for k in range(0, whole, LANES):
                _differentiate(grad_h, at_h + k, activated, at_y + k, grad_y, at_y + k, totals, at_total + k, H)
            for k in range(whole, H):
                _differentiate_one(grad_h, at_h + k, activated, at_y + k, grad_y, at_y + k, totals, at_total + k, H)
