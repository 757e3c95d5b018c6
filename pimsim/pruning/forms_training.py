"""Training for FORMS: weights that lose the sign of their fragment become zero, again and again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pimsim.pruning.admm import apply_masks
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.hooks import TrainingHook
from pimsim.pruning.plans import Masks, Projection


class FormsHook(TrainingHook):
    """w = m w at the start and after every epoch, with the masks m of the weights as they are then.

    In between every weight learns, also one that was set to zero, so that it can come back with the sign of its
    fragment; the masks of the last epoch stay. Weights that are zero to begin with, of a pruned network, stay zero.
    Nothing is remembered here: the network has it all.

    Args:
        projection: the masks of weights with the sign of their fragment.
        epochs: epochs of the run.
    """

    def __init__(self, projection: Projection, epochs: int) -> None:
        self._projection, self._epochs = projection, epochs

    def attached(self, network: nn.Module) -> None:
        """The first projection, before anything is calibrated; weights that are zero already are masked for good."""
        layers = trained_layers(network)
        chosen = self._projection({name: layer.weight_orig.detach() for name, layer in layers.items()})
        apply_masks(network, {name: _nonzero(layers[name].weight_orig.detach()) for name in chosen})
        self._project(network)

    def changes_weights(self, epoch: int) -> bool:
        """Always."""
        return True

    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """A projection; after the last epoch its masks stay on the layers."""
        masks = self._project(network)
        if epoch + 1 == self._epochs:
            apply_masks(network, masks)

    @torch.no_grad()
    def _project(self, network: nn.Module) -> Masks:
        """Weights without the sign of their fragment set to zero; the masks that do so."""
        layers = trained_layers(network)
        masks = self._projection({name: layer.weight_orig * layer.weight_mask for name, layer in layers.items()})
        for name, mask in masks.items():
            layers[name].weight_orig.mul_(mask)
        return masks


def _nonzero(weight: Tensor) -> Tensor:
    """Where a weight is not zero; a layer of zeros only, as some start from scratch, counts as whole."""
    return (weight != 0).to(weight) if bool(weight.any()) else torch.ones_like(weight)
