"""The energy of a run: of each layer by component, and of each component in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.records.looks import (
    ENERGY_UNITS,
    NARROW_LAYERS,
    OTHER,
    SIZES,
    bars,
    layer_axis,
    look,
    new_figure,
    pale,
    prefix,
    words,
)
from pimsim.records.tables import Columns, PlainTables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """One component, or the ``other`` ones: dynamic and static picojoules of one image, and their components."""

    name: str
    dynamic_pj: float
    static_pj: float
    components: tuple[str, ...]

    @property
    def total_pj(self) -> float:
        """Both together."""
        return self.dynamic_pj + self.static_pj


def energy(tables: PlainTables, style: str = "paper") -> Figure:
    """Dynamic energy of each layer by component, and the total of each component with its static part."""
    names = tables["layers"]["layer"]
    parts = largest(tables["components"])
    by_layer, totals, figure = _two_panels(len(names), style)
    _layer_panel(by_layer, names, _by_layer(tables["energy"], names), parts, style)
    _component_totals(totals, parts)
    return figure


def largest(components: Columns) -> list[Part]:
    """The components that matter, largest first, and the rest as ``other``.

    Those matter whose share of the dynamic energy or of all energy is large: both panels need them.
    """
    sums: dict[str, Part] = {}
    columns = (components[name] for name in ("component", "dynamic_energy_pj", "static_energy_pj"))
    for name, dynamic, static in zip(*columns, strict=True):
        known = sums.get(name, Part(name, 0.0, 0.0, (name,)))
        sums[name] = Part(name, known.dynamic_pj + dynamic, known.static_pj + static, (name,))
    total = sum(part.total_pj for part in sums.values()) or 1.0
    dynamic = sum(part.dynamic_pj for part in sums.values()) or 1.0
    ranked = sorted(sums.values(), key=lambda part: -(part.total_pj / total + part.dynamic_pj / dynamic))
    ranked = [part for part in ranked if part.total_pj > 0]
    kept = sorted(ranked[:OTHER], key=lambda part: -part.total_pj)
    return [*kept, _other(ranked[OTHER:])] if len(ranked) > OTHER else kept


def _other(parts: list[Part]) -> Part:
    dynamic, static = sum(part.dynamic_pj for part in parts), sum(part.static_pj for part in parts)
    return Part("other", dynamic, static, tuple(part.name for part in parts))


def _by_layer(energies: Columns, names: list[str]) -> dict[str, NDArray[np.float64]]:
    """Picojoules of each layer (in the order of ``names``) by component."""
    place = {name: i for i, name in enumerate(names)}
    found: dict[str, NDArray[np.float64]] = {}
    for layer, component, energy_pj in zip(*(energies[c] for c in ("layer", "component", "energy_pj")), strict=True):
        found.setdefault(component, np.zeros(len(names)))[place[layer]] += energy_pj
    return found


def _layer_panel(
    axes: Axes, names: list[str], energies: dict[str, NDArray[np.float64]], parts: list[Part], style: str
) -> None:
    """Bars one above the other, a component a colour."""
    nothing = np.zeros(len(names))
    scale, unit = prefix(float(sum(energies.values(), nothing).max()), ENERGY_UNITS)
    bottom, place = nothing, np.arange(len(names))
    for index, part in enumerate(parts):
        values = sum((energies[name] for name in part.components if name in energies), nothing) / scale
        colour, hatch = look(index)
        bars(
            axes,
            [(x - 0.39, low, 0.78, high) for x, low, high in zip(place, bottom, values, strict=True)],
            colour,
            hatch,
        )
        bottom = bottom + values
    axes.autoscale_view(scalex=False)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    layer_axis(axes, names, style)
    axes.set(title="Dynamic energy by layer", ylabel=f"energy ({unit})")


def _two_panels(layers: int, style: str) -> tuple[Axes, Axes, Figure]:
    """Side by side on a page, one above the other in a column."""
    size = SIZES[style]
    if layers <= NARROW_LAYERS:
        figure = new_figure(size.column, 4.4 * size.scale)
        upper, lower = figure.subplots(2, 1)
        return upper, lower, figure
    figure = new_figure(size.page, 2.7 * size.scale)
    left, right = figure.subplots(1, 2, width_ratios=[2.5, 1])
    return left, right, figure


def _component_totals(axes: Axes, parts: list[Part]) -> None:
    """Horizontal bars that are also the legend of the stacks: dynamic in full colour, static paler."""
    every = [part.total_pj for part in parts]
    scale, unit = prefix(max(every, default=0.0), ENERGY_UNITS)
    place = np.arange(len(parts))
    for i, part in enumerate(parts):
        colour, hatch = look(i)
        bars(axes, [(0, i - 0.35, part.dynamic_pj / scale, 0.7)], colour, hatch)
        bars(axes, [(part.dynamic_pj / scale, i - 0.35, part.static_pj / scale, 0.7)], pale(colour))
    for y, value in zip(place, every, strict=True):
        text, point = _percent(value / sum(every)), (value / scale, float(y))
        axes.annotate(text, point, (3, 0), textcoords="offset points", va="center")
    axes.set_yticks(place, [words(part.name) for part in parts])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(parts) - 0.6, -0.4), xlim=(0, 1.28 * max(every, default=0.0) / scale or 1.0))
    axes.grid(axis="x")
    axes.set(title="Energy by component", xlabel=f"energy ({unit})")
    if any(part.static_pj for part in parts):
        axes.text(0.98, 0.03, "paler: static", transform=axes.transAxes, ha="right", va="bottom")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "<0.1 %"
