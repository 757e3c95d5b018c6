"""Residual channel pruning of a network: the ``vwc-sdk`` method, a round at a time.

How many channels stay is decided by the mapping (`pimsim.api.channel_targets`); which ones, and what else must go with
them, is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.network.channels import ChannelMap, Space, map_channels
from pimsim.network.quantizers import LayerQuantization
from pimsim.network.rewrites import CHANNELS, RewriteRecord, channels_record, rebuild
from pimsim.network.shrinking import slice_state, written_channels
from pimsim.pruning.trained import Round, TrainedNetwork

#: From the spaces of a network as it stands, how many channels each shall keep; a space left out keeps all.
Targets = Callable[[Sequence[Space]], Mapping[str, int]]
Chosen = dict[str, list[int]]


@dataclass(frozen=True)
class ChannelMethod:
    """The method ``vwc-sdk``: filters with the smallest L1 norm go until every layer fills its arrays.

    Channels that are added, normalized or padded together go together; the norm of a shared channel is the sum over
    the layers that write it.

    Attributes:
        targets: how many channels each space shall keep.
        input_shape: (C, H, W).

    Reference:
        `mapping.md` 1.6, steps 5 and 6; djwhsdj/VWC-SDK. Exactly as many filters go as asked: the authors' threshold
        takes one more where norms are equal.
    """

    targets: Targets
    input_shape: tuple[int, int, int]

    def next_round(self, build: Callable[[], nn.Module], trained: TrainedNetwork) -> Round | None:
        """The network with fewer channels; None at the fixed point.

        Raises:
            NetworkError: a network whose channels cannot be followed.
            PruningError: targets that no space can have.
        """
        base, before = _split(trained.structure)
        channels = map_channels(rebuild(build(), base), self.input_shape)
        present: Chosen = {name: before.get(name, list(range(s.channels))) for name, s in channels.spaces.items()}
        spaces = [space_now(space, channels, present) for space in channels.spaces.values()]
        wanted = _checked(self.targets(spaces), spaces)
        if not wanted:
            return None
        kept = {name: list(range(len(places))) for name, places in present.items()}
        for name, count in wanted.items():
            kept[name] = strongest(channel_norms(channels.spaces[name], trained), count)
        structure = (*base, channels_record(self.input_shape, _composed(before, present, kept, wanted)))
        lines = tuple(f"{name}: {len(present[name])} -> {count} channels" for name, count in wanted.items())
        return Round(_cut(trained, channels, kept, structure), lines)


def space_now(space: Space, channels: ChannelMap, present: Mapping[str, Sequence[int]]) -> Space:
    """A space of the original network as it stands after earlier rounds."""
    readers = tuple(
        replace(
            reader,
            in_channels=len(present[space.name]),
            out_channels=len(present[channels.writes[reader.name]]) if reader.groups == 1 else reader.out_channels,
        )
        for reader in space.readers
    )
    return replace(space, channels=len(present[space.name]), readers=readers)


def channel_norms(space: Space, trained: TrainedNetwork) -> Tensor:
    """L1 norm of each channel's filters (float64, (channels,)), summed over the layers that write it."""
    weights = (trained.state[f"{writer}.weight"].double().abs() for writer in space.writers)
    return torch.stack([weight.flatten(1).sum(1) for weight in weights]).sum(0)


def strongest(norms: Tensor, count: int) -> list[int]:
    """Numbers of the ``count`` largest norms in rising order; of equal ones the first stay."""
    return sorted(torch.sort(norms, descending=True, stable=True).indices[:count].tolist())


def _split(structure: tuple[RewriteRecord, ...]) -> tuple[tuple[RewriteRecord, ...], Chosen]:
    """What comes before the last pruning of channels, and what that pruning kept."""
    if structure and structure[-1]["rewrite"] == CHANNELS:
        return structure[:-1], dict(structure[-1]["kept"])
    return structure, {}


def _checked(targets: Mapping[str, int], spaces: Sequence[Space]) -> dict[str, int]:
    """The targets that change something. Raises `PruningError` where they cannot be met."""
    known = {space.name: space for space in spaces}
    for name, count in targets.items():
        space = known[name]
        if not (1 <= count <= space.channels and (space.prunable or count == space.channels)):
            rule = f"{space.channels} channels can be pruned to 1 or more"
            if not space.prunable:
                rule = "outputs of the network, or of use to an operation that is not understood: all must stay"
            raise PruningError(f"{count} channels of '{name}'", rule, name)
    return {name: count for name, count in targets.items() if count < known[name].channels}


def _composed(before: Chosen, present: Chosen, kept: Chosen, wanted: Mapping[str, int]) -> Chosen:
    """All channels kept so far, by their numbers in the original network."""
    changed = {name: [present[name][place] for place in kept[name]] for name in wanted}
    return {**before, **changed}


def _cut(
    trained: TrainedNetwork, channels: ChannelMap, kept: Chosen, structure: tuple[RewriteRecord, ...]
) -> TrainedNetwork:
    masks = {f"{name}.weight": mask for name, mask in trained.masks.items()}
    records = {name: _cut_record(record, written_channels(name, channels, kept)) for name, record in
               trained.records.items()}  # fmt: skip
    return TrainedNetwork(
        structure,
        slice_state(trained.state, channels, kept),
        {key.removesuffix(".weight"): mask for key, mask in slice_state(masks, channels, kept).items()},
        records,
    )


def _cut_record(record: LayerQuantization, kept: Sequence[int] | None) -> LayerQuantization:
    if kept is None or len(record.weight_scale) == 1:
        return record
    return replace(record, weight_scale=tuple(record.weight_scale[channel] for channel in kept))
