"""Columns that are zero in every row of their array, and the arrays that are left without them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.mapping.arrays import ArrayTile, Columns, Rows
from pimsim.mapping.index_cost import index_bits
from pimsim.mapping.layout import Mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ColumnsLeft:
    """Arrays without their zero columns.

    Attributes:
        tiles: arrays in use, those of a row panel one after another where columns moved.
        index_bits: storage that names the columns left.
        nonzero_cells: cells of the dense layout that hold a nonzero weight.
    """

    tiles: tuple[ArrayTile, ...]
    index_bits: int
    nonzero_cells: int


@dataclass(frozen=True)
class _RowPanel:
    """The array tiles that read the same inputs, and the nonzero cells in each of their columns."""

    tiles: tuple[ArrayTile, ...]
    nonzero: NDArray[np.int64]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which columns, over all tiles, have a nonzero cell."""
        return self.nonzero > 0

    @property
    def kept_by_tile(self) -> list[NDArray[np.bool_]]:
        """The same for each tile."""
        return np.split(self.kept, np.cumsum([len(tile.columns) for tile in self.tiles])[:-1])


def columns_left(mapping: Mapping, nonzero: NDArray[np.bool_] | None, pack: str, index_format: str) -> ColumnsLeft:
    """What is left of a mapping without the columns that are zero in their array tile.

    Args:
        mapping: the dense layout.
        nonzero: of `Geometry.weight_shape`, which weights are not zero; None counts all.
        pack: ``tile``: each tile keeps its columns, in their place; ``layer``: the kept columns of all tiles that
            read the same inputs stand side by side in as few arrays as they fill.
        index_format: a key of `pimsim.mapping.index_cost.INDEX_FORMATS`.

    Reference:
        `pruning-blocks.md` 1.2, step 6, column mode: X_col = sum over row panels of ceil(|T_i| / floor(C / c_w)).
    """
    panels = list(_row_panels(mapping, nonzero))
    keep = _in_tiles if pack == "tile" else _refilled
    parts = [keep(panel, mapping.array.weight_columns, index_format) for panel in panels]
    tiles = [tile for tiles, _ in parts for tile in tiles]
    if pack == "tile":
        tiles.sort(key=lambda tile: (tile.block, tile.column_tile, tile.row_tile))
    cells = sum(int(panel.nonzero.sum()) for panel in panels)
    return ColumnsLeft(tuple(tiles), sum(bits for _, bits in parts), cells)


def _in_tiles(panel: _RowPanel, width: int, index_format: str) -> tuple[list[ArrayTile], int]:
    """Each tile with the columns it keeps; a tile that keeps none disappears."""
    tiles, bits = [], 0
    for tile, kept in zip(panel.tiles, panel.kept_by_tile, strict=True):
        if kept.all():
            tiles.append(tile)
        elif kept.any():
            tiles.append(ArrayTile(tile.block, tile.row_tile, tile.column_tile, tile.rows, tile.columns.take(kept)))
            bits += index_bits(index_format, kept)
    return tiles, bits


def _refilled(panel: _RowPanel, width: int, index_format: str) -> tuple[list[ArrayTile], int]:
    """The kept columns of all tiles, in order, in as few arrays as they fill; a whole panel stays as it is."""
    first, kept = panel.tiles[0], panel.kept
    if kept.all():
        return list(panel.tiles), 0
    if not kept.any():
        return [], 0
    columns = _join(tile.columns for tile in panel.tiles).take(kept)
    parts = [columns.take(slice(i, i + width)) for i in range(0, len(columns), width)]
    tiles = [ArrayTile(first.block, first.row_tile, number, first.rows, part) for number, part in enumerate(parts)]
    return tiles, index_bits(index_format, kept)


def _row_panels(mapping: Mapping, nonzero: NDArray[np.bool_] | None) -> Iterable[_RowPanel]:
    """The tiles of each (block, row tile), with the nonzero cells of every column."""
    panels: dict[tuple[int, int], list[ArrayTile]] = {}
    for tile in mapping.tiles:
        panels.setdefault((tile.block, tile.row_tile), []).append(tile)
    for tiles in panels.values():
        counts = nonzero_per_column(mapping, tiles[0].rows, _join(tile.columns for tile in tiles), nonzero)
        yield _RowPanel(tuple(tiles), counts)


def _join(parts: Iterable[Columns]) -> Columns:
    """Columns side by side."""
    columns = list(parts)
    if len(columns) == 1:
        return columns[0]
    return Columns(*(np.concatenate([getattr(part, axis) for part in columns]) for axis in ("output", "a", "b")))


def nonzero_per_column(
    mapping: Mapping, rows: Rows, columns: Columns, nonzero: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Nonzero weight cells in each column over the given rows, (C,).

    Args:
        mapping: the layout.
        rows: rows that all columns share.
        columns: weight columns.
        nonzero: of `Geometry.weight_shape`, which weights are not zero; None counts every cell that holds a weight.
    """
    kernels = mapping.kernels_of(columns)
    ic, oc = mapping.geometry.group_channels
    total = np.zeros(len(columns), dtype=np.int64)
    positions = columns.a.astype(np.int64) * mapping.outputs[1] + columns.b
    row_groups, column_groups = rows.channel // ic, columns.output // oc
    for position in np.unique(positions):
        a, b = divmod(int(position), mapping.outputs[1])
        k_y, k_x, fits = mapping.taps_at(rows, a, b)
        here = positions == position
        for group in np.unique(column_groups[here]):
            cells, members = fits & (row_groups == group), here & (column_groups == group)
            if nonzero is None:
                total[members] = np.count_nonzero(cells)
            else:
                place = (rows.channel[cells] % ic, k_y[cells], k_x[cells])
                total[members] = np.count_nonzero(nonzero[(kernels[members, None], *place)], axis=1)
    return total
