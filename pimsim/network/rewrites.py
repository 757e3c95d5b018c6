"""Changes of a network's structure that a checkpoint records, so that its file and the user's code are enough.

The metadata of a checkpoint hold a list ``structure``; each entry names a rewrite and its options. The network that
the user's callable builds is rewritten in that order before the weights are put in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from pimsim.errors import CheckpointError, NetworkError, PimsimError, nearest
from pimsim.network.shrinking import shrink

#: Entries as they stand in the metadata: ``{"rewrite": NAME, ...options}``.
RewriteRecord = dict[str, Any]
CHANNELS, LOW_RANK = "channels", "low-rank"
#: Names of the two layers that stand for a factorised one, behind its own name and a dot.
REDUCE, EXPAND = "reduce", "expand"


def channels_record(input_shape: Sequence[int], kept: Mapping[str, Sequence[int]]) -> RewriteRecord:
    """The entry for a network that keeps only some channels of some spaces (`pimsim.network.shrinking.shrink`)."""
    chosen = {name: [int(channel) for channel in channels] for name, channels in kept.items()}
    return {"rewrite": CHANNELS, "input_shape": list(input_shape), "kept": chosen}


def low_rank_record(ranks: Mapping[str, int], groups: int) -> RewriteRecord:
    """The entry for a network whose named convolutions are two: `groups` groups of that rank, and 1x1."""
    return {"rewrite": LOW_RANK, "layers": {name: {"rank": rank, "groups": groups} for name, rank in ranks.items()}}


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
        NetworkError: a layer with groups of its own, or groups that do not divide the input channels.
    """
    if layer.groups != 1 or layer.in_channels % groups:
        given = f"groups={groups} for {layer.in_channels} input channels in {layer.groups} groups"
        raise NetworkError(given, "groups must divide the input channels of a layer without groups")
    reduce = nn.Conv2d(
        layer.in_channels, groups * rank, layer.kernel_size, layer.stride, layer.padding, layer.dilation, groups,  # type: ignore[arg-type]
        bias=False, padding_mode=layer.padding_mode,
    )  # fmt: skip
    expand = nn.Conv2d(groups * rank, layer.out_channels, 1, bias=layer.bias is not None)
    return nn.Sequential(OrderedDict([(REDUCE, reduce), (EXPAND, expand)]))


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


#: Rewrites by name; a new one is a function of the module and its entry, and a line here.
REWRITES: MappingProxyType[str, Callable[[nn.Module, Mapping[str, Any]], nn.Module]] = MappingProxyType(
    {CHANNELS: _shrink, LOW_RANK: _factorise}
)
