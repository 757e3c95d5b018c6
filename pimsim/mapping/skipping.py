"""Which rows, columns or arrays need not be driven, decided on the explicit layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pimsim.errors import MappingError, nearest
from pimsim.mapping.arrays import ArrayShape, ArrayTile, Rows
from pimsim.mapping.column_skipping import columns_left
from pimsim.mapping.index_cost import INDEX_FORMATS, index_bits
from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement
from pimsim.mapping.repeat_skipping import units_left
from pimsim.mapping.slice_skipping import Slicing, without_empty_slices
from pimsim.mapping.units import GroupRows, whole_units
from pimsim.network.layers import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: ``tile``: every tile keeps its own array; ``layer``: kept rows of a column tile, or kept columns of a row tile,
#: refill arrays.
PACKS = ("tile", "layer")
#: Granularities whose kept parts can refill arrays.
REFILLED = ("row", "column", "block")


@dataclass(frozen=True)
class _ColumnTile:
    """The array tiles that add up to the same outputs, and which weights of the layer are not zero."""

    mapping: Mapping
    tiles: tuple[ArrayTile, ...]
    mask: NDArray[np.bool_] | None

    @cached_property
    def nonzero(self) -> tuple[NDArray[np.int64], ...]:
        """The nonzero cells in each row of each tile."""
        return self._split(self.mapping.nonzero_per_row(self._rows, self.tiles[0].columns, self.mask))

    @property
    def kept_by_group(self) -> tuple[NDArray[np.bool_], ...]:
        """Rows with a nonzero cell in each column group, for each tile, bool (R, G)."""
        return self._split(self.mapping.nonzero_per_group(self._rows, self.tiles[0].columns, self.mask) > 0)

    @property
    def _rows(self) -> Rows:
        return _join(tile.rows for tile in self.tiles)

    def _split(self, values: NDArray[_Scalar]) -> tuple[NDArray[_Scalar], ...]:
        return tuple(np.split(values, np.cumsum([len(tile.rows) for tile in self.tiles])[:-1]))

    @property
    def kept(self) -> tuple[NDArray[np.bool_], ...]:
        """Rows with a nonzero cell, for each tile."""
        return tuple(count > 0 for count in self.nonzero)


@dataclass(frozen=True)
class _Left:
    """Arrays left of one column tile, and the index that names their rows."""

    tiles: list[ArrayTile]
    index_bits: int = 0


@dataclass(frozen=True)
class _Skipping:
    """The choices of one placement, and the row sets already built (column tiles often keep the same rows)."""

    pack: str
    index_format: str
    array: ArrayShape
    compact: bool
    shared: dict[tuple[int, bytes], Rows] = field(default_factory=dict)

    def take(self, rows: Rows, kept: NDArray[np.bool_]) -> Rows:
        """The kept rows; the same object for the same choice from the same rows."""
        if kept.all():
            return rows
        key = id(rows), kept.tobytes()
        if key not in self.shared:
            self.shared[key] = rows.take(kept)
        return self.shared[key]


def place(
    mapping: Mapping,
    weight: NDArray[np.int64] | None,
    skip: str = "none",
    pack: str = "tile",
    index_format: str = "bitmap",
    compact: bool | None = None,
    stored_bits: int | None = None,
    slicing: Slicing | None = None,
) -> Placement:
    """The arrays of a mapping with what is zero left out.

    Args:
        mapping: the dense layout.
        weight: (OC, IC / groups, K_h, K_w), pruned weights exactly zero; None for a layer without weights,
            which is taken as dense.
        skip: ``none``; ``row``: rows that are zero in every column of their array tile; ``ou``: in each column group
            of the array's operation unit, the rows that are zero in all its columns; ``slice``: likewise, and no
            conversion of bit slices that are empty in all rows of a unit; ``repeat``: operation units that are
            zero, or equal to another one of the same rows up to powers of two (`units_left`); ``column``: columns
            that are zero in every row of their array tile; ``block``: rows or columns, whichever leaves fewer arrays
            (then the smaller index, then rows), as PIM-Prune chooses for each layer; ``array``: tiles without a
            nonzero cell.
        pack: ``tile`` (each tile keeps its driven rows or columns) or ``layer``: the kept rows of a block and column
            tile, or the kept columns of a block and row tile, refill arrays. Columns that moved have to send
            their sums elsewhere: `Placement.scattered`.
        index_format: for rows and columns, a key of `pimsim.mapping.index_cost.INDEX_FORMATS`. An array in use
            indexes the rows or columns of its dense tile; refilled arrays index all dense rows of their column tile,
            or all dense columns of their row tile. No index is needed where nothing is skipped. For ``ou`` each
            column group has an index of its own: of the rows of its dense tile or, without ``compact``, of their
            operation units.
        compact: for ``ou`` and ``slice``, whether the rows that a column group keeps close up to full operation units
            (None: they do); if not, rows keep their places, and only operation units without a nonzero cell are left
            out.
        stored_bits: for ``repeat``, bits of a weight for which the columns of the array are made, where they are fewer
            than those of the weight (`pattern_bits`).
        slicing: for ``slice``, how the chip stores a weight.

    Raises:
        MappingError: an unknown granularity, packing or index format, refilling without rows or columns left
            out, ``compact`` false without unit skipping, weights of the wrong shape, or repeats without
            weights; of ``slice`` see `without_empty_slices`.
    """
    _check(mapping, weight, skip, pack, index_format, compact)
    if skip == "repeat":
        return _repeats(mapping, weight, index_format, stored_bits)
    if skip == "slice":
        return without_empty_slices(place(mapping, weight, "ou", pack, index_format, compact), weight, slicing)
    if skip == "block":
        either = (place(mapping, weight, one, pack, index_format) for one in ("row", "column"))
        return min(either, key=lambda placed: (len(placed.tiles), placed.index_bits))
    if skip == "none" and weight is None:
        return Placement(mapping, skip, pack, mapping.tiles, mapping.rows_mapped, 0)
    nonzero = None if weight is None else weight != 0
    if skip == "column":
        return _without_columns(mapping, nonzero, pack, index_format)
    choices = _Skipping(pack, index_format, mapping.array, compact is not False)
    column_tiles = list(_column_tiles(mapping, nonzero))
    left = [GRANULARITIES[skip](column_tile, choices) for column_tile in column_tiles]
    tiles = tuple(tile for part in left for tile in part.tiles)
    return Placement(
        mapping=mapping,
        skip=skip,
        pack=pack,
        tiles=tiles,
        rows_mapped=mapping.rows_mapped,
        rows_skipped=mapping.rows_mapped - sum(len(tile.rows) for tile in tiles),
        index_bits=sum(part.index_bits for part in left),
        nonzero_cells=None if weight is None else sum(int(n.sum()) for c in column_tiles for n in c.nonzero),
    )


def _repeats(
    mapping: Mapping, weight: NDArray[np.int64] | None, index_format: str, stored_bits: int | None
) -> Placement:
    """Granularity ``repeat``, which looks at arrays side by side."""
    left = units_left(mapping, weight, index_format, stored_bits)
    return Placement(
        mapping=mapping,
        skip="repeat",
        pack="tile",
        tiles=left.tiles,
        rows_mapped=mapping.rows_mapped,
        rows_skipped=mapping.rows_mapped - sum(len(tile.rows) for tile in left.tiles),
        index_bits=left.index_bits,
        nonzero_cells=None if weight is None else _nonzero_cells(mapping, weight),
        stored_bits=stored_bits,
    )


def _nonzero_cells(mapping: Mapping, weight: NDArray[np.int64]) -> int:
    return sum(int(n.sum()) for column_tile in _column_tiles(mapping, weight != 0) for n in column_tile.nonzero)


def _without_columns(mapping: Mapping, nonzero: NDArray[np.bool_] | None, pack: str, index_format: str) -> Placement:
    """Granularity ``column``."""
    left = columns_left(mapping, nonzero, pack, index_format)
    return Placement(
        mapping=mapping,
        skip="column",
        pack=pack,
        tiles=left.tiles,
        rows_mapped=mapping.rows_mapped,
        rows_skipped=mapping.rows_mapped - sum(len(tile.rows) for tile in left.tiles),
        index_bits=left.index_bits,
        nonzero_cells=None if nonzero is None else left.nonzero_cells,
    )


def _keep_all(column_tile: _ColumnTile, choices: _Skipping) -> _Left:
    """Granularity ``none``."""
    return _Left(list(column_tile.tiles))


def _keep_arrays(column_tile: _ColumnTile, choices: _Skipping) -> _Left:
    """Granularity ``array``: tiles without a nonzero cell disappear."""
    pairs = zip(column_tile.tiles, column_tile.nonzero, strict=True)
    return _Left([tile for tile, nonzero in pairs if nonzero.any()])


def _keep_rows(column_tile: _ColumnTile, choices: _Skipping) -> _Left:
    """Granularity ``row``: rows without a nonzero cell disappear."""
    return _keep_in_tiles(column_tile, choices) if choices.pack == "tile" else _refill(column_tile, choices)


def _keep_in_tiles(column_tile: _ColumnTile, choices: _Skipping) -> _Left:
    """Each tile with the rows it keeps; a tile that keeps none disappears."""
    tiles, bits = [], 0
    for tile, kept in zip(column_tile.tiles, column_tile.kept, strict=True):
        if not kept.any():
            continue
        rows = choices.take(tile.rows, kept)
        tiles.append(ArrayTile(tile.block, tile.row_tile, tile.column_tile, rows, tile.columns))
        bits += 0 if kept.all() else index_bits(choices.index_format, kept)
    return _Left(tiles, bits)


def _refill(column_tile: _ColumnTile, choices: _Skipping) -> _Left:
    """The kept rows of all row tiles, in order, in as few arrays as they fill."""
    first, kept = column_tile.tiles[0], np.concatenate(column_tile.kept)
    if not kept.any():
        return _Left([])
    rows = _join(tile.rows for tile in column_tile.tiles).take(kept)
    step = choices.array.rows
    parts = [rows.take(np.arange(i, min(i + step, len(rows)))) for i in range(0, len(rows), step)]
    tiles = [ArrayTile(first.block, i, first.column_tile, part, first.columns) for i, part in enumerate(parts)]
    return _Left(tiles, 0 if kept.all() else index_bits(choices.index_format, kept))


def _keep_units(column_tile: _ColumnTile, choices: _Skipping) -> _Left:
    """Granularity ``ou``: each column group without the rows, or operation units, that hold only zeros in it."""
    tiles, bits, h = [], 0, choices.array.active_rows
    for tile, nonzero in zip(column_tile.tiles, column_tile.kept_by_group, strict=True):
        if not nonzero.any():
            continue
        marks = nonzero if choices.compact else whole_units(nonzero, h)
        used: NDArray[np.bool_] = np.any(marks, axis=1)
        kept = GroupRows(marks[used], choices.array.weights_per_group, choices.compact)
        tiles.append(replace(tile, rows=choices.take(tile.rows, used), kept=None if kept.marks.all() else kept))
        if not marks.all():
            named = marks if choices.compact else marks[::h]
            bits += sum(index_bits(choices.index_format, group) for group in named.T)
    return _Left(tiles, bits)


#: What each granularity that works on rows leaves of one column tile.
GRANULARITIES: MappingProxyType[str, Callable[[_ColumnTile, _Skipping], _Left]] = MappingProxyType(
    {"none": _keep_all, "row": _keep_rows, "ou": _keep_units, "array": _keep_arrays}
)
#: All granularities.
SKIPS = (*GRANULARITIES, "slice", "repeat", "column", "block")


def _column_tiles(mapping: Mapping, nonzero: NDArray[np.bool_] | None) -> Iterable[_ColumnTile]:
    """The tiles of each (block, column tile), with the nonzero cells of every row."""
    for _, members in groupby(mapping.tiles, key=lambda tile: (tile.block, tile.column_tile)):
        yield _ColumnTile(mapping, tuple(members), nonzero)


def _join(parts: Iterable[Rows]) -> Rows:
    """Rows one after another."""
    rows = list(parts)
    if len(rows) == 1:
        return rows[0]
    return Rows(*(np.concatenate([getattr(part, axis) for part in rows]) for axis in ("channel", "y", "x")))


def _check(
    mapping: Mapping, weight: NDArray[np.int64] | None, skip: str, pack: str, index_format: str, compact: bool | None
) -> None:
    name, geometry = mapping.geometry.name, mapping.geometry
    for kind, value, known in (
        ("skip", skip, SKIPS),
        ("pack", pack, PACKS),
        ("index format", index_format, INDEX_FORMATS),
    ):
        if value not in known:
            raise MappingError(f"{kind} '{value}'", f"unknown {kind}", name, nearest(value, known))
    if pack == "layer" and skip not in REFILLED:
        raise MappingError(
            f"pack 'layer' with skip '{skip}'",
            "only kept rows or columns can refill arrays",
            name,
            "Use skip 'row', 'column' or 'block', or pack 'tile'",
        )
    if compact is not None and skip not in ("ou", "slice"):
        raise MappingError(
            f"compact {str(compact).lower()} with skip '{skip}'",
            "only the rows of operation units close up or keep their places",
            name,
            "Use skip 'ou', or leave compact out",
        )
    if weight is not None and weight.shape != geometry.weight_shape:
        raise MappingError(f"weight of shape {weight.shape}", f"the layer needs {geometry.weight_shape}", name)


def keep_weight(geometry: Geometry, pattern: str) -> NDArray[np.int64]:
    """A weight of ones at the kept kernel positions and zeros elsewhere, in every channel.

    Args:
        geometry: the layer.
        pattern: one ``0`` or ``1`` for each kernel position, row-major: ``000111111`` keeps the lower two rows
            of a 3x3 kernel.

    Returns:
        int64 of the layer's weight shape.

    Raises:
        MappingError: a character other than 0 and 1, or the wrong length.
    """
    needed = geometry.kernel[0] * geometry.kernel[1]
    if len(pattern) != needed or set(pattern) - {"0", "1"}:
        raise MappingError(
            f"keep pattern '{pattern}'",
            f"a {geometry.kernel[0]}x{geometry.kernel[1]} kernel needs {needed} characters, each 0 or 1",
            geometry.name,
            "Write the kernel positions row by row, 1 for a weight that stays",
        )
    kept = np.array([int(character) for character in pattern], dtype=np.int64).reshape(geometry.kernel)
    return np.broadcast_to(kept, geometry.weight_shape)
