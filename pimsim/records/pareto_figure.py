"""The figure of accuracy against skipped rows, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pimsim.records.looks import COLOURS, INK, SIZES, new_figure
from pimsim.records.outcomes import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX*<>ph"


def pareto_front(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes that no other one beats: more rows skipped at no less accuracy, or more accuracy at no fewer rows.

    From few rows to many; all accuracies are known.
    """
    return sorted((o for o in outcomes if not any(_beats(p, o) for p in outcomes)), key=lambda o: o.skip_ratio)


def _beats(one: Outcome, other: Outcome) -> bool:
    ours, theirs = (one.skip_ratio, one.top1 or 0.0), (other.skip_ratio, other.top1 or 0.0)
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))


def accuracy_against_rows(outcomes: Sequence[Outcome], style: str = "paper") -> Figure:
    """Top-1 of each outcome over its skip ratio; a marker a method, the kept positions as a number beside it.

    Ringed points joined by a line are the Pareto front; hollow ones were masked and not trained.
    """
    size = SIZES[style]
    figure = new_figure(size.column, 2.9 * size.scale)
    axes = figure.subplots()
    front = pareto_front(outcomes)
    axes.step(*_points(front), where="pre", color=INK, linewidth=0.7, linestyle="--", label="Pareto front", zorder=1)
    axes.scatter(*_points(front), s=75, facecolors="none", edgecolors=INK, linewidths=0.7, zorder=2)
    for place, method in enumerate(dict.fromkeys(outcome.method for outcome in outcomes)):
        _draw_method(axes, [o for o in outcomes if o.method == method], place)
    axes.set(xlabel="rows skipped (%)", ylabel="top-1 (%)")
    axes.margins(0.09)
    axes.grid()
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def _draw_method(axes: Axes, members: Sequence[Outcome], place: int) -> None:
    colour, marker = COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)]
    method = "dense" if members[0].method == "none" else members[0].method
    for trained in (True, False):
        here = [outcome for outcome in members if (outcome.training != "mask only") == trained]
        if here:
            label = method if trained else f"{method} (mask only)"
            axes.scatter(*_points(here), s=22, marker=marker, facecolors=colour if trained else "white",
                         edgecolors=INK if trained else colour, linewidths=0.5 if trained else 1.0, label=label,
                         zorder=3)  # fmt: skip
    for outcome in members:
        if outcome.entries is not None:
            x, y = 100 * outcome.skip_ratio, 100 * (outcome.top1 or 0.0)
            axes.annotate(str(outcome.entries), (x, y), (5, 2), textcoords="offset points")


def _points(outcomes: Sequence[Outcome]) -> tuple[list[float], list[float]]:
    return [100 * o.skip_ratio for o in outcomes], [100 * (o.top1 or 0.0) for o in outcomes]
