"""im2col: one output position at a time, the kernel unrolled down the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.layout import Mapping
from pimsim.mapping.options import options_of
from pimsim.mapping.tiling import (
    check_channel_rows,
    check_choice,
    check_groups,
    cut,
    lay_out,
    rows_per_channel,
)
from pimsim.network.layers import Geometry


@dataclass(frozen=True)
class Im2col:
    """The im2col mapper: row order c * K_h * K_w + k_y * K_w + k_x.

    A layer with output phases has one block of them in each window: the im2col matrix of the strided convolution
    that computes all phases at once, with columns cut anywhere.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array).
        rows: row tiles end anywhere (``element``) or between channels (``channel``), as ConvMapSim counts.

    Reference:
        `mapping.md` 1.2: CC = O_h O_w * ceil(K_h K_w IC / AR) * ceil(OC / ACe); for ``channel``, the second factor
        is ceil(IC / floor(AR / (K_h K_w))).
    """

    name: ClassVar[str] = "im2col"
    groups: str = "serial"
    rows: str = "element"

    def __post_init__(self) -> None:
        check_groups(self.groups)
        check_choice("rows", self.rows, ("element", "channel"), "unknown granularity of rows")

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with one output position, or one block of phases, in each parallel window.

        Raises:
            MappingError: with whole channels, an array with fewer rows than one kernel of one channel.
        """
        whole = self.rows == "channel"
        if whole:
            check_channel_rows(geometry, array, "im2col by channels")
        ic, oc = geometry.group_channels
        outputs, split = geometry.phases, geometry.kernels > 1
        tiling = cut(geometry, array, outputs, whole_channels=whole, groups=self.groups)
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=outputs,
            ic_tile=min(ic, array.rows // rows_per_channel(geometry, outputs)) if whole else ic,
            oc_tile=min(array.weight_columns // geometry.kernels, oc),
            tiles=lay_out(geometry, replace(tiling, split_outputs=split)),
            options=options_of(self),
        )
