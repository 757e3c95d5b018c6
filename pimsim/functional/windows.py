"""Inputs of the driven rows in every window, and outputs back into the map: plain numpy, and compiled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pimsim.mapping.layout import Columns, Mapping, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

    def read(self, padded: NDArray[np.int32]) -> NDArray[np.int64]:
        """The inputs of every window, int64 (N, windows, R), from padded images (N, pixels)."""
        return padded[:, self.origins[:, None] + self.offsets[None, :]].astype(np.int64)

    def add(self, values: NDArray[np.int64], outputs: NDArray[np.int64]) -> None:
        """Add values (N, windows, C) to outputs (N, OC * O_h * O_w), dropping what overruns the map."""
        inside = self.outputs >= 0
        # Columns of one port are distinct (output, a, b), so no output is hit twice and += is safe.
        outputs[:, self.outputs[inside]] += values[:, inside]
