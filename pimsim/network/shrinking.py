"""A network with fewer channels: the layers of the original, cut to the channels that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pimsim.errors import NetworkError
from pimsim.network.channels import ChannelMap, ChannelPad, map_channels
from pimsim.network.checkpoints import State

#: Space to the channels that are kept, by their number in the original network, in rising order.
Kept = Mapping[str, Sequence[int]]

_CHANNEL_TENSORS = ("weight", "weight_orig", "weight_mask", "bias", "running_mean", "running_var")
_WEIGHTS = ("weight", "weight_orig", "weight_mask")


class ChannelSelect(nn.Module):
    """The channels ``index`` of images (N, C, H, W): where a padded shortcut lost channels on either side."""

    index: Tensor

    def __init__(self, index: Sequence[int]) -> None:
        super().__init__()
        # Part of the structure, not of the weights.
        self.register_buffer("index", torch.tensor(list(index)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images with the channels chosen, in the order of ``index``."""
        return images.index_select(1, self.index)


def shrink(module: nn.Module, input_shape: Sequence[int], kept: Kept) -> nn.Module:
    """The network with only the ``kept`` channels of each space that is named; weights and norms are cut, not refit.

    Layers are changed in place. The network itself is returned, or its traced graph over the same layers where a
    padded shortcut (`ChannelPad`) must pick channels; keys of the state dict are the same either way.

    Args:
        module: the original network.
        input_shape: (C, H, W).
        kept: channels of each space; a space that is left out keeps all.

    Raises:
        NetworkError: a space that is unknown or must not shrink, channels that it does not have, or a network that
            counts on its number of channels.
    """
    channels = map_channels(module, input_shape)
    _check(channels, kept)
    state = slice_state(module.state_dict(), channels, kept)
    result = _select_in_shortcuts(module, channels, kept)
    for name, layer in result.named_modules():
        _resize(name, layer, state)
    result.load_state_dict(state)
    _check_runs(result, channels.input_shape)
    return result.eval()


def slice_state(state: Mapping[str, Tensor], channels: ChannelMap, kept: Kept) -> State:
    """A state dict with only the kept channels; masks of ``torch.nn.utils.prune`` are cut with their weights.

    Args:
        state: of a network with all channels that ``kept`` counts from.
        channels: the spaces of the network.
        kept: channels of each space.
    """
    cut = dict(state)
    for key, value in state.items():
        layer, _, tensor = key.rpartition(".")
        if tensor not in _CHANNEL_TENSORS:
            continue
        if tensor in _WEIGHTS and value.dim() > 1 and layer in channels.reads:
            value = _keep(value, 1, read_positions(layer, channels, kept))
        cut[key] = _keep(value, 0, written_channels(layer, channels, kept))
    return cut


def written_channels(layer: str, channels: ChannelMap, kept: Kept) -> Sequence[int] | None:
    """Channels that a layer still writes; None for all."""
    return kept.get(channels.writes.get(layer, ""))


def read_positions(layer: str, channels: ChannelMap, kept: Kept) -> list[int] | None:
    """Inputs that a layer still reads, by number; None for all."""
    layout = channels.reads[layer]
    if not any(space in kept for space, _ in layout):
        return None
    positions, start = list[int](), 0
    for space, repeat in layout:
        # A space without a name has no writer; it only stands alone, and keeps all.
        count = channels.spaces[space].channels
        for channel in kept.get(space, range(count)):
            positions += range(start + channel * repeat, start + (channel + 1) * repeat)
        start += count * repeat
    return positions


def _keep(value: Tensor, axis: int, positions: Sequence[int] | None) -> Tensor:
    return value if positions is None else value.index_select(axis, torch.tensor(list(positions)))


def _check(channels: ChannelMap, kept: Kept) -> None:
    for name, chosen in kept.items():
        space = channels.spaces.get(name)
        if space is None or not space.prunable:
            rule = "no layer of that name writes channels that can be pruned"
            raise NetworkError(f"channels of '{name}'", rule, name)
        if not chosen or list(chosen) != sorted(set(chosen)) or chosen[0] < 0 or chosen[-1] >= space.channels:
            rule = f"they are numbers from 0 to {space.channels - 1} in rising order, at least one"
            raise NetworkError(f"kept channels {list(chosen)}", rule, name)


def _check_runs(module: nn.Module, shape: tuple[int, int, int]) -> None:
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *shape))
    except Exception as error:
        raise NetworkError(
            f"network {type(module).__name__} with fewer channels: {str(error).splitlines()[0]}",
            "forward must not count on the number of channels",
            None,
            "Write sizes in forward as -1 or x.shape[1]",
        ) from error


def _resize(name: str, layer: Any, state: Mapping[str, Tensor]) -> None:
    """Give a layer parameters and attributes of the size that its tensors in ``state`` have."""
    if not isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)):
        return
    for key, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        tensor.data = torch.empty_like(state[f"{name}.{key}"])
    if isinstance(layer, nn.Conv2d):
        groups = layer.groups
        layer.out_channels = layer.weight.shape[0]
        # Depthwise: one group for each channel.
        layer.groups = layer.out_channels if groups > 1 and layer.weight.shape[1] == 1 else groups
        layer.in_channels = layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    else:
        layer.num_features = state[f"{name}.running_mean"].shape[0] if layer.track_running_stats else len(layer.weight)


def _select_in_shortcuts(module: nn.Module, channels: ChannelMap, kept: Kept) -> nn.Module:
    """The network itself, or its traced graph with every changed channel padding as zeros and a selection."""
    changed = [pad for pad in channels.pads if pad.source in kept or pad.target in kept]
    if not changed:
        return module
    for pad in changed:
        _select(channels, pad, kept)
    channels.traced.graph.lint()
    channels.traced.recompile()
    return channels.traced


def _select(channels: ChannelMap, pad: ChannelPad, kept: Kept) -> None:
    """Pad one zero channel, then take for each channel of the target its source or that zero."""
    traced = channels.traced
    node = next(node for node in traced.graph.nodes if node.name == pad.node)
    source = node.all_input_nodes[0]
    before, after = source.meta["tensor_meta"].shape[1], node.meta["tensor_meta"].shape[1]
    stored = {channel: place for place, channel in enumerate(kept.get(pad.source, range(before)))}
    zero = len(stored)
    index = [stored.get(channel - pad.before, zero) for channel in kept.get(pad.target, range(after))]
    name = f"{pad.node}_channels"
    traced.add_submodule(name, ChannelSelect(index))
    amounts = (*node.args[1][:4], 0, 1)
    with traced.graph.inserting_before(node):
        padded = traced.graph.call_function(functional.pad, (source, amounts))
        chosen = traced.graph.call_module(name, (padded,))
    node.replace_all_uses_with(chosen)
    traced.graph.erase_node(node)
