"""The three figures of a run: energy, latency with stall causes, and utilisation over time.

Drawn from the tables, so that a finished result can be drawn again. Colours are those of Okabe and Ito,
ordered so that neighbours differ in lightness; hatches tell them apart in greyscale.

References:
    M. Okabe, K. Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.errors import ResultError, nearest
from pimsim.records.tables import Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

STYLES = ("paper", "screen")
FORMATS = ("pdf", "svg", "png")
COLOURS = ("#0072B2", "#F0E442", "#D55E00", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#BFBFBF")
HATCHES = ("", "....", "////", "", "xxxx", "----", "\\\\\\\\", "")
OTHER = len(COLOURS) - 1
INK = "#222222"


@dataclass(frozen=True)
class Size:
    """Inches of the two widths of a figure, and how much taller it may be."""

    column: float
    page: float
    scale: float


SIZES = {"paper": Size(3.5, 7.16, 1.0), "screen": Size(6.0, 11.0, 1.45)}
NARROW_LAYERS = 8  # more layers than this need the width of a page


def draw_all(tables: Tables, folder: Path, formats: Iterable[str] = FORMATS, style: str = "paper") -> tuple[Path, ...]:
    """Draw every figure into ``folder``: ``energy``, ``latency`` and ``utilisation`` in each format.

    The files depend on the tables alone: no dates, no random identifiers.

    Args:
        tables: of a run, or read back from a result.
        folder: made when missing.
        formats: of ``pdf``, ``svg``, ``png``.
        style: ``paper`` or ``screen``.

    Raises:
        ResultError: an unknown style or format, or a run without layers.
    """
    wanted = tuple(formats)
    _check_choice(style, STYLES, "style")
    for name in wanted:
        _check_choice(name, FORMATS, "format")
    if not len(tables.layers):
        raise ResultError("a run without layers", "there is nothing to draw", None, "Simulate a network with layers")
    folder.mkdir(parents=True, exist_ok=True)
    with style_context(style):
        drawn = {
            "energy": energy(tables, style),
            "latency": latency(tables, style),
            "utilisation": utilisation(tables, style),
        }
        files = [(figure, folder / f"{name}.{kind}") for name, figure in drawn.items() for kind in wanted]
        return tuple(save_figure(figure, path) for figure, path in files)


def style_context(style: str) -> AbstractContextManager[None]:
    """Settings of the style file within a ``with`` block; the user's own come back after it."""
    import matplotlib as mpl

    return mpl.rc_context(fname=str(Path(__file__).parent / "styles" / f"{style}.mplstyle"))


def energy(tables: Tables, style: str = "paper") -> Figure:
    """Dynamic energy of each layer by component, and the total of each component with its static part."""
    totals = _largest(tables.components)
    axes_by_layer, axes_total, figure = _two_panels(len(tables.layers), style)
    by_layer = tables.energy.pivot_table("energy_pj", "layer", "component", "sum", 0.0, sort=False)
    by_layer = by_layer.reindex(tables.layers["layer"], fill_value=0.0)
    listed = [name for name in totals.index if name in by_layer.columns]
    parts = {name: by_layer[name].to_numpy() for name in listed}
    rest = by_layer.drop(columns=listed)
    scale, unit = _prefix(float(by_layer.sum(axis=1).max()), ENERGY_UNITS)
    stack = [(values / scale, *_look(list(totals.index).index(name)), _title(name)) for name, values in parts.items()]
    _stacked(axes_by_layer, [*stack, (rest.sum(axis=1).to_numpy() / scale, *_look(OTHER), "other")])
    _layer_axis(axes_by_layer, list(by_layer.index), style)
    axes_by_layer.set(title="Dynamic energy by layer", ylabel=f"energy ({unit})")
    _component_totals(axes_total, totals)
    return figure


def latency(tables: Tables, style: str = "paper") -> Figure:
    """Latency of each layer, split by what its arrays did: reading, waiting for a cause, filling and draining."""
    size = SIZES[style]
    count = len(tables.layers)
    figure = _figure(size.column if count <= NARROW_LAYERS else size.page, 2.5 * size.scale)
    axes = figure.subplots()
    parts = latency_parts(tables)
    scale, unit = _prefix(float(tables.layers["latency_ns"].max()), TIME_UNITS)
    looks = {name: _look(i) for i, name in enumerate(("array busy", "adc", "buffer", "bus", "input", "output"))}
    shown = [name for name in parts.columns if parts[name].max() > 0 or name == "array busy"]
    stack = [(parts[n].to_numpy() / scale, *looks.get(n, ("#FFFFFF", "")), _cause(n)) for n in shown]
    _stacked(axes, stack)
    _layer_axis(axes, list(parts.index), style)
    axes.set(title="Latency by layer, and what its arrays waited for", ylabel=f"latency ({unit})")
    columns = 3 if count <= NARROW_LAYERS else len(shown)
    figure.legend(loc="outside lower center", ncols=columns)
    return figure


