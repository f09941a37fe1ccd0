# mypy: ignore-errors
"""Vector operations of the kernel as LLVM instructions, since LLVM may or may not vectorise a loop of Python.

Every operation works on float32 vectors that fill a register of this machine. Arrays are passed with the flat index at
which to begin, and sizes are whole vectors.
"""

from contextlib import contextmanager

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

_FEATURES = config.CPU_FEATURES if config.CPU_FEATURES is not None else get_host_cpu_features().flatten()
WIDE = "+avx512f" in _FEATURES
"""Whether this machine has enough registers for the sums of eight utterances."""
LANES = 16 if WIDE else 8 if "+avx" in _FEATURES else 4
"""float32 numbers in a vector register."""
BLOCK = 2 * LANES
"""Outputs in a block of a matrix: two vectors, so that two 16-bit weights can share a 32-bit lane."""

FLOAT, BYTE, INT, INDEX = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)

# 2 ** f for f in [-0.5, 0.5], interpolated at Chebyshev nodes: relative error 1e-7.
_EXP2 = (1.00000012, 0.693147182, 0.240221068, 0.0555035696, 0.00967603177, 0.00133908633)
_ROUND = 1.5 * 2.0**23  # adding it leaves the nearest integer in the low bits


class Code:
    """Short names for the instructions of the operations below."""

    def __init__(self, context, builder, kinds=(), args=()):
        self.context, self.builder, self.kinds, self.args = context, builder, kinds, args

    def pointer(self, position, offset, kind):
        """Return the address of the item `offset` after the start of array argument `position`, which follows it."""
        data = self.context.make_array(self.kinds[position])(self.context, self.builder, self.args[position]).data
        index = self.builder.add(self.args[position + 1], offset)
        return self.builder.bitcast(self.builder.gep(data, [index]), kind.as_pointer())

    def load(self, position, offset, kind=FLOATS):
        """Return the vector, or another `kind`, at that address."""
        return self.builder.load(self.pointer(position, offset, kind), align=4)

    def store(self, value, position, offset):
        """Store a value at that address."""
        self.builder.store(value, self.pointer(position, offset, value.type), align=4)

    @contextmanager
    def vectors(self, size):
        """Loop over the indices at which the vectors in `size` items begin."""
        with cgutils.for_range_slice(self.builder, index(0), size, index(LANES), inc=True) as (start, _):
            yield start

    def prefetch(self, pointer):
        """Ask memory for a cache line that will be read."""
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT, INT, INT])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        self.builder.call(function, [pointer, *(ir.Constant(INT, n) for n in (0, 3, 1))])  # to read, often, data

    def splat(self, value):
        """Return a vector with a number in every lane."""
        undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
        lane = self.builder.insert_element(undefined, value, ir.Constant(INT, 0))
        return self.builder.shuffle_vector(lane, undefined, ir.Constant(INTS, [0] * LANES))

    def multiply_add(self, a, b, c):
        """Return a * b + c, rounded once where the machine can."""
        return self.builder.fadd(self.builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])

    def larger(self, a, b):
        """Return the larger of each pair of lanes."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def smaller(self, a, b):
        """Return the smaller of each pair of lanes."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def exp(self, x):
        """Return e ** x with a relative error of 2e-7, for x clamped to [-40, 40]."""
        x = self.smaller(self.larger(x, floats(-40)), floats(40))
        rounded = self.multiply_add(x, floats(np.log2(np.e)), floats(_ROUND))
        n = self.builder.fsub(rounded, floats(_ROUND))
        f = self.builder.fsub(self.builder.fmul(x, floats(np.log2(np.e)), flags=["contract"]), n, flags=["contract"])
        power = floats(_EXP2[-1])
        for coefficient in _EXP2[-2::-1]:
            power = self.multiply_add(power, f, floats(coefficient))
        exponent = self.builder.shl(self.builder.bitcast(rounded, INTS), ints(23))
        return self.builder.bitcast(self.builder.add(self.builder.bitcast(power, INTS), exponent), FLOATS)

    def reciprocal(self, x):
        """Return 1 / x for positive x with a relative error of 2e-7: a guess and three of Newton's steps."""
        guess = self.builder.bitcast(self.builder.sub(ints(0x7EF311C7), self.builder.bitcast(x, INTS)), FLOATS)
        minus_x = self.builder.fsub(floats(-0.0), x)
        for _ in range(3):
            guess = self.builder.fmul(guess, self.multiply_add(minus_x, guess, floats(2)))
        return guess

    def reduce(self, operation, vector):
        """Return the lanes of a vector combined by `operation`, half with half."""
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            order = [(lane + lanes) % LANES if lane < lanes else 0 for lane in range(LANES)]
            other = self.builder.shuffle_vector(vector, vector, ir.Constant(INTS, order))
            vector = operation(vector, other)
        return self.builder.extract_element(vector, ir.Constant(INT, 0))


