"""Inputs of the driven rows in every window, and outputs back into the map: plain numpy, and compiled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pimsim.mapping.arrays import Columns, Rows
from pimsim.mapping.layout import Mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Port(NamedTuple):
    """A `WindowPort` as kernels take it; pairs are (height, width).

    Attributes:
        offsets: see `WindowPort.offsets`.
        origins: see `WindowPort.origins`.
        grid: windows of an image.
        outputs: output positions of a window.
        size: the output map.
        channel: output channel of each weight column, int64 (C,).
        a: its row in the window, int64 (C,).
        b: its column in the window, int64 (C,).
    """

    offsets: NDArray[np.int64]
    origins: NDArray[np.int64]
    grid: tuple[int, int]
    outputs: tuple[int, int]
    size: tuple[int, int]
    channel: NDArray[np.int64]
    a: NDArray[np.int64]
    b: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WindowPort:
    """Where a set of rows reads and a set of weight columns writes, over all windows of a layer.

    Attributes:
        mapping: the layout.
        rows: R rows.
        columns: C weight columns, all distinct.
    """

    mapping: Mapping
    rows: Rows
    columns: Columns

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Flat offset of each row's pixel from a window's origin in the padded image, (R,)."""
        return self.mapping.row_offsets(self.rows).astype(np.int64)

    @cached_property
    def origins(self) -> NDArray[np.int64]:
        """Flat offset of each window in the padded image, (windows,)."""
        return self.mapping.window_origins.astype(np.int64)

    @cached_property
    def outputs(self) -> NDArray[np.int64]:
        """Flat output of each window and column, (windows, C); -1 where the window overruns the map."""
        return self.mapping.output_index(self.columns).astype(np.int64)

    @cached_property
    def compiled(self) -> Port:
        """The same for kernels."""
        mapping, columns = self.mapping, self.columns
        parts = (columns.output, columns.a, columns.b)
        sizes = (mapping.grid, mapping.outputs, mapping.view.output_size)
        return Port(self.offsets, self.origins, *sizes, *(part.astype(np.int64) for part in parts))

    def read(self, padded: NDArray[np.integer]) -> NDArray[np.int64]:
        """The inputs of every window, int64 (N, windows, R), from padded images (N, pixels)."""
        return padded[:, self.origins[:, None] + self.offsets[None, :]].astype(np.int64)

    def add(self, values: NDArray[np.int64], outputs: NDArray[np.int64]) -> None:
        """Add values (N, windows, C) to outputs (N, OC * O_h * O_w), dropping what overruns the map."""
        inside = self.outputs >= 0
        # Columns of one port are distinct (output, a, b), so no output is hit twice and += is safe.
        outputs[:, self.outputs[inside]] += values[:, inside]
