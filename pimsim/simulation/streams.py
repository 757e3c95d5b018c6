"""What the stages of one array group do for a window: row selection, reads, conversions and shift-adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pimsim.hardware.records import Chip
from pimsim.simulation.costs import conversions_at
from pimsim.simulation.plan import Counts, Jobs
from pimsim.simulation.services import (
    Activation,
    array_fs,
    burst_fs,
    index_bytes,
    index_fs,
    is_fused,
    shift_add_fs,
)

IDLE = Jobs(1, (0,), (0,), units=0)


@dataclass(frozen=True)
class StreamJobs:
    """The jobs of each stage of an array group for one window; idle where the group has no such stage."""

    index: Jobs
    array: Jobs
    adc: Jobs
    shift_add: Jobs


def stream_key(act: Activation, chip: Chip, indexed: bool) -> tuple[object, ...]:
    """Arrays with the same key take the same time in every step."""
    return act.runs, index_fs(chip, act) if has_index_stage(chip, indexed) else ()


def has_index_stage(chip: Chip, indexed: bool) -> bool:
    """Whether rows take time to select: they are chosen, and the chip says what that takes."""
    return indexed and (chip.index.fetch_latency_fs > 0 or chip.index.decode_latency_fs > 0)


def stream_jobs(acts: Sequence[Activation], chip: Chip, indexed: bool) -> StreamJobs:
    """The jobs of arrays in lockstep (the same key); ``indexed``: skipped rows make an index needed."""
    if not acts:
        return StreamJobs(IDLE, IDLE, IDLE, IDLE)
    act, units = acts[0], len(acts)
    read, convert, update, select = _counts(acts, chip, indexed)
    index = IDLE
    if has_index_stage(chip, indexed):
        times = index_fs(chip, act)
        index = Jobs(act.steps, times, times, tuple(select.items()), units)
    else:
        read += select
    if is_fused(chip):
        read += convert
        convert = Counter()

    def steps(service: Callable[[int, int], tuple[int, int]], counts: Counter[str], rows: int = 0) -> Jobs:
        return _steps(act, units, service, tuple(counts.items()), rows)

    return StreamJobs(
        index,
        steps(lambda each, bits: (array_fs(chip, each, bits),) * 2, read, max(one.most_rows for one in acts)),
        steps(lambda each, bits: burst_fs(chip, each, bits), convert),
        steps(lambda each, _: shift_add_fs(chip, each), update),
    )


def _steps(
    act: Activation, units: int, service: Callable[[int, int], tuple[int, int]], counts: Counts, rows: int
) -> Jobs:
    """The steps of a window; ``service`` gives occupancy and latency for the conversions and bits of each ADC."""
    services = [(*service(each, bits), steps) for each, bits, steps in act.runs]
    if len({times[:2] for times in services}) == 1:
        services = [(*services[0][:2], 1)]
    occupancy = tuple(busy for busy, _, steps in services for _ in range(steps))
    latency = tuple(late for _, late, steps in services for _ in range(steps))
    return Jobs(act.steps, occupancy, latency, counts, units, rows)


def _counts(
    acts: Sequence[Activation], chip: Chip, indexed: bool
) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str]]:
    """Actions of one window: reading, converting, shifting and adding, and selecting rows."""
    read, convert, update, select = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for act in acts:
        rows, samples = act.total("rows"), act.total("converted")
        read["row_driver"] += rows
        read["crossbar"] += act.total("rows", "columns")
        read["input_register_read_bits"] += rows * chip.macro.row_driver.bits
        read["array_steps"] += act.steps
        convert["sample_hold"] += 0 if is_fused(chip) else samples
        convert["adc"] += samples
        if chip.macro.adc.resolution != "fixed":
            for one in act.reads:
                convert[conversions_at(one.bits)] += act.input_steps * one.units * one.converted
        update["shift_add"] += samples
        update["output_register"] += act.total("updates")
        if indexed:
            select["index_decode"] += act.steps
            select["index_bytes"] += index_bytes(chip, act)
    return read, convert, update, select
