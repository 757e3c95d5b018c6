"""Compiled inner loops: bit-serial column sums by popcount, window gathering, output scattering.

Imported only where numba is there. Every kernel works on whole images without the interpreter lock, so
`packed.over_images` runs them on all cores. Each has a plain numpy witness in `serial` and `windows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

WORD_BITS = 64
WINDOW_BLOCK = 256


@njit(inline="always")
def popcount(word: Any) -> Any:
    """Ones in a uint64; LLVM turns this idiom into the machine's (vector) popcount."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True, nogil=True)
def pack_bits(values: Any, shift: Any) -> Any:
    """Bit ``shift`` of up to 64 integers as one word."""
    word = np.uint64(0)
    for r in range(values.size):
        word |= ((np.uint64(values[r]) >> shift) & np.uint64(1)) << np.uint64(r)
    return word


@njit(cache=True, nogil=True)
def column_sums(driven: Any, cells: Any, sums: Any) -> bool:
    """Sums of physical columns, int64 (P,), for the driver bits of one group and step; False when no row is driven.

    Args:
        driven: driver bits, uint64 (words, v).
        cells: cell bits, uint64 (words, w, P).
        sums: where the sums go.
    """
    sums[:] = 0
    busy = False
    for word in range(driven.shape[0]):
        for a in range(driven.shape[1]):
            rows = driven[word, a]
            if rows == 0:
                continue
            busy = True
            for b in range(cells.shape[1]):
                plane, weight = cells[word, b], np.uint64(a + b)
                for p in range(sums.size):
                    sums[p] += np.int64(popcount(rows & plane[p]) << weight)
    return busy


@njit(cache=True, nogil=True)
def convert(sums: Any, limit: int, full_scale: int, stretched: bool) -> tuple[int, int]:
    """ADC codes in place (`Conversion.codes`): (clipped conversions, largest sum)."""
    clipped, largest = 0, 0
    for p in range(sums.size):
        largest = max(largest, sums[p])
    if stretched:
        for p in range(sums.size):
            scaled = sums[p] * limit
            quotient = scaled // full_scale
            rest = 2 * (scaled - quotient * full_scale)
            if rest > full_scale or (rest == full_scale and quotient % 2 == 1):
                quotient += 1
            sums[p] = min(quotient, limit)
    elif largest > limit:
        for p in range(sums.size):
            if sums[p] > limit:
                clipped += 1
                sums[p] = limit
    return clipped, largest


@njit(cache=True, nogil=True)
def read_image(
    pixels: Any,
    offsets: Any,
    origins: Any,
    starts: Any,
    words: Any,
    cells: Any,
    gain: Any,
    correction: Any,
    steps: Any,
    adc: Any,
    places: Any,
    codes: Any,
    digital: Any,
) -> tuple[int, int]:
    """One image through arrays of equal driven rows: (clipped conversions, largest sum).

    Args:
        pixels: padded image, int32 (pixels,).
        offsets: int64 (R,); origins: int64 (windows,).
        starts: first row of each group, int64 (G + 1,); words: first word of each group, int64 (G + 1,).
        cells: cell bits, uint64 (words, w, q * C).
        gain: int64 (G, q, C); correction: int64 (G, C).
        steps: shift, bits and factor of each input step, int64 (steps, 3).
        adc: limit, full scale, stretched, int64 (3,).
        places: output of each window and column, int64 (windows, C), -1 for none.
        codes: merged codes, int64 (outputs,), added to; digital: merged corrections, likewise.
    """
    groups, slices, columns = gain.shape
    values = np.empty(offsets.size, dtype=np.int64)
    sums = np.empty(slices * columns, dtype=np.int64)
    analog, fixed = np.empty(columns, dtype=np.int64), np.empty(columns, dtype=np.int64)
    most = 0
    for g in range(groups):
        most = max(most, words[g + 1] - words[g])
    clipped, largest = 0, 0
    for n in range(origins.size):
        for r in range(offsets.size):
            values[r] = pixels[origins[n] + offsets[r]]
        analog[:] = 0
        fixed[:] = 0
        for g in range(groups):
            inputs = values[starts[g] : starts[g + 1]]
            total = inputs.sum()
            for c in range(columns):
                fixed[c] += total * correction[g, c]
            any_bits = np.int64(0)
            for r in range(inputs.size):
                any_bits |= inputs[r]
            if any_bits == 0:
                continue
            clips, top = read_group(inputs, any_bits, cells[words[g] : words[g + 1]], gain[g], steps, adc, sums, analog)
            clipped, largest = clipped + clips, max(largest, top)
        for c in range(columns):
            place = places[n, c]
            if place >= 0:
                codes[place] += analog[c]
                digital[place] += fixed[c]
    return clipped, largest


