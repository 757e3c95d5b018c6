"""Operation units that repeat others: equal weights after division by their largest common power of two.

Arrays of one block that hold the same rows are looked at together: of operation units in the same row block with the
same *odd* weights (each weight column divided by its largest common power of two) one is read, and its result is
shifted for the others. Units without a nonzero weight are left out. What is stored are the odd weights, so that every
shift is to the left and exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pimsim.mapping.units import rows_per_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pimsim.mapping.arrays import Rows

#: The source of an operation unit without a nonzero weight.
NOTHING = -1


@dataclass(frozen=True, eq=False)
class Repeats:
    """The operation units of arrays that hold the same rows, and which of them are read.

    Attributes:
        row_block: row block of each row, int64 (R,), 0 to B - 1: the rows of one operation unit.
        marks: rows with a nonzero weight in each column group, bool (R, G) over the column groups of all arrays.
        source: column group whose result is taken, int64 (B, G): its own where it is read, `NOTHING` where all is zero.
        shift: binary places by which the odd weights of each weight column are shifted, int64 (B, G, weights of a
            group); 0 where there is no column.
        group_array: array of each column group, int64 (G,).
    """

    row_block: NDArray[np.int64]
    marks: NDArray[np.bool_]
    source: NDArray[np.int64]
    shift: NDArray[np.int64]
    group_array: NDArray[np.int64]

    def groups(self, array: int) -> NDArray[np.intp]:
        """The column groups of one array."""
        return np.flatnonzero(self.group_array == array)

    def column_shift(self, array: int, columns: int) -> NDArray[np.int64]:
        """`shift` of the weight columns of one array, (B, C)."""
        own: NDArray[np.int64] = self.shift[:, self.groups(array)].reshape(len(self.shift), -1)[:, :columns]
        return own

    @cached_property
    def is_read(self) -> NDArray[np.bool_]:
        """Operation units that are read, (B, G)."""
        return np.asarray(self.source == np.arange(self.source.shape[1]), dtype=np.bool_)

    @cached_property
    def is_copy(self) -> NDArray[np.bool_]:
        """Operation units whose result is that of another, (B, G)."""
        return np.asarray((self.source != NOTHING) & ~self.is_read, dtype=np.bool_)

    @cached_property
    def is_shifted(self) -> NDArray[np.bool_]:
        """Copies of which a weight column is shifted otherwise than that of the source, (B, G)."""
        sources = np.take_along_axis(self.shift, np.maximum(self.source, 0)[:, :, None], axis=1)
        return np.asarray(self.is_copy & (sources != self.shift).any(axis=2), dtype=np.bool_)

    @property
    def units_read(self) -> int:
        """Operation units that are read for one window and input step."""
        return int(np.count_nonzero(self.is_read))


def find_repeats(arrays: Sequence[NDArray[np.int64]], row_block: NDArray[np.int64], weights_per_group: int) -> Repeats:
    """The repeats of arrays that hold the same rows.

    Of equal units that of the array with the fewest reads so far is read, the first of those: arrays work side by
    side, and the busiest one sets the time. Classes with the fewest arrays to choose from choose first.

    Args:
        arrays: the integer weights in the cells of each array, (R, C) each, idle cells 0.
        row_block: row block of each row, 0 to B - 1.
        weights_per_group: weight columns of a column group.
    """
    parts = [_padded(values, weights_per_group) for values in arrays]
    weights, group_array = np.concatenate(parts, axis=1), _arrays_of(parts, weights_per_group)
    shift = common_shift(weights, row_block)
    odd = weights >> shift[row_block]
    groups = len(group_array)
    nonzero = (weights != 0).reshape(len(weights), groups, weights_per_group).any(axis=2)
    labels = np.stack([_labels(odd[row_block == b], groups) for b in range(len(shift))])
    some = rows_per_unit(nonzero, row_block) > 0
    source = _sources(np.where(some, labels, NOTHING), group_array, len(arrays))
    return Repeats(row_block, nonzero, source, shift.reshape(len(shift), groups, weights_per_group), group_array)


def common_shift(weights: NDArray[np.int64], row_block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Largest power of two that divides each weight column in each row block, as an exponent, int64 (B, C)."""
    bits = np.zeros((int(row_block.max(initial=-1)) + 1, weights.shape[1]), dtype=np.int64)
    np.bitwise_or.at(bits, row_block, np.abs(weights))
    lowest = np.where(bits > 0, bits & -bits, 1)
    return np.asarray(np.log2(lowest).astype(np.int64))


