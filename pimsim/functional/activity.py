"""How often rows are driven and cells of each level are read: exact counts for data-dependent read energy.

With V proportional to the driver code, a read of cells of conductance G_l costs V_read**2 t sum over l of
G_l * ``level_reads[l]`` / (2**v - 1)**2 (`hardware.md` 3.4), so the counts below are all that an energy
model needs, and they are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.functional.programming import ProgrammedRows
from pimsim.functional.reference import check_inputs, check_range, layer_weight
from pimsim.functional.repeating import program_arrays
from pimsim.hardware.encodings import InputStep, input_steps
from pimsim.hardware.records import Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TileActivity:
    """What one array did over all windows and images.

    Attributes:
        tile: the array.
        row_drives: (window, step) pairs in which each row's driver code is not zero, int64 (R,).
        row_squares: sum of driver code squared over windows and steps, int64 (R,); equal to ``row_drives``
            with one-bit drivers.
        row_steps: (window, step) pairs of all rows, driven or not.
        level_reads: sum over the cells of each level of the driver code squared, int64 (2**cell_bits,).
    """

    tile: ArrayTile
    row_drives: NDArray[np.int64]
    row_squares: NDArray[np.int64]
    row_steps: int
    level_reads: NDArray[np.int64]

    @property
    def driven_row_steps(self) -> int:
        """(window, step, row) triples whose driver code is not zero."""
        return int(self.row_drives.sum())


@dataclass(frozen=True)
class Activity:
    """What the arrays of one layer did for a batch of images.

    Attributes:
        layer: its name.
        images: images of the batch.
        levels: levels of a cell, 2**cell_bits.
        tiles: one entry for each array of the placement, in its order.
    """

    layer: str
    images: int
    levels: int
    tiles: tuple[TileActivity, ...]

    @property
    def driven_row_steps(self) -> int:
        """(image, array, window, step, row) tuples whose driver code is not zero."""
        return sum(tile.driven_row_steps for tile in self.tiles)

    @property
    def row_steps(self) -> int:
        """All (image, array, window, step, row) tuples: what fixed read energy counts."""
        return sum(tile.row_steps for tile in self.tiles)

    @property
    def density(self) -> float:
        """Share of row steps that are driven; 0 when there are none."""
        return self.driven_row_steps / self.row_steps if self.row_steps else 0.0

    @property
    def level_reads(self) -> NDArray[np.int64]:
        """Sum over arrays and the cells of each level of the driver code squared, int64 (2**cell_bits,)."""
        return sum((tile.level_reads for tile in self.tiles), np.zeros(self.levels, dtype=np.int64))


def activity(
    layer: Layer, placement: Placement, inputs: NDArray[np.integer], crossbar: Crossbar, row_driver: RowDriver
) -> Activity:
    """Row and cell activity of a layer for integer inputs (N, IC, H, W), exact.

    Windows that overrun the output map read their inputs like any other and are counted.

    Raises:
        NetworkError: a layer without weights, or inputs of another shape.
        QuantizationError: a weight or input that its bits cannot hold.
    """
    precision = layer.precision
    check_inputs(layer.geometry, inputs.shape)
    check_range(inputs, precision, layer.name)
    steps = input_steps(precision.activation_bits, row_driver.bits, precision.activation_signed)
    drives, squares = _pixel_drives(placement.mapping.pad_input(inputs.astype(np.int64)), steps)
    bits = placement.stored_bits or precision.weight_bits
    row_steps = len(inputs) * placement.mapping.windows * len(steps)
    tiles = []
    for tile in placement.tiles:
        pixels = placement.mapping.window_pixels(tile.rows)
        row_squares = squares[pixels].sum(axis=0)
        levels = np.zeros(1 << crossbar.cell_bits, dtype=np.int64)
        for part in program_arrays(placement.mapping, (tile,), layer_weight(layer), bits, crossbar):
            of_part = squares[placement.mapping.window_pixels(part.rows)].sum(axis=0)
            levels += _level_reads(part, of_part, crossbar.cell_bits)
        tiles.append(TileActivity(tile, drives[pixels].sum(axis=0), row_squares, row_steps * len(tile.rows), levels))
    return Activity(layer.name, len(inputs), 1 << crossbar.cell_bits, tuple(tiles))


def _pixel_drives(
    padded: NDArray[np.int64], steps: tuple[InputStep, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nonzero driver codes of each padded pixel, and their squares, summed over images and steps: (pixels,) each.

    Every window that reads a pixel drives it with the same codes, so windows need no loop over steps.
    """
    drives, squares = np.zeros(padded.shape[1], dtype=np.int64), np.zeros(padded.shape[1], dtype=np.int64)
    for step in steps:
        codes = (padded >> step.shift) & ((1 << step.bits) - 1)
        drives += np.count_nonzero(codes, axis=0)
        squares += (codes * codes).sum(axis=0)
    return drives, squares


def _level_reads(programmed: ProgrammedRows, squares: NDArray[np.int64], cell_bits: int) -> NDArray[np.int64]:
    """The squares of each row, summed over the cells of each stored level: (2**cell_bits,)."""
    cells = programmed.cells.reshape(len(squares), -1)
    levels = range(1 << cell_bits)
    return np.array([int(squares @ np.count_nonzero(cells == level, axis=1)) for level in levels], dtype=np.int64)
