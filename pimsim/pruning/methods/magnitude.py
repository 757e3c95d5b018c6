"""``magnitude``: single weights, whatever their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pimsim.pruning.methods.share import ShareMethod


@dataclass(frozen=True)
class MagnitudePruning(ShareMethod):
    """Unstructured pruning: the smallest weights of each layer. Hardly any crossbar row becomes empty.

    Reference:
        `pruning-blocks.md`, unstructured magnitude: the reference point that shows why structure is needed.
    """

    name: ClassVar[str] = "magnitude"

    def energies(self, weight: Tensor) -> Tensor:
        """Squares, one group for each weight."""
        return weight.square()

    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:
        """The groups are the weights."""
        return kept
