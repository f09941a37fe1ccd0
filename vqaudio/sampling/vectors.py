# mypy: ignore-errors
"""Vector operations of the kernel, as LLVM instructions: what a loop in Python leaves to chance stands here.

Every operation works on float32 vectors that fill a register of this machine. Arrays are passed with the flat index at
which to begin, and sizes are whole vectors. A sum over inputs runs in the same order in every tile, so that a result
does not depend on how many utterances are computed together.

numba's cache does not look at this file: after a change here, touch kernel.py.
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
"""Whether this machine has registers for the sums of eight utterances."""
LANES = 16 if WIDE else 8 if "+avx" in _FEATURES else 4
"""Floats in a vector register."""
BLOCK = 2 * LANES
"""Outputs in a block of a matrix: two vectors, so that two 16-bit weights can share a 32-bit lane."""

_FLOAT, _INT, _INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)

# 2 ** f for f in [-0.5, 0.5], interpolated at Chebyshev nodes: relative error 1e-7.
_EXP2 = (1.00000012, 0.693147182, 0.240221068, 0.0555035696, 0.00967603177, 0.00133908633)
_ROUND = 1.5 * 2.0**23  # adding it leaves the nearest integer in the low bits


class _Code:
    """The instructions that the operations below consist of, under short names."""

    def __init__(self, context, builder, kinds=(), args=()):
        self.context, self.builder, self.kinds, self.args = context, builder, kinds, args

    def pointer(self, position, offset, kind):
        """Return the address ``offset`` items after the index that follows array argument ``position``."""
        data = self.context.make_array(self.kinds[position])(self.context, self.builder, self.args[position]).data
        index = self.builder.add(self.args[position + 1], offset)
        return self.builder.bitcast(self.builder.gep(data, [index]), kind.as_pointer())

    def load(self, position, offset, kind=_FLOATS):
        return self.builder.load(self.pointer(position, offset, kind), align=4)

    def store(self, value, position, offset):
        self.builder.store(value, self.pointer(position, offset, value.type), align=4)

    @contextmanager
    def vectors(self, size):
        """Loop over the beginnings of the vectors in ``size`` items."""
        with cgutils.for_range_slice(self.builder, _index(0), size, _index(LANES), inc=True) as (start, _):
            yield start

    def splat(self, value):
        undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
        lane = self.builder.insert_element(undefined, value, ir.Constant(_INT, 0))
        return self.builder.shuffle_vector(lane, undefined, ir.Constant(_INTS, [0] * LANES))

    def multiply_add(self, a, b, c):
        return self.builder.fadd(self.builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])

    def larger(self, a, b):
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def smaller(self, a, b):
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def exp(self, x):
        """Return e ** x to a relative 2e-7, for x held in [-40, 40]."""
        x = self.smaller(self.larger(x, _floats(-40)), _floats(40))
        rounded = self.multiply_add(x, _floats(np.log2(np.e)), _floats(_ROUND))
        n = self.builder.fsub(rounded, _floats(_ROUND))
        f = self.builder.fsub(self.builder.fmul(x, _floats(np.log2(np.e)), flags=["contract"]), n, flags=["contract"])
        power = _floats(_EXP2[-1])
        for coefficient in _EXP2[-2::-1]:
            power = self.multiply_add(power, f, _floats(coefficient))
        exponent = self.builder.shl(self.builder.bitcast(rounded, _INTS), _ints(23))
        return self.builder.bitcast(self.builder.add(self.builder.bitcast(power, _INTS), exponent), _FLOATS)

    def reciprocal(self, x):
        """Return 1 / x for positive x to a relative 2e-7: three steps of Newton's from a guess of the exponent."""
        guess = self.builder.bitcast(self.builder.sub(_ints(0x7EF311C7), self.builder.bitcast(x, _INTS)), _FLOATS)
        minus_x = self.builder.fsub(_floats(-0.0), x)
        for _ in range(3):
            guess = self.builder.fmul(guess, self.multiply_add(minus_x, guess, _floats(2)))
        return guess

    def reduce(self, operation, vector):
        """Fold a vector in halves."""
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            order = [(lane + lanes) % LANES if lane < lanes else 0 for lane in range(LANES)]
            other = self.builder.shuffle_vector(vector, vector, ir.Constant(_INTS, order))
            vector = operation(vector, other)
        return self.builder.extract_element(vector, ir.Constant(_INT, 0))


def _index(number):
    return ir.Constant(_INDEX, number)


def _floats(number):
    return ir.Constant(_FLOATS, [float(np.float32(number))] * LANES)


def _ints(number):
    return ir.Constant(_INTS, [number] * LANES)


@intrinsic
def copy(typingctx, out, i, a, j, size):  # noqa: ARG001
    """Copy ``size`` items: out = a."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature.args, args)
        with code.vectors(args[4]) as v:
            code.store(code.load(2, v), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, a, types.int64, types.int64), generate


@intrinsic
def add(typingctx, out, i, a, j, size):  # noqa: ARG001
    """Add ``size`` items: out = out + a."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature.args, args)
        with code.vectors(args[4]) as v:
            code.store(builder.fadd(code.load(0, v), code.load(2, v)), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, a, types.int64, types.int64), generate