@njit(cache=True, nogil=True)
def read_group(
    inputs: Any, any_bits: Any, cells: Any, gain: Any, steps: Any, adc: Any, sums: Any, analog: Any
) -> tuple[int, int]:
    """All input steps of one row group in one window, added to ``analog`` (C,): (clipped, largest sum)."""
    slices, columns = gain.shape
    clipped, largest = 0, 0
    for k in range(steps.shape[0]):
        shift, bits, factor = steps[k, 0], steps[k, 1], steps[k, 2]
        if (any_bits >> shift) & ((1 << bits) - 1) == 0:
            continue
        driven = np.empty((cells.shape[0], bits), dtype=np.uint64)
        for word in range(cells.shape[0]):
            part = inputs[word * WORD_BITS : (word + 1) * WORD_BITS]
            for a in range(bits):
                driven[word, a] = pack_bits(part, np.uint64(shift + a))
        column_sums(driven, cells, sums)
        clips, top = convert(sums, adc[0], adc[1], adc[2] != 0)
        clipped, largest = clipped + clips, max(largest, top)
        for s in range(slices):
            converted = sums[s * columns : (s + 1) * columns]
            for c in range(columns):
                analog[c] += factor * gain[s, c] * converted[c]
    return clipped, largest


@njit(cache=True, nogil=True)
def gather_image(pixels: Any, offsets: Any, origins: Any, width: int, gathered: Any) -> None:
    """The inputs of all windows of one image, gathered (R, windows) from padded pixels (pixels,).

    ``width`` windows in a row of the grid stand at even distances, which keeps the inner loop free of look-ups.
    """
    windows = origins.size
    step = origins[1] - origins[0] if width > 1 else 0
    for r in range(offsets.size):
        for first in range(0, windows, width):
            start = offsets[r] + origins[first]
            row = gathered[r, first : first + width]
            if step == 1:
                line = pixels[start : start + width]
                for n in range(width):
                    row[n] = line[n]
            else:
                for n in range(width):
                    row[n] = pixels[start + n * step]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def multiply_image(matrix: Any, gathered: Any, values: Any) -> None:
    """values (C, windows) = matrix (C, R) times gathered (R, windows).

    Not BLAS: its own threads fight with ours over the cores. Blocks of windows stay in the first cache, four
    rows at a time spare loads (more defeat the vectoriser). Any order of summation is allowed because no
    partial sum can round.
    """
    channels, rows = matrix.shape
    for first in range(0, values.shape[1], WINDOW_BLOCK):
        last = min(first + WINDOW_BLOCK, values.shape[1])
        for c in range(channels):
            out = values[c, first:last]
            out[:] = 0
            for r in range(0, rows - rows % 4, 4):
                w0, w1, w2, w3 = matrix[c, r], matrix[c, r + 1], matrix[c, r + 2], matrix[c, r + 3]
                x0, x1 = gathered[r, first:last], gathered[r + 1, first:last]
                x2, x3 = gathered[r + 2, first:last], gathered[r + 3, first:last]
                for n in range(out.size):
                    out[n] += (w0 * x0[n] + w1 * x1[n]) + (w2 * x2[n] + w3 * x3[n])
            for r in range(rows - rows % 4, rows):
                weight, row = matrix[c, r], gathered[r, first:last]
                for n in range(out.size):
                    out[n] += weight * row[n]


@njit(cache=True, nogil=True)
def scatter_image(values: Any, channel: Any, a: Any, b: Any, shape: Any, outputs: Any) -> None:
    """Add values (C, windows) to outputs (outputs,), dropping what overruns the output map.

    ``channel``, ``a`` and ``b`` (C,) are the weight columns; ``shape`` is the window grid, the output
    positions of a window and the output size, each (height, width).
    """
    height, width = shape[4], shape[5]
    for c in range(values.shape[0]):
        # As many windows as still write inside the map in this row of the grid.
        across = (width - b[c] + shape[3] - 1) // shape[3]
        for i in range(shape[0]):
            y = i * shape[2] + a[c]
            if y < height:
                start, first = (channel[c] * height + y) * width + b[c], i * shape[1]
                for j in range(across):
                    outputs[start + j * shape[3]] += np.int64(values[c, first + j])