def index(number):
    """Return an index as a constant."""
    return ir.Constant(INDEX, number)


def floats(number):
    """Return a constant vector with a number in every lane."""
    return ir.Constant(FLOATS, [float(np.float32(number))] * LANES)


def ints(number):
    """Return a constant vector with a 32-bit integer in every lane."""
    return ir.Constant(INTS, [number] * LANES)


@intrinsic
def copy(typingctx, out, i, a, j, size):  # noqa: ARG001
    """Copy `size` items: out = a."""

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        with code.vectors(args[4]) as v:
            code.store(code.load(2, v), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, a, types.int64, types.int64), generate


@intrinsic
def prefetch(typingctx, a, j, size):  # noqa: ARG001
    """Ask memory for `size` items that will be read."""

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        with code.vectors(args[2]) as v:
            code.prefetch(code.pointer(0, v, BYTE))
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64), generate


@intrinsic
def add(typingctx, out, i, a, j, size):  # noqa: ARG001
    """Add `size` items: out = out + a."""

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        with code.vectors(args[4]) as v:
            code.store(builder.fadd(code.load(0, v), code.load(2, v)), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, a, types.int64, types.int64), generate


@intrinsic
def rectify(typingctx, out, i, scale, size):  # noqa: ARG001
    """Scale and rectify `size` items: out = max(out * scale, 0)."""

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        with code.vectors(args[3]) as v:
            scaled = builder.fmul(code.load(0, v), code.splat(args[2]))
            code.store(code.larger(scaled, floats(0)), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, types.float32, types.int64), generate


@intrinsic
def gate(typingctx, out, i, a, j, size):  # noqa: ARG001
    """Gate `size` items by as many that follow them: out = tanh(a) * sigmoid(next a)."""

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        with code.vectors(args[4]) as v:
            x, y = code.load(2, v), code.load(2, builder.add(v, args[4]))
            p, q = code.exp(builder.fmul(x, floats(-2))), code.exp(builder.fsub(floats(-0.0), y))
            below = builder.fmul(builder.fadd(floats(1), p), builder.fadd(floats(1), q))
            code.store(builder.fmul(builder.fsub(floats(1), p), code.reciprocal(below)), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, a, types.int64, types.int64), generate


@intrinsic
def maximum(typingctx, a, j, size):  # noqa: ARG001
    """Return the largest of `size` items."""

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        top = cgutils.alloca_once(builder, FLOATS)
        builder.store(code.load(0, index(0)), top)
        with code.vectors(args[2]) as v:
            builder.store(code.larger(code.load(0, v), builder.load(top)), top)
        return code.reduce(code.larger, builder.load(top))

    return types.float32(a, types.int64, types.int64), generate


@intrinsic
def exponentials(typingctx, out, i, sums, j, top, scale, size):  # noqa: ARG001
    """Turn `size` items into out = exp((out - top) * scale), and put the sum of each vector into `sums`."""

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        with code.vectors(args[6]) as v:
            power = code.exp(builder.fmul(builder.fsub(code.load(0, v), code.splat(args[4])), code.splat(args[5])))
            code.store(power, 0, v)
            code.store(code.reduce(builder.fadd, power), 2, builder.sdiv(v, index(LANES)))
        return context.get_dummy_value()

    return types.void(out, types.int64, sums, types.int64, types.float32, types.float32, types.int64), generate
