"""Bars and texts of a figure as boxes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def drawn_bars(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Left, bottom, width and height of every bar of a panel."""
    boxes = [path.get_extents() for drawn in axes.collections for path in drawn.get_paths()]
    return [(box.x0, box.y0, box.width, box.height) for box in boxes]


def bar_tops(figure: Figure, axes: int) -> list[float]:
    """Heights of the stacked bars of one panel."""
    tops: dict[float, float] = {}
    for left, bottom, width, height in drawn_bars(figure.axes[axes]):
        middle = round(left + width / 2, 6)
        tops[middle] = max(tops.get(middle, 0.0), bottom + height)
    return [tops[place] for place in sorted(tops)]


def boxes(figure: Figure) -> list[tuple[str, object]]:
    """Every visible text with its box on the page."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts if in_view(t)]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Texts that stand on one another."""
    found = [(text, box.padded(-1.5)) for text, box in boxes(figure)]  # type: ignore[attr-defined]
    return [(a, b) for i, (a, box) in enumerate(found) for b, other in found[i + 1 :] if box.overlaps(other)]


def in_view(text: Text) -> bool:
    """Tick labels beyond the limits of their axis are never drawn; those that never were do not know their axes."""
    for axes in text.figure.axes:  # type: ignore[union-attr]
        sides = ((axes.get_xticklabels(), axes.get_xlim()), (axes.get_yticklabels(), axes.get_ylim()))
        for place, (labels, limits) in enumerate(sides):
            if text in labels:
                return min(limits) <= text.get_position()[place] <= max(limits)
    return True
