"""Laying one layer out on arrays, once a mapper has chosen how many outputs a window computes."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import MappingError, nearest
from pimsim.mapping.layout import ArrayShape, ArrayTile, Columns, Rows
from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How the groups of a grouped convolution are laid out: one after another, or block-diagonally in one array.
GROUPS = ("serial", "packed")


def check_groups(groups: str) -> None:
    """Refuse an unknown way to lay out groups.

    Raises:
        MappingError: a name that is not in `GROUPS`.
    """
    if groups not in GROUPS:
        raise MappingError(f"groups '{groups}'", "unknown layout of groups", fix=nearest(groups, GROUPS))


def tap_count(outputs: NDArray[np.int64] | int, kernel: int, stride: int, dilation: int) -> NDArray[np.int64]:
    """Distinct input coordinates that ``outputs`` neighbouring output positions touch in one dimension.

    A new output repeats the kernel positions that the output ``dilation / gcd`` steps before it has touched,
    shifted by ``stride / gcd`` (`mapping.md` 1.8).
    """
    common = gcd(stride, dilation)
    repeats = max(0, kernel - stride // common)
    return np.asarray(outputs * kernel - np.maximum(0, outputs - dilation // common) * repeats, dtype=np.int64)


def tap_positions(outputs: int, kernel: int, stride: int, dilation: int) -> NDArray[np.int32]:
    """Those coordinates in ascending order, counted from the window's first pixel, int32."""
    positions = np.arange(outputs)[:, None] * stride + np.arange(kernel)[None, :] * dilation
    return np.unique(positions).astype(np.int32)


def rows_per_channel(geometry: Geometry, outputs: Pair) -> int:
    """Array rows of one input channel for a window of ``outputs`` (R_ch of `mapping.md` 1.8)."""
    counts = (
        int(tap_count(n, k, s, d))
        for n, k, s, d in zip(outputs, geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    )
    return next(counts) * next(counts)


@dataclass(frozen=True)
class Tiling:
    """How one layer is cut into array tiles.

    Attributes:
        outputs: output positions (n_h, n_w) of one parallel window.
        rows: rows of a full array tile.
        output_channels: output channels of a full array tile.
        groups: groups that share an array block-diagonally; above 1 one tile holds all of them.
    """

    outputs: Pair
    rows: int
    output_channels: int
    groups: int = 1


def packed_groups(geometry: Geometry, array: ArrayShape, outputs: Pair) -> int:
    """Groups that fit one array block-diagonally, at least 1 (`mapping.md` 1.8)."""
    ic, oc = geometry.group_channels
    by_rows = array.rows // (rows_per_channel(geometry, outputs) * ic)
    by_columns = array.weight_columns // (outputs[0] * outputs[1] * oc)
    return max(1, min(by_rows, by_columns, geometry.groups))


def cut(geometry: Geometry, array: ArrayShape, outputs: Pair, whole_channels: bool, groups: str) -> Tiling:
    """The tiling of a layer for one window.

    Args:
        geometry: the layer.
        array: the array; the window must fit it (n_h * n_w weight columns, and one channel's rows when
            ``whole_channels``).
        outputs: output positions of one window.
        whole_channels: row tiles end between channels (VW-SDK) instead of anywhere (im2col, SDK).
        groups: one of `GROUPS`.
    """
    per_channel = rows_per_channel(geometry, outputs)
    rows = array.rows // per_channel * per_channel if whole_channels else array.rows
    together = packed_groups(geometry, array, outputs) if groups == "packed" else 1
    return Tiling(outputs, rows, array.weight_columns // (outputs[0] * outputs[1]), together)


def lay_out(geometry: Geometry, tiling: Tiling) -> tuple[ArrayTile, ...]:
    """Every array tile of a layer, ordered by (block, column tile, row tile).

    Rows run over channels, then window pixels in row-major order; columns over window positions, then output
    channels (`pruning-sdk.md` 1). Tiles of a block share their `Rows` and `Columns` objects.
    """
    tiles: list[ArrayTile] = []
    for block, first in enumerate(range(0, geometry.groups, tiling.groups)):
        groups = range(first, min(first + tiling.groups, geometry.groups))
        row_tiles = _row_tiles(geometry, tiling, groups)
        column_tiles = _column_tiles(geometry, tiling, groups)
        tiles += [
            ArrayTile(block, row_tile, column_tile, rows, columns)
            for column_tile, columns in enumerate(column_tiles)
            for row_tile, rows in enumerate(row_tiles)
        ]
    return tuple(tiles)


def _row_tiles(geometry: Geometry, tiling: Tiling, groups: range) -> list[Rows]:
    """The rows of some groups, cut into array tiles."""
    ic, _ = geometry.group_channels
    y, x = (
        tap_positions(n, k, s, d)
        for n, k, s, d in zip(tiling.outputs, geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    )
    channels = np.arange(groups.start * ic, groups.stop * ic, dtype=np.int32)
    shape = len(channels), len(y), len(x)
    every = [
        np.broadcast_to(axis, shape).reshape(-1) for axis in (channels[:, None, None], y[None, :, None], x[None, None])
    ]
    step = tiling.rows
    return [Rows(*(axis[i : i + step] for axis in every)) for i in range(0, len(every[0]), step)]


def _column_tiles(geometry: Geometry, tiling: Tiling, groups: range) -> list[Columns]:
    """The weight columns of some groups, cut into array tiles of whole output channels."""
    _, oc = geometry.group_channels
    first, last = groups.start * oc, groups.stop * oc
    step = tiling.output_channels
    return [_window_columns(tiling.outputs, i, min(i + step, last)) for i in range(first, last, step)]


def _window_columns(outputs: Pair, first: int, last: int) -> Columns:
    """Columns of output channels ``first`` to ``last`` for every position of the window, position-major."""
    n_h, n_w = outputs
    channels, a, b = (np.arange(*span, dtype=np.int32) for span in ((first, last), (n_h,), (n_w,)))
    shape = n_h, n_w, last - first
    axes = channels[None, None], a[:, None, None], b[None, :, None]
    return Columns(*(np.broadcast_to(axis, shape).reshape(-1) for axis in axes))
