"""Which windows of a producer the windows of a consumer need: stride, padding, pooling and joins, exactly.

Windows run over an output map row by row. A producer's window slot holds the windows of its replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.mapping.layout import Mapping
from pimsim.network.dataflow import Edge, Reach
from pimsim.network.layers import Geometry
from pimsim.simulation.plan import Dependency

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Cover:
    """Which outputs of a layer's map each of its windows computes.

    Attributes:
        height, width: of the output map.
        rows, columns: outputs of one window.
        strip: whether a window takes its outputs in row-major order, whatever their rows (SMD).
        copies: windows in a slot, one for each replica.
    """

    height: int
    width: int
    rows: int
    columns: int
    strip: bool = False
    copies: int = 1

    @classmethod
    def of(cls, mapping: Mapping, copies: int = 1) -> Cover:
        """The cover of a mapped layer."""
        (height, width), (rows, columns) = mapping.geometry.output_size, mapping.outputs
        return cls(height, width, rows, columns, mapping.unfolded is not None, copies)

    @property
    def windows(self) -> int:
        """Windows of one image."""
        if self.strip:
            return -(-self.height * self.width // self.columns)
        return -(-self.height // self.rows) * -(-self.width // self.columns)

    @property
    def slots(self) -> int:
        """Window slots of one image."""
        return -(-self.windows // self.copies)

    def window_of(self, y: Indices, x: Indices) -> Indices:
        """The window that computes output (y, x)."""
        if self.strip:
            return (y * self.width + x) // self.columns
        return y // self.rows * -(-self.width // self.columns) + x // self.columns

    def areas(self) -> tuple[Indices, Indices, Indices, Indices]:
        """First and last output row, first and last output column of every window, (windows,) each."""
        window = np.arange(self.windows, dtype=np.int64)
        if self.strip:
            first = window * self.columns
            last = np.minimum(first + self.columns, self.height * self.width) - 1
            top, bottom = first // self.width, last // self.width
            one_row = top == bottom
            return (
                top,
                bottom,
                np.where(one_row, first % self.width, 0),
                np.where(one_row, last % self.width, self.width - 1),
            )
        top, left = np.divmod(window, -(-self.width // self.columns))
        top, left = top * self.rows, left * self.columns
        bottom = np.minimum(top + self.rows, self.height) - 1
        return top, bottom, left, np.minimum(left + self.columns, self.width) - 1

    def slots_of_rows(self, rows: int) -> int:
        """Window slots that hold that many rows of the output map; at least one."""
        if self.strip:
            windows = -(-rows * self.width // self.columns)
        else:
            windows = -(-rows // self.rows) * -(-self.width // self.columns)
        return max(1, -(-windows // self.copies))

    def rows_of_slots(self, slots: int) -> int:
        """The fewest rows of the output map that take that many window slots."""
        windows = slots * self.copies
        if self.strip:
            return -(-windows * self.columns // self.width)
        return -(-windows // -(-self.width // self.columns)) * self.rows


def needs_and_freed(consumer: Mapping, producer: Cover, edge: Edge, copies: int = 1) -> tuple[Indices, Indices]:
    """The last producer slot that each consumer slot needs, and how many no later slot does; see `Dependency`.

    Args:
        consumer: the mapped layer that reads.
        producer: the windows of the layer that it reads from.
        edge: from the consumer's input map to the producer's output map.
        copies: windows in a slot of the consumer.
    """
    return _by_slot(*_window_range(consumer, producer, edge), producer, copies)


def joined(consumer: Cover, producer: Cover, edge: Edge) -> tuple[Indices, Indices]:
    """`needs_and_freed` of a layer that adds another's outputs to its own; the edge leads from its own output map."""
    top, bottom, left, right = consumer.areas()
    top, bottom = _reached(edge.rows, top, bottom, producer.height)
    left, right = _reached(edge.columns, left, right, producer.width)
    return _by_slot(producer.window_of(top, left), producer.window_of(bottom, right), producer, consumer.copies)


