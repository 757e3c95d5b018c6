"""``pconv``: the four patterns of PCONV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pimsim.errors import PruningError
from pimsim.pruning.methods.pattern import Layers, PatternMethod, Sets
from pimsim.pruning.patterns import format_pattern
from pimsim.pruning.selection import kernel_size


@dataclass(frozen=True)
class PConv(PatternMethod):
    """The centre with three of its four neighbours, as a smoothing or sharpening filter has them.

    Reference:
        X. Ma et al., "PCONV", AAAI 2020, arXiv 1909.05073; `pruning-sdk.md` 5, baselines.
    """

    name: ClassVar[str] = "pconv"

    def sets(self, layers: Layers) -> Sets:
        """The four patterns of each layer. Raises `PruningError` for a kernel without such neighbours."""
        return {name: crosses(kernel_size(layer)) for name, layer in layers.items()}


def crosses(kernel: tuple[int, int]) -> tuple[str, ...]:
    """The cross around the centre without its lower, right, left or upper arm."""
    height, width = kernel
    if min(kernel) < 3 or not (height % 2 and width % 2):
        raise PruningError(f"a {height}x{width} kernel", "its centre must have four neighbours")
    row, column = height // 2, width // 2
    arms = ((row + 1, column), (row, column + 1), (row, column - 1), (row - 1, column))
    return tuple(format_pattern(frozenset({(row, column), *arms} - {arm}), kernel) for arm in arms)
