# mypy: ignore-errors
"""Tiles of a matrix product as LLVM functions that keep their sums in registers.

Every tile adds up its inputs in the same order, so that a result does not depend on how many utterances are computed
together.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vqaudio.sampling.vectors import BLOCK, BYTE, FLOAT, FLOATS, INDEX, INTS, LANES, Code, index, ints

PREFETCH_ITEMS = 1024
"""How far ahead of the weights in use memory is asked for; measured."""


def make_tile(rows, blocks):
    """Return an operation that multiplies `blocks` adjacent blocks of weights with the inputs of `rows` utterances.

    It computes out = a + weights * inputs for `size` inputs. Rows of `out`, `a` and `inputs` are `m`, `l` and `n`
    items apart. A block holds two vectors of weights for every input in turn: float32, or, if `per_word` is 2, bfloat16
    in the low and the high halves of one vector.
    """

    def generate(context, builder, signature, args):
        code = Code(context, builder, signature.args, args)
        full, halves = (_function(builder.module, rows, blocks, halves) for halves in (False, True))
        function = builder.select(builder.icmp_signed("==", args[12], index(2)), halves, full)
        pointers = [code.pointer(k, index(0), FLOAT) for k in (0, 3, 6, 9)]
        builder.call(function, [*pointers, args[2], args[5], args[8], args[11]])
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, out, i, m, a, j, l, inputs, k, n, weights, w, size, per_word):  # noqa: ARG001, E741
        i64 = types.int64
        return types.void(out, i64, i64, a, i64, i64, inputs, i64, i64, weights, i64, i64, i64), generate

    return tile


def _function(module, rows, blocks, halves):
    """Return the function of a tile, which is compiled once, however often it is called."""
    name = f"vqaudio_tile_{rows}_{blocks}_{'bfloat16' if halves else 'float32'}"
    if name not in module.globals:
        kind = ir.FunctionType(ir.VoidType(), [FLOAT.as_pointer()] * 4 + [INDEX] * 4)
        function = ir.Function(module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        _Tile(function, rows, blocks, halves).write()
    return module.globals[name]


class _Tile:
    """Writes the body of a tile's function."""

    def __init__(self, function, rows, blocks, halves):
        self.rows, self.blocks, self.halves = rows, blocks, halves
        self.out, self.a, self.inputs, self.weights, self.m, self.l, self.n, self.size = function.args
        self.builder = ir.IRBuilder(function.append_basic_block())
        self.code = Code(None, self.builder)
        self.sums = {
            (row, column): cgutils.alloca_once(self.builder, FLOATS)
            for row in range(rows)
            for column in range(2 * blocks)
        }

    def write(self):
        builder = self.builder
        for (row, column), total in self.sums.items():
            builder.store(self.load(self.a, self.place(self.l, row, index(column * LANES))), total)
        with cgutils.for_range(builder, self.size) as loop:
            places = [self.place(self.n, row, loop.index) for row in range(self.rows)]
            inputs = [self.code.splat(builder.load(builder.gep(self.inputs, [at]))) for at in places]
            for block in range(self.blocks):
                for column, weight in enumerate(self.read_weights(block, loop.index), 2 * block):
                    for row in range(self.rows):
                        total = self.sums[row, column]
                        builder.store(self.code.multiply_add(weight, inputs[row], builder.load(total)), total)
        for (row, column), total in self.sums.items():
            at = builder.gep(self.out, [self.place(self.m, row, index(column * LANES))])
            builder.store(builder.load(total), builder.bitcast(at, FLOATS.as_pointer()), align=4)
        builder.ret_void()

    def place(self, stride, row, offset):
        return self.builder.add(self.builder.mul(stride, index(row)), offset)

    def load(self, array, at, kind=FLOATS):
        address = self.builder.bitcast(self.builder.gep(array, [at]), kind.as_pointer())
        return self.builder.load(address, align=4)

    def read_weights(self, block, k):
        """Return the two vectors of weights of input `k` in a block."""
        step = LANES if self.halves else BLOCK
        at = self.builder.mul(self.place(self.size, block, k), index(step))
        if self.rows > 1:
            # The hardware prefetches fast enough for one utterance; the arithmetic of several would wait for it.
            for line in range(0, step, LANES):
                ahead = self.builder.gep(self.weights, [self.builder.add(at, index(PREFETCH_ITEMS + line))])
                self.code.prefetch(self.builder.bitcast(ahead, BYTE.as_pointer()))
        if not self.halves:
            return self.load(self.weights, at), self.load(self.weights, self.builder.add(at, index(LANES)))
        word = self.load(self.weights, at, INTS)
        low, high = self.builder.shl(word, ints(16)), self.builder.and_(word, ints(0xFFFF0000))
        return self.builder.bitcast(low, FLOATS), self.builder.bitcast(high, FLOATS)
