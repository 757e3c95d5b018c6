"""VW-SDK: the rectangular window with the fewest computing cycles, whole channels in each array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from pimsim.errors import MappingError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.im2col import Im2col
from pimsim.mapping.layout import Mapping
from pimsim.mapping.options import options_of
from pimsim.mapping.tiling import (
    check_channel_rows,
    check_choice,
    check_groups,
    cut,
    lay_out,
    rows_per_channel,
    tiles_needed,
    window_count,
)
from pimsim.mapping.windows import SEARCHES, TIES, Window, best_window
from pimsim.network.layers import Geometry, Pair


@dataclass(frozen=True)
class VwSdk:
    """The VW-SDK mapper: a true minimum over every rectangular window of 1 to O output positions a side.

    A channel's pixels are never split over arrays, so im2col can be better; where it needs no more cycles it
    takes over (the window is the kernel, ``ic_tile`` and ``oc_tile`` are im2col's). Of equal windows the lowest
    wins, then the narrowest, as in the authors' search.

    Attributes:
        groups: ``serial`` (a block for each group) or ``packed`` (groups block-diagonally in one array).
        clamp: whether im2col takes over where it needs no more cycles, as published (VGG-13 of the repository).
        tie: of windows with equal cycles, ``first`` (the lowest, then the narrowest, as published) or
            ``min-transfer`` (the fewest inputs sent, then the first); im2col competes by the same rule.
        search: ``exact``, or ``as-published``: the authors' queue, which can miss the minimum; for comparing with
            published tables only. Windows go up to the whole map, as in VWC-SDK's code; VW-SDK's stops a pixel short,
            which changes none of its published numbers.

    Reference:
        `mapping.md` 1.5 with the taps of 1.8, 1.7 item 4 for ``as-published``; djwhsdj/VW-SDK.
    """

    name: ClassVar[str] = "vw-sdk"
    groups: str = "serial"
    clamp: bool = True
    tie: str = "first"
    search: str = "exact"

    def __post_init__(self) -> None:
        check_groups(self.groups)
        check_choice("tie", self.tie, TIES, "unknown tie-break")
        check_choice("search", self.search, SEARCHES, "unknown search")
        if self.search == "as-published" and self.tie != "first":
            fix = "Leave out one of the two"
            raise MappingError(f"tie '{self.tie}'", "the published search keeps the first window", fix=fix)

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer with the window that the search finds.

        Raises:
            MappingError: without ``clamp``, an array with fewer rows than one kernel of one channel, or with fewer
                weight columns than output phases.
        """
        best = best_window(geometry, array, self.groups, self.search, self.tie)
        if self.clamp and (best is None or self._im2col_wins(geometry, array, best)):
            im2col = Im2col(self.groups).map(geometry, array)
            return replace(im2col, method=self.name, options=options_of(self))
        if best is None:
            check_channel_rows(geometry, array, self._title)
            self._check_columns(geometry, array)
        assert best is not None  # one block of outputs of one channel fits
        return self._lay_out(geometry, array, best.outputs)

    def _check_columns(self, geometry: Geometry, array: ArrayShape) -> None:
        if array.weight_columns < geometry.kernels:
            raise MappingError(
                f"{geometry.kernels} output phases on an array of {array.weight_columns} weight columns",
                f"{self._title} keeps the phases of an output channel in one array",
                geometry.name,
                f"Use room for at least {geometry.kernels} weights side by side, or map with im2col",
            )

    @property
    def _title(self) -> str:
        return self.name.upper()

    def _im2col_wins(self, geometry: Geometry, array: ArrayShape, best: Window) -> bool:
        """Whether im2col needs no more cycles, or is preferred among equals."""
        windows = window_count(geometry, geometry.phases)
        cycles = windows * prod(tiles_needed(geometry, array, geometry.phases, self.groups))
        if self.tie == "first" or cycles != best.cycles:
            return cycles <= best.cycles
        return windows * rows_per_channel(geometry, geometry.phases) * geometry.in_channels <= best.transfers

    def _lay_out(self, geometry: Geometry, array: ArrayShape, outputs: Pair) -> Mapping:
        """The layer with a window of ``outputs``."""
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=outputs,
            ic_tile=min(array.rows // rows_per_channel(geometry, outputs), geometry.group_channels[0]),
            oc_tile=array.weight_columns // (outputs[0] * outputs[1]),
            tiles=lay_out(geometry, cut(geometry, array, outputs, whole_channels=True, groups=self.groups)),
            options=options_of(self),
        )
