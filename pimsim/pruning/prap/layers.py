"""What a mode does to the weight of one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.pruning.prap.comparators import orc_mask, structure_mask
from pimsim.pruning.prap.groups import OU_ROWS, group_of
from pimsim.pruning.prap.modes import Mode
from pimsim.pruning.prap.reuse import Reuse, identical_reuse, similar_reuse
from pimsim.pruning.prap.shapes import shape_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LayerPatterns:
    """How the patterns of one layer are chosen.

    Attributes:
        mode: the method.
        kept_positions: p, for a mode with shapes; without, a pattern is a whole kernel, or eight inputs of a 1x1 layer.
        target: keep ratio of similar reuse, threshold of identical reuse; 1 leaves the patterns alone.
        share: what structured pruning and ORC keep.
        weight_bits: bits of a kept pattern.
    """

    mode: Mode
    kept_positions: float
    target: float
    share: float
    weight_bits: int = 8

    @property
    def has_reuse(self) -> bool:
        """Whether any of its patterns may stand for another."""
        return bool(self.mode.reuse) and self.target != 1

    def group(self, weight: NDArray[np.floating]) -> int:
        """G, the channels of a pattern."""
        positions = int(np.prod(weight.shape[2:], dtype=np.int64))
        if self.mode.pruning == "shape":
            return group_of(self.kept_positions, positions)
        return OU_ROWS if positions == 1 else 1

    def pruned(self, weight: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which weights stay before any is reused."""
        if self.mode.pruning == "shape":
            return shape_mask(weight, self.kept_positions)
        if self.mode.pruning == "structure":
            return structure_mask(weight, self.share)
        if self.mode.pruning == "orc":
            return orc_mask(weight, self.share)
        return np.ones(weight.shape, dtype=np.bool_)

    def reuse(self, weight: NDArray[np.floating], mask: NDArray[np.bool_]) -> Reuse | None:
        """Which patterns stand for which; None for a layer that keeps its patterns."""
        if not self.has_reuse:
            return None
        find = similar_reuse if self.mode.reuse == "similar" else identical_reuse
        return find(weight, self.target, self.group(weight), mask, self.weight_bits)
