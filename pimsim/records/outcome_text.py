"""The tables of a comparison as a reader sees them: cells with units, for the terminal and for LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pimsim.records.gains import PARTS, Gain, energy_of, gains
from pimsim.records.outcomes import RECORDED, Outcome
from pimsim.records.summary import energy, percent, text_table, time

Cell = Callable[[Outcome], str]
Column = tuple[str, Cell]

_LABEL: Column = ("entry", lambda o: o.label)
_RATE: Column = ("entries, rate", lambda o: str(o.entries) if o.entries is not None else o.rate or "-")
_SPARSITY: Column = ("sparsity", lambda o: percent(o.weight_sparsity))
_SKIPPED: Column = ("rows skipped", lambda o: f"{o.rows_skipped:,} / {o.rows_mapped:,}")
_RATIO: Column = ("skip ratio", lambda o: percent(o.skip_ratio))
_TOP1: Column = ("top-1", lambda o: top1_cell(o))
_ARRAYS: Column = ("arrays", lambda o: f"{o.arrays:,} / {o.arrays_dense:,}")
_COMPRESSION: Column = ("compression", lambda o: f"{o.compression:.2f}x")
_CYCLES: Column = ("cycles", lambda o: f"{o.cycles:,}")
_LATENCY: Column = ("latency", lambda o: time(o.latency_ns))
_ENERGY: Column = ("energy", lambda o: energy(o.energy_pj))
_INDEX: Column = ("index", lambda o: f"{o.index_bytes:,} B")

#: Headings and cells of the table of what is pruned and skipped.
PRUNED: tuple[Column, ...] = (
    _LABEL,
    ("method", lambda o: o.method + (" (mask only)" if o.training == "mask only" else "")),
    _RATE,
    _SPARSITY,
    _SKIPPED,
    _RATIO,
    ("of pruned layers", lambda o: percent(o.pruned_skip_ratio) if o.pruned_layers else "-"),
    _TOP1,
    ("outputs that differ", lambda o: f"{o.mismatches:,} / {o.outputs:,}" if o.outputs else "not checked"),
)
#: Headings and cells of the table of what it costs.
COST: tuple[Column, ...] = (
    _LABEL,
    _ARRAYS,
    _COMPRESSION,
    ("cells used", lambda o: f"{o.cells_used:,}"),
    _CYCLES,
    _LATENCY,
    _ENERGY,
    ("dynamic", lambda o: energy(o.dynamic_energy_pj)),
    ("static", lambda o: energy(o.static_energy_pj)),
    _INDEX,
)
#: Headings and cells of the one table for a paper.
PAPER: tuple[Column, ...] = (
    *(_LABEL, _RATE, _SPARSITY, _SKIPPED, _RATIO, _ARRAYS, _COMPRESSION, _CYCLES, _LATENCY, _ENERGY, _INDEX, _TOP1),
)
#: What the gain table shows in percent of the same part of the dense entry.
_PARTS = (("drivers", "drivers"), ("loads", "loads"), ("conversions", "conversions"), ("resolution", "ADC bits"),
          ("outputs", "outputs"), ("index", "index"), ("other", "other"))  # fmt: skip


def top1_cell(outcome: Outcome) -> str:
    """Top-1 in percent, marked where it is the recorded one."""
    if outcome.top1 is None:
        return "not known"
    return f"{100 * outcome.top1:.2f} %" + (" recorded" if outcome.top1_source == RECORDED else "")


def cells(table: Sequence[Column], outcomes: Sequence[Outcome]) -> list[list[str]]:
    """The rows of a table, under its headings."""
    return [[cell(outcome) for _, cell in table] for outcome in outcomes]


def headings(table: Sequence[Column]) -> list[str]:
    """The headings of a table."""
    return [heading for heading, _ in table]


def lines(table: Sequence[Column], outcomes: Sequence[Outcome]) -> list[str]:
    """A table as aligned lines."""
    return text_table(headings(table), cells(table, outcomes), None, left=2 if table is PRUNED else 1)


def gain_headings(dense: Outcome) -> list[str]:
    """Headings of the gain table."""
    return [f"saved against {dense.label}", "arrays", *(heading for _, heading in _PARTS), "dynamic", "static", "time"]


def gain_cells(outcomes: Sequence[Outcome], dense: Outcome) -> list[list[str]]:
    """The rows of the gain table: dynamic parts in percent of all dynamic energy of the dense entry."""
    return [_gain_row(found, dense) for found in gains(outcomes, dense)]


def gain_lines(outcomes: Sequence[Outcome], dense: Outcome) -> list[str]:
    """The gain table as aligned lines, with what its numbers are."""
    table = text_table(gain_headings(dense), gain_cells(outcomes, dense), None, left=1)
    of = f"dynamic {energy(dense.dynamic_energy_pj)}, static {energy(dense.static_energy_pj)}, {time(dense.latency_ns)}"
    return [*table, f"Percent of {dense.label}: parts of its dynamic energy ({of}); negative costs more."]


def _gain_row(found: Gain, dense: Outcome) -> list[str]:
    parts = [getattr(found, f"{part}_saved_pj") for part, _ in _PARTS]
    shares = [_share(part, dense.dynamic_energy_pj) for part in (*parts, found.dynamic_saved_pj)]
    static = _share(found.static_saved_pj, dense.static_energy_pj)
    return [found.label, f"{found.arrays_saved:,}", *shares, static, _share(found.time_saved_ns, dense.latency_ns)]


def _share(part: float, whole: float) -> str:
    """A part in percent; what is there and rounds to nothing keeps its sign."""
    if not part or not whole:
        return "0"
    share = 100 * part / whole
    return f"{share:.1f} %" if abs(share) >= 0.05 else f"{'' if share > 0 else '-'}<0.1 %"


def component_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Dynamic and static energy by part and entry, so that the sum of a row is the entry's energy."""
    parts = (*PARTS, "other")
    rows = [[o.label, *(energy(energy_of(o, part)) for part in parts), energy(o.static_energy_pj)] for o in outcomes]
    return text_table(["energy of", *parts, "static"], rows, None, left=1)
