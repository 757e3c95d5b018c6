"""What is stored in the arrays: cell codes, inverted columns, and the digital terms that undo the encoding.

For row r of row group g, weight column c and slices s,

    weight[r, c] = sum over s of (gain[g, s, c] * cells[r, s, c]) + correction[g, c]

holds for every encoding. ``gain`` is the slice's factor, negated where the column is stored inverted, and where
the cells hold magnitudes (``polarised``) and the group's weights are negative;
``correction`` times the sum of the *driven* inputs of the group is what the digital side adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import QuantizationError
from pimsim.hardware.encodings import POLARISED, encode, inverted, offset, shared_signs, slices
from pimsim.hardware.records import Crossbar
from pimsim.mapping.arrays import ArrayTile, Columns, Rows
from pimsim.mapping.layout import Mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ProgrammedRows:
    """Arrays that are driven by the same rows, as programmed; their weight columns stand side by side.

    Attributes:
        block: block of the mapping.
        rows: driven rows, R of them.
        columns: weight columns of all these arrays, C of them.
        starts: first row of each row group (operation unit) and R at the end, (G + 1,).
        cells: stored codes, uint16 (R, q, C); an inverted column is stored inverted.
        gain: what the digital side multiplies a column sum by, int64 (G, q, C).
        correction: what it multiplies the sum of a group's inputs by, int64 (G, C).
    """

    block: int
    rows: Rows
    columns: Columns
    starts: NDArray[np.int64]
    cells: NDArray[np.uint16]
    gain: NDArray[np.int64]
    correction: NDArray[np.int64]

    @property
    def groups(self) -> int:
        """Row groups that are read one after another, ceil(R / h)."""
        return len(self.starts) - 1

    @cached_property
    def cell_sums(self) -> NDArray[np.int64]:
        """Sum of the codes of each physical column over each row group, (G, q, C)."""
        return np.add.reduceat(self.cells.astype(np.int64), self.starts[:-1], axis=0)

    @cached_property
    def weights(self) -> NDArray[np.int64]:
        """The integer weights that the cells stand for, decoded from the stored codes, (R, C)."""
        group = np.repeat(np.arange(self.groups), np.diff(self.starts))
        analog = np.einsum("rsc,rsc->rc", self.cells.astype(np.int64), self.gain[group])
        return np.asarray(analog + self.correction[group], dtype=np.int64)

    def take(self, which: NDArray[np.bool_]) -> ProgrammedRows:
        """The same rows with only the weight columns of a mask (C,)."""
        kept = Columns(self.columns.output[which], self.columns.a[which], self.columns.b[which])
        return ProgrammedRows(
            self.block,
            self.rows,
            kept,
            self.starts,
            np.ascontiguousarray(self.cells[:, :, which]),
            np.ascontiguousarray(self.gain[:, :, which]),
            np.ascontiguousarray(self.correction[:, which]),
        )


def program_tiles(
    mapping: Mapping, tiles: tuple[ArrayTile, ...], weight: NDArray[np.int64], weight_bits: int, crossbar: Crossbar
) -> tuple[ProgrammedRows, ...]:
    """The tiles of a placement as programmed, columns with equal driven rows joined.

    Idle cells of a tile hold the code of the integer zero, never an empty cell.

    Args:
        mapping: the dense layout of the placement.
        tiles: the arrays in use with their driven rows.
        weight: integers of `Geometry.weight_shape`.
        weight_bits: bits of a weight.
        crossbar: gives cell bits, encoding and the rows of an operation unit.

    Raises:
        ConfigError: an unknown encoding.
        QuantizationError: a weight that does not fit its bits, or weights of both signs where one is shared.
    """
    together: dict[tuple[int, Rows], list[ArrayTile]] = {}
    for part in (part for tile in tiles for part in tile.parts()):
        together.setdefault((part.block, part.rows), []).append(part)
    return tuple(
        join_programmed([_program(mapping, tile, weight, weight_bits, crossbar) for tile in members])
        for members in together.values()
    )


def group_starts(rows: int, active_rows: int) -> NDArray[np.int64]:
    """First row of each group of driven rows, and the number of rows at the end."""
    return np.append(np.arange(0, rows, active_rows), rows).astype(np.int64)


def _program(
    mapping: Mapping, tile: ArrayTile, weight: NDArray[np.int64], weight_bits: int, crossbar: Crossbar
) -> ProgrammedRows:
    """One array tile as programmed."""
    starts = group_starts(len(tile.rows), crossbar.active_rows)
    cells = mapping.cell_weights(tile, weight)
    return stored_rows(tile.block, tile.rows, tile.columns, starts, cells, weight_bits, crossbar)


def stored_rows(
    block: int,
    rows: Rows,
    columns: Columns,
    starts: NDArray[np.int64],
    weights: NDArray[np.int64],
    weight_bits: int,
    crossbar: Crossbar,
) -> ProgrammedRows:
    """Integer weights (R, C) in the cells of some rows and columns; see `ProgrammedRows` for the others.

    Raises:
        ConfigError: an unknown encoding.
        QuantizationError: a weight that does not fit its bits, or weights of both signs where one is shared.
    """
    codes = encode(weights, crossbar.encoding, weight_bits, crossbar.cell_bits)
    codes = np.moveaxis(codes, 2, 1)
    factors = np.array([s.factor for s in slices(crossbar.encoding, weight_bits, crossbar.cell_bits)], dtype=np.int64)
    gain = np.broadcast_to(factors[None, :, None], (len(starts) - 1, *codes.shape[1:])).copy()
    correction = np.full((len(starts) - 1, codes.shape[2]), -offset(crossbar.encoding, weight_bits), dtype=np.int64)
    if crossbar.encoding == POLARISED:
        gain *= _signs(weights, starts, columns, crossbar)[:, None, :]
    if crossbar.encoding == "offset-inverted":
        codes, flags = _invert(codes, starts, crossbar.cell_bits)
        top = (1 << crossbar.cell_bits) - 1
        correction += top * np.where(flags, gain, 0).sum(axis=1)
        gain[flags] *= -1
    return ProgrammedRows(block, rows, columns, starts, codes.astype(np.uint16), gain, correction)


def _signs(
    weights: NDArray[np.int64], starts: NDArray[np.int64], columns: Columns, crossbar: Crossbar
) -> NDArray[np.int64]:
    """The sign of each row group and weight column (G, C). Raises `QuantizationError` where weights do not share it."""
    signs, mixed = shared_signs(weights, starts)
    if mixed.any():
        group, column = (int(axis[0]) for axis in np.nonzero(mixed))
        together = weights[slice(*starts[group : group + 2]), column]
        output = int(columns.output[column])
        given = f"weights {together.min()} and {together.max()} of output channel {output} in one operation unit"
        rule = f"with the encoding '{POLARISED}' the weights of a column that are read together share one sign"
        raise QuantizationError(given, rule, None, _polarising(min(crossbar.active_rows, crossbar.rows), crossbar.rows))
    return signs


def _polarising(height: int, rows: int) -> str:
    return (
        f"Prune with --method forms --fragment {height} for arrays of {rows} rows, map with im2col, and use skip none, "
        "or ou with compact false, so that rows keep their places"
    )


def _invert(
    codes: NDArray[np.int64], starts: NDArray[np.int64], cell_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Cells (R, q, C) with heavy columns inverted group by group, and the flags (G, q, C).

    Each row group is read and converted on its own, so each has its own flag: only then does inversion
    save an ADC bit in every operation unit.
    """
    stored, flags = codes.copy(), []
    for first, last in pairwise(starts):
        part = codes[first:last].reshape(last - first, -1)
        kept, flipped = inverted(part, cell_bits)
        stored[first:last] = kept.reshape(last - first, *codes.shape[1:])
        flags.append(flipped.reshape(codes.shape[1:]))
    return stored, np.stack(flags)


def join_programmed(parts: list[ProgrammedRows]) -> ProgrammedRows:
    """Arrays with equal rows side by side."""
    if len(parts) == 1:
        return parts[0]
    columns = Columns(
        *(np.concatenate([getattr(part.columns, axis) for part in parts]) for axis in ("output", "a", "b"))
    )
    return ProgrammedRows(
        parts[0].block,
        parts[0].rows,
        columns,
        parts[0].starts,
        np.concatenate([part.cells for part in parts], axis=2),
        np.concatenate([part.gain for part in parts], axis=2),
        np.concatenate([part.correction for part in parts], axis=1),
    )
