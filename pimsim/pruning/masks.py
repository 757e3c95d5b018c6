"""Masks on the weights of a network, in the form of ``torch.nn.utils.prune``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from pimsim.errors import PruningError
from pimsim.pruning.fake_quantization import trained_layers, weight_layers
from pimsim.pruning.patterns import parse_pattern


def pattern_mask(keep: str, weight: Tensor) -> Tensor:
    """The mask of ``weight`` (OC, IC, K_h, K_w) that repeats one pattern in every kernel.

    ``keep`` lists the kernel positions row-major, 1 keeps. Raises :class:`PruningError`
    when its length is not K_h x K_w.
    """
    height, width = weight.shape[2:]
    taps = torch.zeros(height, width, dtype=weight.dtype)
    for row, column in parse_pattern(keep, (height, width)):
        taps[row, column] = 1
    return taps.expand_as(weight).clone()


def layer_masks(network: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the masks that some layers carry."""
    layers = trained_layers(network)
    return {name: layers[name].weight_mask.clone() for name in names}


def mask_layers(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Give every weight layer ``weight_orig`` and ``weight_mask``, ones where not in ``masks``.

    Raises :class:`PruningError` for a name that is no convolution or linear layer.
    """
    layers = weight_layers(network)
    for name in masks:
        if name not in layers:
            raise PruningError(
                given=f"a mask for {name}",
                rule=f"must name a layer with weights: {', '.join(layers)}",
            )
    for name, layer in layers.items():
        if name in masks:
            torch_prune.custom_from_mask(layer, "weight", masks[name])  # type: ignore[no-untyped-call]
        else:
            torch_prune.identity(layer, "weight")  # type: ignore[no-untyped-call]
