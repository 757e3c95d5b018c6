"""SDK: shifted and duplicated kernels in a square window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from math import prod
from typing import ClassVar

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.layout import Mapping
from pimsim.mapping.options import options_of
from pimsim.mapping.tiling import check_choice, check_groups, cut, lay_out, tiles_needed, window_count
from pimsim.network.layers import Geometry, Pair


@dataclass(frozen=True)
class Sdk:
    """The SDK mapper: a square window with all channels, rows cut anywhere.

    Published rule: the array tiles of im2col are the budget; the window grows by one output position a side while all
    channels and all shifted kernels still fit that budget. Fewer windows on as many arrays never cost more
    cycles, so the last window that fits is the best (ties go to the larger window).

    Windows of a layer with output phases hold whole blocks of them, as many on each side, and columns are cut anywhere.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array;
            the number of blocks is part of the budget).
        search: ``published``, or ``free``: the square window of fewest cycles whatever arrays it needs, columns
            cut anywhere too, ties to the larger window (KERNTROL's "SDK_a").

    Reference:
        `mapping.md` 1.4 with the taps of 1.8; djwhsdj/VW-SDK.
    """

    name: ClassVar[str] = "sdk"
    groups: str = "serial"
    search: str = "published"

    def __post_init__(self) -> None:
        check_groups(self.groups)
        check_choice("search", self.search, ("published", "free"), "unknown search")

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with the square window of the search."""
        free = self.search == "free"
        side = self._cheapest_side(geometry, array) if free else self._largest_side(geometry, array)
        outputs = _square(geometry, side)
        ic, oc = geometry.group_channels
        tiling = cut(geometry, array, outputs, whole_channels=False, groups=self.groups)
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=outputs,
            ic_tile=ic,
            oc_tile=min(array.weight_columns // prod(outputs), oc),
            tiles=lay_out(geometry, replace(tiling, split_outputs=free or geometry.kernels > 1)),
            options=options_of(self),
        )

    def _largest_side(self, geometry: Geometry, array: ArrayShape) -> int:
        """Output positions (or blocks) a side of the largest window within the arrays of im2col."""
        budget = self._tiles(geometry, array, 1)
        return max(takewhile(lambda n: self._within(budget, self._tiles(geometry, array, n)), _sides(geometry)))

    def _cheapest_side(self, geometry: Geometry, array: ArrayShape) -> int:
        """Output positions (or blocks) a side of the window of fewest cycles, the larger of equal ones."""

        def cost(side: int) -> tuple[int, int]:
            windows = window_count(geometry, _square(geometry, side))
            return windows * prod(self._tiles(geometry, array, side)), -side

        return min(_sides(geometry), key=cost)

    def _tiles(self, geometry: Geometry, array: ArrayShape, side: int) -> tuple[int, int, int]:
        """Blocks, row tiles and column tiles that a window needs."""
        return tiles_needed(geometry, array, _square(geometry, side), self.groups)

    @staticmethod
    def _within(budget: tuple[int, int, int], need: tuple[int, int, int]) -> bool:
        return all(n <= b for n, b in zip(need, budget, strict=True))


def _square(geometry: Geometry, side: int) -> Pair:
    """A window of ``side`` outputs a side, or of as many blocks of phases."""
    return side * geometry.phases[0], side * geometry.phases[1]


def _sides(geometry: Geometry) -> range:
    """Sides of square windows that are not larger than the output map, the last block of phases filled up."""
    return range(1, min(-(-o // n) for o, n in zip(geometry.output_size, geometry.phases, strict=True)) + 1)
