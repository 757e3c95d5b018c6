"""SDK: shifted and duplicated kernels in a square window, as long as no extra array is needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar

from pimsim.mapping.layout import ArrayShape, Mapping
from pimsim.mapping.tiling import check_groups, cut, lay_out, packed_groups, rows_per_channel
from pimsim.network.layers import Geometry, Pair


@dataclass(frozen=True)
class Sdk:
    """The SDK mapper with the published square-window rule.

    The array tiles of im2col are the budget; the window grows by one output position a side while all
    channels and all shifted kernels still fit that budget. Fewer windows on as many arrays never cost more
    cycles, so the last window that fits is the best (ties go to the larger window). Rows are cut anywhere.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array;
            the number of blocks is part of the budget).

    Reference:
        `mapping.md` 1.4 with the taps of 1.8; djwhsdj/VW-SDK.
    """

    name: ClassVar[str] = "sdk"
    groups: str = "serial"

    def __post_init__(self) -> None:
        check_groups(self.groups)

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with the largest square window that needs no extra array."""
        side = self._largest_side(geometry, array)
        ic, oc = geometry.group_channels
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=(side, side),
            ic_tile=ic,
            oc_tile=min(array.weight_columns // side**2, oc),
            tiles=lay_out(geometry, cut(geometry, array, (side, side), whole_channels=False, groups=self.groups)),
            options=(("groups", self.groups),),
        )

    def _largest_side(self, geometry: Geometry, array: ArrayShape) -> int:
        """Output positions a side of the largest window within the arrays of im2col."""
        budget = self._tiles(geometry, array, (1, 1))
        sides = range(1, min(geometry.output_size) + 1)
        return max(takewhile(lambda n: self._within(budget, self._tiles(geometry, array, (n, n))), sides))

    def _tiles(self, geometry: Geometry, array: ArrayShape, outputs: Pair) -> tuple[int, int, int]:
        """Blocks, row tiles and column tiles that a window needs."""
        ic, oc = geometry.group_channels
        together = packed_groups(geometry, array, outputs) if self.groups == "packed" else 1
        rows = rows_per_channel(geometry, outputs) * ic * together
        columns = outputs[0] * outputs[1] * oc * together
        return -(-geometry.groups // together), -(-rows // array.rows), -(-columns // array.weight_columns)

    @staticmethod
    def _within(budget: tuple[int, int, int], need: tuple[int, int, int]) -> bool:
        return all(n <= b for n, b in zip(need, budget, strict=True))
