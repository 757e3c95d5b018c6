"""What a method may add to training: nothing by default."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class TrainingHook:
    """Called by the training loop; a subclass overrides what it needs.

    All that it remembers must be in `state`, so that a killed run can go on.
    """

    @property
    def phase(self) -> str:
        """What the epochs are called while the hook changes what is trained; nothing for the usual ones."""
        return ""

    def attached(self, network: nn.Module) -> None:
        """Once, after every layer got its mask and its quantizer."""

    def before_epoch(self, network: nn.Module, epoch: int) -> None:
        """Before the first step of an epoch, counted from 0."""

    def penalty(self, network: nn.Module) -> Tensor | None:
        """A number that is added to the loss of every step; None for nothing."""
        return None

    def changes_weights(self, epoch: int) -> bool:
        """Whether `after_epoch` changes the weights, so that the accuracy before it is worth knowing."""
        return False

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """After the last step of an epoch, before the state of the run is written."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values to go on from."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
