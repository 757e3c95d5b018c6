"""Laying one layer out on arrays, once a mapper has chosen how many outputs a window computes."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import MappingError, nearest
from pimsim.mapping.arrays import ArrayShape, ArrayTile, Columns, Rows
from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How the groups of a grouped convolution are laid out: one after another, or block-diagonally in one array.
GROUPS = ("serial", "packed")


def check_choice(name: str, value: str, known: tuple[str, ...], rule: str) -> None:
    """Refuse an option value that is not one of the known ones.

    Raises:
        MappingError: naming the option, the value and the nearest known one.
    """
    if value not in known:
        raise MappingError(f"{name} '{value}'", rule, fix=nearest(value, known))


def check_groups(groups: str) -> None:
    """Refuse an unknown way to lay out groups. Raises `MappingError`."""
    check_choice("groups", groups, GROUPS, "unknown layout of groups")


def check_channel_rows(geometry: Geometry, array: ArrayShape, what: str) -> None:
    """Refuse an array that does not hold one kernel of one channel.

    Args:
        geometry: the layer.
        array: the array.
        what: the mapping that keeps channels whole, for the message.

    Raises:
        MappingError: fewer rows than kernel positions.
    """
    (height, width), rows = geometry.kernel, rows_per_channel(geometry, geometry.phases)
    if array.rows < rows:
        raise MappingError(
            f"kernel {height}x{width} on an array of {array.rows} rows",
            f"{what} keeps the {rows} rows of a channel in one array",
            geometry.name,
            f"Use at least {rows} rows, or map with im2col",
        )


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


def places(geometry: Geometry, outputs: Pair) -> Pair:
    """Kernel places of a window of ``outputs``, which holds whole blocks of phases."""
    height, width = (-(-n // each) for n, each in zip(outputs, geometry.place_outputs, strict=True))
    return height, width


def check_one_kernel(geometry: Geometry, what: str) -> None:
    """Refuse a layer whose kernel depends on the output phase.

    Args:
        geometry: the layer.
        what: the mapping that lays out one output at a time, for the message.

    Raises:
        MappingError: a layer with phases.
    """
    if geometry.kernels > 1:
        n_h, n_w = geometry.phases
        raise MappingError(
            f"a layer with a kernel for each of {n_h}x{n_w} output phases",
            f"{what} programs one kernel for all outputs",
            geometry.name,
            "Map it with sdk, vw-sdk or im2col, whose windows then hold whole blocks of phases",
        )


def rows_per_channel(geometry: Geometry, outputs: Pair) -> int:
    """Array rows of one input channel for a window of ``outputs`` (R_ch of `mapping.md` 1.8)."""
    counts = (
        int(tap_count(n, k, s, d))
        for n, k, s, d in zip(
            places(geometry, outputs), geometry.kernel, geometry.place_stride, geometry.dilation, strict=True
        )
    )
    return next(counts) * next(counts)


@dataclass(frozen=True)
class Tiling:
    """How one layer is cut into array tiles.

    Attributes:
        outputs: output positions (n_h, n_w) of one parallel window.
        rows: rows of a full array tile.
        columns: weight columns of a full array tile.
        groups: groups that share an array block-diagonally; above 1 one tile holds all of them.
        order: rows by ``channel`` (then window pixel), by ``pixel`` (then channel), or by ``patch`` (each K_w wide,
            then channel).
        split_pixels: every pixel of the window starts a new tile; needs the order ``pixel``.
        split_outputs: column tiles end anywhere, instead of between output channels that have all their
            window positions in one tile.
    """

    outputs: Pair
    rows: int
    columns: int
    groups: int = 1
    order: str = "channel"
    split_pixels: bool = False
    split_outputs: bool = False


def packed_groups(geometry: Geometry, array: ArrayShape, outputs: Pair) -> int:
    """Groups that fit one array block-diagonally, at least 1 (`mapping.md` 1.8)."""
    ic, oc = geometry.group_channels
    by_rows = array.rows // (rows_per_channel(geometry, outputs) * ic)
    by_columns = array.weight_columns // (outputs[0] * outputs[1] * oc)
    return max(1, min(by_rows, by_columns, geometry.groups))


def tiles_needed(geometry: Geometry, array: ArrayShape, outputs: Pair, groups: str) -> tuple[int, int, int]:
    """Blocks, row tiles and column tiles of a window when rows and columns are cut anywhere."""
    ic, oc = geometry.group_channels
    together = packed_groups(geometry, array, outputs) if groups == "packed" else 1
    rows = rows_per_channel(geometry, outputs) * ic * together
    columns = outputs[0] * outputs[1] * oc * together
    return -(-geometry.groups // together), -(-rows // array.rows), -(-columns // array.weight_columns)


def window_count(geometry: Geometry, outputs: Pair) -> int:
    """Parallel windows of one image, ceil(O_h / n_h) * ceil(O_w / n_w)."""
    (height, width), (n_h, n_w) = geometry.output_size, outputs
    return -(-height // n_h) * -(-width // n_w)


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
    return Tiling(outputs, rows, array.weight_columns, together)


def lay_out(geometry: Geometry, tiling: Tiling) -> tuple[ArrayTile, ...]:
    """Every array tile of a layer, ordered by (block, column tile, row tile).

    Rows run over channels, then window pixels in row-major order, unless the tiling says otherwise; columns over
    window positions, then output channels (`pruning-sdk.md` 1). Tiles of a block share their `Rows` and `Columns`
    objects.
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
        for n, k, s, d in zip(
            places(geometry, tiling.outputs), geometry.kernel, geometry.place_stride, geometry.dilation, strict=True
        )
    )
    channels = np.arange(groups.start * ic, groups.stop * ic, dtype=np.int32)
    axes = np.meshgrid(channels, y, x, indexing="ij")
    every = [np.ascontiguousarray(axis.transpose(_AXES[tiling.order])).reshape(-1) for axis in axes]
    if tiling.order == "patch":
        first = np.argsort(every[2] // geometry.kernel[1], kind="stable")
        every = [axis[first] for axis in every]
    part = len(channels) if tiling.split_pixels else len(every[0])
    return [Rows(*(axis[cut] for axis in every)) for cut in _cuts(len(every[0]), part, tiling.rows)]


def _cuts(total: int, part: int, step: int) -> list[slice]:
    """Slices of at most ``step`` rows that never cross a multiple of ``part``."""
    starts = range(0, total, part)
    return [slice(i, min(i + step, start + part)) for start in starts for i in range(start, start + part, step)]


#: Order of the axes (channel, y, x) of the rows.
_AXES: MappingProxyType[str, tuple[int, int, int]] = MappingProxyType(
    {"channel": (0, 1, 2), "pixel": (1, 2, 0), "patch": (0, 1, 2)}
)


def _column_tiles(geometry: Geometry, tiling: Tiling, groups: range) -> list[Columns]:
    """The weight columns of some groups, cut into array tiles."""
    _, oc = geometry.group_channels
    first, last = groups.start * oc, groups.stop * oc
    if tiling.split_outputs:
        every = _window_columns(tiling.outputs, first, last)
        return [every.take(slice(i, i + tiling.columns)) for i in range(0, len(every), tiling.columns)]
    step = tiling.columns // (tiling.outputs[0] * tiling.outputs[1])
    return [_window_columns(tiling.outputs, i, min(i + step, last)) for i in range(first, last, step)]


def _window_columns(outputs: Pair, first: int, last: int) -> Columns:
    """Columns of output channels ``first`` to ``last`` for every position of the window, position-major."""
    n_h, n_w = outputs
    channels, a, b = (np.arange(*span, dtype=np.int32) for span in ((first, last), (n_h,), (n_w,)))
    shape = n_h, n_w, last - first
    axes = channels[None, None], a[:, None, None], b[None, :, None]
    return Columns(*(np.broadcast_to(axis, shape).reshape(-1) for axis in axes))
