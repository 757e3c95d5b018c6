"""The figures of a comparison of methods: skip ratio, accuracy against rows skipped, and the waterfall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pimsim.records.looks import lay_out, save_figure, style_context
from pimsim.records.outcomes import Outcome
from pimsim.records.pareto_figure import accuracy_against_rows
from pimsim.records.skip_figure import skip_ratios
from pimsim.records.waterfall_figure import waterfall

#: Points of the smallest text: figures are made as wide as they are printed, and nothing is scaled down.
SMALLEST = 7.0


def draw_methods(
    outcomes: Sequence[Outcome], dense: Outcome | None, folder: Path, name: str, formats: Sequence[str],
    style: str = "paper",
) -> list[Path]:  # fmt: skip
    """The figures that the outcomes allow, in each format.

    Args:
        outcomes: the entries.
        dense: the entry that savings are measured against; None: each against its own dense layout.
        folder: exists.
        name: what file names begin with.
        formats: of ``pdf``, ``svg``, ``png``.
        style: ``paper`` or ``screen``.

    Returns:
        The files. Without an entry that is pruned there is nothing to draw; without pruned weights there are no skip
        ratios, without two known accuracies there is no figure of them.
    """
    import matplotlib as mpl

    pruned = [outcome for outcome in outcomes if not outcome.is_dense]
    if not pruned:
        return []
    known = [outcome for outcome in outcomes if outcome.top1 is not None]
    with style_context(style):
        if style == "paper":
            mpl.rc("xtick", labelsize=SMALLEST)
            mpl.rc("ytick", labelsize=SMALLEST)
            mpl.rc("legend", fontsize=SMALLEST)
        figures = {"waterfall": waterfall(pruned, dense, style)}
        if masked := [outcome for outcome in pruned if outcome.weights_pruned]:
            figures["skip-ratio"] = skip_ratios(masked, style)
        if len(known) > 1:
            figures["accuracy"] = accuracy_against_rows(known, style)
        for figure in figures.values():
            lay_out(figure)
        jobs = [(figure, folder / f"{name}-{kind}.{form}") for kind, figure in figures.items() for form in formats]
        return [save_figure(figure, path) for figure, path in jobs]
