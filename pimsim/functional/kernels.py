"""Compiled inner loops around the arrays: inputs of windows gathered, outputs scattered.

Windows of a batch are counted through all its images: window w of image i is number i * windows + w. A run is as
many of them as stand in one row of one image's window grid, at even distances. Imported only where numba works.
Each kernel has a plain numpy witness in `windows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pimsim.compiling import kernel
from pimsim.functional.lookup import read_block


@kernel
def gather(port: Any, images: Any, first: int, values: Any) -> None:
    """The inputs of windows from number ``first`` on, values (R, W), from padded images (N, pixels)."""
    done, windows, width = 0, port.origins.size, port.grid[1]
    step = np.uint64(port.origins[1] - port.origins[0] if width > 1 else 1)
    pixels = images.reshape(-1)
    while done < values.shape[1]:
        image, window = divmod(first + done, windows)
        run = min(width - window % width, values.shape[1] - done)
        origin = image * images.shape[1] + port.origins[window]
        for r in range(port.offsets.size):
            copy_run(pixels, np.uint64(origin + port.offsets[r]), step, values[r], np.uint64(done), np.uint64(run))
        done += run


@kernel
def copy_run(pixels: Any, start: Any, step: Any, values: Any, first: Any, run: Any) -> None:
    """``run`` pixels from ``start`` on, ``step`` apart, to values from ``first`` on; all unsigned.

    A signed index might count from the end, which keeps a loop from vectors; so would a step in the first loop.
    """
    if step == 1:
        for n in range(run):
            values[first + n] = pixels[start + n]
    else:
        for n in range(run):
            values[first + n] = pixels[start + n * step]


@kernel
def scatter(port: Any, values: Any, first: int, outputs: Any) -> None:
    """Add values (C, W) of windows from number ``first`` on to outputs (N, OC * O_h * O_w).

    What overruns the output map is dropped.
    """
    done, windows, width = 0, port.origins.size, port.grid[1]
    (height, breadth), (down, across) = port.size, port.outputs
    flat = outputs.reshape(-1)
    while done < values.shape[1]:
        image, window = divmod(first + done, windows)
        run = min(width - window % width, values.shape[1] - done)
        top, left = window // width * down, window % width * across
        for c in range(values.shape[0]):
            y, x = top + port.a[c], left + port.b[c]
            # As many windows as still write inside the map in this row of the grid.
            inside = min(run, (breadth - x + across - 1) // across)
            if y < height and inside > 0:
                start = image * outputs.shape[1] + (port.channel[c] * height + y) * breadth + x
                add_run(values[c], np.uint64(done), np.uint64(inside), flat, np.uint64(start), np.uint64(across))
        done += run


@kernel
def add_run(values: Any, first: Any, run: Any, outputs: Any, start: Any, step: Any) -> None:
    """Add ``run`` values from ``first`` on to outputs from ``start`` on, ``step`` apart; see `copy_run`."""
    if step == 1:
        for n in range(run):
            outputs[start + n] += np.int64(values[first + n])
    else:
        for n in range(run):
            outputs[start + n * step] += np.int64(values[first + n])


@kernel
def read_windows(
    port: Any, arrays: Any, scratch: Any, images: Any, span: tuple[int, int, int], codes: Any, digital: Any
) -> tuple[int, int]:
    """Windows of a batch through arrays of equal driven rows, block by block: (clipped conversions, largest sum).

    Args:
        port: see `pimsim.functional.windows.Port`.
        arrays: see `pimsim.functional.packed.Arrays`.
        scratch: see `pimsim.functional.packed.Scratch`.
        images: padded, unsigned (N, pixels).
        span: first window, last window (exclusive), rows to a chunk.
        codes: merged codes, int64 (N, OC * O_h * O_w), added to; digital: merged corrections, likewise.
    """
    first, last, rows = span
    clipped, largest = 0, 0
    while first < last:
        windows = min(scratch.values.shape[1], last - first)
        gather(port, images, first, scratch.values[:, :windows])
        clips, top = read_block(arrays, scratch, rows, windows)
        clipped, largest = clipped + clips, max(largest, top)
        scatter(port, scratch.analog[:windows].T, first, codes)
        scatter(port, scratch.digital[:windows].T, first, digital)
        first += windows
    return clipped, largest