def latency_parts(tables: Tables) -> pd.DataFrame:
    """Nanoseconds by layer (rows) and by what an average array of it did (columns); rows add up to the latency.

    Columns: ``array busy``, one for each stall cause, ``fill and drain`` (the rest).
    """
    layers = tables.layers.set_index("layer")
    arrays = tables.resources[tables.resources["resource"] == "array"].set_index("layer").reindex(layers.index)
    units = arrays["units"].fillna(0).clip(lower=1)
    stalls = tables.stalls.pivot_table("stall_ns", "layer", "cause", "sum", 0.0, sort=False)
    parts = stalls.reindex(layers.index, fill_value=0.0).div(units, axis=0)
    parts.insert(0, "array busy", (arrays["busy_ns"] / units).fillna(0.0))
    parts["fill and drain"] = (layers["latency_ns"] - parts.sum(axis=1)).clip(lower=0.0)
    return parts


def utilisation(tables: Tables, style: str = "paper") -> Figure:
    """Busy fraction of each kind of resource over the run, one strip a kind, layers named above."""
    size = SIZES[style]
    kinds = list(dict.fromkeys(tables.resources["resource"]))
    turns = _label_turns(tables.layers)
    longest = max((len(name) for name, turn in turns.items() if turn == 90), default=0)
    heights = [max(0.22, 0.072 * longest), *[0.36] * len(kinds)]
    figure = _figure(size.page, (sum(heights) + 0.55) * size.scale)
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    scale, unit = _prefix(float(tables.layers["end_ns"].max()), TIME_UNITS)
    _layer_band(grid[0], tables.layers, turns, scale)
    grid[0].set_title("Busy fraction of the resources of the layers that run")
    for i, kind in enumerate(kinds):
        _strip(grid[i + 1], *busy_over_time(tables, kind), scale, _title(kind), _look(i)[0])
        grid[i + 1].tick_params(axis="x", length=0 if i + 1 < len(kinds) else 2.5)
    grid[-1].set_xlabel(f"time ({unit})")
    return figure


def busy_over_time(tables: Tables, resource: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Busy fraction of one kind of resource as steps in time.

    Within a layer its mean is shown; where layers overlap, their units are taken together.

    Returns:
        ``(edges_ns, fraction)``: (N + 1,) ascending times and (N,) values between them; 0 where no layer
        uses the resource.
    """
    times = tables.layers.set_index("layer")[["start_ns", "end_ns"]]
    used = tables.resources[tables.resources["resource"] == resource].set_index("layer").join(times)
    edges = np.unique(np.concatenate([[0.0], times.to_numpy().ravel()]))
    middle = (edges[:-1] + edges[1:]) / 2
    start, end = (used[name].to_numpy()[:, None] for name in ("start_ns", "end_ns"))
    active = (start <= middle) & (middle < end)
    rate = np.divide(used["busy_ns"].to_numpy()[:, None], end - start, out=np.zeros_like(start), where=end > start)
    units = (active * used["units"].to_numpy()[:, None]).sum(axis=0)
    busy = (active * rate).sum(axis=0)
    return edges, np.divide(busy, units, out=np.zeros(len(middle)), where=units > 0)


TIME_UNITS = ((1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"))
ENERGY_UNITS = ((1.0, "pJ"), (1e3, "nJ"), (1e6, "µJ"), (1e9, "mJ"), (1e12, "J"))


def _prefix(largest: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """The largest unit that leaves at least one digit before the point."""
    return next(((scale, name) for scale, name in reversed(units) if largest >= scale), units[0])


def _check_choice(given: str, known: tuple[str, ...], what: str) -> None:
    if given not in known:
        raise ResultError(f"'{given}'", f"this is not a figure {what}", None, nearest(given, known))


def _look(index: int) -> tuple[str, str]:
    """Colour and hatch of the index-th series; those beyond the last share its look."""
    place = min(index, OTHER)
    return COLOURS[place], HATCHES[place]


def _title(name: str) -> str:
    words = {"adc": "ADC", "edram": "eDRAM", "dac": "DAC"}
    return " ".join(words.get(word, word) for word in name.split("_"))


def _cause(name: str) -> str:
    return name if " " in name else f"waits for {_title(name)}"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of its suffix, without a date; returns the file."""
    undated: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    figure.savefig(path, metadata=undated[path.suffix[1:]])
    return path


def _two_panels(layers: int, style: str) -> tuple[Axes, Axes, Figure]:
    """Side by side on a page, one above the other in a column."""
    size = SIZES[style]
    if layers <= NARROW_LAYERS:
        figure = _figure(size.column, 4.4 * size.scale)
        upper, lower = figure.subplots(2, 1)
        return upper, lower, figure
    figure = _figure(size.page, 2.7 * size.scale)
    left, right = figure.subplots(1, 2, width_ratios=[2.5, 1])
    return left, right, figure


def _largest(components: pd.DataFrame) -> pd.DataFrame:
    """Dynamic and static picojoules of the components that matter, largest first, and the rest as ``other``.

    Those matter whose share of the dynamic energy or of all energy is large: both panels need them.
    """
    energies = components.groupby("component", sort=False)[["dynamic_energy_pj", "static_energy_pj"]].sum()
    total = energies.sum(axis=1)
    dynamic = energies["dynamic_energy_pj"]
    weight = total / (total.sum() or 1.0) + dynamic / (dynamic.sum() or 1.0)
    ranked = [name for name in weight.sort_values(ascending=False, kind="stable").index if weight[name] > 0]
    order = total[ranked[:OTHER]].sort_values(ascending=False, kind="stable").index
    kept = energies.loc[order].copy()
    if len(ranked) > OTHER:
        kept.loc["other"] = energies.loc[ranked[OTHER:]].sum()
    return kept


def _stacked(axes: Axes, stack: list[tuple[NDArray[np.float64], str, str, str]]) -> None:
    """Bars one above the other: values, colour, hatch, label."""
    bottom = np.zeros(len(stack[0][0]))
    for values, colour, hatch, label in stack:
        place = np.arange(len(values))
        axes.bar(place, values, 0.78, bottom, color=colour, hatch=hatch, edgecolor=INK, label=label)
        bottom = bottom + values
    axes.grid(axis="y")


def _layer_axis(axes: Axes, names: list[str], style: str) -> None:
    """Layer names under the bars: upright when few and short, turned otherwise, thinned out when too many to read."""
    turned = len(names) > 6 or sum(map(len, names)) > 36
    every = -(-len(names) // 80)
    size = (6.5 if len(names) <= 30 else 5.0) * (1.3 if style == "screen" else 1.0)
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90 if turned else 0, fontsize=size)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.7, len(names) - 0.3)


