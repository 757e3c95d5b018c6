"""The explicit layout of one layer on crossbar arrays: the value every mapper produces.

Everything else (cell matrices, computing cycles, utilisation, skippable rows, loaded inputs)
is read off this layout; the closed forms of the papers are witnesses, not the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pimsim.errors import MappingError
from pimsim.mapping.arrays import ArrayShape, ArrayTile, Columns, Rows
from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Integer = TypeVar("_Integer", bound=np.integer[Any])
_Place = TypeVar("_Place", int, "NDArray[np.int64]")

#: A mapper's options in the order of its fields.
Options = tuple[tuple[str, str | int | bool], ...]


@dataclass(frozen=True)
class Mapping:
    """One layer laid out on arrays.

    Attributes:
        method: registry name of the mapper that made it.
        geometry: the layer.
        array: the array, with the columns that one weight takes.
        outputs: output positions (n_h, n_w) that one parallel window computes.
        ic_tile: input channels of a group that fit one array programming (ICt, at most the channels there are);
            all of them when row tiles may cut a channel anywhere (im2col, SDK).
        oc_tile: output channels that fit one array programming (OCt, as published: not capped for VW-SDK).
        tiles: every array programming, ordered by (block, column_tile, row_tile). Tiles without any weight may
            be absent, so the numbers of a column tile's row tiles need not be consecutive.
        options: the mapper's options, for the record.
        unfolded: the layer written as a strip of separate patches, one for each output in row-major order, where
            windows are cut from that strip instead of the input map (SMD); see `unfold`. None elsewhere.

    Raises:
        MappingError: a window that does not hold whole blocks of output phases of a layer that has them.
    """

    method: str
    geometry: Geometry
    array: ArrayShape
    outputs: Pair
    ic_tile: int
    oc_tile: int
    tiles: tuple[ArrayTile, ...] = field(repr=False)
    options: Options = ()
    unfolded: Geometry | None = None

    def __post_init__(self) -> None:
        if any(n % phases for n, phases in zip(self.outputs, self.geometry.phases, strict=True)):
            n_h, n_w = self.geometry.phases
            raise MappingError(
                f"a window of {self.outputs[0]}x{self.outputs[1]} outputs",
                f"the layer has a kernel for each of {n_h}x{n_w} output phases, so a window holds whole blocks of them",
                self.geometry.name,
                "Map it with sdk, vw-sdk or im2col",
            )

    @property
    def view(self) -> Geometry:
        """The layer on the map that windows are cut from: `geometry`, or the strip of `unfold`."""
        return self.geometry if self.unfolded is None else self.unfolded

    @property
    def window(self) -> Pair:
        """Spatial extent (P_h, P_w) of the parallel window in input pixels (`mapping.md` 1.8).

        Of a strip of separate patches: the extent of one patch in the input.
        """
        return _extent(self.geometry, (1, 1) if self.unfolded is not None else self.outputs)

    @property
    def grid(self) -> Pair:
        """Parallel-window positions (vertical, horizontal): ceil(O / n) each."""
        (oh, ow), (nh, nw) = self.view.output_size, self.outputs
        return -(-oh // nh), -(-ow // nw)

    @property
    def windows(self) -> int:
        """Parallel-window positions of one image, N_PW."""
        return self.grid[0] * self.grid[1]

    @property
    def cycles(self) -> int:
        """Computing cycles of one image: parallel windows times array tiles (one tile MVM = one cycle)."""
        return self.windows * len(self.tiles)

    @cached_property
    def row_tiles(self) -> int:
        """Array tiles in row direction (AR cycles), the most of any block."""
        return 1 + max(tile.row_tile for tile in self.tiles)

    @cached_property
    def column_tiles(self) -> int:
        """Array tiles in column direction (AC cycles), the most of any block."""
        return 1 + max(tile.column_tile for tile in self.tiles)

    @cached_property
    def blocks(self) -> int:
        """Groups computed one after another, or packed sets of groups."""
        return 1 + max(tile.block for tile in self.tiles)

    @cached_property
    def rows_mapped(self) -> int:
        """Rows over all array tiles; a row present in two column tiles counts twice."""
        return sum(len(tile.rows) for tile in self.tiles)

    @cached_property
    def weight_cells(self) -> int:
        """Cells that hold a weight, zero or not, over all array tiles; one weight column counts once.

        Every weight column meets all weights of its output channel, over the row tiles of its block.
        """
        columns = {(tile.block, tile.column_tile): len(tile.columns) for tile in self.tiles}
        k_h, k_w = self.geometry.kernel
        return sum(columns.values()) * self.geometry.group_channels[0] * k_h * k_w

    @property
    def cell_utilisation(self) -> float:
        """Cells that hold a weight / cells of all array tiles, averaged over tiles (`mapping.md` 1.5)."""
        array = self.array
        cells = array.rows * array.columns * len(self.tiles)
        return self.weight_cells * array.columns_per_weight / cells

    def __str__(self) -> str:
        window = "x".join(str(n) for n in (*reversed(self.window), self.ic_tile, self.oc_tile))
        tiles = f"{self.row_tiles} x {self.column_tiles} tiles"
        blocks = f" in {self.blocks} blocks" if self.blocks > 1 else ""
        return f"{self.method} {window}: {self.cycles} cycles, {self.windows} windows, {tiles}{blocks}"

    @cached_property
    def gather_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the padded input that windows read.

        The layer's own padding comes first; more zeros follow at the bottom and right where the last
        windows overrun the padded input.
        """
        heights = []
        for d, extent in enumerate(_extent(self.view, self.outputs)):
            last = (self.grid[d] - 1) * self.outputs[d] * self.view.stride[d] + extent
            heights.append(max(last, self.view.padded_size[d]))
        return self.geometry.in_channels, heights[0], heights[1]

    @cached_property
    def window_origins(self) -> NDArray[np.intp]:
        """Flat offset of each window's top-left pixel in one channel of the gather image, (windows,), row-major."""
        width = self.gather_shape[2]
        step_y, step_x = (n * s for n, s in zip(self.outputs, self.view.stride, strict=True))
        y, x = (np.arange(count, dtype=np.intp) for count in self.grid)
        return np.asarray(y[:, None] * (step_y * width) + x[None, :] * step_x, dtype=np.intp).reshape(-1)

    def row_offsets(self, rows: Rows) -> NDArray[np.intp]:
        """Flat offset of each row's pixel from a window's origin in the gather image, (R,)."""
        _, height, width = self.gather_shape
        return (rows.channel.astype(np.intp) * height + rows.y) * width + rows.x

    def window_pixels(self, rows: Rows) -> NDArray[np.intp]:
        """Which input drives each row in each window, (windows, R).

        Indices count into the flattened padded input of shape `gather_shape`; see `pad_input`.
        """
        return self.window_origins[:, None] + self.row_offsets(rows)[None, :]

    def pad_input(self, images: NDArray[_Integer]) -> NDArray[_Integer]:
        """Images (N, C, H, W) with the zeros that windows read, flattened to (N, C * H' * W') for `window_pixels`.

        The integer type is kept.
        """
        if self.unfolded is not None:
            images = _unfold_images(self.geometry, images)
        top, _, left, _ = self.view.padding
        count, _, height, width = images.shape
        padded = np.zeros((count, *self.gather_shape), dtype=images.dtype)
        padded[:, :, top : top + height, left : left + width] = images
        return padded.reshape(count, -1)

    def output_index(self, columns: Columns) -> NDArray[np.intp]:
        """Which output each weight column adds to in each window, (windows, C).

        Indices count into the flattened output (OC, O_h, O_w); -1 where the window overruns the output map.
        """
        (out_h, out_w), (n_h, n_w) = self.view.output_size, self.outputs
        y, x = np.divmod(np.arange(self.windows, dtype=np.intp)[:, None], self.grid[1])
        y, x = y * n_h + columns.a, x * n_w + columns.b
        flat = (columns.output.astype(np.intp) * out_h + y) * out_w + x
        return np.where((y < out_h) & (x < out_w), flat, -1)

    def output_numbers(self, columns: Columns) -> NDArray[np.int64]:
        """A number for the output (channel, position in the window) that each weight column adds to, (C,)."""
        height, width = self.outputs
        return (columns.output.astype(np.int64) * height + columns.a) * width + columns.b

    def nonzero_per_row(self, rows: Rows, columns: Columns, nonzero: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Nonzero weight cells in each row over the given columns, (R,).

        Args:
            rows: rows of tiles that share ``columns``.
            columns: weight columns of one column tile.
            nonzero: of `Geometry.weight_shape`, which weights are not zero; None counts every cell that holds a
                weight.
        """
        total = np.zeros(len(rows), dtype=np.int64)
        positions = columns.a.astype(np.int64) * self.outputs[1] + columns.b
        kernels = self.kernels_of(columns)
        counts: dict[bytes, NDArray[np.int64]] = {}
        for position in np.unique(positions):
            here = positions == position
            key = kernels[here].tobytes()
            if key not in counts:
                counts[key] = self._count_outputs(columns.output[here], kernels[here], nonzero)
            count = counts[key]
            a, b = divmod(int(position), self.outputs[1])
            k_y, k_x, fits = self.taps_at(rows, a, b)
            total += np.where(fits, count[rows.channel, k_y, k_x], 0)
        return total

    def nonzero_per_group(self, rows: Rows, columns: Columns, nonzero: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Nonzero weight cells in each row over the columns of each column group, (R, G); see `nonzero_per_row`."""
        size = self.array.weights_per_group
        groups = [columns.take(slice(i, i + size)) for i in range(0, len(columns), size)]
        return np.stack([self.nonzero_per_row(rows, group, nonzero) for group in groups], axis=1)

    def taps_at(self, rows: Rows, a: int, b: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
        """The kernel position over each row for the output at (a, b) of a window, and whether there is one, (R,)."""
        g = self.view
        k_y, fits_y = _tap(rows.y, self._shift(a, 0), g.dilation[0], g.kernel[0])
        k_x, fits_x = _tap(rows.x, self._shift(b, 1), g.dilation[1], g.kernel[1])
        return k_y, k_x, fits_y & fits_x

    def _shift(self, output: _Place, d: int) -> _Place:
        """Pixels from the corner of the window to the kernel place of its ``output``-th output in one dimension."""
        return output // self.view.place_outputs[d] * self.view.place_stride[d]

    def kernels_of(self, columns: Columns) -> NDArray[np.int64]:
        """The kernel that each weight column holds, a number in the first axis of the weight, (C,)."""
        n_h, n_w = self.geometry.phases
        return (columns.output.astype(np.int64) * n_h + columns.a % n_h) * n_w + columns.b % n_w

    def _count_outputs(
        self, outputs: NDArray[np.int32], kernels: NDArray[np.int64], nonzero: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Nonzero weights over some kernels, given with their output channels, at each (input channel, k_y, k_x)."""
        g = self.geometry
        ic, oc = g.group_channels
        count = np.zeros((g.in_channels, *g.kernel), dtype=np.int64)
        for group in np.unique(outputs // oc):
            members = kernels[outputs // oc == group]
            here = len(members) if nonzero is None else np.count_nonzero(nonzero[members], axis=0)
            count[group * ic : (group + 1) * ic] = here
        return count

    def taps(self, tile: ArrayTile) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Which kernel position each cell of a tile holds.

        Returns:
            ``(k_y, k_x, used)``, each (rows, columns): the kernel position of each cell, and whether
            the cell holds a weight at all (idle cells hold the code of zero). Positions are 0 where idle.
        """
        g, rows, columns = self.view, tile.rows, tile.columns
        ic, oc = g.group_channels
        used = (rows.channel[:, None] // ic) == (columns.output[None, :] // oc)
        positions = []
        for pixel, shift, d in ((rows.y, columns.a, 0), (rows.x, columns.b, 1)):
            offset = pixel[:, None].astype(np.int64) - self._shift(shift[None, :].astype(np.int64), d)
            tap = offset // g.dilation[d]
            used = used & (offset >= 0) & (offset % g.dilation[d] == 0) & (tap < g.kernel[d])
            positions.append(tap)
        k_y, k_x = (np.where(used, tap, 0) for tap in positions)
        return k_y, k_x, used

    def cell_weights(self, tile: ArrayTile, weight: NDArray[np.int64]) -> NDArray[np.int64]:
        """The integer weight in each cell of a tile, (rows, weight columns); idle cells are 0.

        Args:
            tile: a tile of this mapping.
            weight: of `Geometry.weight_shape`.
        """
        k_y, k_x, used = self.taps(tile)
        ic, _ = self.geometry.group_channels
        values = weight[self.kernels_of(tile.columns)[None, :], (tile.rows.channel % ic)[:, None], k_y, k_x]
        return np.where(used, values, 0)


def _tap(
    pixel: NDArray[np.int32], shift: int, dilation: int, kernel: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The kernel position over each pixel for one output position, and whether there is one (0 where not)."""
    offset = pixel - shift
    tap = offset // dilation
    fits = (offset >= 0) & (offset % dilation == 0) & (tap < kernel)
    return np.where(fits, tap, 0), fits


def _extent(geometry: Geometry, outputs: Pair) -> Pair:
    """Pixels from the first to the last tap of neighbouring outputs, D(K-1) + 1 + (n-1)S in each dimension."""
    height, width = (
        d * (k - 1) + 1 + (-(-n // each) - 1) * s
        for d, k, n, each, s in zip(
            geometry.dilation, geometry.kernel, outputs, geometry.place_outputs, geometry.place_stride, strict=True
        )
    )
    return height, width


def unfold(geometry: Geometry) -> Geometry:
    """The layer as a convolution over a strip of its patches: output p reads the p-th K_h x K_w patch, none shared.

    Outputs keep their order, so the flattened outputs of both layers are the same.
    """
    (k_h, k_w), (height, width) = geometry.kernel, geometry.output_size
    return replace(
        geometry, input_size=(k_h, height * width * k_w), stride=(1, k_w), padding=(0, 0, 0, 0), dilation=(1, 1)
    )


def _unfold_images(geometry: Geometry, images: NDArray[_Integer]) -> NDArray[_Integer]:
    """The strips of images (N, C, H, W), (N, C, K_h, O_h * O_w * K_w)."""
    top, bottom, left, right = geometry.padding
    padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
    y, x = (
        np.arange(o)[:, None] * s + np.arange(k)[None, :] * d
        for o, s, k, d in zip(geometry.output_size, geometry.stride, geometry.kernel, geometry.dilation, strict=True)
    )
    patches = padded[:, :, y[:, None, :, None], x[None, :, None, :]]
    count, channels, out_h, out_w, k_h, k_w = patches.shape
    strips = patches.transpose(0, 1, 4, 2, 3, 5).reshape(count, channels, k_h, out_h * out_w * k_w)
    return np.asarray(strips, dtype=images.dtype)
