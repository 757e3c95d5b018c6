"""What feeds the layers of a shape table: the keys ``from`` and ``pool`` of an entry as edges.

Without them a layer is fed by the one before it (`pimsim.network.dataflow.chain`). ``from`` names earlier
layers, whose outputs are added or concatenated; ``input`` is the network's input, and ``input of NAME``
is the very map that layer NAME reads, as a shortcut around it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pimsim.errors import ConfigError, nearest
from pimsim.network.dataflow import Area, Areas, Edge, Reach, resize, unite
from pimsim.network.layers import Geometry, Pair
from pimsim.network.tables import Place, check_keys, read_pair

JOIN_KEYS = ("from", "pool")
POOL_KEYS = ("k", "stride", "pad")

_INPUT = "input"
_INPUT_OF = "input of "


def read_edges(
    entries: Sequence[Any], layers: Sequence[Sequence[Geometry]], places: Sequence[Place]
) -> tuple[Edge, ...]:
    """The edges of a table, by consumer and then by producer in the order of the table.

    Args:
        entries: mappings with ``from`` and ``pool`` or without.
        layers: the layers of each entry; what the entry says is for the first, the others follow one another.
        places: where each entry stands.

    Raises:
        ConfigError: an unknown or later name, pooling that does not give the layer's input, or channels that are
            neither those of an addition nor of a concatenation; with file and line.
    """
    table = _Table([geometry.name for copies in layers for geometry in copies])
    for entry, (first, *others), place in zip(entries, layers, places, strict=True):
        table.add(first, table.read(entry, first, place))
        for copy in others:
            table.add(copy, table.follow(copy))
    return tuple(table.edges)


@dataclass(frozen=True)
class _Map:
    """A map that layers write and read: its channels, its (rows, columns), and the outputs that it is made of."""

    name: str
    channels: int
    size: Pair
    areas: Areas


@dataclass(frozen=True)
class _Pool:
    """A pooling between layers, all in (rows, columns)."""

    kernel: Pair
    stride: Pair
    padding: Pair

    def output_size(self, size: Pair) -> Pair:
        """Rows and columns that are left; less than 1 where the window does not fit."""
        axes = zip(size, self.kernel, self.stride, self.padding, strict=True)
        height, width = ((i + 2 * p - k) // s + 1 for i, k, s, p in axes)
        return height, width

    @property
    def area(self) -> Area:
        """What a position of its output reads."""
        rows, columns = (Reach.window(*axis) for axis in zip(self.kernel, self.stride, self.padding, strict=True))
        return Area(rows, columns)

    @property
    def text(self) -> str:
        """The pooling in words."""
        return f"kernel {_by(self.kernel)}, stride {_by(self.stride)} and padding {_by(self.padding)}"


@dataclass(frozen=True)
class _Part:
    """One map as a layer reads it. ``channels``: its own, or flattened; ``widened``: zero channels may be added."""

    channels: tuple[int, ...]
    areas: Areas
    widened: bool = False


@dataclass
class _Table:
    """What is known of the layers so far."""

    names: Sequence[str]
    edges: list[Edge] = field(default_factory=list)
    outputs: dict[str, _Map] = field(default_factory=dict)
    inputs: dict[str, _Map] = field(default_factory=dict)

    def add(self, layer: Geometry, areas: Areas) -> None:
        """The next layer, which reads ``areas`` of earlier ones."""
        found = ((name, areas[name]) for name in self.outputs if name in areas)
        self.edges += [Edge(name, layer.name, area.rows, area.columns) for name, area in found]
        self.inputs[layer.name] = _Map(_INPUT_OF + layer.name, layer.in_channels, layer.input_size, areas)
        self.outputs[layer.name] = _Map(layer.name, layer.out_channels, layer.output_size, {layer.name: Area()})

    def follow(self, layer: Geometry) -> Areas:
        """A layer fed by the one before it."""
        return unite([_through(last, resize(last.size, layer.input_size)) for last in self._last()])

    def read(self, entry: Mapping[str, Any], layer: Geometry, place: Place) -> Areas:
        """A layer fed as its entry says."""
        pool = _read_pool(entry["pool"], place) if "pool" in entry else None
        if "from" not in entry and pool is None:
            return self.follow(layer)
        names = _names(entry["from"], place) if "from" in entry else []
        maps = [self._named(name, place) for name in names if name != _INPUT] if names else self._last()
        parts = [_read_part(each, layer) for each in maps] if pool is None else _pooled(maps, pool, layer, place)
        if names:
            _check_channels(names, maps, parts, layer, place)
        return unite([part.areas for part in parts])

    def _last(self) -> list[_Map]:
        return list(self.outputs.values())[-1:]

    def _named(self, name: str, place: Place) -> _Map:
        known = self.inputs if name.startswith(_INPUT_OF) else self.outputs
        layer = name.removeprefix(_INPUT_OF)
        if layer in known:
            return known[layer]
        later = layer in self.names
        rule = "a layer is fed by earlier ones, not by later ones" if later else "there is no layer of that name"
        raise ConfigError(f"from: '{name}'", rule, place.at("from"), nearest(layer, [_INPUT, *known]))


def _names(value: object, place: Place) -> list[str]:
    names = [str(name) for name in value] if isinstance(value, list) else [str(value)]
    if not names or len(set(names)) != len(names):
        rule = "a layer is fed by at least one other, and by each only once"
        raise ConfigError(f"from: [{', '.join(names)}]", rule, place.at("from"))
    return names


def _read_pool(value: object, place: Place) -> _Pool:
    entry = value if isinstance(value, Mapping) else {"k": value}
    check_keys(entry, POOL_KEYS, place.at("pool"))
    if "k" not in entry:
        fix = "Write it like {k: 3, stride: 2, pad: 1}"
        raise ConfigError(f"pool: {dict(entry)}", "missing k", place.at("pool"), fix)
    kernel = read_pair(entry["k"], "k", place.at("pool"))
    stride = read_pair(entry.get("stride", list(kernel)), "stride", place.at("pool"))
    padding = read_pair(entry.get("pad", 0), "pad", place.at("pool"), least=0)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ConfigError(f"pool: pad={_by(padding)}", f"at most half of k={_by(kernel)} is padded", place.at("pool"))
    return _Pool(kernel, stride, padding)


def _read_part(each: _Map, layer: Geometry) -> _Part:
    return _Part(_channels(each, each.size, layer), _through(each, resize(each.size, layer.input_size)))


def _pooled(maps: Sequence[_Map], pool: _Pool, layer: Geometry, place: Place) -> list[_Part]:
    """The maps behind the pooling; beside one that is pooled, others may have the layer's size already."""
    if not maps:
        raise ConfigError("pool of the network's input", "a table does not say how large it is", place.at("pool"))
    parts = [_pooled_part(each, pool, layer) for each in maps]
    for each, part in zip(maps, parts, strict=True):
        if part is None and (each.size != layer.input_size or not any(parts)):
            found = _by(pool.output_size(each.size))
            raise ConfigError(
                f"pool of {each.name}, {_by(each.size)}",
                f"{pool.text} make it {found}, and layer '{layer.name}' reads {_by(layer.input_size)}",
                place.at("pool"),
            )
    return [part or _read_part(each, layer) for each, part in zip(maps, parts, strict=True)]