def _component_totals(axes: Axes, totals: pd.DataFrame) -> None:
    """Horizontal bars that are also the legend of the stacks: dynamic in full colour, static paler."""
    every = totals.sum(axis=1).to_numpy()
    scale, unit = _prefix(float(every.max(initial=0.0)), ENERGY_UNITS)
    dynamic, static = (totals[name].to_numpy() / scale for name in ("dynamic_energy_pj", "static_energy_pj"))
    place = np.arange(len(totals))
    looks = [_look(i) for i in range(len(totals))]
    axes.barh(place, dynamic, 0.7, color=[c for c, _ in looks], hatch=[h for _, h in looks], edgecolor=INK)
    axes.barh(place, static, 0.7, dynamic, color=[_pale(c) for c, _ in looks], edgecolor=INK)
    for y, value in zip(place, every, strict=True):
        axes.annotate(
            _percent(value / every.sum()), (value / scale, y), (3, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(place, [_title(name) for name in totals.index])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.22)
    axes.grid(axis="x")
    axes.set(title="Energy by component", xlabel=f"energy ({unit})")
    if static.any():
        axes.text(0.98, 0.03, "paler: static", transform=axes.transAxes, ha="right", va="bottom", style="italic")


def _pale(colour: str) -> tuple[float, ...]:
    """The colour mixed with twice as much white."""
    from matplotlib.colors import to_rgb

    return tuple((part + 2) / 3 for part in to_rgb(colour))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "<0.1 %"


def _label_turns(layers: pd.DataFrame) -> dict[str, int]:
    """How each layer's name fits in its part of a page-wide band: level (0), upright (90), or not (absent)."""
    run = float(layers["end_ns"].max()) or 1.0
    turns = {}
    for name, latency_ns in zip(layers["layer"], layers["latency_ns"], strict=True):
        if latency_ns / run > 0.0115 * (len(name) + 1):
            turns[name] = 0
        elif latency_ns / run > 0.018:
            turns[name] = 90
    return turns


def _mean(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 or not share else "< 1 %"


def _layer_band(axes: Axes, layers: pd.DataFrame, turns: dict[str, int], scale: float) -> None:
    """A strip with the layers side by side; names where there is room."""
    import matplotlib as mpl

    small = 0.86 * float(mpl.rcParams["font.size"])
    for i, (name, start, end) in enumerate(zip(layers["layer"], layers["start_ns"], layers["end_ns"], strict=True)):
        axes.axvspan(start / scale, end / scale, color=("#D9D9D9", "#F2F2F2")[i % 2], linewidth=0)
        if name in turns:
            place = (start + end) / 2 / scale
            axes.text(place, 0.5, name, rotation=turns[name], ha="center", va="center", fontsize=small)
    axes.set(xlim=(0, (float(layers["end_ns"].max()) or 1.0) / scale), ylim=(0, 1), yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("layer", rotation=0, ha="right", va="center")


def _strip(
    axes: Axes, edges: NDArray[np.float64], fraction: NDArray[np.float64], scale: float, title: str, colour: str
) -> None:
    """One resource over time, with its mean at the right."""
    axes.stairs(fraction, edges / scale, fill=True, color=colour, alpha=0.85, linewidth=0)
    axes.stairs(fraction, edges / scale, color=INK, linewidth=0.5)
    mean = float(np.average(fraction, weights=np.diff(edges))) if len(fraction) else 0.0
    axes.text(1.008, 0.5, f"mean {_mean(mean)}", transform=axes.transAxes, va="center")
    axes.set(ylim=(0, 1.05), yticks=[0, 1], yticklabels=["0", "100 %"])
    axes.grid(axis="y")
    axes.set_ylabel(title, rotation=0, ha="right", va="center")
