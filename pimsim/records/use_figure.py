"""How busy the resources of a run are over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimsim.records.looks import INK, SIZES, TIME_UNITS, look, new_figure, prefix, words
from pimsim.records.tables import PlainTables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Distance of two strips, in strips' heights.
STEP = 1.35


def utilisation(tables: PlainTables, style: str = "paper") -> Figure:
    """Busy fraction of each kind of resource while the first image runs, one strip a kind, layers above."""
    size, kinds = SIZES[style], list(dict.fromkeys(tables["resources"]["resource"]))
    turns = _label_turns(tables)
    band = max(0.6, 0.2 * max((len(name) for name, turn in turns.items() if turn == 90), default=0))
    figure = new_figure(size.page, (0.36 * (band + STEP * len(kinds)) + 0.6) * size.scale)
    axes = figure.subplots()
    scale, unit = prefix(max(tables["layers"]["end_ns"]), TIME_UNITS)
    _layer_band(axes, tables, turns, band, scale)
    for i, kind in enumerate(kinds):
        _strip(axes, *busy_over_time(tables, kind), -STEP * (i + 1), look(i)[0], scale)
    _frame(axes, [words(kind) for kind in kinds], band)
    axes.set_xlim(0, (max(tables["layers"]["end_ns"]) or 1.0) / scale)
    what = ", first image" if tables["totals"]["images"][0] > 1 else ""
    axes.set(
        title=f"Busy fraction of the resources of the layers that run{what} (a strip is 0 to 100 %)",
        xlabel=f"time ({unit})",
    )
    return figure


def busy_over_time(tables: PlainTables, resource: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Busy fraction of one kind of resource as steps in time.

    Within a layer its mean is shown; where layers overlap, their units are taken together.

    Returns:
        ``(edges_ns, fraction)``: (N + 1,) ascending times and (N,) values between them; 0 where no layer
        uses the resource.
    """
    layers, used = tables["layers"], tables["resources"]
    times = dict(zip(layers["layer"], zip(layers["start_ns"], layers["end_ns"], strict=True), strict=True))
    rows = [i for i, name in enumerate(used["resource"]) if name == resource]
    spans = np.array([times[used["layer"][i]] for i in rows]).reshape(-1, 2)
    busy_ns, units = (np.array([used[name][i] for i in rows]) for name in ("busy_ns", "units"))
    edges = np.unique(np.concatenate([[0.0], layers["start_ns"], layers["end_ns"]]))
    middle = (edges[:-1] + edges[1:]) / 2
    active = (spans[:, :1] <= middle) & (middle < spans[:, 1:])
    duration = spans[:, 1] - spans[:, 0]
    rate = np.divide(busy_ns, duration, out=np.zeros(len(rows)), where=duration > 0)
    busy, present = rate @ active, units @ active
    return edges, np.divide(busy, present, out=np.zeros(len(middle)), where=present > 0)


def _label_turns(tables: PlainTables) -> dict[str, int]:
    """How each layer's name fits in its part of a page-wide band: level (0), upright (90), or not (absent)."""
    layers = tables["layers"]
    run = max(layers["end_ns"]) or 1.0
    if _overlap(tables):
        return {}
    turns = {}
    for name, latency_ns in zip(layers["layer"], layers["latency_ns"], strict=True):
        if latency_ns / run > 0.0115 * (len(name) + 1):
            turns[name] = 0
        elif latency_ns / run > 0.018:
            turns[name] = 90
    return turns


def _overlap(tables: PlainTables) -> bool:
    return bool(tables["totals"]["schedule"][0] == "pipelined")


def _layer_band(axes: Axes, tables: PlainTables, turns: dict[str, int], band: float, scale: float) -> None:
    """The layers above the strips: side by side with names where there is room, or stacked where they overlap."""
    import matplotlib as mpl
    from matplotlib.collections import PolyCollection

    layers, count = tables["layers"], len(tables["layers"]["layer"])
    places = [(start / scale, end / scale) for start, end in zip(layers["start_ns"], layers["end_ns"], strict=True)]
    height = band / count if _overlap(tables) else band
    lows = [band - height * (i + 1) if _overlap(tables) else 0.0 for i in range(count)]
    boxes = [((a, y), (b, y), (b, y + height), (a, y + height)) for (a, b), y in zip(places, lows, strict=True)]
    shades = ("#BDBDBD", "#8C8C8C") if _overlap(tables) else ("#D9D9D9", "#F2F2F2")
    axes.add_collection(PolyCollection(boxes, facecolors=[shades[i % 2] for i in range(count)], linewidths=0))
    small = 0.86 * float(mpl.rcParams["font.size"])
    for name, (start, end) in zip(layers["layer"], places, strict=True):
        if name in turns:
            middle = (start + end) / 2
            axes.text(middle, band / 2, name, rotation=turns[name], ha="center", va="center", fontsize=small)


def _strip(
    axes: Axes, edges: NDArray[np.float64], fraction: NDArray[np.float64], bottom: float, colour: str, scale: float
) -> None:
    """One resource over time, with its mean at the right."""
    axes.stairs(bottom + fraction, edges / scale, baseline=bottom, fill=True, color=colour, alpha=0.85, linewidth=0)
    axes.stairs(bottom + fraction, edges / scale, baseline=None, color=INK, linewidth=0.5)
    mean = float(np.average(fraction, weights=np.diff(edges))) if len(fraction) else 0.0
    axes.text(1.008, bottom + 0.5, f"mean {_mean(mean)}", transform=axes.get_yaxis_transform(), va="center")


def _mean(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 or not share else "< 1 %"


def _frame(axes: Axes, titles: list[str], band: float) -> None:
    """Names at the left, and lines at 0 and 100 % of every strip."""
    bottoms = [-STEP * (i + 1) for i in range(len(titles))]
    axes.hlines([y for low in bottoms for y in (low, low + 1)], 0, 1, transform=axes.get_yaxis_transform(),
                colors="#E3E3E3", linewidth=0.5, zorder=0)  # fmt: skip
    axes.set_yticks([band / 2, *(low + 0.5 for low in bottoms)], ["layers", *titles])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-STEP * len(titles) - 0.1, band)
