"""Skip granularity ``repeat``: which operation units of a layer are read, and the index that names the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import MappingError
from pimsim.mapping.arrays import ArrayTile, Rows
from pimsim.mapping.index_cost import index_bits
from pimsim.mapping.layout import Mapping
from pimsim.mapping.repeats import (
    ArrayRepeats,
    Repeats,
    channel_blocks,
    even_blocks,
    find_repeats,
    group_sizes,
    split_blocks,
    stored_bits,
)
from pimsim.mapping.units import GroupRows, rows_per_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weight = NDArray[np.int64]

#: Bits of the index for each operation unit: the unit whose result is taken, and how far to shift it.
_SOURCE_BITS, _SHIFT_BITS = 8, 8
#: Bits for each choice of rows in a row block: the number of operation units that use it, one after another.
_RUN_BITS = 8


@dataclass(frozen=True)
class UnitsLeft:
    """What is left of a layer.

    Attributes:
        tiles: arrays with an operation unit that is read, in the mapping's order.
        index_bits: of rows, sources and shifts.
    """

    tiles: tuple[ArrayTile, ...]
    index_bits: int


@dataclass(frozen=True)
class _Set:
    """Arrays of one block that hold the same rows, with their integer weights (R, C)."""

    tiles: tuple[ArrayTile, ...]
    cells: tuple[Weight, ...]

    @property
    def rows(self) -> Rows:
        return self.tiles[0].rows

    @cached_property
    def nonzero(self) -> NDArray[np.bool_]:
        """Which weights are not zero, (R, C) over all these arrays."""
        return np.asarray(np.concatenate(self.cells, axis=1) != 0, dtype=np.bool_)

    def marks(self, weights: int) -> NDArray[np.bool_]:
        """Rows with a nonzero weight in each column group of ``weights`` weight columns, (R, G)."""
        starts = [np.arange(0, cells.shape[1], weights) for cells in self.cells]
        marked = [np.logical_or.reduceat(c != 0, s, axis=1) for c, s in zip(self.cells, starts, strict=True)]
        return np.concatenate(marked, axis=1)


def units_left(mapping: Mapping, weight: Weight | None, index_format: str, bits: int | None) -> UnitsLeft:
    """The operation units that must be read so that every other one is zero or a shifted copy.

    Operation units are cut in several ways: in h rows as they lie in the array; in single input channels; in groups of
    2, 4, ... input channels of which no column uses more than h rows. Where a kernel, or columns that are read
    together, use more, they are cut again every h rows. The way with the fewest reads is taken (the first of those).

    Args:
        mapping: the dense layout; its array has an operation unit.
        weight: (OC, IC / groups, K_h, K_w).
        index_format: of the rows that a unit drives, where it does not drive all of its row block.
        bits: bits of a weight that the columns of the array are made for; None: the weight's own, which always are
            enough.

    Raises:
        MappingError: no weights, or weights that no cut brings to so many bits.
    """
    name = mapping.geometry.name
    if weight is None:
        rule = "which operation units repeat others is seen from the weights"
        raise MappingError("skip 'repeat' without weights", rule, name, "Give a checkpoint, or use skip 'ou'")
    sets = tuple(_sets(mapping, weight))
    found = [cut for cut in _cuts(mapping, sets) if bits is None or cut.bits <= bits]
    if not found:
        least = min(cut.bits for cut in _cuts(mapping, sets))
        given = f"weights that need {least} bits in an operation unit"
        raise MappingError(given, f"the array is laid out for {bits}", name, "Map the layer for that many bits")
    best = min(found, key=lambda cut: sum(one.units_read for one in cut.repeats))
    return _left(mapping, sets, best, index_format)


def pattern_bits(weight: Weight, weight_bits: int, active_rows: int) -> int:
    """Bits of a weight in the cells, once every operation unit is divided by its largest common power of two.

    Operation units are cut as in `units_left`, but for those that lie in the array as they come.

    Args:
        weight: of `Geometry.weight_shape`.
        weight_bits: of the layer.
        active_rows: rows of an operation unit, h.
    """
    matrix = weight.reshape(len(weight), -1).T
    channel = np.repeat(np.arange(weight.shape[1]), len(matrix) // weight.shape[1])
    needed = (stored_bits(matrix, blocks) for blocks in _fitting(channel, matrix != 0, active_rows))
    return min(weight_bits, min(needed, default=weight_bits))


@dataclass(frozen=True)
class _Cut:
    """One way to cut operation units: the repeats of every set of arrays, and the bits that are stored."""

    repeats: tuple[Repeats, ...]
    bits: int


def _cuts(mapping: Mapping, sets: tuple[_Set, ...]) -> Iterator[_Cut]:
    height, weights = mapping.array.active_rows, mapping.array.weights_per_group
    channels = int(max((int(one.rows.channel.max()) for one in sets), default=0)) + 1
    yield _cut(sets, [even_blocks(len(one.rows), height) for one in sets], weights)
    for size in group_sizes(channels):
        blocks = [channel_blocks(one.rows.channel, size) for one in sets]
        if size > 1 and any(_most(one.nonzero, block) > height for one, block in zip(sets, blocks, strict=True)):
            return
        # A kernel may have more than h positions, and columns that are read together more rows than each of them.
        fitted = [split_blocks(block, one.marks(weights), height) for one, block in zip(sets, blocks, strict=True)]
        yield _cut(sets, fitted, weights)


def _cut(sets: tuple[_Set, ...], blocks: list[NDArray[np.int64]], weights: int) -> _Cut:
    both = list(zip(sets, blocks, strict=True))
    bits = [stored_bits(np.concatenate(one.cells, axis=1), block) for one, block in both]
    return _Cut(tuple(find_repeats(one.cells, block, weights) for one, block in both), max(bits, default=2))


def _most(marks: NDArray[np.bool_], blocks: NDArray[np.int64]) -> int:
    return int(rows_per_unit(marks, blocks).max(initial=0))


def _fitting(channel: NDArray[np.int64], marks: NDArray[np.bool_], height: int) -> Iterator[NDArray[np.int64]]:
    for size in group_sizes(int(channel.max()) + 1):
        blocks = channel_blocks(channel, size)
        if size > 1 and _most(marks, blocks) > height:
            return
        yield split_blocks(blocks, marks, height)


def _sets(mapping: Mapping, weight: Weight) -> Iterator[_Set]:
    together: dict[tuple[int, Rows], list[ArrayTile]] = {}
    for tile in mapping.tiles:
        together.setdefault((tile.block, tile.rows), []).append(tile)
    for tiles in together.values():
        yield _Set(tuple(tiles), tuple(mapping.cell_weights(tile, weight) for tile in tiles))


def _left(mapping: Mapping, sets: tuple[_Set, ...], cut: _Cut, index_format: str) -> UnitsLeft:
    left: dict[int, ArrayTile] = {}
    bits = 0
    for one, repeats in zip(sets, cut.repeats, strict=True):
        for array, tile in enumerate(one.tiles):
            kept = _driven(tile, ArrayRepeats(repeats, array, tile.rows), mapping.array.weights_per_group)
            if kept is not None:
                left[id(tile)] = kept
        bits += _index_bits(repeats, index_format)
    tiles = tuple(left[id(tile)] for tile in mapping.tiles if id(tile) in left)
    return UnitsLeft(tiles, bits)


def _driven(tile: ArrayTile, own: ArrayRepeats, weights: int) -> ArrayTile | None:
    """The array with the rows of the units that it reads; None for one that reads nothing."""
    marks = own.marks
    used = np.asarray(marks.any(axis=1), dtype=np.bool_)
    if not used.any():
        return None
    row_block = np.unique(own.shared.row_block[used], return_inverse=True)[1].astype(np.int64)
    kept = GroupRows(marks[used], weights, True, row_block)
    return replace(tile, rows=tile.rows.take(used), kept=kept, repeats=own)


def _index_bits(repeats: Repeats, index_format: str) -> int:
    """The rows of each choice that the units of a row block drive, then source and shift of every unit."""
    bits = 0
    for block in range(len(repeats.source)):
        marks = repeats.marks[repeats.row_block == block]
        choices = np.unique(marks[:, marks.any(axis=0)], axis=1).T
        if not all(choice.all() for choice in choices):
            bits += sum(index_bits(index_format, choice) + _RUN_BITS for choice in choices)
    if repeats.is_copy.any():
        bits += repeats.source.size * (_SOURCE_BITS + _SHIFT_BITS * bool(repeats.is_shifted.any()))
    return bits
