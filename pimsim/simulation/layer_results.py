"""From what an engine reports to the record of a layer; counts are checked against the formulas."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pimsim.errors import SimulationError
from pimsim.hardware.records import Chip
from pimsim.simulation.costs import dynamic_energy_j
from pimsim.simulation.counting import engine_counts, formula_counts, programmed_cells, steps_by_skipping
from pimsim.simulation.plan import LayerPlan
from pimsim.simulation.results import STALL_CAUSES, LayerResult
from pimsim.simulation.services import ceil_div
from pimsim.simulation.work import LayerWork


@dataclass(frozen=True)
class LayerPlay:
    """What an engine reports of one layer: all that `layer_result` needs.

    Attributes:
        plan: the layer's plan.
        images: images that went through it.
        start_fs: when its first job started.
        done_fs: when the windows of `marks_of` had left it, in that order.
        jobs: finished jobs by stage and phase, over all images.
        stall_fs: time that its arrays waited by cause, over all images.
    """

    plan: LayerPlan
    images: int
    start_fs: int
    done_fs: tuple[int, ...]
    jobs: tuple[tuple[int, ...], ...]
    stall_fs: dict[str, int]


def marks_of(work: LayerWork, plan: LayerPlan) -> tuple[int, int, int, int]:
    """The windows whose times a layer's record needs: first, first of the last round, middle, last."""
    last = plan.windows - 1
    return 0, plan.windows - plan.windows // len(work.rounds), last // 2, last


def layer_result(
    work: LayerWork, chip: Chip, played: LayerPlay, offset_fs: int = 0, crossbar_energy_j: float | None = None
) -> LayerResult:
    """The record of one layer, for one image.

    Args:
        work: the layer on the chip.
        chip: the accelerator.
        played: what an engine reports.
        offset_fs: added to its times.
        crossbar_energy_j: measured read energy instead of the fixed one.

    Raises:
        SimulationError: (a defect) the engine's counts differ from the formulas.
    """
    plan, placement, geometry = played.plan, work.placement, work.layer.geometry
    counts = _checked_counts(work, chip, played)
    energy = dynamic_energy_j(counts, chip)
    if crossbar_energy_j is not None:
        energy["crossbar"] = crossbar_energy_j
    first, last_round, middle, last = played.done_fs
    between = plan.windows - 1 - (plan.windows - 1) // 2
    busy, units = _use(played)
    programmed, program_time_fs = _programming(work, chip)
    return LayerResult(
        name=geometry.name,
        kind=geometry.kind,
        cycles=placement.cycles,
        windows=work.windows,
        arrays=len(placement.tiles) * work.replication,
        rounds=len(work.rounds),
        steps=max(jobs.steps for stage in plan.named("array") for jobs in stage.jobs),
        array_steps=counts["array_steps"],
        rows_mapped=placement.rows_mapped,
        rows_skipped=placement.rows_skipped,
        conversions=counts["adc"],
        macs=geometry.macs,
        start_fs=offset_fs + played.start_fs,
        first_output_fs=offset_fs + last_round,
        end_fs=offset_fs + last,
        interval_fs=round((last - middle) / between) if between else 0,
        fill_fs=first - played.start_fs,
        dynamic_energy_j=energy,
        counts=dict(sorted((+counts).items())),
        stall_fs=played.stall_fs,
        busy_fs=busy,
        units=units,
        cell_utilisation=placement.cell_utilisation,
        program_time_fs=program_time_fs,
        program_energy_j=programmed * chip.crossbar.program_energy_per_cell_j,
        index_bits=placement.index_bits,
        mapping=placement.mapping.method,
        window=placement.mapping.window,
        replication=work.replication,
        skipped_steps=steps_by_skipping(work, chip),
    )


def nothing(work: LayerWork, start_fs: int) -> LayerResult:
    """A layer pruned to nothing costs nothing: its outputs are its biases."""
    geometry, placement = work.layer.geometry, work.placement
    return LayerResult(
        name=geometry.name, kind=geometry.kind, cycles=0, windows=work.windows, arrays=0, rounds=0, steps=0,
        array_steps=0, rows_mapped=placement.rows_mapped, rows_skipped=placement.rows_skipped, conversions=0,
        macs=geometry.macs, start_fs=start_fs, first_output_fs=start_fs, end_fs=start_fs, interval_fs=0, fill_fs=0,
        dynamic_energy_j={}, counts={}, stall_fs=dict.fromkeys(STALL_CAUSES, 0), busy_fs={}, units={},
        cell_utilisation=0.0, program_time_fs=0, program_energy_j=0.0, index_bits=placement.index_bits,
        mapping=placement.mapping.method, window=placement.mapping.window, replication=1,
    )  # fmt: skip


def _checked_counts(work: LayerWork, chip: Chip, played: LayerPlay) -> Counter[str]:
    """Counts of one image, as the engine gathered them and as the formulas say."""
    counts, expected = engine_counts(played.plan, _one_image(played)), formula_counts(work, chip)
    if +counts != +expected:
        differing = sorted(name for name in {*counts, *expected} if counts[name] != expected[name])
        raise SimulationError(f"counts of {', '.join(differing)}", "engine and formula must agree", work.layer.name)
    if chip.index.fetch == "image" or work.driven is not None:  # held: every step selects among all kept rows
        counts["index_bytes"] = ceil_div(work.placement.index_bits, 8) * work.replication
    return counts


def _one_image(played: LayerPlay) -> tuple[tuple[int, ...], ...]:
    """Jobs of one image; every image has the same."""
    per_image = []
    for finished in played.jobs:
        if any(done % played.images for done in finished):
            raise SimulationError(f"jobs {finished}", "every image takes the same jobs", played.plan.name)
        per_image.append(tuple(done // played.images for done in finished))
    return tuple(per_image)


def _use(played: LayerPlay) -> tuple[dict[str, int], dict[str, int]]:
    """Busy time of one image summed over units, and the number of units, by stage name."""
    busy: Counter[str] = Counter()
    units: Counter[str] = Counter()
    for stage, finished in zip(played.plan.stages, _one_image(played), strict=True):
        units[stage.name] += stage.units
        for jobs, done in zip(stage.jobs, finished, strict=True):
            busy[stage.name] += done // jobs.steps * jobs.occupancy_total_fs() * jobs.units
    return dict(busy), dict(units)


def _programming(work: LayerWork, chip: Chip) -> tuple[int, int]:
    """Cells written, and the time of it: rows of an array one after another, arrays of a round together."""
    cells = programmed_cells(work.placement, chip) * work.replication
    rows = sum(max(array.rows for array in round_.arrays) for round_ in work.rounds)
    return cells, rows * chip.crossbar.program_time_per_row_fs
