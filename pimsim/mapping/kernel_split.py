"""Kernel-split: every kernel position in arrays of its own, partial sums added outside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.layout import Mapping
from pimsim.mapping.options import options_of
from pimsim.mapping.tiling import check_groups, check_one_kernel, cut, lay_out
from pimsim.network.layers import Geometry


@dataclass(frozen=True)
class KernelSplit:
    """The kernel-split mapper, NeuroSim's "novel" mapping: K_h K_w matrices of IC x OC, one output at a time.

    All kernel positions work on the same window, so neighbouring arrays can pass inputs on instead of
    reading them again.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array).

    Reference:
        X. Peng, R. Liu, S. Yu, "Optimizing Weight Mapping and Data Flow for Convolutional Neural Networks on
        Processing-in-Memory Architectures", IEEE TCAS-I 67(4), 2020, doi 10.1109/TCSI.2019.2958568; NeuroSim.
        CC = O_h O_w * K_h K_w * ceil(IC / AR) * ceil(OC / ACe).
    """

    name: ClassVar[str] = "kernel-split"
    groups: str = "serial"

    def __post_init__(self) -> None:
        check_groups(self.groups)

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with the channels of one kernel position on the rows of each array.

        Raises:
            MappingError: a layer whose kernel depends on the output phase.
        """
        check_one_kernel(geometry, "kernel-split")
        ic, oc = geometry.group_channels
        channels_only = replace(geometry, kernel=(1, 1))
        tiling = cut(channels_only, array, (1, 1), whole_channels=False, groups=self.groups)
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=(1, 1),
            ic_tile=min(array.rows, ic),
            oc_tile=min(array.weight_columns, oc),
            tiles=lay_out(geometry, replace(tiling, order="pixel", split_pixels=True)),
            options=options_of(self),
        )
