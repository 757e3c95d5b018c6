"""The waterfall of a comparison: what is left of pruned weights on the way to saved time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pimsim.records.gain_words import is_comparable
from pimsim.records.looks import COLOURS, HATCHES, INK, SIZES, bars, new_figure
from pimsim.records.outcomes import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = ("weights pruned", "rows skipped", "cycles, ideally", "cycles saved", "latency saved")
#: Entries side by side; more go into further rows.
_IN_A_ROW, _IN_A_COLUMN = 8, 4
#: Percent below which a bar is cut off, and its value written: an entry that needs thrice the rows hides the others.
_LOWEST = -60.0


def savings(outcome: Outcome, dense: Outcome | None) -> tuple[float | None, ...]:
    """Shares saved at each of `STAGES`; negative where more is needed.

    Against the dense entry: its weights, mapped rows, cycles and latency. Without one against the outcome's own
    dense layout, and the latency is None. Weights in the same layout as the dense entry's are those of the cells, and
    count against the outcome's own.
    """
    kept, driven = outcome.weights - outcome.weights_pruned, outcome.rows_mapped - outcome.rows_skipped
    own = dense is None or is_comparable(outcome, dense)
    weights = outcome.weights if dense is None or own else dense.weights - dense.weights_pruned
    rows = outcome.rows_mapped if dense is None else dense.rows_mapped - dense.rows_skipped
    cycles = outcome.cycles_dense if dense is None else dense.cycles
    latency = None if dense is None else 1 - outcome.latency_ns / dense.latency_ns
    return (
        1 - kept / weights,
        1 - driven / rows,
        1 - outcome.ideal_cycles / cycles,
        1 - outcome.cycles / cycles,
        latency,
    )


def waterfall(outcomes: Sequence[Outcome], dense: Outcome | None, style: str = "paper") -> Figure:
    """Five bars an entry, from its pruned weights down to the time that they save, joined by a line."""
    size = SIZES[style]
    narrow = len(outcomes) <= _IN_A_COLUMN
    in_a_row = -(-len(outcomes) // -(-len(outcomes) // _IN_A_ROW))
    rows = [outcomes[start : start + in_a_row] for start in range(0, len(outcomes), in_a_row)]
    figure = new_figure(size.column if narrow else size.page, (1.75 * len(rows) + 0.6) * size.scale)
    panels = figure.subplots(len(rows), 1, squeeze=False, sharey=True)[:, 0]
    for axes, members in zip(panels, rows, strict=True):
        _panel(axes, members, dense, max(map(len, rows)))
    _legend(figure, narrow, dense is not None)
    return figure


def _panel(axes: Axes, outcomes: Sequence[Outcome], dense: Outcome | None, room: int) -> None:
    width = 0.84 / len(STAGES)
    for place, outcome in enumerate(outcomes):
        shares = [100 * share for share in savings(outcome, dense) if share is not None]
        heights, edges = (
            [max(share, _LOWEST) for share in shares],
            [place - 0.42 + i * width for i in range(len(shares) + 1)],
        )
        for stage, (share, height) in enumerate(zip(shares, heights, strict=True)):
            bars(axes, [(edges[stage], 0.0, width, height)], COLOURS[stage], HATCHES[stage])
            if share < _LOWEST:
                axes.text(edges[stage] + width / 2, _LOWEST / 2, f"{share:.0f}", rotation=90, ha="center", va="center",
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})  # fmt: skip
        axes.stairs(heights, edges, baseline=None, color=INK, linewidth=0.9)
    axes.axhline(0, color=INK, linewidth=0.5)
    long = max(len(outcome.label) for outcome in outcomes) > 12
    axes.set_xticks(
        range(len(outcomes)), [o.label for o in outcomes], rotation=20 if long else 0, ha="right" if long else "center"
    )
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.6, room - 0.4), ylabel="saved (%)")
    axes.autoscale_view(scalex=False)
    axes.grid(axis="y")


def _legend(figure: Figure, narrow: bool, has_dense: bool) -> None:
    from matplotlib.patches import Patch

    shown = STAGES if has_dense else STAGES[:-1]
    boxes = [Patch(facecolor=COLOURS[i], hatch=HATCHES[i] or None, edgecolor=INK, linewidth=0.4, label=name)
             for i, name in enumerate(shown)]  # fmt: skip
    figure.legend(handles=boxes, loc="outside upper center", ncols=2 if narrow else len(boxes))
