"""Mappers side by side, and beside what papers published: the numbers behind ``pimsim compare --mappings``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pimsim.api.mapping import parse_array
from pimsim.errors import ConfigError, ResultError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.channel_pruning import prune_channels
from pimsim.mapping.convention import with_convention
from pimsim.mapping.layout import Mapping
from pimsim.mapping.registry import map_unit, mapper
from pimsim.mapping.stages import StagedMapping
from pimsim.network.layers import Geometry
from pimsim.network.published import PublishedLayer, PublishedTable, load_published

DEFAULT_MAPPINGS = ("im2col", "sdk", "vw-sdk")
#: Column headings of the printed table.
_HEADS = ("layer", "shape")


@dataclass(frozen=True)
class Value:
    """One number, ours and, where there is one, the published.

    Attributes:
        table, array, layer, shape, mapping: which number.
        quantity: ``cycles``, ``window`` (wide x low), ``ic_tile``, ``oc_tile``, ``ratio`` or ``channels``.
        published: as published, or None.
        ours: what pimsim counts; "" where there is none.
        match: whether both are equal; None without a published value.
        reason: why not, where it is known.
    """

    table: str
    array: str
    layer: str
    shape: str
    mapping: str
    quantity: str
    published: str | None
    ours: str
    match: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Every value of some tables; ``str`` is the printed form, ``to_json`` and ``to_csv`` those for machines."""

    name: str
    source: str
    values: tuple[Value, ...]

    @property
    def matches(self) -> int:
        """Published values that ours equal."""
        return sum(value.match is True for value in self.values)

    @property
    def mismatches(self) -> tuple[Value, ...]:
        """Published values that ours differ from."""
        return tuple(value for value in self.values if value.match is False)

    def cycles(self, table: str, array: str) -> dict[str, list[int]]:
        """Computing cycles of each mapping over the layers of a table, in order."""
        by_mapping: dict[str, list[int]] = {}
        for value in self.values:
            if (value.table, value.array, value.quantity) == (table, array, "cycles") and value.layer != "total":
                by_mapping.setdefault(value.mapping, []).append(int(value.ours))
        return by_mapping

    def to_json(self) -> dict[str, Any]:
        """All values, and how many published ones are met."""
        counts = {"matches": self.matches, "mismatches": len(self.mismatches)}
        return {"name": self.name, "source": self.source, **counts, "values": [asdict(value) for value in self.values]}

    def to_csv(self) -> str:
        """All values, one a line, with a heading."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(Value.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(value) for value in self.values)
        return out.getvalue()

    def __str__(self) -> str:
        tables = dict.fromkeys((value.table, value.array) for value in self.values)
        parts = [_print_table(table, array, self.values) for table, array in tables]
        published = self.matches + len(self.mismatches)
        end = (
            f"{self.matches} of {published} published values met" if published else "nothing published to compare with"
        )
        return "\n\n".join([*([f"Source: {self.source}"] if self.source else []), *parts, end])

    def save(self, folder: str | Path, formats: Sequence[str] = ("png",)) -> tuple[Path, ...]:
        """Write ``NAME.txt``, ``NAME.csv`` and the figure of cycles against the first mapping into a folder.

        Raises:
            ResultError: a folder that cannot be written.
        """
        folder, texts = Path(folder), {"txt": f"{self}\n", "csv": self.to_csv()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for suffix, text in texts.items():
                (folder / f"{self.name}.{suffix}").write_text(text, encoding="utf-8")
            drawn = self._draw(folder, formats)
        except OSError as error:
            fix = "Give --out a folder that can be written"
            raise ResultError(f"'{folder}'", f"it cannot be written: {error.strerror}", None, fix) from None
        return (*(folder / f"{self.name}.{suffix}" for suffix in texts), *drawn)

    def _draw(self, folder: Path, formats: Sequence[str]) -> tuple[Path, ...]:
        """The figure in each format."""
        from pimsim.records.comparison_figure import draw_comparison

        cases = dict.fromkeys((value.table, value.array) for value in self.values if value.layer != "channels")
        bars = {f"{table}, {array}": self.cycles(table, array) for table, array in cases}
        names = {f"{table}, {array}": self._layers(table, array) for table, array in cases}
        return tuple(draw_comparison(bars, names, folder / f"{self.name}.{kind}") for kind in formats)

    def _layers(self, table: str, array: str) -> list[str]:
        here = (v for v in self.values if (v.table, v.array, v.quantity) == (table, array, "cycles"))
        return list(dict.fromkeys(value.layer for value in here if value.layer != "total"))


def compare_mappings(
    shapes: str | Path,
    mappings: Sequence[str] = (),
    arrays: Sequence[str] = (),
    columns_per_weight: int | None = None,
    convention: str | None = None,
) -> Comparison:
    """Layers by several mappers, beside what a paper published for them.

    Args:
        shapes: a shape table, or a paper's file (`pimsim.network.published`).
        mappings: mappers, each with options after colons: ``vw-sdk:search=as-published``; none: those of the file, or
            im2col, sdk and vw-sdk.
        arrays: ``ROWSxCOLUMNS`` each; none: those of the file, or 512x512.
        columns_per_weight: columns that one weight takes; None: those of the file, or 1.
        convention: ``same`` or ``valid``; None: that of the file, or ``same``.

    Returns:
        All values; published ones are compared where array, columns and convention are those of the file.

    Raises:
        PimsimError: a file, array, mapper or option that cannot be used.
    """
    file = load_published(shapes)
    for method in (*mappings, *(method for table in file.tables for method in _named_in(table))):
        _read_spec(method)
    values: list[Value] = []
    for table in file.tables:
        for text in arrays or (table.array or "512x512",):
            array = parse_array(text, columns_per_weight or table.columns_per_weight)
            case = _Case(table, array, mappings or _mappings_of(table), convention or table.convention)
            values += case.values()
    return Comparison(file.name, file.source, tuple(values))


@dataclass(frozen=True)
class _Case:
    """One table on one array."""

    table: PublishedTable
    array: ArrayShape
    mappings: Sequence[str]
    convention: str

    def values(self) -> Iterator[Value]:
        """All values of the table."""
        totals = dict.fromkeys(self.mappings, 0)
        for layer in self.table.layers:
            geometry = with_convention(layer.geometry, self.convention)
            for mapping in self.mappings:
                mapped = map_spec(geometry, self.array, mapping)
                totals[mapping] += mapped.cycles
                yield from self._layer_values(layer, mapping, mapped)
        for mapping, cycles in totals.items():
            yield self._value("total", "", mapping, "cycles", None, str(cycles))
        yield from self._ratios(totals)
        if self.table.rounds and self._as_in_file:
            yield from self._rounds()

    @property
    def _as_in_file(self) -> bool:
        """Whether this is the case that the published numbers are for."""
        table = self.table
        same = table.array == self._array_text and table.columns_per_weight == self.array.columns_per_weight
        return same and table.convention == self.convention

    @property
    def _array_text(self) -> str:
        return f"{self.array.rows}x{self.array.columns}"

    def _value(
        self, layer: str, shape: str, mapping: str, quantity: str, published: object, ours: str, reason: str = ""
    ) -> Value:
        given = None if published is None else str(published)
        match = None if given is None else given == ours
        return Value(self.table.name, self._array_text, layer, shape, mapping, quantity, given, ours, match,
                     reason if match is False else "")  # fmt: skip

    def _layer_values(self, layer: PublishedLayer, mapping: str, mapped: Mapping | StagedMapping) -> Iterator[Value]:
        """Cycles, window and tiles of one layer and mapper."""
        g = layer.geometry
        shape = f"{g.kernel[0]}x{g.kernel[1]}x{g.group_channels[0]}x{g.out_channels}@{g.input_size[0]}"
        published = layer.values.get(mapping, {}) if self._as_in_file else {}
        height, width = mapped.window
        ours = {"cycles": mapped.cycles, "window": f"{width}x{height}", "ic_tile": mapped.ic_tile,
                "oc_tile": mapped.oc_tile}  # fmt: skip
        for quantity, value in ours.items():
            reason = str(published.get("reason", ""))
            yield self._value(g.name, shape, mapping, quantity, published.get(quantity), str(value), reason)

    def _ratios(self, totals: dict[str, int]) -> Iterator[Value]:
        """Published ratios of totals."""
        for ratio in self.table.ratios if self._as_in_file else ():
            if ratio.of in totals and ratio.over in totals:
                ours = f"{totals[ratio.over] / totals[ratio.of]:.2f}"
                name = f"{ratio.over} / {ratio.of}"
                yield self._value("total", "", name, "ratio", f"{ratio.value:.2f}", ours, ratio.reason)

    def _rounds(self) -> Iterator[Value]:
        """Channels after each round of pruning, by the authors' search and by the exact one."""
        layers = [with_convention(layer.geometry, self.convention) for layer in self.table.layers]
        for search in ("as-published", "exact"):
            found = prune_channels(layers, self.array, self.table.topology, search)
            for i, published in enumerate(self.table.rounds):
                ours = found[i].in_channels if i < len(found) else "fixed point reached before"
                yield self._value("channels", published.name, f"pruning:search={search}", "channels",
                                  _words(published.channels), _words(ours), published.reason)  # fmt: skip


