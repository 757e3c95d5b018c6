"""``filter``: whole output channels, the columns of the unrolled weight matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pimsim.pruning.methods.share import ShareMethod


@dataclass(frozen=True)
class FilterPruning(ShareMethod):
    """Filters of smallest L2 norm, set to zero: columns of every array that holds a part of the layer."""

    name: ClassVar[str] = "filter"

    def energies(self, weight: Tensor) -> Tensor:
        """One group for each output channel, (OC, 1, 1, 1)."""
        return weight.square().sum(dim=(1, 2, 3), keepdim=True)

    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:
        """The same for all weights of an output channel."""
        return kept.expand_as(weight)
