"""The colours of the cells of one array.

Colours stand for kernel positions (a hue for each kernel row, a shade for each kernel column) or for the window's
output positions. What is not a weight is grey (idle) or white (not used).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What the colours of cells stand for.
COLOURINGS = ("kernel", "window")
IDLE, UNUSED, SKIPPED = "#DCDCDC", "#FFFFFF", "#F3B7AE"
#: Hues of kernel rows or of window positions: Okabe and Ito's, without the yellow that vanishes on white.
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")


def cell_colours(
    placement: Placement, tile: ArrayTile, colouring: str = "kernel", weight: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """The colours of one array, (array rows, array columns, 3) from 0 to 1.

    Args:
        placement: the layer on its arrays.
        tile: an array of it before skipping.
        colouring: one of `COLOURINGS`.
        weight: (OC, IC / groups, K_h, K_w); cells of zero weights become pale.
    """
    mapping = placement.mapping
    k_y, k_x, used = mapping.taps(tile)
    if colouring == "kernel":
        cells = kernel_palette(mapping)[k_y, k_x]
    else:
        positions = tile.columns.a.astype(np.int64) * mapping.outputs[1] + tile.columns.b
        cells = np.broadcast_to(hues(int(positions.max(initial=0)) + 1)[positions][None], (*used.shape, 3)).copy()
    if weight is not None:
        pruned = used & (mapping.cell_weights(tile, weight) == 0)
        cells[pruned] = 0.2 * cells[pruned] + 0.8
    cells[~used] = _rgb(IDLE)
    cells[_skipped(placement, tile)] = _rgb(SKIPPED)
    array = mapping.array
    picture = np.broadcast_to(_rgb(UNUSED), (array.rows, array.columns, 3)).copy()
    picture[: len(tile.rows), : len(tile.columns) * array.columns_per_weight] = np.repeat(
        cells, array.columns_per_weight, axis=1
    )
    return picture


def _skipped(placement: Placement, tile: ArrayTile) -> NDArray[np.bool_]:
    """Which cells of a dense tile no array holds any more, (R, C)."""
    held = np.zeros((len(tile.rows), len(tile.columns)), dtype=np.bool_)
    mapping = placement.mapping
    rows, columns = mapping.row_offsets(tile.rows), mapping.output_numbers(tile.columns)
    for left in (one for one in placement.tiles if one.block == tile.block):
        there = np.isin(columns, mapping.output_numbers(left.columns))
        if there.any():
            held |= np.isin(rows, mapping.row_offsets(left.rows))[:, None] & there[None, :]
    return ~held


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def hues(count: int) -> NDArray[np.float64]:
    """Colours of window positions, (count, 3); the hues come again, paler, when they run out."""
    rounds = -(-count // len(HUES))
    base = np.array([_rgb(hue) for hue in HUES])
    shades = [base + (1 - base) * 0.6 * i / max(1, rounds) for i in range(rounds)]
    return np.concatenate(shades)[:count]


def kernel_palette(mapping: Mapping) -> NDArray[np.float64]:
    """Colours of kernel positions, (K_h, K_w, 3): hue by kernel row, shade by kernel column."""
    height, width = mapping.geometry.kernel
    base = hues(height)[:, None, :]
    lift = np.linspace(0, 0.62, width)[None, :, None] if width > 1 else np.zeros((1, 1, 1))
    return np.asarray(base + (1 - base) * lift, dtype=np.float64)