def _pooled_part(each: _Map, pool: _Pool, layer: Geometry) -> _Part | None:
    """The map behind the pooling; None where that is not what the layer reads, flattened or not."""
    size = pool.output_size(each.size)
    channels = _channels(each, size, layer)
    if size == layer.input_size:
        return _Part(channels, _through(each, pool.area), widened=pool.kernel == (1, 1))
    flattened = layer.kind == "linear" and min(size) > 0 and channels[-1] == layer.in_channels
    return _Part(channels, _through(each, Area.WHOLE)) if flattened else None


def _channels(each: _Map, size: Pair, layer: Geometry) -> tuple[int, ...]:
    return (each.channels, each.channels * size[0] * size[1]) if layer.kind == "linear" else (each.channels,)


def _check_channels(
    names: Sequence[str], maps: Sequence[_Map], parts: Sequence[_Part], layer: Geometry, place: Place
) -> None:
    """Refuse channels that neither add up as a sum of maps nor as a concatenation; the network's input is any."""
    wanted = layer.in_channels
    added = [wanted in part.channels or (part.widened and part.channels[0] < wanted) for part in parts]
    together = [sum(part.channels[form] for part in parts) for form in range(len(parts[0].channels) if parts else 0)]
    is_sum = all(added) and any(wanted in part.channels for part in parts)
    is_joined = wanted in together or (_INPUT in names and min(together, default=0) < wanted)
    if not is_sum and not is_joined:
        given = ", ".join(f"{each.name} ({each.channels} channels)" for each in maps)
        rule = f"layer '{layer.name}' reads {wanted}: those of each for a sum, or of all together for a concatenation"
        raise ConfigError(f"from: {given}", rule, place.at("from"))


def _through(each: _Map, window: Area) -> Areas:
    return {name: area.through(window) for name, area in each.areas.items()}


def _by(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"
