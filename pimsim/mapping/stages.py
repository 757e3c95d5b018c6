"""One layer computed by several others in turn: the value of a mapping in stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pimsim.mapping.arrays import ArrayShape, ArrayTile
from pimsim.mapping.layout import Mapping, Options
from pimsim.mapping.placement import Placement
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class StagedMapping:
    """One layer mapped as several, each an ordinary `Mapping` of an ordinary layer with the same windows.

    Window properties and tile counts are those of the first stage, which reads the layer's input; rows, cells
    and cycles are those of all stages.

    Attributes:
        method: registry name of the mapper that made it.
        geometry: the layer whose outputs the last stage computes.
        array: the array, with the columns that one weight takes.
        stages: the mappings in the order of computation; the outputs of one are the inputs of the next.
        pipelined: whether stages work at the same time on different windows.
        options: the mapper's options, for the record.
    """

    method: str
    geometry: Geometry
    array: ArrayShape
    stages: tuple[Mapping, ...] = field(repr=False)
    pipelined: bool = False
    options: Options = ()

    @property
    def cycles(self) -> int:
        """Computing cycles of one image: the sum over the stages, or the slowest one when they are pipelined."""
        return _combine(self.pipelined, (stage.cycles for stage in self.stages))

    @property
    def windows(self) -> int:
        """Parallel-window positions of one image, the same in every stage."""
        return self.stages[0].windows

    @property
    def outputs(self) -> Pair:
        """Output positions of one window."""
        return self.stages[0].outputs

    @property
    def window(self) -> Pair:
        """Extent of the window in pixels of the layer's input."""
        return self.stages[0].window

    @property
    def ic_tile(self) -> int:
        """Input channels of the first stage that fit one array programming."""
        return self.stages[0].ic_tile

    @property
    def oc_tile(self) -> int:
        """Output channels of the first stage that fit one array programming."""
        return self.stages[0].oc_tile

    @property
    def tiles(self) -> tuple[ArrayTile, ...]:
        """The array tiles of all stages."""
        return tuple(tile for stage in self.stages for tile in stage.tiles)

    def __str__(self) -> str:
        parts = "; ".join(str(stage) for stage in self.stages)
        return f"{self.method} {self.cycles} cycles in {len(self.stages)} stages ({parts})"


@dataclass(frozen=True)
class StagedPlacement:
    """The arrays of a mapping in stages that are left after skipping; counts as in `Placement`, over all stages.

    Attributes:
        mapping: the dense layout.
        stages: one placement for each stage.
    """

    mapping: StagedMapping
    stages: tuple[Placement, ...] = field(repr=False)

    @property
    def skip(self) -> str:
        """Granularity of skipping."""
        return self.stages[0].skip

    @property
    def cycles(self) -> int:
        """Computing cycles of one image with the arrays left."""
        return _combine(self.mapping.pipelined, (stage.cycles for stage in self.stages))

    @property
    def tiles(self) -> tuple[ArrayTile, ...]:
        """The arrays in use, stage after stage."""
        return tuple(tile for stage in self.stages for tile in stage.tiles)

    @property
    def rows_mapped(self) -> int:
        """Rows over the dense tiles of all stages."""
        return sum(stage.rows_mapped for stage in self.stages)

    @property
    def rows_skipped(self) -> int:
        """Rows of those that are not driven."""
        return sum(stage.rows_skipped for stage in self.stages)

    @property
    def unit_steps(self) -> int:
        """Operation units that are read for a window of every stage and one input step."""
        return sum(stage.unit_steps for stage in self.stages)

    @property
    def dense_unit_steps(self) -> int:
        """`unit_steps` of the dense layout."""
        return sum(stage.dense_unit_steps for stage in self.stages)

    @property
    def skip_ratio(self) -> float:
        """Skipped rows / mapped rows."""
        return self.rows_skipped / self.rows_mapped

    @property
    def row_tiles(self) -> int:
        """Arrays of the first stage in row direction."""
        return self.stages[0].row_tiles

    @property
    def column_tiles(self) -> int:
        """Column tiles of the first stage."""
        return self.stages[0].column_tiles

    @property
    def cell_utilisation(self) -> float:
        """Cells of the driven rows that hold a weight / cells of the arrays in use, over all stages."""
        array = self.mapping.array
        cells = array.rows * array.columns * len(self.tiles)
        held = sum(stage.weight_cells for stage in self.stages) * array.columns_per_weight
        return held / cells if cells else 0.0


def place_stages(
    mapping: StagedMapping,
    weights: Weights | None,
    skip: str = "none",
    pack: str = "tile",
    compact: bool | None = None,
) -> StagedPlacement:
    """The arrays of every stage with what is zero left out; see `place`.

    Args:
        mapping: the dense layout.
        weights: the weight of each stage, or None for dense stages.
        skip: granularity.
        pack: packing of kept rows.
        compact: whether the rows of operation units close up.

    Raises:
        MappingError: as `place`.
    """
    each = [None] * len(mapping.stages) if weights is None else weights
    pairs = zip(mapping.stages, each, strict=True)
    placed = (place(stage, weight, skip, pack, compact=compact) for stage, weight in pairs)
    return StagedPlacement(mapping, tuple(placed))


def _combine(pipelined: bool, cycles: Iterable[int]) -> int:
    total: Callable[[Iterable[int]], int] = max if pipelined else sum
    return total(cycles)
