"""Action counts of one layer by formula (`hardware.md` 5): the witness of the counts that the engine gathers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from pimsim.hardware.records import Chip
from pimsim.mapping.layout import Columns
from pimsim.simulation.building import digital_operations
from pimsim.simulation.plan import LayerPlan
from pimsim.simulation.services import ceil_div
from pimsim.simulation.work import LayerWork, Round


def engine_counts(plan: LayerPlan, jobs: tuple[tuple[int, ...], ...]) -> Counter[str]:
    """Counts gathered by an engine: what every finished job did, summed.

    Args:
        plan: the plan that was played.
        jobs: finished jobs by stage and phase.
    """
    counts: Counter[str] = Counter()
    for stage, finished in zip(plan.stages, jobs, strict=True):
        for spec, done in zip(stage.jobs, finished, strict=True):
            for entry in spec.counts:
                for name, amount in entry:
                    counts[name] += amount * (done // len(spec.counts))
    return counts


def formula_counts(work: LayerWork, chip: Chip) -> Counter[str]:
    """Counts of one image from the placement alone, without a plan or an engine."""
    tiles, windows, steps = work.placement.tiles, work.windows, work.input_steps
    crossbar = chip.crossbar
    per_weight = work.placement.mapping.array.columns_per_weight
    row_groups = [ceil_div(len(tile.rows), crossbar.active_rows) for tile in tiles]
    column_groups = [ceil_div(len(tile.columns) * per_weight, crossbar.active_columns) for tile in tiles]
    rows, columns = [len(tile.rows) for tile in tiles], [len(tile.columns) for tile in tiles]
    reads = windows * steps
    conversions = reads * sum(g * c * per_weight for g, c in zip(row_groups, columns, strict=True))
    driven = reads * sum(r * g for r, g in zip(rows, column_groups, strict=True))
    outputs, merges = _outputs(work)
    counts = Counter(
        {
            "adc": conversions,
            "sample_hold": 0 if chip.timing.discipline == "multiplexed" else conversions,
            "shift_add": conversions,
            "row_driver": driven,
            "input_register_read_bits": driven * chip.macro.row_driver.bits,
            "crossbar": reads * sum(r * c * per_weight for r, c in zip(rows, columns, strict=True)),
            "array_steps": reads * sum(a * b for a, b in zip(row_groups, column_groups, strict=True)),
            "output_register": reads * sum(g * c for g, c in zip(row_groups, columns, strict=True)) + windows * merges,
            "tile_shift_add": sum(work.windows_of(i) * _macro_joins(work, i) for i in range(work.replication)),
            "activation": windows * outputs,
            "tile_output_register_bits": 2 * windows * outputs * work.output_bits,
            "bus": _over_replicas(work, lambda round_: sum(load.bytes for load in round_.loads)),
            "input_register_write_bytes": _over_replicas(
                work, lambda round_: sum(load.register_bytes for load in round_.loads)
            ),
        }
    )
    counts["index_decode"] = counts["array_steps"] if work.placement.index_bits else 0
    if work.scattered:
        # An output index is looked up once a window, for every sum that leaves an array.
        counts["index_decode"] = windows * len(tiles)
        counts["output_register"] += windows * sum(columns)
    counts.update(_port_counts(work, chip))
    counts.update(digital_operations(work.digital))
    return counts


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