def _by_slot(first: Indices, last: Indices, producer: Cover, copies: int) -> tuple[Indices, Indices]:
    needed = np.maximum.accumulate(last)
    later = np.minimum.accumulate(first[::-1])[::-1]
    # What was never waited for is not given back before the end of the image.
    freed = np.append(np.minimum(later[1:], needed[:-1] + 1), producer.windows)
    ends = np.minimum(np.arange(copies, len(needed) + copies, copies), len(needed)) - 1
    slots = np.where(freed[ends] == producer.windows, producer.slots, freed[ends] // producer.copies)
    return needed[ends] // producer.copies, np.maximum.accumulate(slots)


def _window_range(consumer: Mapping, producer: Cover, edge: Edge) -> tuple[Indices, Indices]:
    """First and last producer window that each consumer window reads; none at all reads as an empty range."""
    geometry = consumer.geometry
    top, bottom, left, right = Cover.of(consumer).areas()
    y0, y1, some_rows = _inputs(geometry, 0, top, bottom)
    x0, x1, some_columns = _inputs(geometry, 1, left, right)
    y0, y1 = _reached(edge.rows, y0, y1, producer.height)
    x0, x1 = _reached(edge.columns, x0, x1, producer.width)
    some = some_rows & some_columns
    return np.where(some, producer.window_of(y0, x0), producer.windows), np.where(some, producer.window_of(y1, x1), -1)


def _inputs(geometry: Geometry, d: int, first: Indices, last: Indices) -> tuple[Indices, Indices, NDArray[np.bool_]]:
    """Input positions of a range of outputs in one dimension, without padding; whether there are any."""
    before, size, each = geometry.padding[2 * d], geometry.input_size[d], geometry.place_outputs[d]
    start = first // each * geometry.place_stride[d] - before
    end = last // each * geometry.place_stride[d] - before + (geometry.kernel[d] - 1) * geometry.dilation[d]
    return np.maximum(start, 0), np.minimum(end, size - 1), (end >= 0) & (start < size)


def _reached(reach: Reach, first: Indices, last: Indices, size: int) -> tuple[Indices, Indices]:
    """`Reach.interval` for whole arrays."""
    if reach.step == 0:
        return np.zeros_like(first), np.full_like(last, size - 1)
    low, high = first * reach.step + reach.first, last * reach.step + reach.last
    return np.clip(low, 0, size - 1), np.clip(high, 0, size - 1)


def with_capacities(
    dependencies: Sequence[Dependency], covers: Sequence[Cover], rows: int | None
) -> tuple[Dependency, ...]:
    """The dependencies with the room of their buffers.

    Args:
        dependencies: of one network; their capacities are not read.
        covers: the windows of every layer.
        rows: output rows of the producer that each buffer holds; None: what the consumer and all that runs
            beside it need lest one waits for ever, and one row of windows more, so that the producer goes on while
            the consumer reads (a line buffer, ISAAC).
    """
    if rows is None:
        least = least_capacities(dependencies, len(covers))
        rooms = [n + covers[one.producer].slots_of_rows(1) for n, one in zip(least, dependencies, strict=True)]
    else:
        rooms = [covers[one.producer].slots_of_rows(rows) for one in dependencies]
    return tuple(
        Dependency(one.producer, one.consumer, one.needs, one.freed, room, one.joins)
        for one, room in zip(dependencies, rooms, strict=True)
    )


def least_capacities(dependencies: Sequence[Dependency], layers: int) -> list[int]:
    """Window slots that each buffer must hold, joins included: a short cut keeps what the long way still needs.

    Before slot k of a layer behind the producer can start, a prefix of the producer must have left, the longest that
    any way between them asks for. By then the reader has read what that slot asks of *it*; the rest is in the buffer.
    """
    ways = _Ways(dependencies, layers)
    return [max(1, *(ways.held(one, layer) for layer in ways.meeting(one))) for one in dependencies]


class _Ways:
    """What slots ask of the layers in front of them, over all ways."""

    def __init__(self, dependencies: Sequence[Dependency], layers: int) -> None:
        self.incoming: list[list[Dependency]] = [[] for _ in range(layers)]
        self.outgoing: list[list[Dependency]] = [[] for _ in range(layers)]
        for one in dependencies:
            self.incoming[one.consumer].append(one)
            self.outgoing[one.producer].append(one)
        self._asked: dict[int, dict[int, Indices]] = {}

    def asked(self, source: int) -> dict[int, Indices]:
        """For every layer behind ``source``: slots of it that must have left before each slot there."""
        if source not in self._asked:
            self._asked[source] = _prefixes(source, self.incoming)
        return self._asked[source]

    def meeting(self, one: Dependency) -> list[int]:
        """The reader, and the layers behind it up to the one where all ways from the producer have come together."""
        found = [one.consumer]
        open_ways = len(self.outgoing[one.producer])
        for layer in sorted(self.asked(one.producer)):
            if open_ways <= 1:
                break
            arriving = sum(self._is_behind(one.producer, way.producer) for way in self.incoming[layer])
            open_ways += len(self.outgoing[layer]) - arriving
            if arriving > 1 and layer in self.asked(one.consumer):
                found.append(layer)
        return found

    def _is_behind(self, source: int, layer: int) -> bool:
        return layer == source or layer in self.asked(source)

    def held(self, one: Dependency, layer: int) -> int:
        """The most slots between what a slot of ``layer`` asks of the producer and what is given back by then."""
        wanted = self.asked(one.producer)[layer]
        if layer == one.consumer:
            given_back = np.concatenate(([0], one.freed[:-1]))
        else:
            read = self.asked(one.consumer)[layer]
            given_back = np.where(read > 0, one.freed[read - 1], 0)
        return int((wanted - given_back).max())


def _prefixes(source: int, incoming: Sequence[Sequence[Dependency]]) -> dict[int, Indices]:
    """For every layer behind ``source``: slots of ``source`` that must have left before each of its slots starts."""
    prefixes: dict[int, Indices] = {}
    for layer in range(source + 1, len(incoming)):
        for one in incoming[layer]:
            if one.producer == source:
                found = one.needs + 1
            elif one.producer in prefixes:
                found = np.where(one.needs >= 0, prefixes[one.producer][one.needs], 0)
            else:
                continue
            prefixes[layer] = np.maximum(prefixes[layer], found) if layer in prefixes else found
    return prefixes
