"""What every mask method has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from pimsim.pruning.hooks import TrainingHook
from pimsim.pruning.plans import Masks, Projection, PruningPlan
from pimsim.pruning.recipe import Recipe
from pimsim.pruning.selection import network_weights


class MaskMethod(ABC):
    """A method that decides which weights are zero; a subclass is a frozen dataclass of its options."""

    name: ClassVar[str]

    @property
    def is_mask(self) -> bool:
        """Whether masks are all that the method does to weights, so that it can be shown without training."""
        return True

    @abstractmethod
    def projection(self, network: nn.Module) -> Projection:
        """From a network, whose weights are read and not changed, how weights become masks.

        What depends on the trained network only, such as a pattern set, is settled here; what depends on the weights
        at hand is left to the projection.

        Raises:
            PruningError: options or layers that do not fit.
        """

    def constraints(self, network: nn.Module) -> tuple[Projection, ...]:
        """The projections on which ADMM works apart; the one of the method unless it is made of several."""
        return (self.projection(network),)

    def new_grids(self, network: nn.Module) -> tuple[str, ...]:
        """Layers that leave the grid on which a quantized checkpoint has them: they start from its integers."""
        return ()

    def training_hook(self, network: nn.Module, recipe: Recipe) -> TrainingHook | None:
        """What the method adds to training instead of masks from the first epoch on; None for nothing.

        Raises:
            PruningError: options that do not fit the recipe.
        """
        return None

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """Lines for the card beside the picture of the masks that a network got."""
        return ()

    def plan(self, network: nn.Module) -> PruningPlan:
        """The masks for a network as it stands. Raises `PruningError`."""
        return self.describe(network, self.projection(network)(network_weights(network)))

    def describe(self, network: nn.Module, masks: Masks) -> PruningPlan:
        """Masks that came out of the projection, with their notes; ``network`` as the projection saw it."""
        return PruningPlan(self.name, masks, self.notes(network, masks))
