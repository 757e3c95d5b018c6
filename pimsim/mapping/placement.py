"""The arrays that are left after skipping: what the simulator times and the crossbar computes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.layout import Mapping


@dataclass(frozen=True)
class Placement:
    """A mapping with the rows or arrays that need not be driven left out.

    Attributes:
        mapping: the dense layout.
        skip: granularity, ``none``, ``row``, ``column``, ``ou``, ``repeat`` or ``array``.
        pack: ``tile`` (every tile keeps its own array) or ``layer`` (kept rows or columns refill arrays).
        tiles: the arrays in use, each with its driven rows and its columns, in the mapping's order. Which outputs an
            array adds to, its ``columns`` say: columns that refilled arrays belong to several column tiles. Unlike
            in the dense layout, tiles with the same block and row tile may drive different rows; those that drive
            the same share their `Rows` where the arrays are packed per tile.
        rows_mapped: rows over the dense tiles.
        rows_skipped: rows of those that no column group drives.
        index_bits: storage that tells which rows or columns are kept (`hardware.md` 3.7); 0 when nothing is skipped.
        stored_bits: bits of a weight in the cells where these hold less than the weight (``repeat``); None elsewhere.
        nonzero_cells: cells that hold a nonzero weight; None when the layer has no weights.
    """

    mapping: Mapping
    skip: str
    pack: str
    tiles: tuple[ArrayTile, ...] = field(repr=False)
    rows_mapped: int
    rows_skipped: int
    index_bits: int = 0
    nonzero_cells: int | None = None
    stored_bits: int | None = None

    @property
    def cycles(self) -> int:
        """Computing cycles of one image with the arrays left."""
        return self.mapping.windows * len(self.tiles)

    @property
    def skip_ratio(self) -> float:
        """Skipped rows / mapped rows."""
        return self.rows_skipped / self.rows_mapped

    @property
    def compression(self) -> float:
        """Arrays dense / arrays used; infinite when nothing is left."""
        return len(self.mapping.tiles) / len(self.tiles) if self.tiles else float("inf")

    @property
    def scattered(self) -> bool:
        """Whether columns left their place, so that every sum has to find the output that it adds to (dislocation)."""
        return self.skip == "column" and self.pack == "layer" and self.index_bits > 0

    @cached_property
    def columns_mapped(self) -> int:
        """Weight columns over the dense tiles; a column that runs through two row tiles counts twice."""
        return sum(len(tile.columns) for tile in self.mapping.tiles)

    @cached_property
    def columns_skipped(self) -> int:
        """Weight columns of those that no array holds any more."""
        return self.columns_mapped - sum(len(tile.columns) for tile in self.tiles)

    @cached_property
    def row_tiles(self) -> int:
        """Arrays left in row direction, the most of any block and column tile; 0 when nothing is left."""
        return max(Counter((tile.block, tile.column_tile) for tile in self.tiles).values(), default=0)

    @cached_property
    def column_tiles(self) -> int:
        """Column tiles left, the most of any block; 0 when nothing is left."""
        left = {(tile.block, tile.column_tile) for tile in self.tiles}
        return max(Counter(block for block, _ in left).values(), default=0)

    @cached_property
    def weight_cells(self) -> int:
        """Cells of the driven rows that hold a weight, zero or not; one weight column counts once."""
        if self.tiles == self.mapping.tiles:
            return self.mapping.weight_cells
        return sum(self._weight_cells(tile) for tile in self.tiles)

    def _weight_cells(self, tile: ArrayTile) -> int:
        if tile.kept is None:
            return int(self.mapping.nonzero_per_row(tile.rows, tile.columns, None).sum())
        *_, holds_weight = self.mapping.taps(tile)
        driven = np.repeat(tile.kept.marks, tile.kept.weights, axis=1)[:, : len(tile.columns)]
        return int(np.count_nonzero(holds_weight & driven))

    @cached_property
    def unit_steps(self) -> int:
        """Operation units of all arrays: reads of one window and input step, sum over column groups of ceil(r / h)."""
        return _unit_steps(self.mapping, self.tiles)

    @cached_property
    def dense_unit_steps(self) -> int:
        """`unit_steps` of the dense layout."""
        return _unit_steps(self.mapping, self.mapping.tiles)

    @cached_property
    def cell_utilisation(self) -> float:
        """Cells of the driven rows that hold a weight / cells of the arrays in use; 0 when nothing is left."""
        array = self.mapping.array
        cells = array.rows * array.columns * len(self.tiles)
        return self.weight_cells * array.columns_per_weight / cells if cells else 0.0


def _unit_steps(mapping: Mapping, tiles: tuple[ArrayTile, ...]) -> int:
    array = mapping.array
    per_group = (np.sum(tile.group_reads(array.weights_per_group, array.active_rows)) for tile in tiles)
    return int(sum(per_group)) * array.units_per_group
