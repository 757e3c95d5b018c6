"""Mapping alone: layers laid out on arrays and what skipping leaves of them; needs neither PyTorch nor pandas."""

from __future__ import annotations

from collections.abc import Mapping as Options
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.errors import ConfigError, MappingError
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.convention import with_convention
from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_unit
from pimsim.mapping.skipping import keep_weight, place
from pimsim.mapping.stages import StagedMapping, StagedPlacement, place_stages
from pimsim.mapping.summary import summary
from pimsim.network.layers import Geometry
from pimsim.network.shapes import load_shapes, parse_layer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Columns of the printed table: heading and key of the summary.
_COLUMNS = (
    ("layer", "name"),
    ("window", "window"),
    ("ICt", "ic_tile"),
    ("OCt", "oc_tile"),
    ("windows", "windows"),
    ("tiles", "tiles"),
    ("cycles", "cycles"),
    ("rows", "rows_mapped"),
    ("skipped", "rows_skipped"),
    ("cells used", "cell_utilisation"),
)


@dataclass(frozen=True)
class MapResult:
    """Placements of one or more layers; ``to_json`` is the machine-readable form, ``str`` the table.

    Attributes:
        placements: one for each layer, in order.
        weights: ones and zeros of the keep pattern for each layer, None for dense layers.
    """

    placements: tuple[Placement | StagedPlacement, ...]
    weights: tuple[NDArray[np.int64] | None, ...] = field(repr=False, compare=False)

    def draw(self, path: str | Path, colouring: str = "kernel") -> Path:
        """A picture of the arrays: one layer in full, or a strip for each of several.

        Args:
            path: ``.png``, ``.svg`` or ``.pdf``.
            colouring: cells by ``kernel`` position or by output position of the ``window``.

        Raises:
            ResultError: another suffix or colouring, or a file that cannot be written.
        """
        from pimsim.records.drawings import Drawn, draw_mappings

        layers = [Drawn(placed, weight) for placed, weight in zip(self.placements, self.weights, strict=True)]
        return draw_mappings(layers, path, colouring)

    @property
    def total(self) -> dict[str, int | float]:
        """Sums over the layers: cycles, windows, arrays in use and of the dense layout, rows mapped and skipped, and
        the skip ratio.

        Arrays with operation units add the units that are read for one window and input step, and those of the dense
        layout.
        """
        rows = sum(placement.rows_mapped for placement in self.placements)
        skipped = sum(placement.rows_skipped for placement in self.placements)
        units = [p for p in self.placements if p.mapping.array.unit is not None]
        steps = {
            "unit_steps": sum(p.unit_steps for p in units),
            "dense_unit_steps": sum(p.dense_unit_steps for p in units),
        }
        return {
            "cycles": sum(placement.cycles for placement in self.placements),
            "windows": sum(placement.mapping.windows for placement in self.placements),
            "arrays": sum(len(placement.tiles) for placement in self.placements),
            "dense_arrays": sum(len(placement.mapping.tiles) for placement in self.placements),
            "rows_mapped": rows,
            "rows_skipped": skipped,
            "skip_ratio": skipped / rows,
            **(steps if units else {}),
        }

    def layers(self) -> list[dict[str, Any]]:
        """One summary for each layer, in order, with its name."""
        return [{"name": p.mapping.geometry.name, **summary(p.mapping, p)} for p in self.placements]

    def to_json(self) -> dict[str, Any]:
        """All layers and their total."""
        return {"layers": self.layers(), "total": self.total}

    def __str__(self) -> str:
        rows = [[heading for heading, _ in _COLUMNS]]
        rows += [[_cell(layer, key) for _, key in _COLUMNS] for layer in self.layers()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        lines = ["  ".join(cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row))
                 for row in rows]  # fmt: skip
        total = self.total
        if "unit_steps" in total:
            lines.append(f"operation units: {total['unit_steps']:,} of {total['dense_unit_steps']:,} are read")
        lines.append(
            f"total: {total['cycles']:,} computing cycles, {total['arrays']:,} arrays, "
            f"{total['rows_skipped']:,} of {total['rows_mapped']:,} rows skipped"
        )
        return "\n".join(lines)


