"""Lines of numbers that numba's compiler keeps in vector registers: `LANES` columns of an array at once.

Loops over array elements would do the same, but LLVM must then prove that no two arrays overlap, and stores what it
could keep. These functions say what a line is, in LLVM's own portable vectors; LLVM picks the machine's. Arrays are
C-contiguous, and begin with the line meant unless told. Each function's first line says what it computes; the
witness of all is `pimsim.functional.serial`. Imported only where numba works.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from pimsim.functional.scratch import BLOCK, LANES

#: A function written in LLVM's own terms; untyped, as it changes its function's arguments.
intrinsic: Any = extending.intrinsic


@intrinsic
def add_lines(typing: Any, first: Any, second: Any, total: Any) -> Any:
    """total = first + second."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, out = (_Lines(context, builder, *pair) for pair in zip(signature.args, arguments, strict=True))
        out.store(builder.add(a.load(), b.load()))
        return context.get_dummy_value()

    return types.void(first, second, total), generate


@intrinsic
def sum_lines(typing: Any, table: Any, chunks: Any, drives: Any, first: Any, total: Any) -> Any:
    """total = sum over chunks j of table[j, drives[first + j * BLOCK]]; the sum never leaves the registers.

    Args:
        table: partial sums (J, lines, LANES).
        chunks: how many of them to sum.
        drives: packed bits, uint8; ``first`` counts through the whole array.
        first: the first chunk's.
        total: where the sums of `LANES` columns go.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lines, out = (_Lines(context, builder, signature.args[i], arguments[i]) for i in (0, 4))
        picks = context.make_array(signature.args[2])(context, builder, arguments[2]).data
        count = context.get_value_type(types.int64)
        of_chunk = builder.extract_value(lines.array.shape, 1)
        total = cgutils.alloca_once_value(builder, ir.Constant(lines.vector, None))
        with cgutils.for_range(builder, arguments[1]) as loop:
            at = builder.add(builder.mul(loop.index, ir.Constant(count, BLOCK)), arguments[3])
            pick = builder.zext(builder.load(builder.gep(picks, [at])), count)
            line = builder.add(builder.mul(loop.index, of_chunk), pick)
            builder.store(builder.add(builder.load(total), lines.load(line)), total)
        out.store(builder.load(total))
        return context.get_dummy_value()

    return types.void(table, types.int64, drives, types.int64, total), generate


@intrinsic
def clear_lines(typing: Any, total: Any) -> Any:
    """total = 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out = _Lines(context, builder, signature.args[0], arguments[0])
        out.store(ir.Constant(out.vector, None))
        return context.get_dummy_value()

    return types.void(total), generate


@intrinsic
def clip_lines(typing: Any, codes: Any, limit: Any, highest: Any, over: Any) -> Any:
    """codes = min(codes, limit), while highest = max(highest, codes) and over (uint8) counts the clipped ones."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, top, count = (_Lines(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 3))
        # Sums and codes are never negative, so the unsigned comparison is right for signed types too.
        value, most = sums.load(), sums.spread(arguments[1])
        clipped = builder.icmp_unsigned(">", value, most)
        sums.store(builder.select(clipped, most, value))
        known = top.load()
        top.store(builder.select(builder.icmp_unsigned(">", value, known), value, known))
        count.store(builder.add(count.load(), builder.zext(clipped, count.vector)))
        return context.get_dummy_value()

    return types.void(codes, codes.dtype, highest, over), generate


@intrinsic
def merge_lines(typing: Any, codes: Any, factor: Any, reads: Any) -> Any:
    """reads += codes * factor, in the type of the reads, which holds the codes even where that of the sums is wider."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, out = (_Lines(context, builder, signature.args[i], arguments[i]) for i in (0, 2))
        value, bits = source.load(), [lines.vector.element.width for lines in (source, out)]
        if bits[0] != bits[1]:
            value = (builder.zext if bits[0] < bits[1] else builder.trunc)(value, out.vector)
        out.store(builder.add(out.load(), builder.mul(value, out.spread(arguments[1]))))
        return context.get_dummy_value()

    return types.void(codes, reads.dtype, reads), generate


@intrinsic
def count_lines(typing: Any, counts: Any) -> Any:
    """The sum of `LANES` counts, int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _Lines(context, builder, signature.args[0], arguments[0]).load()
        size = LANES
        wide = ir.VectorType(ir.IntType(16), size)
        values = builder.zext(values, wide)
        while size > 1:
            size //= 2
            half = [ir.Constant(ir.VectorType(ir.IntType(32), size), list(range(i, i + size))) for i in (0, size)]
            values = builder.add(*(builder.shuffle_vector(values, values, lanes) for lanes in half))
        total = builder.extract_element(values, ir.Constant(ir.IntType(32), 0))
        return builder.zext(total, context.get_value_type(types.int64))

    return types.int64(counts), generate


class _Lines:
    """A C-contiguous array as one LLVM vector of `LANES` values after another; LLVM picks the machine's own."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.builder, self.array = builder, context.make_array(kind)(context, builder, value)
        size = context.get_data_type(kind.dtype)
        self.vector, self.align = ir.VectorType(size, LANES), context.get_abi_sizeof(size)
        self.pointer = builder.bitcast(self.array.data, self.vector.as_pointer())

    def load(self, line: Any = None) -> Any:
        pointer = self.pointer if line is None else self.builder.gep(self.pointer, [line])
        return self.builder.load(pointer, align=self.align)

    def store(self, value: Any) -> None:
        self.builder.store(value, self.pointer, align=self.align)

    def spread(self, scalar: Any) -> Any:
        """One number in all lanes."""
        one = self.builder.insert_element(
            ir.Constant(self.vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
        )
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
        return self.builder.shuffle_vector(one, one, lanes)