def _words(channels: tuple[int, ...] | str) -> str:
    return channels if isinstance(channels, str) else " ".join(map(str, channels))


def map_spec(geometry: Geometry, array: ArrayShape, spec: str) -> Mapping | StagedMapping:
    """A layer by a mapper written with its options, ``low-rank:rank=1/4:groups=4``.

    Raises:
        ConfigError: an option without ``=``.
        MappingError: as `map_unit`.
    """
    name, options = _read_spec(spec)
    return map_unit(geometry, array, name, **options)


def _read_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """The mapper's name and its options, both known to exist."""
    name, *options = spec.split(":")
    pairs = [option.partition("=") for option in options]
    for option, (key, equals, _) in zip(options, pairs, strict=True):
        if not key or not equals:
            raise ConfigError(f"'{option}'", "an option is KEY=VALUE", f"mapping '{spec}'", "Write NAME:KEY=VALUE")
    read = {key: _typed(value) for key, _, value in pairs}
    mapper(name, **read)
    return name, read


def _named_in(table: PublishedTable) -> set[str]:
    """Every method that a table names or publishes."""
    return {*table.mappings, *(method for layer in table.layers for method in layer.values)}


def _typed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isascii() and text.isdigit() else text


def _mappings_of(table: PublishedTable) -> Sequence[str]:
    """The methods that a table names, or publishes, or the usual ones."""
    if table.mappings:
        return table.mappings
    return tuple(dict.fromkeys(method for layer in table.layers for method in layer.values)) or DEFAULT_MAPPINGS


