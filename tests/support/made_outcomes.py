"""Entries of a comparison made up by hand."""

from __future__ import annotations

import math

from pimsim.records.gains import PARTS
from pimsim.records.outcomes import LayerOutcome, Outcome, Top1

COMPONENTS = (*(name for names in PARTS.values() for name in names), "a_new_one")


def make_outcome(
    label: str = "dense", skipped: int = 0, pruned: int = 0, *, rounds: int = 1, steps: int = 8, driven: int = 400,
    energies: dict[str, float] | None = None, entries: int | None = None, method: str = "none",
    top1: float | None = None, copies: int = 1,
) -> Outcome:  # fmt: skip
    """Two layers of 400 and 100 rows; the first one skips rows."""
    dynamic = energies or {name: 10.0 + place for place, name in enumerate(COMPONENTS)}
    static = {f"{name}_static": 100.0 for name in dynamic}
    layers = tuple(
        LayerOutcome("ab"[i], "5x5", 1000, pruned * (1 - i), rows, skipped * (1 - i), 3, 3, copies, 192, 192,
                     rounds, steps, 64 // copies * rounds * steps, 6400.0 * rounds, 5.0,
                     100 if skipped and not i else 0, {})
        for i, rows in enumerate((400, 100))
    )  # fmt: skip
    return Outcome(
        label, method, entries, "", "trained", f"{label}.pt", "chip", "512x512", "sdk", "row", "tile", layers, pruned,
        12800.0 * rounds, math.fsum((*dynamic.values(), *static.values())), math.fsum(dynamic.values()),
        math.fsum(static.values()), 1.0, 2, 512, driven, driven.bit_length() + 1, 11, 6 * 512 * 512, 10**9,
        dynamic | static, 1000, accuracy=None if top1 is None else Top1(top1, 100, "measured"),
    )  # fmt: skip
