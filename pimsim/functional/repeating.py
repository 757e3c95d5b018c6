"""Arrays whose operation units take results from others: what is stored and read, and where results go again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import QuantizationError
from pimsim.functional.programming import ProgrammedRows, join_programmed, program_tiles, stored_rows
from pimsim.hardware.records import Crossbar
from pimsim.mapping.arrays import ArrayTile, Columns, Rows
from pimsim.mapping.layout import Mapping
from pimsim.mapping.repeats import Repeats

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Units:
    """Operation units with the same rows: the columns whose results they give.

    Attributes:
        block: block of the mapping.
        rows: driven rows, at most h.
        columns: weight columns that get the results.
        odd: weights in the cells, of the units that are read, (R, C).
        shift: binary places by which the result of each column is shifted, (C,).
    """

    block: int
    rows: Rows
    columns: Columns
    odd: NDArray[np.int64]
    shift: NDArray[np.int64]


def program_arrays(
    mapping: Mapping, tiles: tuple[ArrayTile, ...], weight: NDArray[np.int64], bits: int, crossbar: Crossbar
) -> tuple[ProgrammedRows, ...]:
    """What is stored in the arrays of any placement: `program_tiles`, or `program_reads` where results are reused.

    Raises:
        ConfigError: an unknown encoding.
        QuantizationError: weights that the encoding cannot hold, with the name of the layer.
    """
    program = program_tiles if all(tile.repeats is None for tile in tiles) else program_reads
    try:
        return program(mapping, tiles, weight, bits, crossbar)
    except QuantizationError as error:
        raise QuantizationError(error.given, error.rule, mapping.geometry.name, error.fix) from error


def program_reads(
    mapping: Mapping, tiles: tuple[ArrayTile, ...], weight: NDArray[np.int64], bits: int, crossbar: Crossbar
) -> tuple[ProgrammedRows, ...]:
    """The operation units that are read, as programmed, with their own columns.

    Args:
        mapping: the dense layout of the placement.
        tiles: arrays of a placement with ``repeat``.
        weight: integers (OC, IC / groups, K_h, K_w).
        bits: bits of a weight in the cells.
        crossbar: cell bits and encoding.

    Raises:
        QuantizationError: a weight that does not fit these bits when its largest common power of two is divided out.
    """
    units = (unit for tile in tiles for unit in _units(mapping, {0: tile}, tile, weight, copies=False))
    return _programmed(units, bits, crossbar)


def program_copies(
    mapping: Mapping, tiles: tuple[ArrayTile, ...], weight: NDArray[np.int64], bits: int, crossbar: Crossbar
) -> tuple[ProgrammedRows, ...]:
    """The same units once more, with the columns that take over their results; nothing of this is stored again."""
    sets: dict[int, dict[int, ArrayTile]] = {}
    for tile in tiles:
        assert tile.repeats is not None
        sets.setdefault(id(tile.repeats.shared), {})[tile.repeats.array] = tile
    units = (
        unit
        for together in sets.values()
        for tile in together.values()
        for unit in _units(mapping, together, tile, weight, copies=True)
    )
    return _programmed(units, bits, crossbar)


def _units(
    mapping: Mapping, together: dict[int, ArrayTile], tile: ArrayTile, weight: NDArray[np.int64], *, copies: bool
) -> Iterator[Units]:
    """The units whose results one array's columns get, by row block and driven rows."""
    assert tile.repeats is not None and tile.kept is not None
    own, weights = tile.repeats, tile.kept.weights
    shared, groups = own.shared, own.shared.groups(own.array)
    odd = _odd_weights(mapping, together if copies else {own.array: tile}, weight, weights)
    columns = np.arange(len(tile.columns))
    shift = shared.column_shift(own.array, len(tile.columns))
    for block in range(len(shared.source)):
        chosen = (shared.is_copy if copies else shared.is_read)[block, groups]
        rows = np.flatnonzero(shared.row_block == block)
        sources = shared.source[block, groups]
        marks = shared.marks[np.ix_(rows, np.where(chosen, sources, 0))]
        for pattern in np.unique(marks[:, chosen], axis=1).T:
            same = chosen & (marks == pattern[:, None]).all(axis=0)
            which = columns[np.repeat(same, weights)[: len(columns)]]
            # The cells are those of the source, whatever this array's own weights are.
            cells = np.concatenate([odd[source] for source in sources[same]], axis=1)[rows[pattern]]
            yield Units(
                tile.block,
                own.rows.take(rows[pattern]),
                tile.columns.take(which),
                cells[:, : len(which)],
                shift[block, which],
            )


def _odd_weights(
    mapping: Mapping, together: dict[int, ArrayTile], weight: NDArray[np.int64], weights: int
) -> dict[int, NDArray[np.int64]]:
    """The odd weights of each column group of some arrays, (R, weights of a group), by its number."""
    found: dict[int, NDArray[np.int64]] = {}
    for tile in together.values():
        assert tile.repeats is not None
        shared: Repeats = tile.repeats.shared
        dense = ArrayTile(tile.block, tile.row_tile, tile.column_tile, tile.repeats.rows, tile.columns)
        cells = mapping.cell_weights(dense, weight)
        shift = shared.column_shift(tile.repeats.array, cells.shape[1])
        odd = np.pad(cells >> shift[shared.row_block], ((0, 0), (0, -cells.shape[1] % weights)))
        for i, group in enumerate(shared.groups(tile.repeats.array)):
            found[int(group)] = odd[:, i * weights : (i + 1) * weights]
    return found


def _programmed(units: Iterator[Units], bits: int, crossbar: Crossbar) -> tuple[ProgrammedRows, ...]:
    """Units of the same rows side by side."""
    together: dict[tuple[int, Rows], list[ProgrammedRows]] = {}
    for unit in units:
        starts = np.array([0, len(unit.rows)], dtype=np.int64)
        stored = stored_rows(unit.block, unit.rows, unit.columns, starts, unit.odd, bits, crossbar)
        together.setdefault((unit.block, unit.rows), []).append(_shifted(stored, unit.shift))
    return tuple(join_programmed(parts) for parts in together.values())


def _shifted(stored: ProgrammedRows, shift: NDArray[np.int64]) -> ProgrammedRows:
    """The same cells with every result of a column shifted to the left."""
    return ProgrammedRows(
        stored.block, stored.rows, stored.columns, stored.starts, stored.cells,
        stored.gain << shift, stored.correction << shift,
    )  # fmt: skip