@dataclass(frozen=True, eq=False)
class ArrayRepeats:
    """The part of one array in the repeats of all arrays that hold the same rows.

    Attributes:
        shared: the repeats; the same object for all these arrays.
        array: number of this array in it.
        rows: all rows that the arrays hold, driven or not; those of ``shared.row_block``.
    """

    shared: Repeats
    array: int
    rows: Rows

    @property
    def marks(self) -> NDArray[np.bool_]:
        """Rows that each column group of this array drives, bool (R, G): those of the units that it reads."""
        groups = self.shared.groups(self.array)
        is_read = self.shared.is_read[:, groups][self.shared.row_block]
        return np.asarray(self.shared.marks[:, groups] & is_read, dtype=np.bool_)

    def copied(self, widths: NDArray[np.int64]) -> int:
        """Results of a window that this array's columns take from other operation units.

        Args:
            widths: weight columns of each column group of this array, int64 (G,).
        """
        return int((self.shared.is_copy[:, self.shared.groups(self.array)] @ widths).sum())

    def partial_sums(self, widths: NDArray[np.int64]) -> int:
        """Results of a window that go through the output register because of copies.

        The array writes each unit of its own that has copies once, and reads one result for each of its copies; both
        take twice the room where a copy is shifted (`pruning-blocks.md` 3.6, similar reuse).
        """
        groups, shared = self.shared.groups(self.array), self.shared
        read = shared.is_copy[:, groups].astype(np.int64) + shared.is_shifted[:, groups]
        written = np.zeros(shared.source.shape, dtype=np.int64)
        for copies in (shared.is_copy, shared.is_shifted):
            block, group = np.nonzero(copies)
            has = np.zeros(shared.source.shape, dtype=np.int64)
            has[block, shared.source[block, group]] = 1
            written += has
        return int(((read + written[:, groups]) @ widths).sum())


def stored_bits(weights: NDArray[np.int64], row_block: NDArray[np.int64]) -> int:
    """Bits of a two's complement word that holds every odd weight, at least 2."""
    odd = weights >> common_shift(weights, row_block)[row_block]
    return max(2, int(odd.max(initial=0)).bit_length() + 1, (-1 - int(odd.min(initial=0))).bit_length() + 1)


def channel_blocks(channel: NDArray[np.integer], group: int) -> NDArray[np.int64]:
    """Row blocks of ``group`` neighbouring input channels each, counted from 0; a cut channel group is two blocks."""
    return np.asarray(np.unique(channel // group, return_inverse=True)[1], dtype=np.int64)


def even_blocks(rows: int, active_rows: int) -> NDArray[np.int64]:
    """Row blocks of h rows each, as they lie in the array."""
    return np.arange(rows, dtype=np.int64) // active_rows


def split_blocks(row_block: NDArray[np.int64], marks: NDArray[np.bool_], active_rows: int) -> NDArray[np.int64]:
    """Row blocks of which no column group of ``marks`` (R, G) uses more than h rows: the others cut every h rows."""
    too_many = rows_per_unit(marks, row_block).max(axis=1, initial=0) > active_rows
    order = np.argsort(row_block, kind="stable")
    first = np.searchsorted(row_block[order], np.arange(len(too_many)))
    place = np.empty_like(row_block)  # of each row within its block
    place[order] = np.arange(len(row_block)) - first[row_block[order]]
    part = np.where(too_many[row_block], place // active_rows, 0)
    return np.unique(row_block * len(row_block) + part, return_inverse=True)[1].astype(np.int64)


def group_sizes(channels: int) -> Iterator[int]:
    """Channels of a channel group that are tried: powers of two up to all of them."""
    size = 1
    while size <= channels:
        yield size
        size *= 2


def _padded(values: NDArray[np.int64], weights: int) -> NDArray[np.int64]:
    return np.pad(values, ((0, 0), (0, -values.shape[1] % weights)))


def _arrays_of(parts: Sequence[NDArray[np.int64]], weights: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(parts)), [part.shape[1] // weights for part in parts]).astype(np.int64)


def _labels(odd: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """A number for the odd weights of each column group in one row block, equal for equal ones, (G,)."""
    units = np.moveaxis(odd.reshape(len(odd), groups, -1), 1, 0).reshape(groups, -1)
    return np.unique(units, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _sources(labels: NDArray[np.int64], group_array: NDArray[np.int64], arrays: int) -> NDArray[np.int64]:
    """The column group that is read for each operation unit, (B, G), from the class of each."""
    source = np.full(labels.shape, NOTHING, dtype=np.int64)
    reads = np.zeros(arrays, dtype=np.int64)
    classes = [
        (block, members)
        for block, row in enumerate(labels)
        for members in (np.flatnonzero(row == label) for label in np.unique(row[row != NOTHING]))
    ]
    for block, members in sorted(classes, key=lambda one: len(np.unique(group_array[one[1]]))):
        chosen = members[reads[group_array[members]].argmin()]
        reads[group_array[chosen]] += 1
        source[block, members] = chosen
    for array in range(arrays):
        _read_one(source, group_array == array)
    return source


def _read_one(source: NDArray[np.int64], own: NDArray[np.bool_]) -> None:
    """An array whose units would all be copies reads the first of them itself: it exists, so that it must work."""
    used = np.argwhere((source != NOTHING) & own)
    if len(used) and not any(source[block, group] == group for block, group in used):
        block, group = used[0]
        source[block, group] = group
