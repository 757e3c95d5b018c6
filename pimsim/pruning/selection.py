"""Which layers of a network a method prunes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from pimsim.errors import PruningError, nearest
from pimsim.pruning.fake_quantization import WeightLayer, weight_layers


def is_eligible(layer: nn.Conv2d) -> bool:
    """Whether a row-skipping method takes a layer by default: 3x3, stride 1, IC = OC, one group.

    Reference:
        `pruning-sdk.md` 5: 4-D weights with IC = OC; the 16 block convolutions of ResNet-20.
    """
    return (
        layer.kernel_size == (3, 3)
        and layer.stride == (1, 1)
        and layer.groups == 1
        and layer.in_channels == layer.out_channels
    )


def chosen_layers(
    network: nn.Module, names: Sequence[str] = (), is_taken: Callable[[nn.Conv2d], bool] = is_eligible
) -> dict[str, nn.Conv2d]:
    """The named convolutions, or those that ``is_taken`` when none is named, by dotted name.

    Raises:
        PruningError: a name that is no convolution, or a network without a layer to prune.
    """
    convolutions = {n: layer for n, layer in weight_layers(network).items() if isinstance(layer, nn.Conv2d)}
    for name in names:
        if name not in convolutions:
            raise PruningError(
                f"layer {name!r}", "must name a convolution of the network", fix=nearest(name, convolutions)
            )
    found = {name: layer for name, layer in convolutions.items() if (name in names if names else is_taken(layer))}
    if not found:
        raise PruningError(
            "a network without stride-1 3x3 convolutions of equal width",
            "pattern pruning needs at least one layer",
            fix="Name the layers to prune",
        )
    return found


#: Layers that a method for arrays may leave dense.
EXEMPTIONS = ("none", "first", "last", "first-last")


def chosen_weights(network: nn.Module, names: Sequence[str] = (), exempt: str = "none") -> dict[str, WeightLayer]:
    """The named layers, or all convolutions and linear layers, by dotted name.

    Args:
        network: read, not changed.
        names: layers; empty means all.
        exempt: one of `EXEMPTIONS`: whether the first convolution, the last linear layer or both stay dense. A named
            layer is never exempt.

    Raises:
        PruningError: an unknown name or exemption, or nothing left to prune.
    """
    if exempt not in EXEMPTIONS:
        raise PruningError(f"exempt '{exempt}'", "unknown exemption", fix=nearest(exempt, EXEMPTIONS))
    layers = weight_layers(network)
    for name in names:
        if name not in layers:
            raise PruningError(f"layer {name!r}", "must name a layer with weights", fix=nearest(name, layers))
    if names:
        return {name: layer for name, layer in layers.items() if name in names}
    dense = set()
    if exempt.startswith("first"):
        dense |= {name for name in list(layers)[:1] if isinstance(layers[name], nn.Conv2d)}
    if exempt.endswith("last"):
        dense |= {name for name in list(layers)[-1:] if isinstance(layers[name], nn.Linear)}
    found = {name: layer for name, layer in layers.items() if name not in dense}
    if not found:
        raise PruningError(f"exempt '{exempt}'", "no layer is left to prune", fix="Name the layers, or use exempt none")
    return found


def network_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weight of every convolution and linear layer, detached; before its mask where there is one already."""
    return {
        name: getattr(layer, "weight_orig", layer.weight).detach() for name, layer in weight_layers(network).items()
    }


def kernel_size(layer: nn.Conv2d) -> tuple[int, int]:
    """(K_h, K_w) of a convolution."""
    height, width = layer.kernel_size
    return int(height), int(width)
