"""VW-SDK: the rectangular window with the fewest computing cycles, whole channels in each array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pimsim.errors import MappingError
from pimsim.mapping.im2col import Im2col
from pimsim.mapping.layout import ArrayShape, Mapping
from pimsim.mapping.tiling import check_groups, cut, lay_out, rows_per_channel, tap_count
from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class VwSdk:
    """The VW-SDK mapper: a true minimum over every rectangular window of 1 to O output positions a side.

    A channel's pixels are never split over arrays, so im2col can be better; where it needs no more cycles it
    takes over (the window is the kernel, ``ic_tile`` and ``oc_tile`` are im2col's). Of equal windows the lowest
    wins, then the narrowest, as in the authors' search.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array).
        clamp: whether im2col takes over where it needs no more cycles, as published (VGG-13 of the repository).

    Reference:
        `mapping.md` 1.5 with the taps of 1.8; djwhsdj/VW-SDK.
    """

    name: ClassVar[str] = "vw-sdk"
    groups: str = "serial"
    clamp: bool = True

    def __post_init__(self) -> None:
        check_groups(self.groups)

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with the window of fewest computing cycles.

        Raises:
            MappingError: without ``clamp``, an array with fewer rows than one kernel of one channel.
        """
        options = (("groups", self.groups), ("clamp", str(self.clamp).lower()))
        best = self._best_window(geometry, array)
        if self.clamp:
            im2col = Im2col(self.groups).map(geometry, array)
            if best is None or im2col.cycles <= best[1]:
                return replace(im2col, method=self.name, options=options)
        if best is None:
            raise _too_few_rows(geometry, array)
        return self._lay_out(geometry, array, best[0], options)

    def _lay_out(
        self, geometry: Geometry, array: ArrayShape, outputs: Pair, options: tuple[tuple[str, str], ...]
    ) -> Mapping:
        """The layer with a window of ``outputs``."""
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=outputs,
            ic_tile=min(array.rows // rows_per_channel(geometry, outputs), geometry.group_channels[0]),
            oc_tile=array.weight_columns // (outputs[0] * outputs[1]),
            tiles=lay_out(geometry, cut(geometry, array, outputs, whole_channels=True, groups=self.groups)),
            options=options,
        )

    def _best_window(self, geometry: Geometry, array: ArrayShape) -> tuple[Pair, int] | None:
        """The first window of fewest cycles and its cycles; None when no window fits."""
        n_h, n_w = (_sides(geometry, array, d) for d in (0, 1))
        if not len(n_h) or not len(n_w):
            return None
        cycles = self._cycles(geometry, array, n_h[:, None], n_w[None, :])
        first = np.unravel_index(int(np.argmin(cycles)), cycles.shape)
        fewest = int(cycles[first])
        return None if fewest == _NEVER else ((int(n_h[first[0]]), int(n_w[first[1]])), fewest)

    def _cycles(
        self, geometry: Geometry, array: ArrayShape, n_h: NDArray[np.int64], n_w: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Computing cycles of every window, (heights, widths); `_NEVER` where the window does not fit."""
        ic, oc = geometry.group_channels
        rows, positions = _taps(geometry, 0, n_h) * _taps(geometry, 1, n_w), n_h * n_w
        ic_tile, oc_tile = array.rows // rows, array.weight_columns // positions
        tiles = _ceil(ic, np.maximum(ic_tile, 1)) * _ceil(oc, np.maximum(oc_tile, 1))
        blocks = np.full_like(tiles, geometry.groups)
        if self.groups == "packed":
            together = np.clip(np.minimum(ic_tile // ic, oc_tile // oc), 1, geometry.groups)
            blocks = _ceil(geometry.groups, together)
        windows = _ceil(geometry.output_size[0], n_h) * _ceil(geometry.output_size[1], n_w)
        return np.where((ic_tile > 0) & (oc_tile > 0), windows * tiles * blocks, _NEVER)


#: Cycles of a window that does not fit the array.
_NEVER = np.iinfo(np.int64).max


def _sides(geometry: Geometry, array: ArrayShape, d: int) -> NDArray[np.int64]:
    """Window sides in one dimension that can fit the array, whatever the other side is."""
    sides = np.arange(1, min(geometry.output_size[d], array.weight_columns) + 1, dtype=np.int64)
    return sides[_taps(geometry, d, sides) * geometry.kernel[1 - d] <= array.rows]


def _taps(geometry: Geometry, d: int, outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    return tap_count(outputs, geometry.kernel[d], geometry.stride[d], geometry.dilation[d])


def _ceil(whole: int, part: NDArray[np.int64]) -> NDArray[np.int64]:
    return -(-whole // part)


def _too_few_rows(geometry: Geometry, array: ArrayShape) -> MappingError:
    needed = geometry.kernel[0] * geometry.kernel[1]
    return MappingError(
        f"kernel {geometry.kernel[0]}x{geometry.kernel[1]} on an array of {array.rows} rows",
        f"VW-SDK keeps the {needed} rows of a channel in one array",
        geometry.name,
        f"Use at least {needed} rows, or map with im2col",
    )
