"""``none``: quantization-aware training only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.plans import Projection


@dataclass(frozen=True)
class NoPruning(MaskMethod):
    """Keep every weight."""

    name: ClassVar[str] = "none"

    def projection(self, network: nn.Module) -> Projection:
        """No masks."""
        return lambda weights: {}
