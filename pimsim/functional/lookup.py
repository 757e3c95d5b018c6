"""Column sums by table: the driven bits of a few rows, packed, pick a line of partial sums of all columns.

Driving rows r, r + 1, ... of a chunk with bits b0, b1, ... adds b0 * cells[r] + b1 * cells[r + 1] + ... to the
columns. All these lines are tabulated once for a row group and `LANES` columns; a read of the group is then one
line for each chunk, added up: fewer steps than counting the ones of a word for each column and cell bit, and
columns lie side by side, where vectors add them.

Imported only where numba works. The slow witness is `pimsim.functional.serial`;
`pimsim.functional.packed` says what ``arrays`` and ``scratch`` hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from pimsim.compiling import kernel
from pimsim.functional.scratch import BLOCK, LANES


@intrinsic
def add_lines(typing: Any, first: Any, second: Any, total: Any) -> Any:
    """total = first + second, each `LANES` values of one type; LLVM picks the machine's vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, out = (_lines(context, builder, *pair) for pair in zip(signature.args, arguments, strict=True))
        align = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        builder.store(builder.add(builder.load(a, align=align), builder.load(b, align=align)), out, align=align)
        return context.get_dummy_value()

    return types.void(first, second, total), generate


@intrinsic
def sum_lines(typing: Any, table: Any, drives: Any, window: Any, total: Any) -> Any:
    """total = sum over chunks j of table[j, drives[j, window]]; the sum never leaves the registers.

    Args:
        table: partial sums (J, lines, LANES).
        drives: packed bits of each chunk and window, uint8 (J, BLOCK).
        window: which of them, int64.
        total: where the sums of `LANES` columns go.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        shape = context.make_array(kind)(context, builder, arguments[0]).shape
        lines = _lines(context, builder, kind, arguments[0])
        picks = context.make_array(signature.args[1])(context, builder, arguments[1]).data
        size = context.get_data_type(kind.dtype)
        align, count = context.get_abi_sizeof(size), context.get_value_type(types.int64)
        total = cgutils.alloca_once_value(builder, ir.Constant(ir.VectorType(size, LANES), None))
        with cgutils.for_range(builder, builder.extract_value(shape, 0)) as loop:
            at = builder.add(builder.mul(loop.index, ir.Constant(count, BLOCK)), arguments[2])
            pick = builder.zext(builder.load(builder.gep(picks, [at])), count)
            line = builder.add(builder.mul(loop.index, builder.extract_value(shape, 1)), pick)
            partial = builder.load(builder.gep(lines, [line]), align=align)
            builder.store(builder.add(builder.load(total), partial), total)
        out = _lines(context, builder, signature.args[3], arguments[3])
        builder.store(builder.load(total), out, align=align)
        return context.get_dummy_value()

    return types.void(table, drives, types.int64, total), generate


def _lines(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Pointer to a C-contiguous array as one LLVM vector of `LANES` values after another."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(data, ir.VectorType(context.get_data_type(kind.dtype), LANES).as_pointer())


@kernel
def read_block(arrays: Any, scratch: Any, rows: int, windows: int) -> tuple[int, int]:
    """The inputs in ``scratch.values`` through the arrays, ``rows`` to a chunk: (clipped conversions, largest sum).

    Merged codes come to stand in ``scratch.analog``, corrections in ``scratch.digital``.
    """
    scratch.analog[:windows] = 0
    scratch.digital[:windows] = 0
    pack(arrays.starts, scratch, rows, windows)
    clipped, largest, chunk = 0, 0, 0
    for g in range(arrays.starts.size - 1):
        first, last = arrays.starts[g], arrays.starts[g + 1]
        correct(scratch.signed[first:last, :windows], arrays.correction[g], scratch.digital)
        chunks = (last - first + rows - 1) // rows
        table = scratch.table[:chunks]
        for column in range(0, arrays.cells.shape[1], LANES):
            tabulate(arrays.cells[first:last, column : column + LANES], rows, table, scratch.more[0])
            clips, top = read_columns(arrays, scratch, table, windows, (g, chunk, column))
            clipped, largest = clipped + clips, max(largest, top)
        chunk += chunks
    return clipped, largest


@kernel
def pack(starts: Any, scratch: Any, rows: int, windows: int) -> None:
    """Bit planes of the inputs, ``rows`` of a group to a chunk, into ``scratch.drives`` and ``scratch.busy``."""
    kind = scratch.values.dtype.type
    for block in range((windows + BLOCK - 1) // BLOCK):
        drives, busy = scratch.drives[block], scratch.busy[block]
        drives[:] = 0
        busy[:] = 0
        chunk = 0
        for g in range(starts.size - 1):
            for r in range(starts[g], starts[g + 1]):
                inputs = scratch.values[r, block * BLOCK : (block + 1) * BLOCK]
                at, bit = chunk + (r - starts[g]) // rows, np.uint8(1 << ((r - starts[g]) % rows))
                for plane in range(drives.shape[0]):
                    mark_driven(inputs, kind(1 << plane), bit, drives[plane, at], busy[plane, g])
            chunk += (starts[g + 1] - starts[g] + rows - 1) // rows


@kernel
def mark_driven(inputs: Any, mask: Any, bit: Any, drives: Any, busy: Any) -> None:
    """Set ``bit`` where the inputs of `BLOCK` windows drive a row in one plane."""
    for n in range(BLOCK):
        mark = bit if inputs[n] & mask else np.uint8(0)
        drives[n] |= mark
        busy[n] |= mark


@kernel
def correct(inputs: Any, correction: Any, digital: Any) -> None:
    """Add the sum of a group's inputs (rows, windows) times the correction of each column (C,) to (W, C)."""
    if not correction.any():
        return
    total = np.zeros(inputs.shape[1], digital.dtype)
    for r in range(inputs.shape[0]):
        row = inputs[r]
        for n in range(total.size):
            total[n] += row[n]
    for n in range(total.size):
        line = digital[n]
        for c in range(correction.size):
            line[c] += total[n] * correction[c]


