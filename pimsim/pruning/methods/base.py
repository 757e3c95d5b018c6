"""What every mask method has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from pimsim.pruning.plans import Projection, PruningPlan
from pimsim.pruning.selection import network_weights


class MaskMethod(ABC):
    """A method that decides which weights are zero; a subclass is a frozen dataclass of its options."""

    name: ClassVar[str]

    @abstractmethod
    def projection(self, network: nn.Module) -> Projection:
        """From a network, whose weights are read and not changed, how weights become masks.

        What depends on the trained network only, such as a pattern set, is settled here; what depends on the weights
        at hand is left to the projection.

        Raises:
            PruningError: options or layers that do not fit.
        """

    def notes(self, network: nn.Module) -> tuple[str, ...]:
        """Lines for the card beside the picture of the masks."""
        return ()

    def plan(self, network: nn.Module) -> PruningPlan:
        """The masks for a network as it stands. Raises `PruningError`."""
        masks = self.projection(network)(network_weights(network))
        return PruningPlan(self.name, masks, self.notes(network))
