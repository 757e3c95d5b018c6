"""Table and figure of an array study: crossbars saved, energy and periphery by array size."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.errors import ResultError
from pimsim.records.looks import COLOURS, HATCHES, INK, SIZES, new_figure, prefix, save_figure, style_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: One row of the table: the fields of `pimsim.api.array_study.ArrayPoint`.
Point = Mapping[str, Any]
MARKERS = ("o", "s", "^", "D", "v", "P")
#: The published compression of occupied crossbars, ResNet-18 on CIFAR-10 (PIM-Prune, abstract).
PUBLISHED = 24.85
#: Units of the energy axis, in joules.
JOULES = ((1e-12, "pJ"), (1e-9, "nJ"), (1e-6, "µJ"), (1e-3, "mJ"), (1.0, "J"))


def write_array_table(path: Path, names: Sequence[str], points: Sequence[Point]) -> Path:
    """The points as CSV, one row each; floats with nine digits. Raises `ResultError` when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_cell(point[name]) for name in names] for point in points)
    except OSError as error:
        raise ResultError(
            f"'{path}'", f"the table cannot be written: {error.strerror}", None, "Check the path"
        ) from None
    return path


def _cell(value: Any) -> Any:
    return f"{value:.9g}" if isinstance(value, float) else value


def draw_array_study(points: Sequence[Point], path: Path) -> Path:
    """Compression, parts of the energy, and energy over the aspect ratio.

    Three panels: square arrays of every network and share against the bound of one array a layer; dynamic energy of
    the first network at its largest share below 1, on square arrays, split; the same over rows and columns.
    """
    with style_context("paper"):
        figure = new_figure(SIZES["paper"].page, 2.75)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1.0, 1.05))
        _draw_compression(left, points)
        chosen = _first_series(points)
        _draw_energy(middle, [p for p in chosen if p["rows"] == p["columns"]])
        _draw_shapes(right, chosen)
        path.parent.mkdir(parents=True, exist_ok=True)
        return save_figure(figure, path)


def _series(points: Sequence[Point]) -> dict[tuple[str, float], list[Point]]:
    """Points of each network and share, in order."""
    series: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        series.setdefault((point["network"], point["keep"]), []).append(point)
    return series


def _first_series(points: Sequence[Point]) -> list[Point]:
    network = points[0]["network"]
    keep = max(share for name, share in _series(points) if name == network and share < 1)
    return _series(points)[network, keep]


def _draw_compression(axes: Axes, points: Sequence[Point]) -> None:
    networks = list(dict.fromkeys(point["network"] for point in points))
    for index, ((network, keep), members) in enumerate(_series(points).items()):
        squares = [p for p in members if p["rows"] == p["columns"]]
        colour = COLOURS[(0, 2, 4, 5)[networks.index(network) % 4]]
        x = [p["rows"] for p in squares]
        if keep == 1:
            axes.plot(x, [p["bound"] for p in squares], ":", color=colour, linewidth=1.0, label=f"{network}, bound")
            continue
        marker = MARKERS[index % len(MARKERS)]
        y = [p["compression"] for p in squares]
        axes.plot(x, y, marker=marker, markersize=3, color=colour, linewidth=1.0, label=f"{network}, keep {keep:g}")
    axes.axhline(PUBLISHED, color=INK, linewidth=0.6, linestyle="--")
    axes.text(axes.get_xlim()[1], PUBLISHED * 1.06, f"published {PUBLISHED}x ", fontsize=5.5, ha="right", va="bottom")
    axes.set(xscale="log", yscale="log", xlabel="rows = columns of an array", ylabel="dense / occupied arrays")
    _power_ticks(axes, sorted({p["rows"] for p in points}))
    axes.legend(fontsize=5, loc="upper center", bbox_to_anchor=(0.45, -0.24), ncols=2, frameon=False, handlelength=1.6)
    axes.set_title("Arrays saved (1 column a weight)", fontsize=7)


def _power_ticks(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()


def _draw_energy(axes: Axes, squares: Sequence[Point]) -> None:
    scale, unit = prefix(max(p["energy_j"] for p in squares), JOULES)
    parts = {
        "converters": [p["adc_energy_j"] for p in squares],
        "cells, drivers, S&H, S+A": [p["array_energy_j"] - p["adc_energy_j"] for p in squares],
        "index": [p["index_energy_j"] for p in squares],
        "buffers, registers, merging": [p["energy_j"] - p["array_energy_j"] - p["index_energy_j"] for p in squares],
    }
    base = [0.0] * len(squares)
    for index, (label, joules) in enumerate(parts.items()):
        heights = [value / scale for value in joules]
        axes.bar(range(len(squares)), heights, 0.72, base, label=label, color=COLOURS[index], hatch=HATCHES[index],
                 edgecolor=INK, linewidth=0.4)  # fmt: skip
        base = [b + h for b, h in zip(base, heights, strict=True)]
    best = min(range(len(squares)), key=lambda i: squares[i]["energy_j"])
    axes.plot(best, base[best] + 0.06 * max(base), "v", color=INK, markersize=4, label="least energy")
    axes.set_xticks(range(len(squares)), [str(p["rows"]) for p in squares])
    first = squares[0]
    axes.set(
        xlabel="rows = columns of an array", ylabel=f"dynamic energy of an image ({unit})", ylim=(0, 1.08 * max(base))
    )
    axes.legend(fontsize=5, loc="upper center", bbox_to_anchor=(0.45, -0.24), ncols=2, frameon=False)
    axes.set_title(f"{first['network']}, keep {first['keep']:g}", fontsize=7)


def _draw_shapes(axes: Axes, points: Sequence[Point]) -> None:
    """Energy of every shape as a number on a shade."""
    import numpy as np

    rows, columns = sorted({p["rows"] for p in points}), sorted({p["columns"] for p in points})
    scale, unit = prefix(max(p["energy_j"] for p in points), JOULES)
    shades = np.full((len(rows), len(columns)), np.nan)
    for p in points:
        shades[rows.index(p["rows"]), columns.index(p["columns"])] = p["energy_j"] / scale
    axes.imshow(np.log(shades), cmap="Greys", origin="lower", aspect="auto", alpha=0.75)
    best = min(points, key=lambda p: p["energy_j"])
    middle = float(np.nanmean(np.log(shades)))
    for (r, c), value in np.ndenumerate(shades):
        if not np.isnan(value):
            is_best = (rows[r], columns[c]) == (best["rows"], best["columns"])
            colour = "white" if np.log(value) > middle + 0.4 else INK
            axes.text(c, r, f"{value:.3g}", ha="center", va="center", fontsize=5.5, color=colour,
                      fontweight="bold" if is_best else "normal")  # fmt: skip
    at = columns.index(best["columns"]), rows.index(best["rows"])
    axes.plot(*at, "s", markersize=19, markerfacecolor="none", markeredgecolor=COLOURS[2], markeredgewidth=1.2)
    axes.set_xticks(range(len(columns)), [str(c) for c in columns])
    axes.set_yticks(range(len(rows)), [str(r) for r in rows])
    axes.set(xlabel="columns", ylabel="rows")
    axes.set_title(f"Energy by shape ({unit})", fontsize=7)
    axes.grid(visible=False)
