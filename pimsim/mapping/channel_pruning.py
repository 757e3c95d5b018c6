"""Residual channel pruning on channel counts: how many input channels each layer keeps.

After VW-SDK has chosen a window, the channels beyond a whole number of array tiles cost one more tile for every
window. VWC-SDK prunes them, which changes the best windows, and repeats until nothing changes. Which filters go, and
retraining, is the pruner's work; this is the arithmetic it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from pimsim.errors import MappingError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.tiling import check_channel_rows, check_choice, rows_per_channel
from pimsim.mapping.windows import best_window
from pimsim.network.layers import Geometry


@dataclass(frozen=True)
class PruningRound:
    """Channels after one round.

    Attributes:
        layers: the layers with the channels that are left, in order.
        ic_tiles: channels that fit one array for the window chosen before this round (ICt); 0 for the first layer of
            a chain, which is not pruned.
        pruned: input channels that this round took from each layer.
    """

    layers: tuple[Geometry, ...]
    ic_tiles: tuple[int, ...]
    pruned: tuple[int, ...]

    @property
    def in_channels(self) -> tuple[int, ...]:
        """Input channels left in each layer."""
        return tuple(layer.in_channels for layer in self.layers)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Output channels left in each layer."""
        return tuple(layer.out_channels for layer in self.layers)


def prune_channels(
    layers: Sequence[Geometry], array: ArrayShape, topology: str = "chain", search: str = "exact"
) -> tuple[PruningRound, ...]:
    """The rounds of residual channel pruning up to the fixed point; empty when nothing is to be pruned.

    Args:
        layers: the network's convolutions in order, groups 1. Under ``chain``, each layer's outputs are the next
            one's inputs, the first layer's inputs are images and stay, and so do the last one's outputs. Under
            ``blocks``, each entry is a residual block with as many outputs as inputs, and all are pruned.
        array: the array.
        topology: ``chain`` (CNN-8) or ``blocks`` (ResNet-20).
        search: ``exact``, or ``as-published``: the authors' window search, which can miss the minimum and then prunes
            for a window that is not the best.

    Returns:
        One value for each round; every round prunes something, so the last one is the fixed point.

    Raises:
        MappingError: an unknown topology or search, channels that do not follow the topology, groups, or an array with
            fewer rows than one kernel of one channel.

    Reference:
        `mapping.md` 1.6; djwhsdj/VWC-SDK, example/test_SVHN.py and example/test_resnet20_cp.py.
    """
    check_choice("topology", topology, tuple(_TOPOLOGIES), "unknown topology")
    check_choice("search", search, ("exact", "as-published"), "unknown search")
    rules, rounds = _TOPOLOGIES[topology], list[PruningRound]()
    _check(layers, topology)
    while (last := _one_round(rounds[-1].layers if rounds else layers, array, rules, search)) is not None:
        rounds.append(last)
    return tuple(rounds)


@dataclass(frozen=True)
class _Topology:
    """How layers depend on each other.

    Attributes:
        first: index of the first layer whose inputs may be pruned.
        settle: takes a tile of channels from layers that have more of them than the next layer.
        join: the layers with their new input channels.
    """

    first: int
    settle: Callable[[list[int], list[int]], None]
    join: Callable[[Sequence[Geometry], list[int]], tuple[Geometry, ...]]


def _one_round(
    layers: Sequence[Geometry], array: ArrayShape, rules: _Topology, search: str
) -> PruningRound | None:  # fmt: skip
    """The next round, or None at the fixed point."""
    tiles = [ic_tile(layer, array, search) if i >= rules.first else 0 for i, layer in enumerate(layers)]
    kept = [_whole_tiles(layer.in_channels, tile) for layer, tile in zip(layers, tiles, strict=True)]
    rules.settle(kept, tiles)
    pruned = tuple(layer.in_channels - left for layer, left in zip(layers, kept, strict=True))
    return PruningRound(rules.join(layers, kept), tuple(tiles), pruned) if any(pruned) else None


def ic_tile(layer: Geometry, array: ArrayShape, search: str = "exact") -> int:
    """Channels that one array holds for the layer's best window, floor(AR / R_ch), however many it has.

    Raises:
        MappingError: an array with fewer rows than one kernel of one channel.
    """
    best = best_window(layer, array, "serial", search, "first")
    if best is None:
        check_channel_rows(layer, array, "VWC-SDK")
    assert best is not None  # one kernel of one channel fits: an array holds at least one weight column
    return array.rows // rows_per_channel(layer, best.outputs)


def _whole_tiles(channels: int, tile: int) -> int:
    """Channels without the residue of the last array; all of them where they do not fill one."""
    return channels if tile == 0 or channels < tile else channels - channels % tile


def _settle_backwards(kept: list[int], tiles: list[int]) -> None:
    """From the last layer to the second: one tile less where a layer has more channels than the next one.

    A layer that has no more than one tile keeps it.
    """
    for i in range(len(kept) - 1, 1, -1):
        if kept[i - 1] > max(kept[i], tiles[i - 1]):
            kept[i - 1] -= tiles[i - 1]


def _settle_forwards(kept: list[int], tiles: list[int]) -> None:
    """From the first block to the last: one tile less where a block has more channels than the next one.

    A block that has no more than one tile keeps it.
    """
    for i in range(len(kept) - 1):
        if kept[i] > max(kept[i + 1], tiles[i]):
            kept[i] -= tiles[i]


def _join_chain(layers: Sequence[Geometry], kept: list[int]) -> tuple[Geometry, ...]:
    """Each layer's outputs are the next one's inputs."""
    outputs = [*kept[1:], layers[-1].out_channels]
    return tuple(
        replace(layer, in_channels=ic, out_channels=oc) for layer, ic, oc in zip(layers, kept, outputs, strict=True)
    )


def _join_blocks(layers: Sequence[Geometry], kept: list[int]) -> tuple[Geometry, ...]:
    """Each block has as many outputs as inputs."""
    return tuple(replace(layer, in_channels=n, out_channels=n) for layer, n in zip(layers, kept, strict=True))


_TOPOLOGIES: MappingProxyType[str, _Topology] = MappingProxyType(
    {"chain": _Topology(1, _settle_backwards, _join_chain), "blocks": _Topology(0, _settle_forwards, _join_blocks)}
)


def _check(layers: Sequence[Geometry], topology: str) -> None:
    for i, layer in enumerate(layers):
        if layer.groups != 1:
            raise MappingError(f"groups={layer.groups}", "channels of groups cannot be pruned apart", layer.name)
        follows = layers[i + 1].in_channels if topology == "chain" and i + 1 < len(layers) else layer.out_channels
        needed = layer.in_channels if topology == "blocks" else layer.out_channels
        if needed != follows:
            raise MappingError(
                f"{needed} channels followed by {follows}",
                "a chain's layers take the outputs before them, a block has as many outputs as inputs",
                layer.name,
                "Give the layers in the order of the network",
            )
