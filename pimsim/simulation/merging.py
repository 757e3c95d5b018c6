"""Which outputs the arrays of a layer add to: what is merged, finished and parked when some of them have worked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.mapping.arrays import ArrayTile, Columns
from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Hardware tile and macro of an array.
Place = tuple[int, int]


@dataclass(frozen=True)
class Merged:
    """What some arrays leave behind for a window.

    Attributes:
        merges: additions that join the sums of these arrays, and those parked before.
        joins: those of them that join macros, or what was parked.
        outputs: outputs that are finished.
        resumed: sums that were parked before and are read back.
        parked: sums that other arrays will go on with.
    """

    merges: int
    joins: int
    outputs: int
    resumed: int
    parked: int


class Accumulators:
    """How many arrays have added to each output of a window, and how many will.

    Two arrays add to the same output when a column of each has its number: nothing is assumed of how arrays
    are numbered, so that packed columns of several column tiles are counted as they are.
    """

    def __init__(self, placement: Placement) -> None:
        mapping = placement.mapping
        self._numbers = OutputNumbers(mapping)
        self._outputs = mapping.geometry.out_channels * mapping.outputs[0] * mapping.outputs[1]
        self._total = self._arrays_of(placement.tiles)
        self._done = np.zeros_like(self._total)

    def add(self, tiles: Sequence[ArrayTile], places: Sequence[Place]) -> Merged:
        """The next arrays, which work together on a window."""
        arrays, macros = self._arrays_of(tiles), self._macros_of(tiles, places)
        touched, resumed = arrays > 0, (arrays > 0) & (self._done > 0)
        self._done += arrays
        finished = touched & (self._done == self._total)
        outputs, again, finished_count = (int(np.count_nonzero(which)) for which in (touched, resumed, finished))
        return Merged(
            merges=int(arrays.sum()) - outputs + again,
            joins=int(macros.sum()) - outputs + again,
            outputs=finished_count,
            resumed=again,
            parked=outputs - finished_count,
        )

    def _arrays_of(self, tiles: Iterable[ArrayTile]) -> NDArray[np.int64]:
        """Arrays that add to each output, (outputs,)."""
        listed = list(tiles)
        columns = {id(tile.columns): tile.columns for tile in listed}
        arrays = np.zeros(self._outputs, dtype=np.int64)
        for key, count in Counter(id(tile.columns) for tile in listed).items():
            arrays[self._numbers.of(columns[key])] += count
        return arrays

    def _macros_of(self, tiles: Sequence[ArrayTile], places: Sequence[Place]) -> NDArray[np.int64]:
        """Macros that add to each output, (outputs,)."""
        together: dict[Place, dict[int, Columns]] = {}
        for tile, place in zip(tiles, places, strict=True):
            together.setdefault(place, {})[id(tile.columns)] = tile.columns
        macros = np.zeros(self._outputs, dtype=np.int64)
        for members in together.values():
            numbers = [self._numbers.of(columns) for columns in members.values()]
            macros[numbers[0] if len(numbers) == 1 else np.unique(np.concatenate(numbers))] += 1
        return macros


class OutputNumbers:
    """`Mapping.output_numbers` of columns that are asked for again and again."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._known: dict[int, tuple[Columns, NDArray[np.int64]]] = {}

    def of(self, columns: Columns) -> NDArray[np.int64]:
        """Numbers of the outputs, (C,)."""
        if id(columns) not in self._known:
            self._known[id(columns)] = columns, self._mapping.output_numbers(columns)
        return self._known[id(columns)][1]
