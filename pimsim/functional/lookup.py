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

from pimsim.compiling import kernel
from pimsim.functional.lines import add_lines, clear_lines, clip_lines, count_lines, merge_lines, sum_lines
from pimsim.functional.scratch import BLOCK, LANES


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
            tabulate(arrays.cells[first:last, column : column + LANES], rows, table, scratch.more)
            clips, top = read_columns(arrays, scratch, chunks, windows, (g, chunk, column))
            clipped, largest = clipped + clips, max(largest, top)
        chunk += chunks
    return clipped, largest


@kernel
def pack(starts: Any, scratch: Any, rows: int, windows: int) -> None:
    """Bit planes of the inputs, ``rows`` of a group to a chunk, into ``scratch.drives`` and ``scratch.busy``."""
    kind, planes = scratch.values.dtype.type, scratch.drives.shape[1]
    for block in range((windows + BLOCK - 1) // BLOCK):
        inputs = scratch.values[:, block * BLOCK : (block + 1) * BLOCK]
        scratch.busy[block] = 0
        at = 0
        for g in range(starts.size - 1):
            for first in range(starts[g], starts[g + 1], rows):
                last = min(first + rows, starts[g + 1])
                for plane in range(planes):
                    drives = scratch.drives[block, plane, at]
                    drives[:] = 0
                    for r in range(first, last):
                        mark_driven(inputs[r], kind(1 << plane), np.uint8(1 << (r - first)), drives)
                    mark_driven(drives, np.uint8(255), np.uint8(1), scratch.busy[block, plane, g])
                at += 1


@kernel
def mark_driven(inputs: Any, mask: Any, bit: Any, marks: Any) -> None:
    """Set ``bit`` in the marks of those of `BLOCK` windows whose inputs have a bit of the mask."""
    for n in range(BLOCK):
        marks[n] |= bit if inputs[n] & mask else np.uint8(0)


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
def read_columns(arrays: Any, scratch: Any, chunks: int, windows: int, place: tuple[int, int, int]) -> tuple[int, int]:
    """All input steps of all windows for one group and `LANES` columns: (clipped conversions, largest sum).

    ``place`` is the group, its first chunk, and the first column. No arrays are made in the loops: numba would
    count references to them, atomically, which takes longer than a read.
    """
    group, chunk, column = place
    steps, drives, busy, table = arrays.steps, scratch.drives, scratch.busy, scratch.table
    sums, highest, over, reads = scratch.sums, scratch.highest, scratch.over, scratch.reads
    clip, stretched, can_clip = sums.dtype.type(arrays.adc[3]), arrays.adc[2] != 0, arrays.adc[0] < arrays.adc[4]
    clear_lines(highest)
    clear_lines(over)
    clipped = 0
    for n in range(windows):
        block, window = n // BLOCK, n % BLOCK
        clear_lines(reads)
        for k in range(steps.shape[0]):
            plane, bits = steps[k, 0], steps[k, 1]
            if bits == 1:
                if busy[block, plane, group, window] == 0:
                    continue
                first = ((block * drives.shape[1] + plane) * drives.shape[2] + chunk) * BLOCK + window
                sum_lines(table, chunks, drives, first, sums)
            elif not sum_planes(scratch, chunks, (group, chunk), n, plane, bits):
                continue
            clip_lines(sums, clip, highest, over)
            if stretched:
                stretch(sums, arrays.adc, arrays.codes)
            merge_lines(sums, reads.dtype.type(steps[k, 2]), reads)
        if can_clip and not stretched:
            clipped += count_lines(over)
            clear_lines(over)
        add_slices(reads, arrays.gain, group, column, scratch.analog, n)
    largest: Any = np.int64(highest.max())
    return clipped, largest


@kernel
def sum_planes(scratch: Any, chunks: int, place: tuple[int, int], n: int, plane: int, bits: int) -> bool:
    """The column sums of window ``n`` for drivers of several bits, from ``plane`` on; False where no row is driven."""
    group, chunk = place
    drives, busy, sums, more = scratch.drives, scratch.busy, scratch.sums, scratch.more
    block, window = n // BLOCK, n % BLOCK
    driven = False
    clear_lines(sums)
    for bit in range(bits):
        if busy[block, plane + bit, group, window] != 0:
            driven = True
            first = ((block * drives.shape[1] + plane + bit) * drives.shape[2] + chunk) * BLOCK + window
            sum_lines(scratch.table, chunks, drives, first, more)
            merge_lines(more, sums.dtype.type(1 << bit), sums)
    return driven


@kernel
def stretch(sums: Any, adc: Any, codes: Any) -> None:
    """Sums of `LANES` columns to stretched codes, in place; see `Conversion.codes`."""
    for p in range(sums.size):
        value = np.int64(sums[p])
        sums[p] = codes[value] if value < codes.size else stretched_code(value, adc[0], adc[1])


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
def add_slices(reads: Any, gain: Any, group: int, column: int, analog: Any, n: int) -> None:
    """Add `LANES` physical columns from ``column`` on, times their gain, to the weight columns of window ``n``."""
    line, factors = analog[n], gain[group, column : column + LANES]
    at, done = column % line.size, 0
    while done < factors.size:
        run = min(factors.size - done, line.size - at)
        out, factor, read = line[at : at + run], factors[done : done + run], reads[done : done + run]
        for c in range(run):
            out[c] += factor[c] * read[c]
        done, at = done + run, 0
