"""The figure of accuracy against skipped rows, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pimsim.records.looks import COLOURS, INK, SIZES, new_figure
from pimsim.records.outcomes import Outcome
from pimsim.records.skip_figure import legend_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX*<>ph"
#: Where the number beside a point may stand, in points from it.
_SIDES = ((9.0, 0.0), (-9.0, 0.0), (0.0, 9.0), (0.0, -9.0))


def pareto_front(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes that no other one beats: more rows skipped at no less accuracy, or more accuracy at no fewer rows.

    From few rows to many; all accuracies are known. Where pruned networks were trained, masks that were not are no
    part of it: their accuracy says nothing about their method.
    """
    trained = [o for o in outcomes if o.training != "mask only"]
    compared = trained if any(o.skip_ratio > 0 for o in trained) else outcomes
    return sorted((o for o in compared if not any(_beats(p, o) for p in compared)), key=lambda o: o.skip_ratio)


def _beats(one: Outcome, other: Outcome) -> bool:
    ours, theirs = (one.skip_ratio, one.top1 or 0.0), (other.skip_ratio, other.top1 or 0.0)
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))


def accuracy_against_rows(outcomes: Sequence[Outcome], style: str = "paper") -> Figure:
    """Top-1 of each outcome over its skip ratio; a marker a method, the kept positions as a number beside it.

    Ringed points joined by a line are the Pareto front; hollow ones were masked and not trained, and lie on no front
    with trained ones.
    """
    size = SIZES[style]
    figure = new_figure(size.column, 2.9 * size.scale)
    axes = figure.subplots()
    front = pareto_front(outcomes)
    axes.step(*_points(front), where="pre", color=INK, linewidth=0.7, linestyle="--", label="Pareto front", zorder=1)
    axes.scatter(*_points(front), s=75, facecolors="none", edgecolors=INK, linewidths=0.7, zorder=2)
    for place, method in enumerate(dict.fromkeys(outcome.method for outcome in outcomes)):
        _draw_method(axes, [o for o in outcomes if o.method == method], place)
    _number(axes, outcomes)
    hollow = any(outcome.training == "mask only" for outcome in outcomes)
    axes.set(xlabel=f"rows skipped (%){'; hollow: masked, not trained' if hollow else ''}", ylabel="top-1 (%)")
    # No room for a tick left of nothing skipped.
    axes.margins(x=0.06, y=0.09)
    axes.grid()
    names = [str(text) for text in axes.get_legend_handles_labels()[1]]
    figure.legend(loc="outside upper center", ncols=legend_columns(names, figure.get_figwidth()))
    return figure


def _draw_method(axes: Axes, members: Sequence[Outcome], place: int) -> None:
    colour, marker = COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)]
    method = "dense" if members[0].method == "none" else members[0].method
    for hollow in (False, True):
        here = [outcome for outcome in members if (outcome.training == "mask only") == hollow]
        if here:
            fill, width, label = ("white", 0.8, f"_{method}") if hollow else (colour, 0.5, method)
            axes.scatter(*_points(here), s=22, marker=marker, facecolors=fill, edgecolors=INK, linewidths=width,
                         label=label, zorder=3)  # fmt: skip
    if all(outcome.training == "mask only" for outcome in members):
        axes.scatter([], [], s=22, marker=marker, facecolors="white", edgecolors=INK, linewidths=0.8, label=method)


def _number(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """The kept positions beside each point: right of it, or on the first free side where others stand close."""
    points = {(x, y): str(o.entries) for o, x, y in zip(outcomes, *_points(outcomes), strict=True) if o.entries}
    spans = [max(side) - min(side) or 1.0 for side in _points(outcomes)]
    taken = [_on_page(point, spans) for point in zip(*_points(outcomes), strict=True)]
    for point, text in points.items():
        x, y = _on_page(point, spans)
        sides = [(x + dx, y + dy) for dx, dy in _SIDES]
        free = next((s for s in sides if all(abs(s[0] - a) + abs(s[1] - b) > 7 for a, b in taken)), sides[0])
        taken.append(free)
        axes.annotate(text, point, (free[0] - x, free[1] - y), textcoords="offset points", ha="center", va="center")


def _on_page(point: tuple[float, float], spans: Sequence[float]) -> tuple[float, float]:
    """About where a point lies on the page, in points: 175 wide and 115 high between the outermost ones."""
    return point[0] / spans[0] * 175, point[1] / spans[1] * 115


def _points(outcomes: Sequence[Outcome]) -> tuple[list[float], list[float]]:
    return [100 * o.skip_ratio for o in outcomes], [100 * (o.top1 or 0.0) for o in outcomes]
