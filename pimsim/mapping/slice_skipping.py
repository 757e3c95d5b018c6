"""Granularity ``slice``: physical columns of an operation unit without a programmed cell are not converted.

A weight is stored in bit slices, one physical column each. In the few rows of an operation unit the slices of the most
significant bits are often zero in every weight: their column sums are zero whatever the inputs, and need no conversion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import MappingError
from pimsim.hardware.encodings import columns_per_weight, encode, offset
from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.placement import Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Slicing:
    """How a weight becomes physical columns: see `pimsim.hardware.encodings`."""

    encoding: str
    weight_bits: int
    cell_bits: int


def without_empty_slices(placement: Placement, weight: NDArray[np.int64] | None, slicing: Slicing | None) -> Placement:
    """The placement with the columns that each of its operation units converts.

    The index grows by a bit for each physical column of every unit, in arrays that have an empty slice.

    Args:
        placement: made with ``ou``.
        weight: of `Geometry.weight_shape`.
        slicing: encoding and bits of the chip.

    Raises:
        MappingError: no weights, no encoding, an encoding under which the zero weight is no empty cell, or an operation
            unit that is narrower than a weight.
    """
    _check(placement, weight, slicing)
    assert weight is not None and slicing is not None
    tiles, bits = [], placement.index_bits
    for tile in placement.tiles:
        found = _converted(placement, tile, weight, slicing)
        is_whole = found == _all(placement, tile)
        tiles.append(replace(tile, converted=None if is_whole else found))
        bits += 0 if is_whole else sum(sum(group) for group in _all(placement, tile))
    return replace(placement, skip="slice", tiles=tuple(tiles), index_bits=bits)


def _converted(
    placement: Placement, tile: ArrayTile, weight: NDArray[np.int64], slicing: Slicing
) -> tuple[tuple[int, ...], ...]:
    """Physical columns with a programmed cell in each operation unit of each column group."""
    array = placement.mapping.array
    cells = placement.mapping.cell_weights(tile, weight)
    codes = encode(cells, slicing.encoding, slicing.weight_bits, slicing.cell_bits) != 0
    width = array.weights_per_group
    counts = []
    for number, first in enumerate(range(0, codes.shape[1], width)):
        group = codes[:, first : first + width].reshape(len(codes), -1)
        rows = group if tile.kept is None else group[tile.kept.marks[:, number]]
        starts = np.arange(0, len(rows), array.active_rows)
        used = np.logical_or.reduceat(rows, starts, axis=0) if len(rows) else np.zeros((0, group.shape[1]), np.bool_)
        counts.append(tuple(np.count_nonzero(used, axis=1).tolist()))
    return tuple(counts)


def _all(placement: Placement, tile: ArrayTile) -> tuple[tuple[int, ...], ...]:
    """All physical columns of each operation unit of each column group."""
    array = placement.mapping.array
    reads = tile.group_reads(array.weights_per_group, array.active_rows).tolist()
    left, counts = len(tile.columns), []
    for units in reads:
        counts.append((min(left, array.weights_per_group) * array.columns_per_weight,) * units)
        left -= array.weights_per_group
    return tuple(counts)


def _check(placement: Placement, weight: NDArray[np.int64] | None, slicing: Slicing | None) -> None:
    name, array = placement.mapping.geometry.name, placement.mapping.array
    if weight is None:
        rule = "which bit slices are empty follows from the weights"
        raise MappingError("skip 'slice' without weights", rule, name, "Give a checkpoint, or use skip 'ou'")
    if slicing is None:
        rule = "which bit slices are empty follows from trained weights, the encoding and the bits of a cell"
        raise MappingError("skip 'slice' without a chip", rule, name, "Use pimsim run or compare, or skip 'ou'")
    if offset(slicing.encoding, slicing.weight_bits):
        raise MappingError(
            f"skip 'slice' with the encoding '{slicing.encoding}'",
            "there a zero weight is half of full scale, so that no bit slice is empty",
            name,
            "Use --set tile.macro.crossbar.encoding=differential or twos-complement, or skip 'ou'",
        )
    needed = columns_per_weight(slicing.encoding, slicing.weight_bits, slicing.cell_bits)
    if needed != array.columns_per_weight:
        given = f"weights of {array.columns_per_weight} columns with the encoding '{slicing.encoding}'"
        raise MappingError(given, f"{slicing.weight_bits} bits in cells of {slicing.cell_bits} take {needed}", name)
    if array.active_columns < needed:
        raise MappingError(
            f"skip 'slice' on operation units of {array.active_columns} columns",
            f"a weight of {needed} columns takes several of them, which are read one after another",
            name,
            f"Use --set tile.macro.crossbar.active_columns={needed} or more, or skip 'ou'",
        )