def _print_table(table: str, array: str, values: Sequence[Value]) -> str:
    """One table as text: layers down, mappings across; notes on what differs."""
    here = [value for value in values if (value.table, value.array) == (table, array)]
    layers = list(dict.fromkeys((v.layer, v.shape) for v in here if v.quantity == "cycles"))
    mappings = list(dict.fromkeys(v.mapping for v in here if v.quantity == "cycles"))
    found = {(v.layer, v.mapping, v.quantity): v for v in here}
    rows = [[*_HEADS, *(head for mapping in mappings for head in (mapping, "window"))]]
    for layer, shape in layers:
        cells = (cell for mapping in mappings for cell in _cells(found, layer, mapping))
        rows.append([layer, shape, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths,
             strict=True))).rstrip() for row in rows]  # fmt: skip
    others = [f"{v.layer} {v.mapping}: {_mark(v)}" for v in here if v.quantity == "ratio"]
    others += [f"{v.shape} {v.mapping}: {_mark(v)}" for v in here if v.quantity == "channels"]
    notes = [
        f"  {v.layer} {v.mapping} {v.quantity}: published {v.published}, ours {v.ours}"
        f"{'; ' + v.reason if v.reason else ''}"
        for v in here
        if v.match is False
    ]
    head = f"{table} on {array} arrays (= published and met; number (published) where they differ)"
    return "\n".join([head, *lines, *others, *(["differences:", *notes] if notes else [])])


def _cells(found: dict[tuple[str, str, str], Value], layer: str, mapping: str) -> tuple[str, str]:
    """Cycles and window of one layer and mapper."""
    cycles = _mark(found[layer, mapping, "cycles"])
    if (layer, mapping, "window") not in found:
        return cycles, ""
    window, ic, oc = (found[layer, mapping, quantity] for quantity in ("window", "ic_tile", "oc_tile"))
    return cycles, f"{window.ours}x{ic.ours}x{oc.ours}{_sign([window, ic, oc])}"


def _mark(value: Value) -> str:
    """Ours, and the published number where it differs."""
    number = f"{int(value.ours):,}" if value.quantity == "cycles" else value.ours
    if value.match is None:
        return number
    return f"{number} =" if value.match else f"{number} ({value.published})"


def _sign(values: Sequence[Value]) -> str:
    known = [value.match for value in values if value.match is not None]
    return "" if not known else " =" if all(known) else " !"
