"""``channel``: whole input channels, blocks of rows of the unrolled weight matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pimsim.pruning.methods.share import ShareMethod


@dataclass(frozen=True)
class ChannelPruning(ShareMethod):
    """Input channels of smallest L2 norm, set to zero: all their rows are skipped, whatever the window.

    ``vwc-sdk`` is the method that takes channels out of the network instead.
    """

    name: ClassVar[str] = "channel"

    def energies(self, weight: Tensor) -> Tensor:
        """One group for each input channel, (1, IC, 1, 1)."""
        return weight.square().sum(dim=(0, 2, 3), keepdim=True)

    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:
        """The same for all weights of an input channel."""
        return kept.expand_as(weight)
