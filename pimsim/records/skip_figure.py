"""The figure of skip ratios: bars by method, in groups of as many kept kernel positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pimsim.records.looks import COLOURS, HATCHES, INK, SIZES, bars, new_figure
from pimsim.records.outcomes import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OTHER = "other"
_MORE_HATCHES = ("xxxx", "||||", "oooo", "++++", "\\\\\\\\", "", "////", "....")
_GAP = 0.7
#: Lines of a legend that the usual height has room for, and inches of each one more.
_LINES, _LINE = 3, 0.17


def method_looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and hatch of every series; two with one colour have hatches that differ."""
    looks = {}
    for place, name in enumerate(dict.fromkeys(names)):
        turn, colour = divmod(place, len(COLOURS))
        looks[name] = COLOURS[colour], (HATCHES if turn % 2 == 0 else _MORE_HATCHES)[colour]
    return looks


def series_names(outcomes: Sequence[Outcome]) -> list[str]:
    """What each outcome is called in a legend: its method, or its label where two have one method and setting."""
    seen = Counter((outcome.method, outcome.entries) for outcome in outcomes)
    return [o.method if seen[o.method, o.entries] == 1 else o.label for o in outcomes]


def skip_ratios(outcomes: Sequence[Outcome], style: str = "paper") -> Figure:
    """Skipped rows in percent of the mapped rows of the network, for outcomes that prune something."""
    names = series_names(outcomes)
    looks = method_looks(names)
    groups = sorted({o.entries for o in outcomes}, key=lambda e: (e is None, -(e or 0)))
    size = SIZES[style]
    width = size.column if len(outcomes) <= 20 else size.page
    lines = -(-len(looks) // legend_columns(list(looks), width))
    figure = new_figure(width, (2.3 + _LINE * max(0, lines - _LINES)) * size.scale)
    axes = figure.subplots()
    place, ticks = 0.0, []
    for group in groups:
        members = [(name, o) for name, o in zip(names, outcomes, strict=True) if o.entries == group]
        ticks.append((place + (len(members) - 1) / 2, _OTHER if group is None else str(group)))
        for name, outcome in members:
            bars(axes, [(place - 0.45, 0.0, 0.9, 100 * outcome.skip_ratio)], *looks[name])
            axes.annotate(f"{100 * outcome.skip_ratio:.1f}", (place, 100 * outcome.skip_ratio), (0, 1.5),
                          textcoords="offset points", ha="center", va="bottom", rotation=90)  # fmt: skip
            place += 1
        place += _GAP
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.tick_params(axis="x", length=0)
    top = max(100 * outcome.skip_ratio for outcome in outcomes) or 1.0
    axes.set(xlim=(-0.8, place - _GAP - 0.2), ylim=(0, 1.28 * top))
    axes.set(xlabel="kept positions of a kernel", ylabel="rows skipped (%)")
    axes.grid(axis="y")
    _legend(figure, looks)
    return figure


def _legend(figure: Figure, looks: dict[str, tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    boxes = [Patch(facecolor=c, hatch=h or None, edgecolor=INK, linewidth=0.4, label=n) for n, (c, h) in looks.items()]
    figure.legend(handles=boxes, loc="outside upper center", ncols=legend_columns(list(looks), figure.get_figwidth()))


def legend_columns(names: Sequence[str], width: float) -> int:
    """Columns of a legend of names that fit into a width in inches: about 0.075 for a letter, 0.4 for a box."""
    return max(1, min(len(names), int((width - 0.1) / (0.42 + 0.075 * max(map(len, names))))))
