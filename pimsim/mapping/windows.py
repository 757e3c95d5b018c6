"""Searches for the parallel window of fewest computing cycles, whole channels in each array."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.tiling import tap_count
from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: ``exact``: the true minimum; ``as-published``: the authors' search, which may miss it.
SEARCHES = ("exact", "as-published")
#: Of windows with equal cycles: the first in the authors' order, or the one that loads the fewest inputs.
TIES = ("first", "min-transfer")
#: Cycles of a window that does not fit the array.
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Window:
    """A window and its price.

    Attributes:
        outputs: output positions (n_h, n_w).
        cycles: computing cycles of one image.
        transfers: inputs sent to arrays for one image, N_PW * R_ch * IC.
    """

    outputs: Pair
    cycles: int
    transfers: int


@dataclass(frozen=True)
class WindowCosts:
    """What every window that may fit costs: heights down, widths across; `NEVER` where one does not fit."""

    n_h: NDArray[np.int64]
    n_w: NDArray[np.int64]
    cycles: NDArray[np.int64]
    transfers: NDArray[np.int64]

    def window(self, row: int, column: int) -> Window:
        """The window at a place of the table."""
        outputs = int(self.n_h[row]), int(self.n_w[column])
        return Window(outputs, int(self.cycles[row, column]), int(self.transfers[row, column]))


def window_costs(geometry: Geometry, array: ArrayShape, groups: str) -> WindowCosts:
    """The costs of all rectangular windows of 1 to O output positions a side (`mapping.md` 1.5 and 1.8).

    Those of a layer with output phases hold whole blocks of them.
    """
    ic, oc = geometry.group_channels
    n_h, n_w = (_sides(geometry, array, d) for d in (0, 1))
    rows = _taps(geometry, 0, n_h)[:, None] * _taps(geometry, 1, n_w)[None, :]
    positions = n_h[:, None] * n_w[None, :]
    ic_tile, oc_tile = array.rows // rows, array.weight_columns // positions
    tiles = _ceil(ic, np.maximum(ic_tile, 1)) * _ceil(oc, np.maximum(oc_tile, 1))
    if groups == "packed":
        tiles *= _ceil(geometry.groups, np.clip(np.minimum(ic_tile // ic, oc_tile // oc), 1, geometry.groups))
    else:
        tiles *= geometry.groups
    windows = _ceil(geometry.output_size[0], n_h)[:, None] * _ceil(geometry.output_size[1], n_w)[None, :]
    fits = (ic_tile > 0) & (oc_tile > 0)
    return WindowCosts(n_h, n_w, np.where(fits, windows * tiles, NEVER), windows * rows * geometry.in_channels)


def best_window(geometry: Geometry, array: ArrayShape, groups: str, search: str, tie: str) -> Window | None:
    """The window that a search finds; None when none fits the array.

    Args:
        geometry: the layer.
        array: the array.
        groups: ``serial`` or ``packed``.
        search: one of `SEARCHES`.
        tie: one of `TIES`, for the exact search.
    """
    costs = window_costs(geometry, array, groups)
    if not costs.cycles.size or int(costs.cycles.min()) == NEVER:
        return None
    return _published(costs) if search == "as-published" else _EXACT[tie](costs)


def _first(costs: WindowCosts) -> Window:
    """The lowest, then the narrowest of the windows with the fewest cycles."""
    row, column = divmod(int(np.argmin(costs.cycles)), costs.cycles.shape[1])
    return costs.window(row, column)


def _fewest_transfers(costs: WindowCosts) -> Window:
    """Of the windows with the fewest cycles, the first with the fewest inputs sent."""
    rows, columns = np.nonzero(costs.cycles == costs.cycles.min())
    first = int(np.argmin(costs.transfers[rows, columns]))
    return costs.window(int(rows[first]), int(columns[first]))


_EXACT = MappingProxyType({"first": _first, "min-transfer": _fewest_transfers})


def _published(costs: WindowCosts) -> Window:
    """The window at the front of the authors' queue after their search.

    Each height appends its narrowest window whatever it costs; an improvement on the front takes the front away and
    goes to the back. The front need not be the best seen (`mapping.md` 1.7, item 4; djwhsdj/VWC-SDK).
    """
    queue: deque[Window] = deque()
    for window in _in_order(costs):
        if window.outputs[1] == costs.n_w[0]:
            queue.append(window)
        if queue[0].cycles > window.cycles:
            queue.popleft()
            queue.append(window)
    return queue[0]


def _in_order(costs: WindowCosts) -> Iterator[Window]:
    """The windows that fit, lowest first, then narrowest."""
    rows, columns = np.nonzero(costs.cycles != NEVER)
    return (costs.window(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True))


def _sides(geometry: Geometry, array: ArrayShape, d: int) -> NDArray[np.int64]:
    """Window sides in one dimension that can fit the array, whatever the other side is."""
    phases = geometry.phases[d]
    most = min(-(-geometry.output_size[d] // phases) * phases, array.weight_columns)
    sides = np.arange(phases, most + 1, phases, dtype=np.int64)
    return sides[_taps(geometry, d, sides) * geometry.kernel[1 - d] <= array.rows]


def _taps(geometry: Geometry, d: int, outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    places = outputs // geometry.place_outputs[d]
    return tap_count(places, geometry.kernel[d], geometry.place_stride[d], geometry.dilation[d])


def _ceil(whole: int, part: NDArray[np.int64]) -> NDArray[np.int64]:
    return -(-whole // part)