def map_layers(
    layers: Sequence[Geometry],
    array: ArrayShape,
    mapping: str,
    options: Options[str, Any] | None = None,
    *,
    keep: str | None = None,
    skip: str | None = None,
    pack: str = "tile",
    compact: bool | None = None,
    convention: str = "same",
) -> MapResult:
    """The layers laid out and placed.

    A keep pattern applies to the layers whose kernel has as many positions; the others stay dense.

    Args:
        layers: shapes.
        array: the array, with the columns that one weight takes.
        mapping: name of a mapper; ``options`` are its fields.
        keep: kernel positions that every channel keeps, row-major; None keeps all.
        skip: granularity; None means ``row`` with a keep pattern and ``none`` without.
        pack: ``tile`` or ``layer``.
        compact: for ``ou``, whether kept rows close up to full operation units; None: they do.
        convention: ``same`` or ``valid``.

    Raises:
        MappingError: an unknown name, or a layer that cannot be mapped as asked.
    """
    granularity = skip or ("none" if keep is None else "row")
    if granularity == "repeat":
        rule = "which operation units repeat others is seen from the weights, and shapes have none"
        raise MappingError("skip 'repeat' without weights", rule, None, "Use 'pimsim run' with a checkpoint")
    _check_keep(layers, keep)
    shapes = [with_convention(layer, convention) for layer in layers]
    weights = tuple(_kept(layer, keep) for layer in shapes)
    mapped = (map_unit(layer, array, mapping, **(options or {})) for layer in shapes)
    placements = (
        _place_one(one, weight, granularity, pack, compact) for one, weight in zip(mapped, weights, strict=True)
    )
    return MapResult(tuple(placements), weights)


def layers_of(layer: str | None, shapes: str | Path | None) -> tuple[Geometry, ...]:
    """The shapes of one layer text or of a shape table; exactly one of them is given. Raises `ConfigError`."""
    if (layer is None) == (shapes is None):
        given = "both a layer and a shape table" if layer else "neither a layer nor a shape table"
        fix = "Give --layer k=3x3,ic=64,oc=128,in=28x28 or --shapes FILE.yaml"
        raise ConfigError(given, "one of them is needed", None, fix)
    if layer is not None:
        return (parse_layer(layer, "--layer"),)
    assert shapes is not None
    return tuple(entry.geometry for entry in load_shapes(shapes).layers)


def parse_array(text: str, columns_per_weight: int, where: str = "--array") -> ArrayShape:
    """An array from ``ROWSxCOLUMNS``. Raises `ConfigError` for anything but two positive numbers."""
    return ArrayShape(*_size(text, "an array", where, "512x512"), columns_per_weight)


def _size(text: str, what: str, where: str, example: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ConfigError(f"'{text}'", f"{what} is ROWSxCOLUMNS", where, f"Write it like {example}")
    return int(parts[0]), int(parts[1])


def array_of_chip(chip: Chip, weight_bits: int) -> ArrayShape:
    """The arrays of a chip for weights of ``weight_bits``, encoded over its cells."""
    from pimsim.hardware.encodings import columns_per_weight

    crossbar = chip.crossbar
    taken = columns_per_weight(crossbar.encoding, weight_bits, crossbar.cell_bits)
    unit = crossbar.active_rows, crossbar.active_columns
    whole = unit == (crossbar.rows, crossbar.columns)
    return ArrayShape(crossbar.rows, crossbar.columns, taken, None if whole else unit)


def _check_keep(layers: Sequence[Geometry], keep: str | None) -> None:
    """Refuses a pattern that no layer can have, with the first layer's own message."""
    if keep is not None and all(len(keep) != layer.kernel[0] * layer.kernel[1] for layer in layers):
        keep_weight(layers[0], keep)


def _kept(layer: Geometry, keep: str | None) -> NDArray[np.int64] | None:
    """The weight of a keep pattern; None without one, or where the kernel has another size."""
    if keep is None or len(keep) != layer.kernel[0] * layer.kernel[1]:
        return None
    return keep_weight(layer, keep)


def _place_one(
    mapping: Mapping | StagedMapping, weight: NDArray[np.int64] | None, skip: str, pack: str, compact: bool | None
) -> Placement | StagedPlacement:
    if not isinstance(mapping, StagedMapping):
        return place(mapping, weight, skip, pack, compact=compact)
    if weight is not None:
        rule = f"'{mapping.method}' maps the factors of the weight, which have no pruned positions"
        fix = "Leave out --keep, or map with another method"
        raise MappingError("a keep pattern", rule, mapping.geometry.name, fix)
    return place_stages(mapping, None, skip, pack, compact)


def _cell(layer: dict[str, Any], key: str) -> str:
    """One cell of the printed table."""
    if key == "tiles":
        return f"{layer['row_tiles']}x{layer['column_tiles']}"
    value = layer[key]
    if key == "window":
        return f"{value[0]}x{value[1]}"
    return f"{value:.1%}" if key == "cell_utilisation" else f"{value:,}" if isinstance(value, int) else str(value)


def chosen_array(
    array: str | None, columns_per_weight: int, hardware: str | None, weight_bits: int, unit: str | None = None
) -> ArrayShape:
    """The array written out with its operation unit, or that of a chip. Raises `ConfigError` when both are given."""
    if hardware is None:
        shape = parse_array(array or "512x512", columns_per_weight)
        return shape if unit is None else replace(shape, unit=_size(unit, "an operation unit", "--unit", "8x8"))
    for name, given in (("array", array), ("unit", unit)):
        if given is not None:
            fix = f"Leave out --{name} or --hardware"
            raise ConfigError(f"both {name} and hardware", "one of them is needed", None, fix)
    from pimsim.hardware.loading import load_chip

    return array_of_chip(load_chip(hardware), weight_bits)
