"""Action counts of one layer by formula (`hardware.md` 5): the witness of the counts that the engine gathers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import SimulationError
from pimsim.hardware.laws import resolved_bits
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayTile, Columns
from pimsim.mapping.placement import Placement
from pimsim.mapping.units import group_widths, units_per_group, weights_per_group
from pimsim.simulation.building import digital_operations
from pimsim.simulation.costs import conversions_at
from pimsim.simulation.plan import LayerPlan
from pimsim.simulation.results import SkippedSteps
from pimsim.simulation.services import ceil_div, is_fused
from pimsim.simulation.work import LayerWork, Round

if TYPE_CHECKING:
    from numpy.typing import NDArray


def engine_counts(plan: LayerPlan, jobs: tuple[tuple[int, ...], ...]) -> Counter[str]:
    """Counts gathered by an engine: what every finished window did, summed.

    Args:
        plan: the plan that was played.
        jobs: finished jobs by stage and phase.

    Raises:
        SimulationError: (a defect) a window whose jobs are not all finished.
    """
    counts: Counter[str] = Counter()
    for stage, finished in zip(plan.stages, jobs, strict=True):
        for spec, done in zip(stage.jobs, finished, strict=True):
            windows, rest = divmod(done, spec.steps)
            if rest:
                raise SimulationError(f"{done} jobs of {stage.name}", f"a window takes {spec.steps}", plan.name)
            for name, amount in spec.counts:
                counts[name] += amount * windows
    return counts


def formula_counts(work: LayerWork, chip: Chip) -> Counter[str]:
    """Counts of one image from the placement alone, without a plan or an engine."""
    windows = work.windows
    per_weight = work.placement.mapping.array.columns_per_weight
    kept = _column_groups(work.placement.tiles, work.placement, chip)
    # Where zero bits are skipped, every window and input step has row counts of its own.
    reads = windows * work.input_steps if work.driven is None else 1
    groups = (
        kept if work.driven is None else _driven_groups(work.driven.tiles, work.placement.tiles, work.placement, chip)
    )
    conversions = reads * sum(groups.columns_by_rows.values())
    units = units_per_group(chip.crossbar.active_columns, per_weight)
    driven = reads * int(groups.rows.sum()) * units
    looks, bits = units if work.driven is None else 1, chip.macro.row_driver.bits
    outputs, merges = _outputs(work)
    copied, passed = _copies(work.placement)
    counts = Counter(
        {
            "adc": conversions,
            "sample_hold": 0 if is_fused(chip) else conversions,
            "shift_add": conversions,
            "row_driver": driven,
            "input_register_read_bits": windows * work.input_steps * int(kept.rows.sum()) * looks * bits,
            "crossbar": reads * int(groups.rows @ groups.widths) * per_weight,
            "array_steps": reads * int(groups.row_groups.sum()) * units,
            "output_register": reads * int(groups.row_groups @ groups.widths) + windows * (merges + copied + passed),
            "tile_shift_add": windows * copied
            + sum(work.windows_of(i) * _macro_joins(work, i) for i in range(work.replication)),
            "activation": windows * outputs,
            "tile_output_register_bits": 2 * windows * outputs * work.output_bits,
            "bus": _over_replicas(work, lambda round_: sum(load.bytes for load in round_.loads)),
            "input_register_write_bytes": _over_replicas(
                work, lambda round_: sum(load.register_bytes for load in round_.loads)
            ),
        }
    )
    if work.scattered:
        # An output index is looked up once a window, for every sum that leaves an array.
        counts["index_decode"] = windows * len(work.placement.tiles)
        counts["output_register"] += windows * int(kept.widths.sum())
    counts.update(_index_counts(work, chip, counts["array_steps"]))
    counts.update(_conversions_by_bits(groups, chip, reads))
    counts.update(_port_counts(work, chip))
    counts.update(digital_operations(work.digital))
    return counts


def _index_counts(work: LayerWork, chip: Chip, array_steps: int) -> dict[str, int]:
    """Decoded steps and fetched bytes of a layer with an index; bytes that are held are not fetched with windows."""
    placement, index = work.placement, chip.index
    if work.driven is not None:
        return {"index_decode": array_steps}
    if not work.gathered or not placement.tiles:
        return {}
    units = array_steps // work.input_steps
    fetches = {"image": 0, "unit-row": work.windows * _unit_rows(placement, chip), "unit": units}
    return {"index_decode": array_steps, "index_bytes": fetches[index.fetch] * index.fetch_bytes}


def _unit_rows(placement: Placement, chip: Chip) -> int:
    """Rows of operation units over all arrays; every unit is one where column groups drive rows of their own."""
    h, u, q = chip.crossbar.active_rows, chip.crossbar.active_columns, placement.mapping.array.columns_per_weight
    weights = placement.mapping.array.weights_per_group
    own = sum(int(tile.group_reads(weights, h).sum()) for tile in placement.tiles if tile.kept is not None)
    shared = sum(ceil_div(len(tile.rows), h) for tile in placement.tiles if tile.kept is None)
    return shared + units_per_group(u, q) * own


def _conversions_by_bits(groups: _ColumnGroups, chip: Chip, times: int) -> Counter[str]:
    """Conversions by the bits that they resolve, where the converter may stop early."""
    counts: Counter[str] = Counter()
    if chip.macro.adc.resolution == "fixed":
        return counts
    most = max(groups.columns_by_rows, default=1)
    for rows, converted in groups.columns_by_rows.items():
        driven = rows if chip.macro.adc.resolution == "dynamic" else most
        counts[conversions_at(resolved_bits(chip.macro, driven))] += times * converted
    return counts


@dataclass(frozen=True)
class _ColumnGroups:
    """The column groups of all arrays.

    Attributes:
        rows: rows that each drives, int64 (G,).
        row_groups: operation units that each reads.
        widths: its weight columns.
        columns_by_rows: physical columns that are converted with each number of rows, over all units.
    """

    rows: NDArray[np.int64]
    row_groups: NDArray[np.int64]
    widths: NDArray[np.int64]
    columns_by_rows: dict[int, int]


def _column_groups(tiles: Sequence[ArrayTile], placement: Placement, chip: Chip) -> _ColumnGroups:
    per_weight = placement.mapping.array.columns_per_weight
    weights = weights_per_group(chip.crossbar.active_columns, per_weight)
    rows = np.concatenate([tile.group_rows(weights) for tile in tiles])
    widths = np.concatenate([group_widths(len(tile.columns), weights) for tile in tiles])
    heights = tuple(group for tile in tiles for group in tile.group_units(weights, chip.crossbar.active_rows))
    reads = np.array([sum(units for units, _ in group) for group in heights], dtype=np.int64)
    converted = [one for tile in tiles for one in tile.converted or (None,) * -(-len(tile.columns) // weights)]
    columns: Counter[int] = Counter()
    for group, width, counts in zip(heights, widths.tolist(), converted, strict=True):
        first = 0
        for units, driven in group:
            every = units * width * per_weight
            columns[driven] += every if counts is None else sum(counts[first : first + units])
            first += units
    return _ColumnGroups(rows, reads, widths, dict(columns))


def _copies(placement: Placement) -> tuple[int, int]:
    """Results that a window uses again, and results that pass the output register for that, over all arrays.

    Each is written by its source once and read for each copy, double where the copy is shifted.
    """
    weights = placement.mapping.array.weights_per_group
    copied = passed = 0
    for repeats in {id(t.repeats.shared): t.repeats.shared for t in placement.tiles if t.repeats is not None}.values():
        widths = np.full(repeats.source.shape[1], weights)
        for tile in placement.tiles:
            if tile.repeats is not None and tile.repeats.shared is repeats:
                groups = repeats.groups(tile.repeats.array)
                widths[groups[-1]] = len(tile.columns) - weights * (len(groups) - 1)
        for block in range(len(repeats.source)):
            for source in set(repeats.source[block][repeats.is_copy[block]].tolist()):
                copies = np.flatnonzero((repeats.source[block] == source) & repeats.is_copy[block])
                shifted = repeats.is_shifted[block, copies]
                copied += int(widths[copies].sum())
                passed += int(widths[copies] @ (1 + shifted)) + int(widths[source]) * (1 + bool(shifted.any()))
    return copied, passed


def _driven_groups(
    driven: Sequence[NDArray[np.int32]], tiles: Sequence[ArrayTile], placement: Placement, chip: Chip
) -> _ColumnGroups:
    """The column groups of all arrays, windows and input steps, with the rows that carry a bit."""
    per_weight = placement.mapping.array.columns_per_weight
    weights = weights_per_group(chip.crossbar.active_columns, per_weight)
    each = [group_widths(len(tile.columns), weights) for tile in tiles]
    counts = zip(driven, each, strict=True)
    rows = [np.broadcast_to(one, (*one.shape[:2], len(widths))) for one, widths in counts]
    widths = [np.broadcast_to(of_tile, one.shape) for of_tile, one in zip(each, rows, strict=True)]
    flat = np.concatenate([one.reshape(-1) for one in rows]).astype(np.int64)
    wide, h = np.concatenate([one.reshape(-1) for one in widths]), chip.crossbar.active_rows
    full, rest = np.divmod(flat, h)
    columns = np.bincount(rest, wide, minlength=h + 1).astype(np.int64)
    columns[h], columns[0] = full @ wide, 0
    converted = {rows: per_weight * int(columns[rows]) for rows in np.flatnonzero(columns).tolist()}
    return _ColumnGroups(flat, full + (rest > 0), wide, converted)


def steps_by_skipping(work: LayerWork, chip: Chip) -> SkippedSteps:
    """Array steps of one image with nothing, zero weights only, zero input bits only, and both skipped."""
    placement, mapping = work.placement, work.placement.mapping
    units = units_per_group(chip.crossbar.active_columns, mapping.array.columns_per_weight)
    dense, weights = (
        work.windows * work.input_steps * int(_column_groups(tiles, placement, chip).row_groups.sum()) * units
        for tiles in (mapping.tiles, placement.tiles)
    )
    if work.driven is None:
        return SkippedSteps(dense, weights, None, weights)
    inputs, both = (
        int(_driven_groups(driven, tiles, placement, chip).row_groups.sum()) * units
        for driven, tiles in ((work.driven.dense_tiles, mapping.tiles), (work.driven.tiles, placement.tiles))
    )
    return SkippedSteps(dense, weights, inputs, both)


def programmed_cells(placement: Placement, chip: Chip) -> int:
    """Physical cells written to program every array once."""
    groups = _column_groups(placement.tiles, placement, chip)
    return int(groups.rows @ groups.widths) * placement.mapping.array.columns_per_weight


def _outputs(work: LayerWork) -> tuple[int, int]:
    """Outputs of a window, and the additions that merge the columns that add to the same one."""
    tiles, mapping = work.placement.tiles, work.placement.mapping
    different = {id(tile.columns): tile.columns for tile in tiles}
    numbers = [mapping.output_numbers(columns) for columns in different.values()]
    outputs = len(np.unique(np.concatenate(numbers))) if numbers else 0
    return outputs, sum(len(tile.columns) for tile in tiles) - outputs


def _over_replicas(work: LayerWork, amount: Callable[[Round], int]) -> int:
    """What the rounds of one window of each replica take, times its windows."""
    return sum(work.windows_of(i) * sum(map(amount, rounds)) for i, rounds in enumerate(work.replicas))


def _macro_joins(work: LayerWork, replica: int) -> int:
    """Additions that join the macros, or programming rounds, that hold parts of the same outputs of a window."""
    mapping = work.placement.mapping
    arrays = [(number, array) for number, round_ in enumerate(work.replicas[replica]) for array in round_.arrays]
    places: dict[tuple[int, int, int], int] = {}
    different: dict[tuple[int, int], Columns] = {}
    for tile, (number, array) in zip(work.placement.tiles, arrays, strict=True):
        place = places.setdefault((number, array.tile, array.macro), len(places))
        different[place, id(tile.columns)] = tile.columns
    numbers = [mapping.output_numbers(columns) for columns in different.values()]
    owners = np.repeat([place for place, _ in different], [len(part) for part in numbers])
    parts = np.unique(np.stack([owners, np.concatenate(numbers)]), axis=1)
    return int(parts.shape[1]) - len(np.unique(parts[1]))


def _port_counts(work: LayerWork, chip: Chip) -> Counter[str]:
    """Buffer accesses and router flits, which are rounded up for every window slot."""
    port, used = chip.tile.buffer.port_bits, len(work.tiles)
    slots, rest = divmod(work.windows, work.replication)
    counts: Counter[str] = Counter()
    for copies, times in ((work.replication, slots), (rest, 1)):
        if not copies:
            continue
        for round_ in work.rounds_of(copies):
            partial = ceil_div(8 * ceil_div(round_.partial_bytes_read, len(round_.loads)), port)
            reads = sum(ceil_div(8 * load.bytes, port) + partial for load in round_.loads)
            finished = ceil_div(8 * ceil_div(round_.outputs * work.output_bits, 8 * used), port)
            parked = ceil_div(8 * ceil_div(round_.partial_bytes_written, used), port)
            flits = ceil_div(round_.outputs * work.output_bits, chip.router.flit_bits)
            counts["buffer"] += times * (reads + used * (finished + parked))
            counts["router"] += times * flits * len(work.route)
    return counts
