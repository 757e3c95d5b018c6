"""SMD: the whole im2col matrix several times on the diagonal of one array, each copy fed by another window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.im2col import Im2col
from pimsim.mapping.layout import Mapping, unfold
from pimsim.mapping.options import options_of
from pimsim.mapping.tiling import check_groups, check_one_kernel, cut, lay_out, packed_groups, rows_per_channel
from pimsim.network.layers import Geometry


@dataclass(frozen=True)
class Smd:
    """The SMD mapper (sub-matrix duplication): d copies of the im2col matrix, rows not shared.

    A parallel window is d outputs one after another in row-major order, each with its own patch of inputs, so
    that pixels under two kernels are sent twice. Groups are packed first, copies fill what is left.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array).

    Reference:
        `mapping.md` 1.3: d = max(1, min(floor(AR / (K^2 IC)), floor(ACe / OC))), CC = ceil(O_h O_w / d) * tiles.
    """

    name: ClassVar[str] = "smd"
    groups: str = "serial"

    def __post_init__(self) -> None:
        check_groups(self.groups)

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with as many copies as one array holds; im2col where it holds one or none.

        Raises:
            MappingError: a layer whose kernel depends on the output phase.
        """
        check_one_kernel(geometry, "SMD")
        copies = self._copies(geometry, array)
        if copies == 1:
            return replace(Im2col(self.groups).map(geometry, array), method=self.name, options=options_of(self))
        ic, oc = geometry.group_channels
        strip = unfold(geometry)
        tiling = cut(strip, array, (1, copies), whole_channels=False, groups=self.groups)
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=(1, copies),
            ic_tile=ic,
            oc_tile=oc,
            tiles=lay_out(strip, replace(tiling, order="patch")),
            options=options_of(self),
            unfolded=strip,
        )

    def _copies(self, geometry: Geometry, array: ArrayShape) -> int:
        """Copies of the matrix on the diagonal of one array, at most one for each output position."""
        ic, oc = geometry.group_channels
        together = packed_groups(geometry, array, (1, 1)) if self.groups == "packed" else 1
        rows = rows_per_channel(geometry, (1, 1)) * ic * together
        height, width = geometry.output_size
        return max(1, min(array.rows // rows, array.weight_columns // (oc * together), height * width))
