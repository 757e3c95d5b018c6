"""Result tables as DataFrames, and the JSON object that ``pimsim run --json`` prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pimsim.records.check import Check
from pimsim.records.schema import TABLES
from pimsim.simulation.results import ComponentResult, LayerResult, SimulationResult, Span
from pimsim.units import ns

if TYPE_CHECKING:
    import pandas as pd

PJ_PER_J = 1e12
MM2_PER_M2 = 1e6
Row = dict[str, Any]
#: One table as plain values: the rows of every column.
Columns = dict[str, list[Any]]
#: Every table of `TABLES` by name.
PlainTables = dict[str, Columns]


@dataclass(frozen=True, eq=False)
class Tables:
    """Every table of a run, with the columns of `pimsim.records.schema.TABLES` in that order.

    ``spans`` may be empty; all others have rows in execution order of the layers and in the order of the components.
    """

    totals: pd.DataFrame
    layers: pd.DataFrame
    components: pd.DataFrame
    energy: pd.DataFrame
    stalls: pd.DataFrame
    resources: pd.DataFrame
    spans: pd.DataFrame


def plain_tables(result: SimulationResult) -> PlainTables:
    """The tables of a simulation as lists, which takes no pandas; units are in the column names."""
    layers, images = result.layers, stall_images(result)
    return {
        "totals": columns("totals", [_totals_row(result)]),
        "layers": columns("layers", map(_layer_row, layers)),
        "components": columns("components", map(_component_row, result.components)),
        "energy": columns("energy", (row for layer in layers for row in _energy_rows(layer))),
        "stalls": columns("stalls", (row for layer in layers for row in _stall_rows(layer, images))),
        "resources": columns("resources", (row for layer in layers for row in _resource_rows(layer))),
        "spans": {column.name: [getattr(span, column.name) for span in result.spans] for column in TABLES["spans"]},
    }


def tables(result: SimulationResult) -> Tables:
    """The tables of a simulation; units are in the column names."""
    return frames(plain_tables(result))


def frames(plain: PlainTables) -> Tables:
    """Plain tables as DataFrames."""
    return Tables(**{name: frame(name, plain[name]) for name in TABLES})


def columns(table: str, rows: Iterable[Row]) -> Columns:
    """Rows as the documented columns of a table."""
    listed = list(rows)
    return {column.name: [row[column.name] for row in listed] for column in TABLES[table]}


def frame(table: str, plain: Columns) -> pd.DataFrame:
    """A DataFrame with the documented columns, order and types of a table, also when empty."""
    import pandas as pd

    return pd.DataFrame({c.name: pd.Series(plain.get(c.name, []), dtype=c.dtype) for c in TABLES[table]})


def spans_of(spans: Columns) -> Iterator[Span]:
    """The spans of a ``spans`` table, in its order."""
    names = [column.name for column in TABLES["spans"]]
    for row in zip(*(spans[name] for name in names), strict=True):
        yield Span(**dict(zip(names, row, strict=True)))


def stall_images(result: SimulationResult) -> int:
    """Images over which the stalls of a layer are summed: layers one after another play a single one."""
    return result.images if result.schedule == "pipelined" else 1


def skip_ratio(rows_skipped: int, rows_mapped: int) -> float:
    """Skipped rows / mapped rows; 0 when no row is mapped."""
    return rows_skipped / rows_mapped if rows_mapped else 0.0


def _layer_row(layer: LayerResult) -> Row:
    """One row of ``layers``; fields that keep their name and unit are copied."""
    same = {name: getattr(layer, name) for name in LAYER_COUNTS}
    inputs = layer.skipped_steps.inputs
    return same | {
        "array_steps_dense": layer.skipped_steps.dense,
        "array_steps_weights": layer.skipped_steps.weights,
        "array_steps_inputs": None if inputs is None else float(inputs),
        "layer": layer.name,
        "window": f"{layer.window[0]}x{layer.window[1]}",
        "skip_ratio": skip_ratio(layer.rows_skipped, layer.rows_mapped),
        "start_ns": ns(layer.start_fs),
        "first_output_ns": ns(layer.first_output_fs),
        "end_ns": ns(layer.end_fs),
        "latency_ns": ns(layer.latency_fs),
        "interval_ns": ns(layer.interval_fs),
        "fill_ns": ns(layer.fill_fs),
        "energy_pj": math.fsum(layer.dynamic_energy_j.values()) * PJ_PER_J,
        "program_time_ns": ns(layer.program_time_fs),
        "program_energy_pj": layer.program_energy_j * PJ_PER_J,
    }


LAYER_COUNTS = (
    *("kind", "mapping", "cycles", "windows", "arrays", "replication", "rounds", "steps", "array_steps"),
    *("rows_mapped", "rows_skipped", "conversions", "macs", "cell_utilisation", "index_bits"),
)


def _component_row(component: ComponentResult) -> Row:
    dynamic, static = component.dynamic_energy_j * PJ_PER_J, component.static_energy_j * PJ_PER_J
    return {
        "component": component.component,
        "level": component.level,
        "units": component.units,
        "actions": component.actions,
        "dynamic_energy_pj": dynamic,
        "static_energy_pj": static,
        "energy_pj": dynamic + static,
        "area_mm2": component.area_m2 * MM2_PER_M2,
        "busy_ns": ns(component.busy_fs),
        "utilisation": math.nan if component.utilisation is None else component.utilisation,
    }


def _energy_rows(layer: LayerResult) -> Iterator[Row]:
    for component, energy_j in layer.dynamic_energy_j.items():
        yield {"layer": layer.name, "component": component, "energy_pj": energy_j * PJ_PER_J}


def _stall_rows(layer: LayerResult, images: int) -> Iterator[Row]:
    for cause, stall_ns in stalls_ns(layer, images).items():
        yield {"layer": layer.name, "cause": cause, "stall_ns": stall_ns}


def stalls_ns(layer: LayerResult, images: int) -> dict[str, float]:
    """Nanoseconds that the arrays of a layer waited by cause, for one image, given those that its record sums."""
    return {cause: ns(stall_fs) / images for cause, stall_fs in layer.stall_fs.items()}


def _resource_rows(layer: LayerResult) -> Iterator[Row]:
    for resource, busy_fs in layer.busy_fs.items():
        units = layer.units[resource]
        available = units * layer.latency_fs
        yield {
            "layer": layer.name,
            "resource": resource,
            "units": units,
            "busy_ns": ns(busy_fs),
            "utilisation": busy_fs / available if available else math.nan,
        }


def to_json_object(result: SimulationResult, check: Check | None) -> dict[str, Any]:
    """The object of ``pimsim run --json``: ``layers``, ``totals``, ``check``, and what they rest on.

    Plain JSON values; what is not known is None. ``energy_pj`` of a layer is dynamic; that of the totals is
    the exact sum (`math.fsum`) of ``energy_by_component_pj``, which lists dynamic energy under a component's
    name and static energy under ``NAME_static``.

    Args:
        result: the simulation.
        check: the comparison with the reference, or None for networks without weights.
    """
    return {
        "chip": result.chip.name,
        "engine": result.engine,
        "adc_scaling": result.chip.macro.adc.scaling,
        "layers": [_json_layer(layer, stall_images(result)) for layer in result.layers],
        "totals": _json_totals(result),
        "check": None if check is None else json_check(check),
        "notes": list(result.notes),
    }


def _json_layer(layer: LayerResult, images: int) -> Row:
    row = _layer_row(layer)
    named = {c.name: row[c.name] for c in TABLES["layers"] if c.name != "layer"}
    return (
        {"name": layer.name}
        | named
        | {
            "energy_by_component_pj": {name: energy * PJ_PER_J for name, energy in layer.dynamic_energy_j.items()},
            "stall_ns": stalls_ns(layer, images),
            "utilisation": {r["resource"]: finite(r["utilisation"]) for r in _resource_rows(layer)},
        }
    )


def _json_totals(result: SimulationResult) -> Row:
    found = _totals_row(result)
    row = {column.name: found[column.name] for column in TABLES["totals"]}
    return row | {"interval_ns": finite(row["interval_ns"]), "energy_by_component_pj": _by_component(result)}


def _totals_row(result: SimulationResult) -> Row:
    dynamic, static = (energy_by(result.components, f"{kind}_energy_j").values() for kind in ("dynamic", "static"))
    counts = {name: sum(getattr(layer, name) for layer in result.layers) for name in TOTAL_COUNTS}
    return counts | {
        "schedule": result.schedule,
        "images": result.images,
        "latency_ns": ns(result.latency_fs),
        "first_output_ns": ns(result.first_output_fs),
        "interval_ns": math.nan if result.interval_fs is None else ns(result.interval_fs),
        "makespan_ns": ns(result.makespan_fs),
        "energy_pj": math.fsum(_by_component(result).values()),
        "dynamic_energy_pj": math.fsum(dynamic),
        "static_energy_pj": math.fsum(static),
        "area_mm2": result.area_m2 * MM2_PER_M2,
        "tiles": result.tiles,
        "array_utilisation": result.array_utilisation,
        "skip_ratio": skip_ratio(counts["rows_skipped"], counts["rows_mapped"]),
    }


TOTAL_COUNTS = ("arrays", "cycles", "conversions", "macs", "rows_mapped", "rows_skipped")


def _by_component(result: SimulationResult) -> dict[str, float]:
    """Picojoules of one image: dynamic by component, then static by ``NAME_static``."""
    static = energy_by(result.components, "static_energy_j")
    return energy_by(result.components, "dynamic_energy_j") | {
        f"{name}_static": energy for name, energy in static.items()
    }


def energy_by(components: Iterable[ComponentResult], kind: str) -> dict[str, float]:
    """Picojoules by component name in order; ``kind`` is ``dynamic_energy_j`` or ``static_energy_j``.

    A component that stands at two levels is added up.
    """
    total: dict[str, float] = {}
    for component in components:
        total[component.component] = total.get(component.component, 0.0) + getattr(component, kind) * PJ_PER_J
    return total


def json_check(check: Check) -> Row:
    """The check as plain JSON values."""
    return asdict(check) | {"layers": [asdict(layer) for layer in check.layers]}


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no number for it (NaN, infinite)."""
    return None if value is None or not math.isfinite(value) else value
