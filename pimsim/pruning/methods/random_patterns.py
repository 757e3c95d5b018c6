"""``random``: patterns drawn blindly, the baseline of every pattern method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pimsim.errors import PruningError
from pimsim.pruning.methods.pattern import Layers, PatternMethod, Sets
from pimsim.pruning.patterns import all_patterns, best_patterns, pattern_text
from pimsim.pruning.selection import kernel_size
from pimsim.pruning.windows import smallest_shared_window


@dataclass(frozen=True)
class RandomPatterns(PatternMethod):
    """Different patterns of some entries drawn from all there are, the centre not favoured; the choice is by L2 norm.

    Attributes:
        entries: kept positions of a kernel.
        patterns: how many are drawn; None means as many as PAIRS has.
        seed: of the draw; the one of the training run.

    Reference:
        `pruning-sdk.md` 5, baselines.
    """

    name: ClassVar[str] = "random"
    entries: int = 6
    patterns: int | None = None
    seed: int = 0

    def sets(self, layers: Layers) -> Sets:
        """One set for all layers of the same kernel size."""
        sizes = sorted({kernel_size(layer) for layer in layers.values()})
        found = {size: self._set(size) for size in sizes}
        return {name: found[kernel_size(layer)] for name, layer in layers.items()}

    def _set(self, kernel: tuple[int, int]) -> tuple[str, ...]:
        everything = all_patterns(self.entries, kernel)
        count = self.patterns
        if count is None:
            count = len(best_patterns(self.entries, kernel, smallest_shared_window(kernel)))
        if not 1 <= count <= len(everything):
            raise PruningError(f"patterns={count}", f"there are {len(everything)} patterns of {self.entries} entries")
        drawn = np.random.default_rng(self.seed).choice(len(everything), count, replace=False)
        return tuple(pattern_text(int(everything[index]), kernel) for index in drawn)
