"""Which outputs of earlier layers a layer's input is computed from; nothing here needs torch.

A `Reach` says it for one dimension of a map, an `Edge` for the two dimensions and a pair of
layers. Pooling, padding, slicing and residual additions between the layers are part of the reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from pimsim.errors import NetworkError

if TYPE_CHECKING:
    from pimsim.network.layers import Geometry, Layer, Pair


@dataclass(frozen=True)
class Reach:
    """Which positions of a producer's output map the positions a..b of a value need, in one dimension.

    They are ``a * step + first`` to ``b * step + last``, clipped to the map. ``step`` 0 is the whole map, wherever
    a..b is (``first`` and ``last`` are then 0): see `Reach.WHOLE`.

    Raises:
        NetworkError: a negative step, ``first`` behind ``last``, or offsets with step 0.
    """

    step: int = 1
    first: int = 0
    last: int = 0

    WHOLE: ClassVar[Reach]

    def __post_init__(self) -> None:
        if self.step < 0 or self.first > self.last or (self.step == 0 and (self.first, self.last) != (0, 0)):
            rule = "a step is not negative, first is not behind last, and step 0 has no offsets"
            raise NetworkError(repr(self), rule)

    @staticmethod
    def window(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reach:
        """What the outputs of a sliding window read: ``padding`` is that in front, all in positions."""
        return Reach(stride, -padding, dilation * (kernel - 1) - padding)

    def through(self, window: Reach) -> Reach:
        """The reach of a value computed from this one, whose positions need ``window`` of this value's."""
        if self.step == 0 or window.step == 0:
            return Reach.WHOLE
        first, last = (edge * self.step for edge in (window.first, window.last))
        return Reach(window.step * self.step, first + self.first, last + self.last)

    def union(self, other: Reach) -> Reach:
        """The least reach that holds both; the whole map where their steps differ."""
        if self.step != other.step:
            return Reach.WHOLE
        return Reach(self.step, min(self.first, other.first), max(self.last, other.last))

    def interval(self, a: int, b: int, size: int) -> tuple[int, int]:
        """First and last position that a..b need in a map of ``size`` positions, within 0 to size - 1.

        Positions that need nothing (they lie in the padding of a pooling) give the border that is nearest.
        """
        if self.step == 0:
            return 0, size - 1
        first, last = a * self.step + self.first, b * self.step + self.last
        return min(max(first, 0), size - 1), min(max(last, 0), size - 1)


Reach.WHOLE = Reach(0, 0, 0)


@dataclass(frozen=True)
class Area:
    """A `Reach` in both dimensions of a map."""

    rows: Reach = Reach()
    columns: Reach = Reach()

    WHOLE: ClassVar[Area]

    def through(self, window: Area) -> Area:
        """The area of a value computed from this one, whose positions need ``window`` of this value's."""
        return Area(self.rows.through(window.rows), self.columns.through(window.columns))

    def union(self, other: Area) -> Area:
        """The least area that holds both."""
        return Area(self.rows.union(other.rows), self.columns.union(other.columns))


Area.WHOLE = Area(Reach.WHOLE, Reach.WHOLE)

#: Names of layers to the area of their outputs that a value is computed from.
Areas = Mapping[str, Area]


def unite(parts: Iterable[Areas]) -> Areas:
    """What a value needs that is computed from all of these, position by position."""
    united: dict[str, Area] = {}
    for name, area in (pair for part in parts for pair in part.items()):
        united[name] = united[name].union(area) if name in united else area
    return united


@dataclass(frozen=True)
class Edge:
    """The input map of ``consumer`` (without its padding) is computed from outputs of ``producer``.

    Attributes:
        producer, consumer: names of crossbar layers.
        rows, columns: reach from the consumer's input map to the producer's output map.
    """

    producer: str
    consumer: str
    rows: Reach = Reach()
    columns: Reach = Reach()


def chain(layers: Sequence[Layer]) -> tuple[Edge, ...]:
    """Every layer fed by the one before it, with what `resize` takes to lie between them."""
    return tuple(_link(producer.geometry, consumer.geometry) for producer, consumer in pairwise(layers))


def resize(produced: Pair, read: Pair) -> Area:
    """The area between a map of ``produced`` (rows, columns) and a map of ``read`` that is made of it.

    In each dimension equal sizes are the same positions; a whole multiple is a pooling whose kernel and stride are
    that multiple; anything else needs the whole map.
    """
    rows, columns = (_resize(*sizes) for sizes in zip(produced, read, strict=True))
    return Area(rows, columns)


def check_edges(edges: Sequence[Edge], names: Sequence[str], where: str | None = None) -> None:
    """Refuse edges that are no dataflow of layers with these names, which stand in execution order.

    Raises:
        NetworkError: an edge that names no layer or goes backwards, or two edges between the same layers.
    """
    order = {name: index for index, name in enumerate(names)}
    for edge in edges:
        given = f"edge {edge.producer} -> {edge.consumer}"
        missing = [name for name in (edge.producer, edge.consumer) if name not in order]
        if missing:
            raise NetworkError(given, f"there is no layer '{missing[0]}'", where)
        if order[edge.producer] >= order[edge.consumer]:
            raise NetworkError(given, "a producer stands before its consumer in execution order", where)
    pairs = [(edge.producer, edge.consumer) for edge in edges]
    if len(set(pairs)) != len(pairs):
        producer, consumer = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise NetworkError(f"edge {producer} -> {consumer} twice", "two layers have at most one edge", where)


def _link(producer: Geometry, consumer: Geometry) -> Edge:
    area = resize(producer.output_size, consumer.input_size)
    return Edge(producer.name, consumer.name, area.rows, area.columns)


def _resize(produced: int, read: int) -> Reach:
    ratio, rest = divmod(produced, read)
    return Reach.WHOLE if rest or not ratio else Reach.window(ratio, ratio)
