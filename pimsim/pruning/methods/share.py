"""What the methods have in common that prune a share of some groups of weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.plans import Masks, Projection, Weights
from pimsim.pruning.selection import chosen_layers


@dataclass(frozen=True)
class ShareMethod(MaskMethod):
    """The groups of smallest L2 norm go, in each layer the same share of them; a subclass says what a group is.

    Attributes:
        sparsity: share of the groups that goes, rounded down.
        layers: names of the layers; empty means the stride-1 3x3 convolutions with as many inputs as outputs.
    """

    sparsity: float = 0.5
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise PruningError(f"sparsity={self.sparsity}", "the share that is pruned is 0 or more and less than 1")

    @abstractmethod
    def energies(self, weight: Tensor) -> Tensor:
        """Sum of squares of each group of a weight (OC, IC, K_h, K_w), float64 of any shape."""

    @abstractmethod
    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:
        """What holds for the groups, shaped like `energies`, for each weight."""

    def projection(self, network: nn.Module) -> Projection:
        """The strongest groups of the weights at hand."""
        return partial(self._masks, chosen_layers(network, self.layers))

    def _masks(self, layers: Mapping[str, nn.Conv2d], weights: Weights) -> Masks:
        return {name: self._mask(weights[name]) for name in layers}

    def _mask(self, weight: Tensor) -> Tensor:
        energies = self.energies(weight.detach().double())
        kept = torch.ones(energies.numel(), dtype=weight.dtype, device=weight.device)
        # A stable order: of equal groups the first go.
        weakest = torch.sort(energies.flatten(), stable=True).indices[: int(self.sparsity * energies.numel())]
        kept[weakest] = 0
        return self.spread(kept.reshape(energies.shape), weight).clone()
