"""The latency of a run: layers one after another by what their arrays did, or layers at the same time as a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimsim.records.looks import (
    NARROW_LAYERS,
    SIZES,
    TIME_UNITS,
    bars,
    layer_axis,
    look,
    name_size,
    new_figure,
    prefix,
    words,
)
from pimsim.records.tables import PlainTables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Values = dict[str, "NDArray[np.float64]"]
BUSY, REST = "array busy", "fill and drain"
#: Looks of what arrays do, in the order of stacks.
_ORDER = (BUSY, "adc", "buffer", "bus", "input", "output")


def latency(tables: PlainTables, style: str = "paper") -> Figure:
    """Latency of each layer by what its arrays did; layers that overlap as a timeline of the first image."""
    return timeline(tables, style) if tables["totals"]["schedule"][0] == "pipelined" else _one_by_one(tables, style)


def array_times(tables: PlainTables) -> Values:
    """Nanoseconds of an average array by what it did for one image: (layers,) each.

    Keys: `BUSY`, and one for each stall cause.
    """
    place = {name: i for i, name in enumerate(tables["layers"]["layer"])}
    units, busy = np.ones(len(place)), np.zeros(len(place))
    used = tables["resources"]
    for layer, resource, count, busy_ns in zip(
        *(used[c] for c in ("layer", "resource", "units", "busy_ns")), strict=True
    ):
        if resource == "array":
            units[place[layer]], busy[place[layer]] = max(1, count), busy_ns
    found: Values = {BUSY: busy}
    stalls = tables["stalls"]
    for layer, cause, stall_ns in zip(*(stalls[c] for c in ("layer", "cause", "stall_ns")), strict=True):
        found.setdefault(cause, np.zeros(len(place)))[place[layer]] += stall_ns
    return {name: values / units for name, values in found.items()}


def latency_parts(tables: PlainTables) -> Values:
    """`array_times` and what is left of the latency of each layer, as `REST`: they add up to the latency."""
    parts = array_times(tables)
    rest = np.array(tables["layers"]["latency_ns"]) - sum(parts.values())
    return parts | {REST: rest.clip(min=0.0)}


def run_shares(tables: PlainTables) -> Values:
    """What an average array of each layer did as shares of the whole run, over all images; the rest is idle."""
    totals = tables["totals"]
    run_ns = totals["makespan_ns"][0] or 1.0
    return {name: values * totals["images"][0] / run_ns for name, values in array_times(tables).items()}


def _shown(parts: Values) -> Values:
    return {name: values for name, values in parts.items() if name == BUSY or values.max(initial=0.0) > 0}


def _look(name: str) -> tuple[str, str]:
    return look(_ORDER.index(name)) if name in _ORDER else ("#FFFFFF", "")


def _label(name: str) -> str:
    return name if " " in name else f"waits for {words(name)}"


def _one_by_one(tables: PlainTables, style: str) -> Figure:
    names, size = tables["layers"]["layer"], SIZES[style]
    figure = new_figure(size.column if len(names) <= NARROW_LAYERS else size.page, 2.5 * size.scale)
    axes = figure.subplots()
    scale, unit = prefix(max(tables["layers"]["latency_ns"]), TIME_UNITS)
    shown = _shown(latency_parts(tables))
    bottom = np.zeros(len(names))
    for name, values in shown.items():
        colour, hatch = _look(name)
        place = np.arange(len(names))
        boxes = [(x - 0.39, low, 0.78, high) for x, low, high in zip(place, bottom, values / scale, strict=True)]
        bars(axes, boxes, colour, hatch, _label(name))
        bottom = bottom + values / scale
    axes.autoscale_view(scalex=False)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    layer_axis(axes, names, style)
    axes.set(title="Latency by layer, and what its arrays waited for", ylabel=f"latency ({unit})")
    figure.legend(loc="outside lower center", ncols=3 if len(names) <= NARROW_LAYERS else len(shown))
    return figure


def timeline(tables: PlainTables, style: str = "paper") -> Figure:
    """When each layer works on the first image, and what its arrays did in the whole run."""
    names, size = tables["layers"]["layer"], SIZES[style]
    figure = new_figure(size.page, (1.0 + 0.13 * max(6, min(80, len(names)))) * size.scale)
    figure.set_layout_engine("constrained", w_pad=0.09)
    times, shares = figure.subplots(1, 2, sharey=True, width_ratios=[1.7, 1])
    _draw_times(times, tables)
    _draw_shares(shares, _shown(run_shares(tables)))
    every = -(-len(names) // 80)
    times.set_yticks(range(0, len(names), every), names[::every], fontsize=name_size(len(names), style))
    times.set_ylim(len(names) - 0.4, -0.6)
    for axes in (times, shares):
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_times(axes: Axes, tables: PlainTables) -> None:
    """A bar from the first read of a layer to its last output; paler until its first."""
    layers = tables["layers"]
    scale, unit = prefix(tables["totals"]["latency_ns"][0], TIME_UNITS)
    start, first, end = (np.array(layers[name]) / scale for name in ("start_ns", "first_output_ns", "end_ns"))
    for left, right, colour, label in (
        (start, first, "#E0E0E0", "until its first output"),
        (first, end, "#8C8C8C", "until its last output"),
    ):
        boxes = [(x, y - 0.36, width, 0.72) for y, (x, width) in enumerate(zip(left, right - left, strict=True))]
        bars(axes, boxes, colour, label=label)
    axes.set(title="When each layer works on the first image", xlabel=f"time ({unit})")
    axes.set_xlim(0, float(end.max(initial=0.0)) * 1.01 or 1.0)


def _draw_shares(axes: Axes, shares: Values) -> None:
    left = np.zeros(len(shares[BUSY]))
    for name, values in shares.items():
        colour, hatch = _look(name)
        boxes = [(x, y - 0.36, width, 0.72) for y, (x, width) in enumerate(zip(left, 100 * values, strict=True))]
        bars(axes, boxes, colour, hatch, _label(name))
        left = left + 100 * values
    axes.set(title="What its arrays did", xlabel="share of the whole run (%)", xlim=(0, 100))
