"""Low-rank: a layer as two, a K x K convolution to few channels and a 1 x 1 convolution back, in common windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pimsim.errors import MappingError
from pimsim.mapping.arrays import ArrayShape, ArrayTile
from pimsim.mapping.factors import check_pair, factor, window_pair
from pimsim.mapping.layout import Mapping, Options
from pimsim.mapping.options import options_of
from pimsim.mapping.stages import StagedMapping
from pimsim.mapping.tiling import (
    Tiling,
    check_choice,
    check_groups,
    check_one_kernel,
    lay_out,
    packed_groups,
    tap_count,
)
from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LowRank:
    """The low-rank mapper: the factors of a layer, laid out in windows that both share.

    The weight W (OC x IC K K) is split by input channels into ``groups`` blocks of rank ``rank`` each. Stage 1 is the
    grouped K x K convolution to groups * rank channels, mapped like SDK: all channels of a group, rows and columns cut
    anywhere. Stage 2 is the 1 x 1 convolution to OC channels: one copy for each output position of the window on the
    diagonal, rows and columns cut anywhere; off the diagonal stand array tiles without a weight.

    Attributes:
        rank: rank of each group's factors, a number or a fraction of the output channels, ``1/4``, rounded down.
        groups: blocks of input channels that are factorised apart.
        window_outputs: output positions of a window, ``2x2``; None searches for the fewest cycles.
        search: ``square`` windows or any ``rectangular`` ones; of equal ones the lowest, then the narrowest.
        zero_tiles: ``skip`` leaves array tiles without a weight out, ``count`` counts them.
        stages: ``sequential`` (cycles add up) or ``pipelined`` (the slower stage counts).
        packing: ``serial`` (groups one after another) or ``packed`` (several in one array, block-diagonally).

    Reference:
        K. E. Jeon, J. Rhe, J. H. Ko, "Low-Rank Compression for IMC Arrays", DATE 2025, arXiv 2502.07820;
        `pruning-blocks.md` 2.1 and 2.2: C_R = W_n g ceil(P^2 (IC/g) / AR) ceil(N k / ACe), C_L = W_n T.
    """

    name: ClassVar[str] = "low-rank"
    rank: int | str = "1/4"
    groups: int = 1
    window_outputs: str | None = None
    search: str = "square"
    zero_tiles: str = "skip"
    stages: str = "sequential"
    packing: str = "serial"

    def __post_init__(self) -> None:
        check_choice("search", self.search, ("square", "rectangular"), "unknown search")
        check_choice("zero_tiles", self.zero_tiles, ("skip", "count"), "unknown choice for zero tiles")
        check_choice("stages", self.stages, ("sequential", "pipelined"), "unknown order of stages")
        check_groups(self.packing)
        if self.groups < 1:
            raise MappingError(f"groups={self.groups}", "at least one group is needed")
        rank_of(self.rank, 1)
        if self.window_outputs is not None:
            window_pair(self.window_outputs)

    def map(self, geometry: Geometry, array: ArrayShape) -> StagedMapping:
        """The layer as its two factors.

        Raises:
            MappingError: a rank above that of a group's matrix, groups that do not divide the input channels, or a
                window larger than the output map.
        """
        rank = rank_of(self.rank, geometry.group_channels[1])
        return self.map_pair(*factor(geometry, rank, self.groups), array, geometry, (("rank", rank),))

    def map_pair(
        self, reduce: Geometry, expand: Geometry, array: ArrayShape, whole: Geometry, known: Options = ()
    ) -> StagedMapping:
        """Two factors that exist already, as in a factorised network.

        Args:
            reduce: the K x K convolution.
            expand: the 1 x 1 convolution on its outputs.
            array: the array.
            whole: the layer that the pair stands for.
            known: options to record instead of the mapper's own.

        Raises:
            MappingError: layers that do not follow each other, or a window larger than the output map.
        """
        check_one_kernel(reduce, self.name)
        check_pair(reduce, expand)
        outputs = self._outputs(reduce, expand, array, whole.name)
        first = self._stage(reduce, array, outputs, order="channel")
        second = self._stage(expand, array, outputs, order="pixel")
        if self.zero_tiles == "skip":
            second = replace(second, tiles=_with_weights(second))
        options = tuple(dict((*options_of(self), *known)).items())
        return StagedMapping(self.name, whole, array, (first, second), self.stages == "pipelined", options)

    def _stage(self, geometry: Geometry, array: ArrayShape, outputs: Pair, order: str) -> Mapping:
        """One factor with rows and columns cut anywhere."""
        ic, oc = geometry.group_channels
        together = packed_groups(geometry, array, outputs) if self.packing == "packed" else 1
        tiling = Tiling(outputs, array.rows, array.weight_columns, together, order, split_outputs=True)
        return Mapping(
            method=self.name,
            geometry=geometry,
            array=array,
            outputs=outputs,
            ic_tile=ic,
            oc_tile=min(array.weight_columns // (outputs[0] * outputs[1]), oc),
            tiles=lay_out(geometry, tiling),
            options=(("packing", self.packing),),
        )

    def _outputs(self, reduce: Geometry, expand: Geometry, array: ArrayShape, whole: str) -> Pair:
        """The window asked for, or the one of fewest cycles."""
        height, width = reduce.output_size
        if self.window_outputs is not None:
            asked = window_pair(self.window_outputs)
            if asked[0] > height or asked[1] > width:
                rule = f"a window holds at most the {height}x{width} outputs of the layer"
                raise MappingError(f"window_outputs={self.window_outputs}", rule, whole, "Use a smaller window")
            return asked
        n_h, n_w = np.arange(1, height + 1)[:, None], np.arange(1, width + 1)[None, :]
        if self.search == "square":
            n_h = n_w = np.arange(1, min(height, width) + 1)[:, None]
        cycles = self._cycles(reduce, expand, array, n_h, n_w)
        row, column = divmod(int(np.argmin(cycles)), cycles.shape[1])
        return (row + 1, row + 1) if self.search == "square" else (row + 1, column + 1)

    def _cycles(
        self, reduce: Geometry, expand: Geometry, array: ArrayShape, n_h: NDArray[np.int64], n_w: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Computing cycles of windows of n_h x n_w outputs."""
        taps = (
            tap_count(n, k, s, d)
            for n, k, s, d in zip((n_h, n_w), reduce.kernel, reduce.stride, reduce.dilation, strict=True)
        )
        rows, positions = next(taps) * next(taps), n_h * n_w
        windows = -(-reduce.output_size[0] // n_h) * -(-reduce.output_size[1] // n_w)
        first = self._arrays(reduce, array, rows, positions, None)
        diagonal = tiles_on_diagonal(expand.group_channels, array, int(positions.max()))
        second = self._arrays(expand, array, positions, positions, diagonal[positions - 1])
        return windows * (np.maximum(first, second) if self.stages == "pipelined" else first + second)

    def _arrays(
        self, stage: Geometry, array: ArrayShape, rows: NDArray[np.int64], positions: NDArray[np.int64],
        on_diagonal: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:  # fmt: skip
        """Array tiles of one stage for every window."""
        ic, oc = stage.group_channels
        tiles: NDArray[np.int64] = -(-rows * ic // array.rows) * -(-positions * oc // array.weight_columns)
        if on_diagonal is not None and self.zero_tiles == "skip":
            tiles = on_diagonal
        if self.packing == "serial":
            return tiles * stage.groups
        together: NDArray[np.int64] = np.minimum(array.rows // (rows * ic), array.weight_columns // (positions * oc))
        return tiles * -(-stage.groups // np.clip(together, 1, stage.groups))


def rank_of(rank: int | str, outputs: int) -> int:
    """The rank as a number, at least 1: itself, or a fraction of the output channels rounded down.

    Raises:
        MappingError: neither a whole number of at least 1 nor a fraction between 0 and 1.
    """
    text = str(rank)
    if text.isascii() and text.isdigit() and int(text) >= 1:
        return int(text)
    above, slash, below = text.partition("/")
    if slash and above.isascii() and above.isdigit() and below.isascii() and below.isdigit() and int(below):
        share = Fraction(int(above), int(below))
        if 0 < share <= 1:
            return max(1, int(share * outputs))
    raise MappingError(f"rank={rank}", "a rank is a whole number of at least 1, or a fraction of the output channels",
                       fix="Write it like 16 or 1/4")  # fmt: skip


def tiles_on_diagonal(block: Pair, array: ArrayShape, most: int) -> NDArray[np.int64]:
    """Array tiles with a nonzero cell in a diagonal of 1 to ``most`` blocks, (most,).

    Each block covers a rectangle of tiles; neighbours share at most the tile in which one ends and the next
    begins, and the blocks that share a tile follow each other.

    Args:
        block: rows and weight columns of one block.
        array: the array.
        most: the largest number of blocks.
    """
    firsts, lasts = [], []
    for size, step in zip(block, (array.rows, array.weight_columns), strict=True):
        start = np.arange(most, dtype=np.int64) * size
        firsts.append(start // step)
        lasts.append((start + size - 1) // step)
    covered = (lasts[0] - firsts[0] + 1) * (lasts[1] - firsts[1] + 1)
    shared = (lasts[0][:-1] == firsts[0][1:]) & (lasts[1][:-1] == firsts[1][1:])
    covered[1:] -= shared
    return np.asarray(np.cumsum(covered), dtype=np.int64)


def _with_weights(mapping: Mapping) -> tuple[ArrayTile, ...]:
    """The array tiles that hold a weight."""
    return tuple(tile for tile in mapping.tiles if mapping.nonzero_per_row(tile.rows, tile.columns, None).any())
