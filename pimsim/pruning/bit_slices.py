"""Bit slices of fragments that are made empty: the nearest codes that do without the least important slices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import PruningError
from pimsim.pruning.pim_prune import kept_segments

if TYPE_CHECKING:
    from numpy.typing import NDArray

# All subsets of the slices are looked at.
_MOST_SLICES = 8


@dataclass(frozen=True)
class SliceGrid:
    """The bit slices of integer weights, and the fragments that a slice is empty in.

    Attributes:
        weight_bits: bits of a weight; magnitudes have one less.
        cell_bits: bits of a slice.
        fragment: rows of a fragment, neighbours in one column.
        array_rows: rows of an array; fragments start anew with every array.

    Raises:
        PruningError: a number below one, or more slices than 8.
    """

    weight_bits: int
    cell_bits: int
    fragment: int
    array_rows: int

    def __post_init__(self) -> None:
        for name in ("cell_bits", "fragment", "array_rows"):
            if getattr(self, name) < 1:
                raise PruningError(f"{name}={getattr(self, name)}", "1 or more is needed")
        if len(self.shifts) > _MOST_SLICES:
            rule = f"{self.weight_bits} bits in cells of {self.cell_bits} are more than {_MOST_SLICES} slices"
            raise PruningError(f"cell_bits={self.cell_bits}", rule, fix="Use more bits a cell")

    @cached_property
    def shifts(self) -> tuple[int, ...]:
        """Lowest bit of each slice that a magnitude up to 2**(w - 1) - 1 can fill, least significant first."""
        return tuple(range(0, max(1, self.weight_bits - 1), self.cell_bits))

    @cached_property
    def nearest(self) -> NDArray[np.int64]:
        """The nearest magnitude without the slices of each subset, int64 (subsets, magnitudes); of two the smaller.

        Subset n leaves out the slices of the bits of n.
        """
        magnitudes = np.arange(1 << (self.weight_bits - 1))
        slices = np.stack([(magnitudes >> s) & ((1 << self.cell_bits) - 1) for s in self.shifts])
        table = []
        for subset in range(1 << len(self.shifts)):
            gone = [bool(subset >> i & 1) for i in range(len(self.shifts))]
            allowed = magnitudes[~slices[gone].any(axis=0)]
            table.append(allowed[np.abs(magnitudes[:, None] - allowed[None, :]).argmin(axis=1)])
        return np.stack(table)

    def starts(self, rows: int) -> NDArray[np.int64]:
        """First row of each fragment."""
        arrays = range(0, rows, self.array_rows)
        return np.concatenate([np.arange(a, min(a + self.array_rows, rows), self.fragment) for a in arrays])

    def project(self, codes: NDArray[np.int64], steps: NDArray[np.float64], keep: float) -> NDArray[np.int64]:
        """The nearest codes of which a share ``keep`` of the (fragment, slice) pairs may hold a bit.

        Fragments lose their slices one by one, in every fragment the subset with the least squared error for its
        number; those go first, over all fragments, that add least error.

        Args:
            codes: integer weights (H, M), rows as they lie in arrays.
            steps: what one code stands for in each column, (M,).
            keep: share from 0 to 1, rounded to the nearest number of pairs.
        """
        starts = self.starts(len(codes))
        errors = self._errors(np.abs(codes), steps, starts)
        # The best subset of each size; more slices gone is never nearer.
        sizes = np.array([bin(subset).count("1") for subset in range(len(errors))])
        best = np.stack([np.where((sizes == n)[:, None, None], errors, np.inf).argmin(axis=0) for n in _sizes(self)])
        costs = np.take_along_axis(errors, best, axis=0)
        added = np.maximum.accumulate(np.diff(costs, axis=0), axis=0)
        gone = np.zeros(added.size, dtype=np.bool_)
        gone[np.argsort(added, axis=None, kind="stable")[: added.size - kept_segments(keep, added.size)]] = True
        number = np.count_nonzero(gone.reshape(added.shape), axis=0)
        subset = np.take_along_axis(best, number[None], axis=0)[0]
        of_row = np.repeat(subset, np.diff(np.append(starts, len(codes))), axis=0)
        return np.asarray(np.sign(codes) * self.nearest[of_row, np.abs(codes)], dtype=np.int64)

    def _errors(
        self, magnitudes: NDArray[np.int64], steps: NDArray[np.float64], starts: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Squared error of each subset in each fragment, (subsets, fragments, M)."""
        distances = (self.nearest - self.nearest[0]) ** 2
        each = [np.add.reduceat(distance[magnitudes], starts, axis=0) * steps**2 for distance in distances]
        return np.stack(each)


def _sizes(grid: SliceGrid) -> range:
    return range(len(grid.shifts) + 1)
