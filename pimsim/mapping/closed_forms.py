"""The papers' formulas as witnesses: cycles, tiles and utilisation without building a layout.

Nothing here is used by the mappers; tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil

from pimsim.mapping.arrays import ArrayShape
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


def sdk_free(geometry: Geometry, array: ArrayShape, packed: bool = False) -> int:
    """Cycles of the best square window with rows and columns cut anywhere (`mapping.md` 1.4, SDK_a)."""
    ic, oc = geometry.group_channels
    height, width = geometry.output_size
    best = im2col(geometry, array, packed).cycles
    for n in range(1, min(height, width) + 1):
        rows, columns = window_rows(geometry, (n, n)) * ic, n * n * oc
        together = min(array.rows // rows, array.weight_columns // columns, geometry.groups) if packed else 1
        tiles = ceil(rows / array.rows) * ceil(columns / array.weight_columns) if together <= 1 else 1
        best = min(best, ceil(height / n) * ceil(width / n) * tiles * ceil(geometry.groups / max(1, together)))
    return best


def smd(geometry: Geometry, array: ArrayShape) -> int:
    """SMD, groups one after another: CC = ceil(O_h O_w / d) ceil(d K^2 IC / AR) ceil(d OC / ACe) (`mapping.md` 1.3)."""
    (ic, oc), (k_h, k_w), (height, width) = geometry.group_channels, geometry.kernel, geometry.output_size
    d = max(1, min(array.rows // (k_h * k_w * ic), array.weight_columns // oc, height * width))
    tiles = ceil(d * k_h * k_w * ic / array.rows) * ceil(d * oc / array.weight_columns)
    return ceil(height * width / d) * tiles * geometry.groups


def kernel_split(geometry: Geometry, array: ArrayShape) -> int:
    """Kernel-split, groups one after another: CC = O_h O_w * K_h K_w * ceil(IC / AR) * ceil(OC / ACe)."""
    (ic, oc), (k_h, k_w), (height, width) = geometry.group_channels, geometry.kernel, geometry.output_size
    return height * width * k_h * k_w * ceil(ic / array.rows) * ceil(oc / array.weight_columns) * geometry.groups


def low_rank(
    geometry: Geometry, array: ArrayShape, rank: int, groups: int, outputs: Pair, skip_zero_tiles: bool
) -> tuple[int, int]:
    """Cycles of the two stages of a low-rank layer with groups 1, C_R and C_L (`pruning-blocks.md` 2.2).

    The tiles of the second stage are listed one by one.
    """
    positions, (height, width) = outputs[0] * outputs[1], geometry.output_size
    windows = ceil(height / outputs[0]) * ceil(width / outputs[1])
    rows = window_rows(geometry, outputs) * geometry.in_channels // groups
    first = groups * ceil(rows / array.rows) * ceil(positions * rank / array.weight_columns)
    block_rows, block_columns = groups * rank, geometry.out_channels
    second = ceil(positions * block_rows / array.rows) * ceil(positions * block_columns / array.weight_columns)
    if skip_zero_tiles:
        second = len({
            (row // array.rows, column // array.weight_columns)
            for block in range(positions)
            for row in range(block * block_rows, (block + 1) * block_rows)
            for column in range(block * block_columns, (block + 1) * block_columns)
        })  # fmt: skip
    return windows * first, windows * second


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
