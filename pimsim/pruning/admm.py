"""ADMM: weights are drawn towards the nearest pruned network before anything is pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pimsim.errors import PruningError, nearest
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.hooks import TrainingHook
from pimsim.pruning.plans import Projection
from pimsim.pruning.recipe import Recipe

#: ``squared``: the augmented Lagrangian; ``plain``: Frobenius norms without the square, as released with PAIRS.
NORMS = ("squared", "plain")


@dataclass(frozen=True)
class AdmmOptions:
    """How long and how strongly weights are drawn.

    Attributes:
        admm_epochs: epochs with the penalty and without masks; then all is pruned and the rest trains masked.
        admm_warmup: of those, epochs in which the dual variables stay zero.
        admm_rho: weight of the penalty.
        admm_norm: a name of `NORMS`.
    """

    admm_epochs: int = 0
    admm_warmup: int = 0
    admm_rho: float = 0.01
    admm_norm: str = "squared"

    def __post_init__(self) -> None:
        if self.admm_epochs < 0 or not 0 <= self.admm_warmup <= self.admm_epochs:
            given = f"admm_epochs={self.admm_epochs}, admm_warmup={self.admm_warmup}"
            raise PruningError(given, "both are 0 or more, and the warm-up is a part of the ADMM epochs")
        if self.admm_rho <= 0:
            raise PruningError(f"admm_rho={self.admm_rho}", "the weight of the penalty is positive")
        if self.admm_norm not in NORMS:
            raise PruningError(f"admm_norm '{self.admm_norm}'", "unknown norm", fix=nearest(self.admm_norm, NORMS))


def check_admm(options: AdmmOptions, recipe: Recipe, method: str) -> None:
    """Raises `PruningError` for ADMM that nothing follows, or with a method that prunes nothing."""
    if options.admm_epochs and method == "none":
        raise PruningError("ADMM with the method 'none'", "there is nothing to draw the weights to")
    if options.admm_epochs >= recipe.epochs:
        given = f"admm_epochs={options.admm_epochs} of {recipe.epochs} epochs"
        raise PruningError(given, "after ADMM the pruned network needs an epoch of its own")


@dataclass
class _Split:
    """One constraint: Z, the projection of W + U, and the dual variable U, by layer."""

    projection: Projection
    targets: dict[str, Tensor] = field(default_factory=dict)
    duals: dict[str, Tensor] = field(default_factory=dict)

    def project(self, weights: Mapping[str, Tensor]) -> None:
        shifted = {name: weight + self.duals.get(name, 0) for name, weight in weights.items()}
        self.targets = {name: shifted[name] * mask for name, mask in self.projection(shifted).items()}
        self.duals = {name: self.duals.get(name, torch.zeros_like(z)) for name, z in self.targets.items()}

    def accumulate(self, weights: Mapping[str, Tensor]) -> None:
        self.duals = {name: dual + weights[name] - self.targets[name] for name, dual in self.duals.items()}


class Admm(TrainingHook):
    """Loss + rho/2 sum ||W - Z + U||^2 over constraints and layers; Z and U change once an epoch, then all is pruned.

    Args:
        constraints: one projection for each constraint, with its own Z and U.
        final: what to keep in the end, of the weights as they are then.
        options: epochs, weight and norm.

    Reference:
        `pruning-sdk.md` 5; Zhang et al., ECCV 2018, arXiv 1804.03294; Niu et al., arXiv 2001.00138.
    """

    def __init__(self, constraints: Sequence[Projection], final: Projection, options: AdmmOptions) -> None:
        self._splits = [_Split(projection) for projection in constraints]
        self._final, self._options = final, options
        self._active = False

    @property
    def phase(self) -> str:
        """The epochs before the pruning are no measure of the pruned network."""
        return "admm" if self._active else ""

    def before_epoch(self, network: nn.Module, epoch: int) -> None:
        """The first projection, and in the end the pruning."""
        self._active = epoch < self._options.admm_epochs
        if epoch == 0 and self._active:
            for split in self._splits:
                split.project(_weights(network))
        if epoch == self._options.admm_epochs:
            apply_masks(network, self._final(_weights(network)))

    def penalty(self, network: nn.Module) -> Tensor | None:
        """The distance of the weights from their projections."""
        if not self._active:
            return None
        layers = trained_layers(network)
        distances = [
            (layers[name].weight_orig - target + split.duals[name]).square().sum()
            for split in self._splits
            for name, target in split.targets.items()
        ]
        if self._options.admm_norm == "plain":
            # The root has no slope at zero: a weight that sits on its projection stays there.
            distances = [torch.sqrt(distance.clamp_min(torch.finfo(distance.dtype).tiny)) for distance in distances]
        return self._options.admm_rho / 2 * torch.stack(distances).sum()

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """New projections, then dual variables."""
        if not self._active:
            return
        for split in self._splits:
            split.project(_weights(network))
            if epoch >= self._options.admm_warmup:
                split.accumulate(_weights(network))

    def state(self) -> dict[str, Any]:
        """Projections and dual variables, by constraint."""
        return {"targets": [split.targets for split in self._splits], "duals": [split.duals for split in self._splits]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over projections and dual variables."""
        for split, targets, duals in zip(self._splits, state["targets"], state["duals"], strict=True):
            split.targets, split.duals = targets, duals


@torch.no_grad()
def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Prune the layers of a network that carries masks already."""
    layers = trained_layers(network)
    for name, mask in masks.items():
        layers[name].weight_mask.copy_(mask)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: layer.weight_orig.detach().clone() for name, layer in trained_layers(network).items()}
