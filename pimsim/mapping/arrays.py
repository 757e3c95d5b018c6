"""Array programmings: the shape of an array, its rows and weight columns, and the tile that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import MappingError
from pimsim.mapping.repeats import ArrayRepeats
from pimsim.mapping.units import GroupRows, Heights, closed_up, units_per_group, weights_per_group
from pimsim.network.layers import Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ArrayShape:
    """Rows and columns of one crossbar array, and the physical columns that one weight takes.

    ``columns_per_weight`` counts slices and signs (2 for a 4-bit weight in 2-bit cells). ``unit`` is the operation unit
    (h rows, u physical columns) that one read drives and converts; None: the whole array.

    Raises:
        MappingError: a size below one, an array with fewer columns than one weight needs, or an operation unit that
            is larger than the array.
    """

    rows: int
    columns: int
    columns_per_weight: int = 1
    unit: Pair | None = None

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.columns_per_weight) < 1:
            given = f"array {self.rows}x{self.columns} with {self.columns_per_weight} columns per weight"
            raise MappingError(given, "rows, columns and columns per weight must be at least 1")
        if self.columns_per_weight > self.columns:
            raise MappingError(
                f"{self.columns_per_weight} columns per weight on an array of {self.columns} columns",
                "an array must be wide enough for one weight",
                fix="Use a wider array, fewer weight bits or more bits per cell",
            )
        if self.unit is not None and not (1 <= self.unit[0] <= self.rows and 1 <= self.unit[1] <= self.columns):
            raise MappingError(
                f"an operation unit of {self.unit[0]}x{self.unit[1]}",
                f"it must have a row and a column at least, and fit the array of {self.rows}x{self.columns}",
                fix="Use a smaller operation unit",
            )

    @property
    def weight_columns(self) -> int:
        """Whole weights that fit side by side: ACe of the papers."""
        return self.columns // self.columns_per_weight

    @property
    def active_rows(self) -> int:
        """Rows of an operation unit, h."""
        return self.unit[0] if self.unit else self.rows

    @property
    def active_columns(self) -> int:
        """Physical columns of an operation unit, u."""
        return self.unit[1] if self.unit else self.columns

    @property
    def weights_per_group(self) -> int:
        """Weight columns of a column group."""
        return weights_per_group(self.active_columns, self.columns_per_weight)

    @property
    def units_per_group(self) -> int:
        """Operation units side by side in a column group."""
        return units_per_group(self.active_columns, self.columns_per_weight)


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
        return self is other or (
            isinstance(other, Rows)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("channel", "y", "x"))
        )

    def __hash__(self) -> int:
        return hash((self.channel.tobytes(), self.y.tobytes(), self.x.tobytes()))

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
        return self is other or (
            isinstance(other, Columns)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("output", "a", "b"))
        )

    def __hash__(self) -> int:
        return hash((self.output.tobytes(), self.a.tobytes(), self.b.tobytes()))

    def take(self, which: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Columns:
        """The columns of a slice or of an index, in order."""
        return Columns(self.output[which], self.a[which], self.b[which])


@dataclass(frozen=True)
class ArrayTile:
    """One array programming: its rows, its weight columns, and where it stands in the layer.

    In the dense layout tiles with the same ``block`` and ``column_tile`` add up to the same outputs, and tiles
    with the same ``block`` and ``row_tile`` read the same inputs; what is left after skipping says so by its
    ``columns`` and ``rows`` alone. A block is one group of a grouped convolution, or several groups packed
    block-diagonally. ``kept`` says which of the rows each column group drives; None: every group drives all of them.
    ``repeats`` says which operation units take their results from others; None: none of them. ``converted`` says how
    many physical columns each operation unit of each column group converts; None: all that it has.
    """

    block: int
    row_tile: int
    column_tile: int
    rows: Rows
    columns: Columns
    kept: GroupRows | None = None
    repeats: ArrayRepeats | None = None
    converted: tuple[tuple[int, ...], ...] | None = None

    def group_rows(self, weights: int) -> NDArray[np.int64]:
        """Rows that each column group of ``weights`` weight columns drives, int64 (G,).

        Raises:
            MappingError: the tile was made for column groups of another width.
        """
        if self.kept is None:
            return np.full(-(-len(self.columns) // weights), len(self.rows), dtype=np.int64)
        if self.kept.weights != weights:
            raise MappingError(
                f"column groups of {self.kept.weights} weights",
                f"the operation unit of the crossbar holds {weights}",
                fix="Place the layer on arrays with the operation unit of this crossbar",
            )
        return self.kept.rows

    def group_units(self, weights: int, active_rows: int) -> tuple[Heights, ...]:
        """Operation units that each column group reads, one above the other. Raises `MappingError`."""
        groups = len(self.group_rows(weights))
        if self.kept is None:
            return (closed_up(len(self.rows), active_rows),) * groups
        return self.kept.units(active_rows)

    def group_reads(self, weights: int, active_rows: int) -> NDArray[np.int64]:
        """How many units those are, int64 (G,)."""
        units = self.group_units(weights, active_rows)
        return np.array([sum(count for count, _ in heights) for heights in units], dtype=np.int64)

    @property
    def rows_used(self) -> int:
        """Physical rows that hold a weight: those of the fullest column group where the groups close up."""
        return len(self.rows) if self.kept is None or not self.kept.compact else int(self.kept.rows.max(initial=0))

    def parts(self) -> list[ArrayTile]:
        """The tile as tiles whose columns all drive the same rows, side by side; itself where they all do."""
        if self.kept is None:
            return [self]
        patterns, pattern = np.unique(self.kept.marks, axis=1, return_inverse=True)
        of_column = np.repeat(pattern.reshape(-1), self.kept.weights)[: len(self.columns)]
        return [
            ArrayTile(
                self.block, self.row_tile, self.column_tile, self.rows.take(marks), self.columns.take(of_column == i)
            )
            for i, marks in enumerate(patterns.T)
            if marks.any()
        ]
