"""The figure of several mappers side by side: computing cycles of every layer and of the whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pimsim.records.looks import COLOURS, HATCHES, INK, save_figure, style_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

#: Cycles of each mapping, layer by layer.
Cycles = Mapping[str, Sequence[int]]


def draw_comparison(cases: Mapping[str, Cycles], layers: Mapping[str, Sequence[str]], path: Path) -> Path:
    """Bars of cycles relative to the first mapping, for each layer and in total, one panel a case.

    Args:
        cases: title of each panel to the cycles of each mapping.
        layers: title of each panel to the names of its layers.
        path: ``.png``, ``.svg`` or ``.pdf``.

    Returns:
        The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style_context("screen"):
        figure = Figure(figsize=(11.0, 2.45 * len(cases) + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(cases), 1, squeeze=False)[:, 0]
        order = list(dict.fromkeys(mapping for cycles in cases.values() for mapping in cycles))
        for axes, (title, cycles) in zip(grid, cases.items(), strict=True):
            _draw_case(axes, title, cycles, layers[title], order)
        if len({tuple(names) for names in layers.values()}) == 1:
            for axes in grid[:-1]:
                axes.tick_params(labelbottom=False)
        figure.legend(handles=_legend(order), loc="outside upper center", ncols=min(6, len(order)))
        return save_figure(figure, path)


def _legend(order: Sequence[str]) -> list[Patch]:
    """A box for each mapping."""
    from matplotlib.patches import Patch

    looks = (_look(order, mapping) for mapping in order)
    boxes = zip(order, looks, strict=True)
    return [Patch(facecolor=c, hatch=h, edgecolor=INK, linewidth=0.4, label=name) for name, (c, h) in boxes]


def _look(order: Sequence[str], mapping: str) -> tuple[str, str]:
    """Colour and hatch of a mapping, the same in every panel."""
    place = order.index(mapping) % len(COLOURS)
    return COLOURS[place], HATCHES[place]


def _draw_case(axes: Axes, title: str, cycles: Cycles, names: Sequence[str], order: Sequence[str]) -> None:
    """One panel: a group of bars for each layer, and a wider one for the network with its numbers."""
    base = np.array(next(iter(cycles.values())), dtype=np.float64)
    wide = min(2.6, max(1.0, len(base) / 8))
    place = np.append(np.arange(len(base)), len(base) - 0.3 + 0.5 * wide)
    for i, (mapping, values) in enumerate(cycles.items()):
        here = np.array(values, dtype=np.float64)
        shares = np.append(here / base, here.sum() / base.sum())
        colour, hatch = _look(order, mapping)
        width = np.append(np.ones(len(base)), wide) * 0.84 / len(cycles)
        at = place + (i - (len(cycles) - 1) / 2) * width
        axes.bar(at, shares, width, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.4)
        axes.text(at[-1], shares[-1] + 0.03, f"{shares[-1]:.2f}", ha="center", va="bottom", fontsize=7,
                  rotation=90 if len(cycles) > 4 else 0)  # fmt: skip
    turned = len(names) > 12
    axes.set_xticks(place, [*names, "total"], rotation=90 if turned else 0, fontsize=6.5 if turned else 8)
    axes.tick_params(axis="x", length=0)
    axes.set(title=title, ylabel=f"cycles / {next(iter(cycles))}", xlim=(-0.6, place[-1] + 0.5 * wide + 0.1))
    axes.axhline(1.0, color=INK, linewidth=0.6)
    axes.margins(y=0.16)
    axes.grid(axis="y")
