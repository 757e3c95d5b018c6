"""How many channels each part of a network shall keep so that its layers fill their arrays: residual channel pruning.

The arithmetic is `pimsim.mapping.channel_pruning`; here the channel spaces of a real network become the layers that it
works on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.channel_pruning import ic_tile, prune_channels
from pimsim.mapping.convention import with_convention
from pimsim.network.channels import Space
from pimsim.network.layers import Geometry


@dataclass(frozen=True)
class ChannelTargets:
    """One round of VWC-SDK for a network as it stands: spaces to the channels that they shall keep.

    A network whose convolutions follow one after another is a chain. Otherwise, as for a ResNet, each space stands for
    the shape that does most multiplications of all that read it, and equal shapes are one entry: the stages. The spaces
    of the input, of the classes and of what only a linear layer reads are no targets.

    Attributes:
        array: the array, with the columns that one weight takes.
        search: ``exact`` or ``as-published``.
        convention: ``same`` or ``valid``: whether padding and stride of the layers count in the search.

    Reference:
        `mapping.md` 1.6, steps 1 to 4.
    """

    array: ArrayShape
    search: str = "exact"
    convention: str = "same"

    def __call__(self, spaces: Sequence[Space]) -> Mapping[str, int]:
        """Channels that each space with fewer of them keeps.

        Raises:
            MappingError: an array with fewer rows than one kernel of one channel.
        """
        targets = [space for space in spaces if space.prunable and representative(space) is not None]
        chain = _chain(targets)
        return self._in_chain(chain) if chain else self._in_stages(targets)

    def _in_chain(self, chain: Sequence[Space]) -> Mapping[str, int]:
        readers = [self._shape(space.readers[0]) for space in chain]
        # The first layer reads images and is no target: only the number of its outputs matters.
        first = Geometry(chain[0].name, 1, readers[0].in_channels)
        rounds = prune_channels([first, *readers], self.array, "chain", self.search)
        counts = rounds[0].in_channels[1:] if rounds else [space.channels for space in chain]
        return {space.name: count for space, count in zip(chain, counts, strict=True) if count < space.channels}

    def _in_stages(self, targets: Sequence[Space]) -> Mapping[str, int]:
        shapes = {space.name: self._shape(reader) for space in targets if (reader := representative(space)) is not None}
        entries = list(dict.fromkeys(shapes.values()))
        left = self._stage_channels(entries)
        return {name: left[shape] for name, shape in shapes.items() if left[shape] < shape.in_channels}

    def _stage_channels(self, entries: Sequence[Geometry]) -> Mapping[Geometry, int]:
        if all(entry.in_channels == entry.out_channels for entry in entries):
            rounds = prune_channels(entries, self.array, "blocks", self.search)
            counts = rounds[0].in_channels if rounds else tuple(entry.in_channels for entry in entries)
            return dict(zip(entries, counts, strict=True))
        # Bottlenecks: no order in which one stage must not be wider than the next.
        return {entry: _whole_tiles(entry.in_channels, ic_tile(entry, self.array, self.search)) for entry in entries}

    def _shape(self, reader: Geometry) -> Geometry:
        return with_convention(replace(reader, name=""), self.convention)


def representative(space: Space) -> Geometry | None:
    """The shape that does most multiplications of those that read a space, nameless; None where no convolution does."""
    work: dict[Geometry, int] = {}
    for reader in space.readers:
        shape = replace(reader, name="")
        work[shape] = work.get(shape, 0) + reader.macs
    return max(work, key=lambda shape: work[shape]) if work else None


def _chain(targets: Sequence[Space]) -> Sequence[Space]:
    """The spaces in order if each is written by one layer, the reader of the one before; else nothing."""
    alone = all(len(space.writers) == len(space.readers) == 1 for space in targets)
    if not alone or any(b.writers[0] != a.readers[0].name for a, b in pairwise(targets)):
        return ()
    return targets


def _whole_tiles(channels: int, tile: int) -> int:
    return channels if channels < tile else channels - channels % tile
