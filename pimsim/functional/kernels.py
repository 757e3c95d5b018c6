"""Compiled inner loops around the arrays: inputs of windows gathered, outputs scattered.

Windows of a batch are counted through all its images: window w of image i is number i * windows + w. A run is as
many of them as stand in one row of one image's window grid, at even distances. Imported only where numba works.
Each kernel has a plain numpy witness in `windows`.
"""

from __future__ import annotations

from typing import Any

from pimsim.compiling import kernel
from pimsim.functional.lookup import read_block


@kernel
def gather(port: Any, images: Any, first: int, values: Any) -> None:
    """The inputs of windows from number ``first`` on, values (R, W), from padded images (N, pixels)."""
    done, windows, width = 0, port.origins.size, port.grid[1]
    step = port.origins[1] - port.origins[0] if width > 1 else 1
    while done < values.shape[1]:
        image, window = divmod(first + done, windows)
        run = min(width - window % width, values.shape[1] - done)
        pixels = images[image, port.origins[window] :]
        for r in range(port.offsets.size):
            copy_run(pixels[port.offsets[r] :], step, values[r, done : done + run])
        done += run


@kernel
def copy_run(pixels: Any, step: int, values: Any) -> None:
    """Every ``step``-th pixel; a loop of its own where all of them are, for vectors."""
    if step == 1:
        for n in range(values.size):
            values[n] = pixels[n]
    else:
        for n in range(values.size):
            values[n] = pixels[n * step]


@kernel
def scatter(port: Any, values: Any, first: int, outputs: Any) -> None:
    """Add values (C, W) of windows from number ``first`` on to outputs (N, OC * O_h * O_w).

    What overruns the output map is dropped.
    """
    done, windows, width = 0, port.origins.size, port.grid[1]
    (height, breadth), (down, across) = port.size, port.outputs
    while done < values.shape[1]:
        image, window = divmod(first + done, windows)
        run, output = min(width - window % width, values.shape[1] - done), outputs[image]
        top, left = window // width * down, window % width * across
        for c in range(values.shape[0]):
            y, x = top + port.a[c], left + port.b[c]
            # As many windows as still write inside the map in this row of the grid.
            inside = min(run, (breadth - x + across - 1) // across)
            if y < height:
                start = (port.channel[c] * height + y) * breadth + x
                for n in range(inside):
                    output[start + n * across] += values[c, done + n]
        done += run


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