@kernel
def tabulate(cells: Any, rows: int, table: Any, line: Any) -> None:
    """The partial sums of up to `LANES` columns (R, columns): table[j, bits] for chunks of ``rows`` rows.

    Adding a row to all lines without it gives all lines with it.
    """
    for j in range(table.shape[0]):
        table[j, 0, :] = 0
        for b in range(rows):
            r = j * rows + b
            line[:] = 0
            if r < cells.shape[0]:
                for c in range(cells.shape[1]):
                    line[c] = cells[r, c]
            for bits in range(1 << b):
                add_lines(table[j, bits], line, table[j, bits | 1 << b])


@kernel
def read_columns(arrays: Any, scratch: Any, table: Any, windows: int, place: tuple[int, int, int]) -> tuple[int, int]:
    """All input steps of all windows for one group and `LANES` columns: (clipped conversions, largest sum).

    ``place`` is the group, its first chunk, and the first column.
    """
    group, chunk, column = place
    columns = min(LANES, arrays.cells.shape[1] - column)
    gain = arrays.gain[group, column : column + columns]
    clipped, largest = 0, 0
    for n in range(windows):
        block, window = n // BLOCK, n % BLOCK
        drives = scratch.drives[block, :, chunk : chunk + table.shape[0]]
        drive_steps(arrays.steps, drives, scratch.busy[block, :, group], window, table, scratch.sums, scratch.more)
        clips, top = convert(scratch.sums.reshape(-1), arrays.adc, arrays.codes)
        clipped, largest = clipped + clips, max(largest, top)
        if top:
            merge(scratch.sums, arrays.steps, scratch.reads)
            add_slices(scratch.reads[:columns], gain, column, scratch.analog[n])
    return clipped, largest


@kernel
def drive_steps(steps: Any, drives: Any, busy: Any, window: int, table: Any, sums: Any, more: Any) -> None:
    """The column sums of one window in every input step, (steps, LANES); planes without a driven row cost nothing."""
    for k in range(steps.shape[0]):
        started = False
        for plane in range(steps[k, 0], steps[k, 0] + steps[k, 1]):
            if busy[plane, window] == 0:
                continue
            if not started and plane == steps[k, 0]:
                sum_lines(table, drives[plane], window, sums[k])
            else:
                if not started:
                    sums[k, :] = 0
                sum_lines(table, drives[plane], window, more[0])
                for c in range(LANES):
                    sums[k, c] += more[0, c] << (plane - steps[k, 0])
            started = True
        if not started:
            sums[k, :] = 0


@kernel
def convert(sums: Any, adc: Any, codes: Any) -> tuple[int, int]:
    """ADC codes in place (`Conversion.codes`): (clipped conversions, largest sum)."""
    highest = sums[0]
    for p in range(sums.size):
        if sums[p] > highest:
            highest = sums[p]
    largest, clipped, limit, full_scale = np.int64(highest), 0, adc[0], adc[1]
    if adc[2]:
        for p in range(sums.size):
            value = np.int64(sums[p])
            sums[p] = codes[value] if value < codes.size else stretched_code(value, limit, full_scale)
    elif largest > limit:
        top = sums.dtype.type(limit)
        for p in range(sums.size):
            if sums[p] > top:
                clipped += 1
                sums[p] = top
    return clipped, largest


@kernel
def stretched_code(value: int, limit: int, full_scale: int) -> int:
    """value * limit / full_scale, rounded half to even, at most the limit."""
    scaled = value * limit
    quotient = scaled // full_scale
    rest = 2 * (scaled - quotient * full_scale)
    if rest > full_scale or (rest == full_scale and quotient % 2 == 1):
        quotient += 1
    return min(quotient, limit)


@kernel
def merge(codes: Any, steps: Any, reads: Any) -> None:
    """Shift and add the codes of all steps (steps, LANES) into reads (LANES,)."""
    reads[:] = 0
    kind = reads.dtype.type
    for k in range(codes.shape[0]):
        factor = kind(steps[k, 2])
        for c in range(LANES):
            reads[c] += kind(codes[k, c]) * factor


@kernel
def add_slices(reads: Any, gain: Any, column: int, analog: Any) -> None:
    """Add physical columns from ``column`` on, times their gain, to their weight columns (C,)."""
    at = column % analog.size
    done = 0
    while done < reads.size:
        run = min(reads.size - done, analog.size - at)
        for c in range(run):
            analog[at + c] += gain[done + c] * reads[done + c]
        done, at = done + run, 0
