"""SDK: shifted and duplicated kernels in a square window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from math import prod
from typing import ClassVar

from pimsim.mapping.layout import ArrayShape, Mapping
from pimsim.mapping.options import options_of
from pimsim.mapping.tiling import check_choice, check_groups, cut, lay_out, tiles_needed, window_count
from pimsim.network.layers import Geometry


@dataclass(frozen=True)
class Sdk:
    """The SDK mapper: a square window with all channels, rows cut anywhere.

    Published rule: the array tiles of im2col are the budget; the window grows by one output position a side while all
    channels and all shifted kernels still fit that budget. Fewer windows on as many arrays never cost more
    cycles, so the last window that fits is the best (ties go to the larger window).

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
        ic, oc = geometry.group_channels
        tiling = cut(geometry, array, (side, side), whole_channels=False, groups=self.groups)
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=(side, side),
            ic_tile=ic,
            oc_tile=min(array.weight_columns // side**2, oc),
            tiles=lay_out(geometry, replace(tiling, split_outputs=free)),
            options=options_of(self),
        )

    def _largest_side(self, geometry: Geometry, array: ArrayShape) -> int:
        """Output positions a side of the largest window within the arrays of im2col."""
        budget = self._tiles(geometry, array, 1)
        sides = range(1, min(geometry.output_size) + 1)
        return max(takewhile(lambda n: self._within(budget, self._tiles(geometry, array, n)), sides))

    def _cheapest_side(self, geometry: Geometry, array: ArrayShape) -> int:
        """Output positions a side of the window of fewest cycles, the larger of equal ones."""

        def cost(side: int) -> tuple[int, int]:
            windows = window_count(geometry, (side, side))
            return windows * prod(self._tiles(geometry, array, side)), -side

        return min(range(1, min(geometry.output_size) + 1), key=cost)

    def _tiles(self, geometry: Geometry, array: ArrayShape, side: int) -> tuple[int, int, int]:
        """Blocks, row tiles and column tiles that a window needs."""
        return tiles_needed(geometry, array, (side, side), self.groups)

    @staticmethod
    def _within(budget: tuple[int, int, int], need: tuple[int, int, int]) -> bool:
        return all(n <= b for n, b in zip(need, budget, strict=True))
