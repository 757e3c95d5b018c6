"""Operation units inside an array: its column groups, and the rows that each of them drives.

One read drives at most h rows and converts at most u physical columns (`hardware.md` 4.5). The columns of an array fall
into groups of whole weights; a weight that is wider than u is a group of its own, which takes several units side by
side that drive the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def weights_per_group(active_columns: int, columns_per_weight: int) -> int:
    """Weight columns of a column group: whole weights that u physical columns hold, at least one."""
    return max(1, active_columns // columns_per_weight)


def units_per_group(active_columns: int, columns_per_weight: int) -> int:
    """Operation units side by side in a column group: 1, or ceil(q / u) where a weight is wider than a unit."""
    return -(-columns_per_weight // active_columns) if active_columns < columns_per_weight else 1


def group_widths(weight_columns: int, weights: int) -> NDArray[np.int64]:
    """Weight columns in each group of ``weights``, int64 (G,); the last holds what is left."""
    starts = np.arange(0, weight_columns, weights)
    return np.minimum(weights, weight_columns - starts).astype(np.int64)


#: Operation units one above the other as runs of equal ones: (how many, rows that each drives).
Heights = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class GroupRows:
    """Which rows of an array tile each of its column groups drives.

    Attributes:
        marks: bool (R, G); every row is driven by a group at least.
        weights: weight columns of a group.
        compact: whether the rows of a group close up to full operation units; otherwise they keep their places in the
            array, and whole units are left out.
        row_block: row block of each row, int64 (R,): rows of one block are one operation unit of a group, which other
            rows do not fill up; None where units hold whatever rows come next.
    """

    marks: NDArray[np.bool_]
    weights: int
    compact: bool = True
    row_block: NDArray[np.int64] | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, GroupRows)
            and (self.weights, self.compact) == (other.weights, other.compact)
            and np.array_equal(self.marks, other.marks)
            and _same(self.row_block, other.row_block)
        )

    def __hash__(self) -> int:
        return hash((self.weights, self.compact, self.marks.shape, self.marks.tobytes()))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of each group, int64 (G,)."""
        return np.asarray(np.count_nonzero(self.marks, axis=0), dtype=np.int64)

    def units(self, active_rows: int) -> tuple[Heights, ...]:
        """Operation units of each group, in order."""
        if self.row_block is None:
            return tuple(closed_up(rows, active_rows) for rows in self.rows.tolist())
        heights = rows_per_unit(self.marks, self.row_block).T.tolist()
        return tuple(
            tuple((len(list(run)), rows) for rows, run in groupby(rows for rows in group if rows)) for group in heights
        )


def closed_up(rows: int, active_rows: int) -> Heights:
    """Rows in units of h: the full ones, and what is left."""
    full, rest = divmod(rows, active_rows)
    return ((full, active_rows),) * (full > 0) + ((1, rest),) * (rest > 0)


def rows_per_unit(marks: NDArray[np.bool_], row_block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Marked rows of each group in each row block, int64 (B, G)."""
    rows = np.zeros((int(row_block.max(initial=-1)) + 1, marks.shape[1]), dtype=np.int64)
    np.add.at(rows, row_block, marks)
    return rows


def _same(first: NDArray[np.int64] | None, second: NDArray[np.int64] | None) -> bool:
    return first is second or (first is not None and second is not None and np.array_equal(first, second))


def whole_units(marks: NDArray[np.bool_], active_rows: int) -> NDArray[np.bool_]:
    """Marks (R, G) widened to every row of each h-aligned operation unit that has one."""
    starts = np.arange(0, len(marks), active_rows)
    units = np.logical_or.reduceat(marks, starts, axis=0)
    return np.asarray(np.repeat(units, np.diff(np.append(starts, len(marks))), axis=0), dtype=np.bool_)