@intrinsic
def rectify(typingctx, out, i, scale, size):  # noqa: ARG001
    """Scale and rectify ``size`` items: out = max(out * scale, 0)."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature.args, args)
        with code.vectors(args[3]) as v:
            scaled = builder.fmul(code.load(0, v), code.splat(args[2]))
            code.store(code.larger(scaled, _floats(0)), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, types.float32, types.int64), generate


@intrinsic
def gate(typingctx, out, i, a, j, size):  # noqa: ARG001
    """Gate ``size`` items by as many that follow them: out = tanh(a) * sigmoid(next a)."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature.args, args)
        with code.vectors(args[4]) as v:
            x, y = code.load(2, v), code.load(2, builder.add(v, args[4]))
            p, q = code.exp(builder.fmul(x, _floats(-2))), code.exp(builder.fsub(_floats(-0.0), y))
            below = builder.fmul(builder.fadd(_floats(1), p), builder.fadd(_floats(1), q))
            code.store(builder.fmul(builder.fsub(_floats(1), p), code.reciprocal(below)), 0, v)
        return context.get_dummy_value()

    return types.void(out, types.int64, a, types.int64, types.int64), generate


@intrinsic
def maximum(typingctx, a, j, size):  # noqa: ARG001
    """Return the largest of ``size`` items."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature.args, args)
        top = cgutils.alloca_once(builder, _FLOATS)
        builder.store(code.load(0, _index(0)), top)
        with code.vectors(args[2]) as v:
            builder.store(code.larger(code.load(0, v), builder.load(top)), top)
        return code.reduce(code.larger, builder.load(top))

    return types.float32(a, types.int64, types.int64), generate


@intrinsic
def exponentials(typingctx, out, i, sums, j, top, scale, size):  # noqa: ARG001
    """Turn ``size`` items into out = exp((out - top) * scale), and their sums over each vector into ``sums``."""

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature.args, args)
        with code.vectors(args[6]) as v:
            power = code.exp(builder.fmul(builder.fsub(code.load(0, v), code.splat(args[4])), code.splat(args[5])))
            code.store(power, 0, v)
            code.store(code.reduce(builder.fadd, power), 2, builder.sdiv(v, _index(LANES)))
        return context.get_dummy_value()

    return types.void(out, types.int64, sums, types.int64, types.float32, types.float32, types.int64), generate


def make_tile(rows, blocks):
    """Return an operation that multiplies ``blocks`` adjacent blocks of weights with the inputs of ``rows`` utterances.

    It computes out = a + weights * inputs for ``size`` inputs. Its sums stay in registers. Rows of ``out``, ``a`` and
    ``inputs`` lie ``m``, ``l`` and ``n`` items apart. A block holds two vectors of weights for every input in turn; of
    16-bit weights, the low and the high halves of one vector.
    """

    def generate(context, builder, signature, args):
        code = _Code(context, builder, signature.args, args)
        halves = signature.args[9].dtype == types.uint32
        name = f"vqaudio_tile_{rows}_{blocks}_{'bfloat16' if halves else 'float32'}"
        function = builder.module.globals.get(name) or _tile_function(builder.module, name, rows, blocks, halves)
        pointers = [code.pointer(k, _index(0), _FLOAT) for k in (0, 3, 6, 9)]
        builder.call(function, [*pointers, args[2], args[5], args[8], args[11]])
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, out, i, m, a, j, l, inputs, k, n, weights, w, size):  # noqa: ARG001, E741
        index = types.int64
        return types.void(out, index, index, a, index, index, inputs, index, index, weights, index, index), generate

    return tile


def _tile_function(module, name, rows, blocks, halves):
    """Write a tile as a function, so that it is compiled once however often it is called."""
    pointer = _FLOAT.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer] * 4 + [_INDEX] * 4)
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    code = _Code(None, builder)
    out, a, inputs, weights, m, l, n, size = function.args  # noqa: E741

    def at(array, *terms):
        index = _index(0)
        for factor, term in terms:
            index = builder.add(index, builder.mul(factor, term))
        return builder.gep(array, [index])

    def vector(address, kind=_FLOATS):
        return builder.bitcast(address, kind.as_pointer())

    tile = [(row, column) for row in range(rows) for column in range(2 * blocks)]
    sums = {at: cgutils.alloca_once(builder, _FLOATS) for at in tile}
    for row, column in tile:
        start = at(a, (l, _index(row)), (_index(LANES), _index(column)))
        builder.store(builder.load(vector(start), align=4), sums[row, column])
    with cgutils.for_range(builder, size) as loop:
        heard = [code.splat(builder.load(at(inputs, (n, _index(row)), (_index(1), loop.index)))) for row in range(rows)]
        for block in range(blocks):
            k = builder.add(builder.mul(size, _index(block)), loop.index)
            if halves:
                word = builder.load(vector(at(weights, (k, _index(LANES))), _INTS), align=4)
                low, high = builder.shl(word, _ints(16)), builder.and_(word, _ints(0xFFFF0000))
                pair = builder.bitcast(low, _FLOATS), builder.bitcast(high, _FLOATS)
            else:
                start = at(weights, (k, _index(BLOCK)))
                pair = [builder.load(vector(builder.gep(start, [_index(v)])), align=4) for v in (0, LANES)]
            for column, weight in enumerate(pair, 2 * block):
                for row in range(rows):
                    total = sums[row, column]
                    builder.store(code.multiply_add(weight, heard[row], builder.load(total)), total)
    for row, column in tile:
        start = at(out, (m, _index(row)), (_index(LANES), _index(column)))
        builder.store(builder.load(sums[row, column]), vector(start), align=4)
    builder.ret_void()
    return function
