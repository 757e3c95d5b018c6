"""``patdnn``: the patterns that a trained network has most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.pruning.methods.pattern import Layers, PatternMethod, Sets
from pimsim.pruning.patterns import check_entries
from pimsim.pruning.plans import Projection
from pimsim.pruning.projections import ConnectivityProjection, PatternProjection
from pimsim.pruning.selection import chosen_layers, kernel_size


@dataclass(frozen=True)
class PatDnn(PatternMethod):
    """PatDNN: the most frequent natural patterns of all kernels; optionally only the strongest kernels stay.

    The natural pattern of a kernel is its centre with the largest of its other weights.

    Attributes:
        entries: kept positions of a kernel.
        patterns: how many patterns the set has.
        connectivity: one in so many kernels stays, 3.6 in the paper; 1 keeps all of them.

    Reference:
        W. Niu et al., "PatDNN", ASPLOS 2020, arXiv 2001.00138; `pruning-sdk.md` 11, generalised to any number of
        entries as there.
    """

    name: ClassVar[str] = "patdnn"
    entries: int = 6
    patterns: int = 8
    connectivity: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.connectivity < 1:
            raise PruningError(f"connectivity={self.connectivity}", "one in so many kernels stays: it is 1 or more")
        if self.patterns < 1:
            raise PruningError(f"patterns={self.patterns}", "a set has at least one pattern")

    def sets(self, layers: Layers) -> Sets:
        """One set for all layers of the same kernel size."""
        sizes = {kernel_size(layer) for layer in layers.values()}
        found = {size: self._set([a for a in layers.values() if kernel_size(a) == size], size) for size in sizes}
        return {name: found[kernel_size(layer)] for name, layer in layers.items()}

    def projection(self, network: nn.Module) -> Projection:
        """Patterns, and connectivity, of the weights at hand."""
        return PatternProjection(self.sets(chosen_layers(network, self.layers)), self.dimension, self.connectivity)

    def constraints(self, network: nn.Module) -> tuple[Projection, ...]:
        """Patterns and, where kernels go, connectivity, as in the paper."""
        layers = chosen_layers(network, self.layers)
        patterns = PatternProjection(self.sets(layers), self.dimension)
        if self.connectivity == 1:
            return (patterns,)
        return (patterns, ConnectivityProjection(tuple(layers), self.connectivity))

    def _set(self, layers: Iterable[nn.Conv2d], kernel: tuple[int, int]) -> tuple[str, ...]:
        check_entries(self.entries, kernel)
        return most_frequent((layer.weight for layer in layers), self.entries, self.patterns)


def most_frequent(weights: Iterable[Tensor], entries: int, count: int) -> tuple[str, ...]:
    """The ``count`` most frequent natural patterns; of equally frequent ones the one that was seen last comes first."""
    seen = Counter(keep for weight in weights for keep in natural_patterns(weight, entries))
    ordered = sorted(seen.items(), key=lambda item: item[1])
    return tuple(keep for keep, _ in reversed(ordered))[:count]


def natural_patterns(weight: Tensor, entries: int) -> list[str]:
    """The natural pattern of every kernel of (OC, IC, K_h, K_w), row-major: centre and largest others.

    Kernels of even size have no centre. Of equal magnitudes the first positions stay.
    """
    magnitude = weight.detach().abs().double().flatten(2).flatten(0, 1).cpu().numpy().copy()
    height, width = weight.shape[2:]
    if height % 2 and width % 2:
        magnitude[:, height // 2 * width + width // 2] = np.inf
    kept = np.zeros(magnitude.shape, dtype=np.uint8)
    np.put_along_axis(kept, np.argsort(-magnitude, axis=1, kind="stable")[:, :entries], 1, axis=1)
    return ["".join(map(str, list(kernel))) for kernel in kept]
