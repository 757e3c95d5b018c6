"""The papers' formulas as witnesses: cycles, tiles and utilisation without building a layout.

Nothing here is used by the mappers; tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil

from pimsim.mapping.layout import ArrayShape
from pimsim.network.layers import Geometry, Pair


@dataclass(frozen=True)
class Counts:
    """What one window shape costs for one image.

    Attributes:
        outputs: output positions (n_h, n_w) of one window.
        windows: parallel-window positions, N_PW.
        row_tiles, column_tiles: ARc and ACc of one block.
        blocks: groups one after another, or packed sets of groups.
        utilisation: cells that hold a weight / cells of all array tiles.
        input_transfers: inputs sent from the buffer to arrays, N_PW * R_ch * IC.
    """

    outputs: Pair
    windows: int
    row_tiles: int
    column_tiles: int
    blocks: int
    utilisation: float
    input_transfers: int

    @property
    def cycles(self) -> int:
        """Computing cycles, N_PW * ARc * ACc over all blocks."""
        return self.windows * self.row_tiles * self.column_tiles * self.blocks


def window_rows(geometry: Geometry, outputs: Pair) -> int:
    """Distinct pixels that a window reads in each channel, R_ch of `mapping.md` 1.8, by listing them."""
    sides = (
        len({a * s + k * d for a in range(n) for k in range(kernel)})
        for n, kernel, s, d in zip(outputs, geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    )
    return next(sides) * next(sides)


def count(
    geometry: Geometry, array: ArrayShape, outputs: Pair, whole_channels: bool, packed: bool = False
) -> Counts | None:
    """The cost of one window shape, or None when it does not fit the array.

    Args:
        geometry: the layer.
        array: the array.
        outputs: output positions of one window.
        whole_channels: ARc = ceil(IC / floor(AR / R_ch)) instead of ceil(R_ch * IC / AR).
        packed: groups block-diagonally in one array.

    Reference:
        `mapping.md` 1.2, 1.5 and 1.8.
    """
    rows, positions = window_rows(geometry, outputs), outputs[0] * outputs[1]
    if positions > array.weight_columns or (whole_channels and rows > array.rows):
        return None
    (ic, oc), (k_h, k_w) = geometry.group_channels, geometry.kernel
    row_tiles = ceil(ic / (array.rows // rows)) if whole_channels else ceil(rows * ic / array.rows)
    column_tiles = ceil(oc / (array.weight_columns // positions))
    together = min(array.rows // (rows * ic), array.weight_columns // (positions * oc), geometry.groups)
    blocks = ceil(geometry.groups / max(1, together)) if packed else geometry.groups
    windows = ceil(geometry.output_size[0] / outputs[0]) * ceil(geometry.output_size[1] / outputs[1])
    cells = array.rows * array.columns * row_tiles * column_tiles * blocks
    used = k_h * k_w * ic * oc * geometry.groups * positions * array.columns_per_weight
    return Counts(
        outputs, windows, row_tiles, column_tiles, blocks, used / cells, windows * rows * geometry.in_channels
    )


def im2col(geometry: Geometry, array: ArrayShape, packed: bool = False) -> Counts:
    """im2col: CC = O_h O_w * ceil(K_h K_w IC / AR) * ceil(OC / ACe) (`mapping.md` 1.2)."""
    counts = count(geometry, array, (1, 1), whole_channels=False, packed=packed)
    assert counts is not None  # one output position always fits: an array holds at least one weight
    return counts


def sdk(geometry: Geometry, array: ArrayShape, packed: bool = False) -> Counts:
    """SDK: the largest square window on the arrays of im2col (`mapping.md` 1.4)."""
    best = base = im2col(geometry, array, packed)
    for side in range(2, min(geometry.output_size) + 1):
        counts = count(geometry, array, (side, side), whole_channels=False, packed=packed)
        if counts is None or _more_arrays(counts, base):
            break
        best = counts if counts.cycles <= best.cycles else best
    return best


def _more_arrays(counts: Counts, base: Counts) -> bool:
    return counts.row_tiles > base.row_tiles or counts.column_tiles > base.column_tiles or counts.blocks > base.blocks


def vw_sdk(geometry: Geometry, array: ArrayShape, packed: bool = False) -> Counts:
    """VW-SDK by exhaustive search in the authors' order, clamped by im2col (`mapping.md` 1.5)."""
    clamp = im2col(geometry, array, packed)
    best = min(every_window(geometry, array, packed), key=lambda counts: counts.cycles, default=clamp)
    return best if best.cycles < clamp.cycles else clamp


def every_window(geometry: Geometry, array: ArrayShape, packed: bool = False) -> Iterator[Counts]:
    """Every rectangular window that fits, lowest first, then narrowest; whole channels in each array."""
    height, width = geometry.output_size
    for outputs in product(range(1, height + 1), range(1, width + 1)):
        counts = count(geometry, array, outputs, whole_channels=True, packed=packed)
        if counts is not None:
            yield counts


def lower_bound(geometry: Geometry, array: ArrayShape) -> float:
    """Cycles of a full array in every cycle: multiply-accumulates / (AR * ACe) (`mapping.md` 4)."""
    return geometry.macs / (array.rows * array.weight_columns)


def skipped_rows(geometry: Geometry, outputs: Pair, kept: set[Pair]) -> int:
    """Rows of one channel that no kept kernel position reaches.

    All pixels that the window reads, less the Minkowski sum of the kept positions with the window's outputs.

    Args:
        geometry: the layer.
        outputs: output positions of one window.
        kept: kernel positions (k_y, k_x) that stay in some output channel.

    Reference:
        `pruning-sdk.md` 2, with the strides and dilation of `mapping.md` 1.8.
    """
    reached = {
        (a * geometry.stride[0] + y * geometry.dilation[0], b * geometry.stride[1] + x * geometry.dilation[1])
        for y, x in kept
        for a, b in product(range(outputs[0]), range(outputs[1]))
    }
    return window_rows(geometry, outputs) - len(reached)
