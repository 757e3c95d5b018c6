"""How many rows of each array really carry a bit: measured inputs, from which zero bits can be skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class DrivenRows:
    """The rows of a layer's arrays whose driver code is not zero, for one image.

    Attributes:
        tiles: for each array of a placement, int32 (windows, input steps, column groups); one column group where all
            drive the same rows.
        dense_tiles: likewise for each array of the dense layout, with no weight skipped.
    """

    tiles: tuple[NDArray[np.int32], ...]
    dense_tiles: tuple[NDArray[np.int32], ...]

    def of(self, tile: int, groups: int) -> NDArray[np.int32]:
        """The counts of one array for each of its column groups, (windows, input steps, groups)."""
        rows = self.tiles[tile]
        return np.broadcast_to(rows, (*rows.shape[:2], groups))

    @property
    def most(self) -> int:
        """The most rows that any column group drives in a step."""
        return max((int(rows.max(initial=0)) for rows in self.tiles), default=0)
