"""Pictures of mappings: which weight stands in which cell of which array, and what one window reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import ResultError, nearest
from pimsim.mapping.placement import Placement
from pimsim.mapping.stages import StagedPlacement
from pimsim.records.array_sheets import ARRAYS_AT, HEAD, MARGIN, Sheet, count, draw_panel
from pimsim.records.cell_pictures import COLOURINGS, cell_colours
from pimsim.records.looks import FORMATS, INK, save_figure, style_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Drawn:
    """One layer to draw: what is left of it, and its weights where they are known (pruned cells are pale)."""

    placement: Placement | StagedPlacement
    weight: NDArray[np.int64] | None = None

    @property
    def parts(self) -> tuple[Placement, ...]:
        """The layer's stages; itself when there is one."""
        return self.placement.stages if isinstance(self.placement, StagedPlacement) else (self.placement,)


def draw_mappings(layers: Sequence[Drawn], path: str | Path, colouring: str = "kernel") -> Path:
    """Draw one layer in full, or a strip for each of several.

    Args:
        layers: at least one.
        path: ``.png``, ``.svg`` or ``.pdf``; its folder must exist.
        colouring: one of `COLOURINGS`.

    Returns:
        The file.

    Raises:
        ResultError: another suffix, an unknown colouring, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{kind}" for kind in sorted(FORMATS))
        raise ResultError(f"'{path}'", f"a picture is one of {known}", None, "Change the suffix")
    if colouring not in COLOURINGS:
        raise ResultError(f"colouring '{colouring}'", "unknown colouring", None, nearest(colouring, COLOURINGS))
    with style_context("screen"):
        figure = _layer_figure(layers[0], colouring) if len(layers) == 1 else _strips_figure(layers, colouring)
        try:
            return save_figure(figure, path)
        except OSError as error:
            rule, fix = f"the picture cannot be written: {error.strerror}", "Give a file in a folder that exists"
            raise ResultError(f"'{path}'", rule, None, fix) from None


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _layer_figure(layer: Drawn, colouring: str) -> Figure:
    """One layer: for each stage the window at the left and the arrays at the right."""
    sheets = [Sheet.of(part) for part in layer.parts]
    width = max(9.0, ARRAYS_AT + MARGIN + max(sheet.size[0] for sheet in sheets))
    height = HEAD + sum(sheet.panel_height for sheet in sheets)
    figure = _figure(width, height)
    figure.text(MARGIN / width, 1 - 0.14 / height, _title(layer), fontsize=13, fontweight="bold", va="top")
    figure.text(MARGIN / width, 1 - 0.45 / height, _story(layer), fontsize=9.5, color="#444444", va="top")
    top = height - HEAD
    for i, sheet in enumerate(sheets):
        if len(sheets) > 1:
            heading = _stage(i, sheet.part)
            figure.text(MARGIN / width, (top - 0.12) / height, heading, fontsize=10.5, fontweight="bold", va="top")
        draw_panel(figure, sheet, layer.weight, top, colouring)
        top -= sheet.panel_height
    return figure


def _title(layer: Drawn) -> str:
    g = layer.placement.mapping.geometry
    shape = f"{g.kernel[0]}x{g.kernel[1]} kernel, {g.in_channels} to {g.out_channels} channels"
    name = "" if g.name == "layer" else f" of {g.name}"
    return f"{layer.placement.mapping.method}{name}: {shape}, {g.input_size[0]}x{g.input_size[1]} input"


def _story(layer: Drawn) -> str:
    """What the picture says, in one line."""
    placement, mapping = layer.placement, layer.placement.mapping
    if isinstance(placement, StagedPlacement):
        cycles = [f"{part.cycles:,}" for part in placement.stages]
        joined = f"max({', '.join(cycles)})" if placement.mapping.pipelined else " + ".join(cycles)
        order = "stages at the same time" if placement.mapping.pipelined else "stages one after the other"
        start = f"{mapping.windows:,} windows, {order}: {joined} = {placement.cycles:,} cycles"
    else:
        start = f"{count(mapping.windows, 'window')} x {count(len(placement.tiles), 'array')}"
        start += f" = {count(placement.cycles, 'computing cycle')}"
    end = f"; {placement.rows_skipped:,} of {placement.rows_mapped:,} rows skipped" if placement.rows_skipped else ""
    return f"{start}; {placement.cell_utilisation:.0%} of the cells hold weights{end}"


def _stage(index: int, part: Placement) -> str:
    """The heading of one stage of several."""
    g = part.mapping.geometry
    groups = f" in {g.groups} groups" if g.groups > 1 else ""
    work = f"{count(part.mapping.windows, 'window')} x {count(len(part.tiles), 'array')}"
    shape = f"{g.kernel[0]}x{g.kernel[1]}, {g.in_channels} to {g.out_channels} channels{groups}"
    return f"Stage {index + 1}: {shape}; {work}"


def _strips_figure(layers: Sequence[Drawn], colouring: str) -> Figure:
    """A strip for each layer: its arrays from left to right, cycles at the end."""
    parts = [(drawn, part) for drawn in layers for part in drawn.parts]
    height = 0.62 * len(parts) + 0.9
    figure = _figure(11.0, height)
    total = sum(drawn.placement.cycles for drawn in layers)
    methods = ", ".join(dict.fromkeys(drawn.placement.mapping.method for drawn in layers))
    title = f"{methods}: {len(layers)} layers, {total:,} computing cycles"
    figure.text(0.02, 1 - 0.12 / height, title, fontsize=13, fontweight="bold", va="top")
    array = parts[0][1].mapping.array
    what = {"kernel": "kernel positions", "window": "output positions"}[colouring]
    story = f"A box is an array of {array.rows}x{array.columns} cells; colours: {what}, grey: idle, white: not used"
    figure.text(0.02, 1 - 0.42 / height, story, fontsize=9.5, color="#444444", va="top")
    for i, (drawn, part) in enumerate(parts):
        bottom = 1 - (0.8 + 0.62 * (i + 1)) / height
        axes = figure.add_axes((0.2, bottom, 0.62, 0.5 / height))
        _draw_strip(axes, part, drawn.weight if len(drawn.parts) == 1 else None, colouring)
        middle = bottom + 0.25 / height
        g = part.mapping.geometry
        figure.text(0.02, middle, f"{g.name}\n{g.kernel[0]}x{g.kernel[1]}, {g.in_channels} to {g.out_channels}",
                    fontsize=8, va="center")  # fmt: skip
        figure.text(0.84, middle, f"{count(part.mapping.windows, 'window')} x {count(len(part.tiles), 'array')}\n"
                    f"{part.cycles:,} cycles, {part.cell_utilisation:.0%} used", fontsize=8, va="center")  # fmt: skip
    return figure


#: Arrays drawn in a strip.
STRIP_ARRAYS = 12


def _draw_strip(axes: Axes, part: Placement, weight: NDArray[np.int64] | None, colouring: str) -> None:
    """The first arrays of one layer, and how many more there are."""
    from matplotlib.patches import Rectangle

    for i, tile in enumerate(part.mapping.tiles[:STRIP_ARRAYS]):
        picture = cell_colours(part, tile, colouring, weight)
        axes.imshow(picture, extent=(i * 1.12, i * 1.12 + 1, 1, 0), interpolation="antialiased")
        axes.add_patch(Rectangle((i * 1.12, 0), 1, 1, fill=False, edgecolor=INK, linewidth=0.9))
    more = len(part.mapping.tiles) - STRIP_ARRAYS
    if more > 0:
        axes.text(STRIP_ARRAYS * 1.12 + 0.1, 0.5, f"+ {more:,}", va="center", fontsize=9)
    axes.set(xlim=(-0.02, STRIP_ARRAYS * 1.12 + 1.4), ylim=(1.03, -0.03), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_anchor("W")
