"""The explicit layout of one layer on crossbar arrays: the value every mapper produces.

Everything else (cell matrices, computing cycles, utilisation, skippable rows, loaded inputs)
is read off this layout; the closed forms of the papers are witnesses, not the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ArrayShape:
    """Rows and columns of one crossbar array, and the physical columns that one weight takes.

    ``columns_per_weight`` counts slices and signs (2 for a 4-bit weight in 2-bit cells).
    """

    rows: int
    columns: int
    columns_per_weight: int = 1

    @property
    def weight_columns(self) -> int:
        """Whole weights that fit side by side: ACe of the papers."""
        return self.columns // self.columns_per_weight


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of an array tile: input channel and pixel of the parallel window, each int32 (R,).

    ``y`` and ``x`` count pixels of the padded input from the window's top-left corner.
    """

    channel: NDArray[np.int32]
    y: NDArray[np.int32]
    x: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.channel)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("channel", "y", "x")
        )

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Rows:
        """The rows selected by a boolean or integer index, in order."""
        return Rows(self.channel[which], self.y[which], self.x[which])


@dataclass(frozen=True, eq=False)
class Columns:
    """The weight columns of an array tile: output channel and output position in the window, int32 (C,).

    One weight column is `ArrayShape.columns_per_weight` physical columns.
    """

    output: NDArray[np.int32]
    a: NDArray[np.int32]
    b: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.output)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Columns) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("output", "a", "b")
        )


@dataclass(frozen=True)
class ArrayTile:
    """One array programming: its rows, its weight columns, and where it stands in the layer.

    Tiles with the same ``block`` and ``column_tile`` add up to the same outputs; tiles with the
    same ``block`` and ``row_tile`` read the same inputs. A block is one group of a grouped
    convolution, or several groups packed block-diagonally.
    """

    block: int
    row_tile: int
    column_tile: int
    rows: Rows
    columns: Columns


@dataclass(frozen=True)
class Mapping:
    """One layer laid out on arrays.

    Attributes:
        method: registry name of the mapper that made it.
        geometry: the layer.
        array: the array, with the columns that one weight takes.
        outputs: output positions (n_h, n_w) that one parallel window computes.
        ic_tile: input channels that fit one array programming (ICt; 0 when tiles cut channels anywhere).
        oc_tile: output channels that fit one array programming (OCt).
        tiles: every array programming, ordered by (block, column_tile, row_tile).
        options: the mapper's options, for the record.
    """

    method: str
    geometry: Geometry
    array: ArrayShape
    outputs: Pair
    ic_tile: int
    oc_tile: int
    tiles: tuple[ArrayTile, ...] = field(repr=False)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def window(self) -> Pair:
        """Spatial extent (P_h, P_w) of the parallel window in input pixels (`mapping.md` 1.8)."""
        g = self.geometry
        height, width = (
            d * (k - 1) + 1 + (n - 1) * s
            for d, k, n, s in zip(g.dilation, g.kernel, self.outputs, g.stride, strict=True)
        )
        return height, width

    @property
    def grid(self) -> Pair:
        """Parallel-window positions (vertical, horizontal): ceil(O / n) each."""
        (oh, ow), (nh, nw) = self.geometry.output_size, self.outputs
        return -(-oh // nh), -(-ow // nw)

    @property
    def windows(self) -> int:
        """Parallel-window positions of one image, N_PW."""
        return self.grid[0] * self.grid[1]

    @property
    def cycles(self) -> int:
        """Computing cycles of one image: parallel windows times array tiles (one tile MVM = one cycle)."""
        return self.windows * len(self.tiles)

    @cached_property
    def row_tiles(self) -> int:
        """Array tiles in row direction (AR cycles), the most of any block."""
        return 1 + max(tile.row_tile for tile in self.tiles)

    @cached_property
    def column_tiles(self) -> int:
        """Array tiles in column direction (AC cycles), the most of any block."""
        return 1 + max(tile.column_tile for tile in self.tiles)

    @cached_property
    def blocks(self) -> int:
        """Groups computed one after another, or packed sets of groups."""
        return 1 + max(tile.block for tile in self.tiles)

    @cached_property
    def rows_mapped(self) -> int:
        """Rows over all array tiles; a row present in two column tiles counts twice."""
        return sum(len(tile.rows) for tile in self.tiles)

    def taps(self, tile: ArrayTile) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Which kernel position each cell of a tile holds.

        Returns:
            ``(k_y, k_x, used)``, each (rows, columns): the kernel position of each cell, and whether
            the cell holds a weight at all (idle cells hold the code of zero). Positions are 0 where idle.
        """
        g, rows, columns = self.geometry, tile.rows, tile.columns
        ic, oc = g.group_channels
        used = (rows.channel[:, None] // ic) == (columns.output[None, :] // oc)
        positions = []
        for pixel, shift, d in ((rows.y, columns.a, 0), (rows.x, columns.b, 1)):
            offset = pixel[:, None].astype(np.int64) - shift[None, :].astype(np.int64) * g.stride[d]
            tap = offset // g.dilation[d]
            used = used & (offset >= 0) & (offset % g.dilation[d] == 0) & (tap < g.kernel[d])
            positions.append(tap)
        k_y, k_x = (np.where(used, tap, 0) for tap in positions)
        return k_y, k_x, used

    def cell_weights(self, tile: ArrayTile, weight: NDArray[np.int64]) -> NDArray[np.int64]:
        """The integer weight in each cell of a tile, (rows, weight columns); idle cells are 0.

        Args:
            tile: a tile of this mapping.
            weight: (OC, IC / groups, K_h, K_w).
        """
        k_y, k_x, used = self.taps(tile)
        ic, _ = self.geometry.group_channels
        values = weight[tile.columns.output[None, :], (tile.rows.channel % ic)[:, None], k_y, k_x]
        return np.where(used, values, 0)
