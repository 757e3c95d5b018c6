"""Tables of published mapping numbers: layers, arrays, and what a paper prints for each method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pimsim.errors import ConfigError
from pimsim.network.layers import Geometry
from pimsim.network.shapes import load_shapes, read_entry
from pimsim.network.tables import Place, check_keys, read_size, read_table

FILE_KEYS = ("name", "source", "tables")
PAPER_KEYS = ("name", "array", "columns_per_weight", "convention", "mappings", "layers", "ratios", "pruning", "note")
#: What a paper may print for a layer and a method; a window is wide x low, as the papers write it.
VALUE_KEYS = ("cycles", "window", "ic_tile", "oc_tile", "reason")
RATIO_KEYS = ("of", "over", "value", "reason")
PRUNING_KEYS = ("topology", "rounds")
ROUND_KEYS = ("name", "channels", "reason")


@dataclass(frozen=True)
class PublishedLayer:
    """A layer, and for each method the values that a paper prints for it, with ``reason`` where they cannot be met."""

    geometry: Geometry
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedRatio:
    """Total cycles of ``over`` divided by those of ``of``, as published."""

    of: str
    over: str
    value: float
    reason: str = ""


@dataclass(frozen=True)
class PublishedRound:
    """Input channels of every layer after one round of channel pruning, as published."""

    name: str
    channels: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper, or a shape table without published numbers.

    Attributes:
        name: of the network and the case.
        array: ``ROWSxCOLUMNS`` of the published numbers; None where there are none.
        columns_per_weight: columns that one weight takes.
        convention: ``valid`` (as the papers count) or ``same``.
        mappings: methods to compare, each a mapper's name with options after colons.
        layers: in order.
        ratios: of total cycles.
        topology: how channels depend on each other in ``rounds``.
        rounds: of channel pruning.
        note: what else is to be said.
    """

    name: str
    layers: tuple[PublishedLayer, ...]
    array: str | None = None
    columns_per_weight: int = 1
    convention: str = "same"
    mappings: tuple[str, ...] = ()
    ratios: tuple[PublishedRatio, ...] = ()
    topology: str = "chain"
    rounds: tuple[PublishedRound, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class PublishedFile:
    """The tables of one paper, or one shape table, and where its numbers come from."""

    name: str
    tables: tuple[PublishedTable, ...]
    source: str = ""


def load_published(path: str | Path) -> PublishedFile:
    """The tables of a paper's file, or of a plain shape table (without published numbers).

    Raises:
        ConfigError: a file that cannot be read, or anything wrong in it, with file and line.
    """
    path = Path(path)
    content = read_table(path)
    if "tables" not in content:
        network = load_shapes(path)
        layers = tuple(PublishedLayer(layer.geometry) for layer in network.layers)
        return PublishedFile(network.name, (PublishedTable(network.name, layers),))
    place = Place(path, content)
    check_keys(content, FILE_KEYS, place.at)
    tables = content["tables"]
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"tables: {tables!r}", "a paper's file needs a list of tables", place.at("tables"))
    read = tuple(_table(entry, Place(path, tables, i), path) for i, entry in enumerate(tables))
    return PublishedFile(str(content.get("name", path.stem)), read, str(content.get("source", "")))


def _table(entry: Any, place: Place, path: Path) -> PublishedTable:
    """One table of the file."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{entry!r}", "a table is a mapping with 'layers'", place.at())
    check_keys(entry, PAPER_KEYS, place.at)
    layers = entry.get("layers")
    if not isinstance(layers, list) or not layers:
        raise ConfigError(f"layers: {layers!r}", "a table needs a list of layers", place.at("layers"))
    pruning = _part(entry.get("pruning", {}), PRUNING_KEYS, place)
    return PublishedTable(
        name=str(entry.get("name", path.stem)),
        layers=tuple(layer for i, each in enumerate(layers) for layer in _layers(each, i, Place(path, layers, i))),
        array=str(entry["array"]) if "array" in entry else None,
        columns_per_weight=read_size(entry.get("columns_per_weight", 1), "columns_per_weight", place.at),
        convention=str(entry.get("convention", "valid")),
        mappings=tuple(str(name) for name in entry.get("mappings", ())),
        ratios=tuple(
            PublishedRatio(**_part(ratio, RATIO_KEYS, place, RATIO_KEYS[:3])) for ratio in entry.get("ratios", ())
        ),
        topology=str(pruning.get("topology", "chain")),
        rounds=tuple(_round(each, place) for each in pruning.get("rounds", ())),
        note=str(entry.get("note", "")),
    )


def _layers(entry: Any, index: int, place: Place) -> list[PublishedLayer]:
    """The layers of one entry, each with its published values."""
    if not isinstance(entry, Mapping):
        return [PublishedLayer(geometry) for geometry in read_entry(entry, index, place)]
    shape = {key: value for key, value in entry.items() if key != "published"}
    values = _part(entry.get("published", {}), None, place)
    read = {str(method): _values(each, place) for method, each in values.items()}
    return [PublishedLayer(geometry, read) for geometry in read_entry(shape, index, place)]


def _values(given: Any, place: Place) -> Mapping[str, Any]:
    """Published values of one method; a bare number is its cycles."""
    return {"cycles": given} if isinstance(given, int) else _part(given, VALUE_KEYS, place)


def _round(given: Any, place: Place) -> PublishedRound:
    part = _part(given, ROUND_KEYS, place, ROUND_KEYS[:2])
    return PublishedRound(str(part["name"]), tuple(int(n) for n in part["channels"]), str(part.get("reason", "")))


def _part(given: Any, known: tuple[str, ...] | None, place: Place, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """A mapping with known keys only (None: any), and all that are needed."""
    if not isinstance(given, Mapping):
        rule = "this is a mapping" + (f" with {', '.join(known)}" if known else " of methods to values")
        raise ConfigError(f"{given!r}", rule, place.at("published"))
    if known is not None:
        check_keys(given, known, place.at)
    missing = [key for key in needed if key not in given]
    if missing:
        raise ConfigError(f"{dict(given)!r}", f"missing {', '.join(missing)}", place.at())
    return dict(given)
