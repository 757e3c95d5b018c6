"""im2col: one output position at a time, the kernel unrolled down the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pimsim.mapping.layout import ArrayShape, Mapping
from pimsim.mapping.tiling import check_groups, cut, lay_out
from pimsim.network.layers import Geometry


@dataclass(frozen=True)
class Im2col:
    """The im2col mapper: row order c * K_h * K_w + k_y * K_w + k_x, row tiles cut anywhere.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array).

    Reference:
        `mapping.md` 1.2: CC = O_h O_w * ceil(K_h K_w IC / AR) * ceil(OC / ACe).
    """

    name: ClassVar[str] = "im2col"
    groups: str = "serial"

    def __post_init__(self) -> None:
        check_groups(self.groups)

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with one output position in each parallel window."""
        ic, oc = geometry.group_channels
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=(1, 1),
            ic_tile=ic,
            oc_tile=min(array.weight_columns, oc),
            tiles=lay_out(geometry, cut(geometry, array, (1, 1), whole_channels=False, groups=self.groups)),
            options=(("groups", self.groups),),
        )
