"""From one simulated and checked entry to its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pimsim.api.checking import is_lossless
from pimsim.api.comparison_entries import Entry
from pimsim.api.method_masks import method_record, rate_of
from pimsim.api.preparing import Prepared
from pimsim.api.pruning import options_by_method
from pimsim.functional.conversion import conversion
from pimsim.hardware.records import Chip
from pimsim.mapping.placement import Placement
from pimsim.network.calibration import crossbar_ops
from pimsim.network.steps import CrossbarOp
from pimsim.records.check import Check
from pimsim.records.outcomes import LayerOutcome, Outcome, Top1
from pimsim.records.tables import PJ_PER_J, to_json_object
from pimsim.simulation.results import LayerResult, SimulationResult
from pimsim.units import ns

if TYPE_CHECKING:
    from pimsim.network.checkpoints import Checkpoint

TRAINED, MASK_ONLY = "trained", "mask only"


def outcome_of(
    entry: Entry, checkpoint: Checkpoint, prepared: Prepared, simulation: SimulationResult, top1: Top1 | None,
    check: Check | None, notes: tuple[str, ...],
) -> Outcome:  # fmt: skip
    """The record of one entry.

    Args:
        entry: what was asked for.
        checkpoint: its weights, masks made here included.
        prepared: network and placements.
        simulation: times and energies.
        top1: accuracy, where it is known.
        check: the comparison with the reference; None when it was left out.
        notes: what the numbers rest on.
    """
    chip, workload = prepared.chip, entry.workload
    ops = crossbar_ops(prepared.network.program)
    totals = to_json_object(simulation, None)["totals"]
    parts = zip(simulation.layers, prepared.placements, ops, strict=True)
    layers = tuple(_layer(*part) for part in parts)
    cells, rows = chip.crossbar.rows * chip.crossbar.columns, _driven_rows(prepared)
    arrays = workload.arrays or workload.array_budget or chip.tiles * chip.tile.macros * chip.macro.arrays
    named = _named(entry, checkpoint, ops)
    return Outcome(
        label=entry.label,
        **named,
        training=_training(entry, checkpoint),
        checkpoint=str(workload.checkpoint),
        chip=chip.name,
        array=f"{chip.crossbar.rows}x{chip.crossbar.columns}",
        mapping=workload.mapping,
        skip=workload.skip,
        pack=workload.pack,
        layers=layers,
        integer_zeros=sum(
            int((layer.weight == 0).sum()) for layer in prepared.network.layers if layer.weight is not None
        ),
        **{name: totals[name] for name in _TOTALS},
        active_rows=chip.crossbar.active_rows,
        driven_rows=rows,
        adc_bits_needed=_bits_needed(chip, rows),
        adc_bits=chip.macro.adc.bits,
        cells_used=totals["arrays"] * cells,
        cell_budget=arrays * cells,
        structure=tuple(str(change["rewrite"]) for change in checkpoint.structure),
        accuracy=top1,
        **({} if check is None else _check_counts(check)),
        is_lossless=is_lossless(chip),
        notes=notes,
    )


_TOTALS = ("latency_ns", "energy_pj", "dynamic_energy_pj", "static_energy_pj", "area_mm2", "tiles", "conversions",
           "energy_by_component_pj")  # fmt: skip


def _check_counts(check: Check) -> dict[str, Any]:
    return {"crossbar_images": check.images, "outputs": check.outputs, "mismatches": check.mismatches}


def _layer(result: LayerResult, placement: Placement, op: CrossbarOp) -> LayerOutcome:
    """One layer: what the simulation found, beside the dense layout and the weights of the checkpoint."""
    energies = {name: energy * PJ_PER_J for name, energy in result.dynamic_energy_j.items()}
    return LayerOutcome(
        layer=result.name,
        window=f"{result.window[0]}x{result.window[1]}",
        weights=op.weight.numel(),
        weights_pruned=int((op.weight == 0).sum()),
        rows_mapped=result.rows_mapped,
        rows_skipped=result.rows_skipped,
        arrays_dense=len(placement.mapping.tiles) * result.replication,
        arrays=result.arrays,
        replication=result.replication,
        cycles_dense=placement.mapping.cycles,
        cycles=result.cycles,
        rounds=result.rounds,
        steps=result.steps,
        serial_steps=-(-result.windows // result.replication) * result.rounds * result.steps,
        latency_ns=ns(result.latency_fs),
        energy_pj=sum(energies.values()),
        index_bits=result.index_bits,
        energy_by_component_pj=energies,
    )


def _driven_rows(prepared: Prepared) -> int:
    """Rows of the fullest array."""
    return max((len(tile.rows) for placed in prepared.placements for tile in placed.tiles), default=0)


def _bits_needed(chip: Chip, rows: int) -> int:
    """ADC bits that lose nothing when ``rows`` are driven, as many at a time as the crossbar can."""
    if not rows:
        return 0
    crossbar = replace(chip.crossbar, rows=rows, active_rows=min(rows, chip.crossbar.active_rows))
    return conversion(crossbar, chip.macro.row_driver, chip.macro.adc).full_scale.bit_length()


def _named(entry: Entry, checkpoint: Checkpoint, ops: tuple[CrossbarOp, ...]) -> dict[str, Any]:
    """Method, kept positions and rate: of the masks made here, or as the checkpoint records them."""
    method, recipe = method_record(checkpoint)
    if entry.method is not None:
        method, recipe = entry.method, dict(entry.options)
    pruned = any(bool((op.weight == 0).any()) for op in ops)
    own: Mapping[str, Any] = options_by_method().get(method, {})
    counted = "entries" in own and not recipe.get("rows")
    kept = recipe.get("entries", own["entries"]) if counted else None
    if not counted and not checkpoint.structure:
        kept = _kept_positions(ops)
    return {"method": method or ("unknown" if pruned else "none"), "entries": kept, "rate": rate_of(recipe, own)}


def _training(entry: Entry, checkpoint: Checkpoint) -> str:
    """Whether the pruned weights were trained: not with masks made here, nor with ``pimsim prune --epochs 0``."""
    method, recipe = method_record(checkpoint)
    untrained = method not in ("", "none") and recipe.get("epochs") == 0
    return MASK_ONLY if entry.method is not None or untrained else TRAINED


def _kept_positions(ops: tuple[CrossbarOp, ...]) -> int | None:
    """Positions that every kernel of the pruned layers keeps; None where they differ or nothing is pruned."""
    kept: set[int] = set()
    for op in ops:
        nonzero = op.weight != 0
        if not bool(nonzero.all()):
            kept |= set(nonzero.flatten(2).sum(dim=2).flatten().tolist()) if nonzero.dim() == 4 else {-1}
    return kept.pop() if len(kept) == 1 and min(kept) > 0 else None
