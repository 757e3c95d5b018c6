"""Changes of a network's structure that a checkpoint records, so that its file and the user's code are enough.

The metadata of a checkpoint hold a list ``structure``; each entry names a rewrite and its options. The network that
the user's callable builds is rewritten in that order before the weights are put in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pimsim.errors import CheckpointError, NetworkError, PimsimError, nearest
from pimsim.network.layers import Pair
from pimsim.network.phase_conv import PhaseConv2d
from pimsim.network.shrinking import shrink

#: Entries as they stand in the metadata: ``{"rewrite": NAME, ...options}``.
RewriteRecord = dict[str, Any]
CHANNELS, LOW_RANK, PHASES = "channels", "low-rank", "phases"
#: Names of the two layers that stand for a factorised one, behind its own name and a dot.
REDUCE, EXPAND = "reduce", "expand"


def channels_record(input_shape: Sequence[int], kept: Mapping[str, Sequence[int]]) -> RewriteRecord:
    """The entry for a network that keeps only some channels of some spaces (`pimsim.network.shrinking.shrink`)."""
    chosen = {name: [int(channel) for channel in channels] for name, channels in kept.items()}
    return {"rewrite": CHANNELS, "input_shape": list(input_shape), "kept": chosen}


def low_rank_record(ranks: Mapping[str, int], groups: int) -> RewriteRecord:
    """The entry for a network whose named convolutions are two: `groups` groups of that rank, and 1x1."""
    return {"rewrite": LOW_RANK, "layers": {name: {"rank": rank, "groups": groups} for name, rank in ranks.items()}}


def phases_record(kernels: Mapping[str, tuple[Pair, Tensor]]) -> RewriteRecord:
    """The entry for a network whose named convolutions depend on the output phase: size of V and kept pixels of each.

    Pixels are written as the rows of the window, 1 kept: ``["0110", "1111", "1111", "0110"]``.
    """
    layers = {
        name: {"kernel": list(kernel), "kept": ["".join(map(str, row)) for row in kept.int().tolist()]}
        for name, (kernel, kept) in kernels.items()
    }
    return {"rewrite": PHASES, "layers": layers}


def rebuild(module: nn.Module, structure: Sequence[Mapping[str, Any]], where: str | None = None) -> nn.Module:
    """The network with the structure of a checkpoint; its weights are to be loaded afterwards.

    Args:
        module: as the user's callable built it; changed in place.
        structure: entries of the metadata, in order.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: an unknown rewrite, or one that does not fit this network.
    """
    for entry in structure:
        name = str(entry.get("rewrite"))
        if name not in REWRITES:
            raise CheckpointError(f"rewrite '{name}'", "unknown change of structure", where, nearest(name, REWRITES))
        try:
            module = REWRITES[name](module, entry)
        except PimsimError as error:
            fix = "Check that the network is the one that the checkpoint was made from"
            raise CheckpointError(f"structure '{name}'", f"it does not fit the network ({error})", where, fix) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"structure '{name}'", f"damaged entry ({error!r})", where) from None
    return module


def factored(layer: nn.Conv2d, rank: int, groups: int) -> nn.Sequential:
    """The two empty convolutions of a low-rank factorisation: K x K to ``groups * rank`` channels, then 1x1.

    The first keeps kernel, stride, padding and dilation and has no bias; the second has that of the layer.

    Raises:
        NetworkError: a layer with groups of its own or output phases, or groups that do not divide the input channels.
    """
    if isinstance(layer, PhaseConv2d):
        raise NetworkError(str(layer), "a layer with output phases has no factors")
    if layer.groups != 1 or layer.in_channels % groups:
        given = f"groups={groups} for {layer.in_channels} input channels in {layer.groups} groups"
        raise NetworkError(given, "groups must divide the input channels of a layer without groups")
    reduce = nn.Conv2d(
        layer.in_channels, groups * rank, layer.kernel_size, layer.stride, layer.padding, layer.dilation, groups,  # type: ignore[arg-type]
        bias=False, padding_mode=layer.padding_mode,
    )  # fmt: skip
    expand = nn.Conv2d(groups * rank, layer.out_channels, 1, bias=layer.bias is not None)
    return nn.Sequential(OrderedDict([(REDUCE, reduce), (EXPAND, expand)]))


def phased(layer: nn.Conv2d, kernel: Pair, kept: Tensor) -> PhaseConv2d:
    """The empty layer that computes a convolution in windows of the size of ``kept``, with a ``kernel`` for V.

    Raises:
        NetworkError: a layer with another stride or dilation than 1, a border of anything but zeros, or phases
            already; or sizes that do not fit.
    """
    plain = (layer.stride, layer.dilation, layer.padding_mode) == ((1, 1), (1, 1), "zeros")
    if not plain or isinstance(layer, PhaseConv2d):
        raise NetworkError(str(layer), "only a convolution with stride and dilation 1 and a border of zeros has phases")
    base, window = (int(side) for side in layer.kernel_size), (kept.shape[0], kept.shape[1])
    base_kernel = next(base), next(base)
    return PhaseConv2d(
        layer.in_channels, layer.out_channels, kernel, base_kernel, window, kept, _padding(layer, base_kernel),
        layer.groups, layer.bias is not None,
    )  # fmt: skip


def _padding(layer: nn.Conv2d, kernel: Pair) -> Pair:
    if not isinstance(layer.padding, str):
        return int(layer.padding[0]), int(layer.padding[1])
    if layer.padding == "valid":
        return 0, 0
    if any(side % 2 == 0 for side in kernel):
        raise NetworkError(f"padding 'same' with a kernel of {kernel}", "phases need the same padding on both sides")
    return kernel[0] // 2, kernel[1] // 2


def _shrink(module: nn.Module, entry: Mapping[str, Any]) -> nn.Module:
    return shrink(module, entry["input_shape"], entry["kept"])


def _factorise(module: nn.Module, entry: Mapping[str, Any]) -> nn.Module:
    for name, options in entry["layers"].items():
        layer = module.get_submodule(name)
        if not isinstance(layer, nn.Conv2d):
            raise NetworkError(f"layer '{name}'", "only a convolution can be two convolutions", name)
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, factored(layer, options["rank"], options["groups"]))
    return module.eval()


def _add_phases(module: nn.Module, entry: Mapping[str, Any]) -> nn.Module:
    for name, options in entry["layers"].items():
        layer = module.get_submodule(name)
        if not isinstance(layer, nn.Conv2d):
            raise NetworkError(f"layer '{name}'", "only a convolution has output phases", name)
        kept = torch.tensor([[int(pixel) for pixel in row] for row in options["kept"]], dtype=torch.bool)
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, phased(layer, tuple(options["kernel"]), kept))
    return module.eval()


#: Rewrites by name; a new one is a function of the module and its entry, and a line here.
REWRITES: MappingProxyType[str, Callable[[nn.Module, Mapping[str, Any]], nn.Module]] = MappingProxyType(
    {CHANNELS: _shrink, LOW_RANK: _factorise, PHASES: _add_phases}
)
