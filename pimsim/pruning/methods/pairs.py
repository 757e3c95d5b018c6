"""``pairs``: the patterns that free most crossbar rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pimsim.pruning.methods.pattern import Layers, PatternMethod, Sets
from pimsim.pruning.patterns import best_patterns
from pimsim.pruning.selection import kernel_size
from pimsim.pruning.windows import Window, Windows, smallest_shared_window


@dataclass(frozen=True)
class Pairs(PatternMethod):
    """PAIRS: all patterns of some entries that free most rows of the layer's parallel window, found by enumeration.

    Attributes:
        entries: kept positions of a kernel.
        windows: parallel windows of the layers, from a mapper. Without them, or where a window holds only one kernel
            (then every pattern frees as many rows), the set is that of two windows in each direction: for 3x3
            kernels it is the same for every larger square window.

    Reference:
        J. Rhe, K. E. Jeon, J. H. Ko, "PAIRS", 2023; `pruning-sdk.md` 3: the published sets are those that the
        enumeration gives.
    """

    name: ClassVar[str] = "pairs"
    entries: int = 6
    windows: Windows | None = None

    def sets(self, layers: Layers) -> Sets:
        """The enumerated set of each layer. Raises `PruningError` for entries that no kernel has."""
        return {
            name: pattern_set(layer, self.entries, self.windows.of(name) if self.windows else None)
            for name, layer in layers.items()
        }


def pattern_set(layer: nn.Conv2d, entries: int, window: Window | None) -> tuple[str, ...]:
    """All patterns of some entries that free most rows of a layer's window; see `Pairs`.

    Raises:
        PruningError: entries that the kernel does not have.
    """
    stride, dilation = (layer.stride[0], layer.stride[1]), (layer.dilation[0], layer.dilation[1])
    shared = smallest_shared_window(kernel_size(layer), stride, dilation)
    single = window is None or all(side < other for side, other in zip(window, shared, strict=True))
    return best_patterns(entries, kernel_size(layer), shared if window is None or single else window, stride, dilation)
