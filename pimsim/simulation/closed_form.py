"""Latency of one layer in closed form: fill + (N - 1) x interval (`hardware.md` 4.2, 4.3).

The third witness beside the engines. It holds where all windows are alike (one phase of services) and
nothing but the terms below limits the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from pimsim.hardware.records import Chip
from pimsim.simulation.services import activations, array_fs, burst_fs, ceil_div, scatter_fs, shift_add_fs
from pimsim.simulation.work import LayerWork


@dataclass(frozen=True)
class ClosedForm:
    """Fill (latency of the first window), interval between windows, and total for all windows, in fs."""

    fill_fs: int
    interval_fs: int
    windows: int

    @property
    def total_fs(self) -> int:
        """Latency of all windows: fill + (N - 1) x interval."""
        return self.fill_fs + (self.windows - 1) * self.interval_fs


def step_fs(chip: Chip, conversions_each: int) -> int:
    """Time between two steps of an array, t_step: the slowest of read, conversion and shift-add.

    Discipline ``serial`` adds read and conversion; ``multiplexed`` senses column after column.
    """
    read = array_fs(chip, conversions_each)
    if chip.timing.discipline == "multiplexed":
        return max(read, shift_add_fs(chip, conversions_each)[0])
    occupancy, latency = burst_fs(chip, conversions_each)
    if chip.timing.discipline == "serial":
        return read + latency
    return max(read, occupancy, shift_add_fs(chip, conversions_each)[0])


def closed_form(work: LayerWork, chip: Chip) -> ClosedForm:
    """Closed-form latency of a layer whose arrays all stand in one tile and take full-width steps.

    ``arrays: 1`` counts every (array tile, window) pair as a window: the published computing cycles.
    """
    timing, tile = chip.timing, chip.tile
    loads = [_load_fs(work, chip, number) for number in range(len(work.rounds))]
    load_busy, load = max(busy for busy, _ in loads), max(latency for _, latency in loads)
    each, steps = _widest(work, chip)
    step = step_fs(chip, each)
    _shift_busy, shift = shift_add_fs(chip, each)
    convert = 0 if timing.discipline == "multiplexed" else burst_fs(chip, each)[1]
    round_ = work.rounds[-1]
    units = len(round_.loads)
    merge_busy = ceil_div(round_.tile_merges, tile.shift_add.count * units) * tile.shift_add.interval_fs
    finish_busy = ceil_div(round_.outputs, tile.activation.count * units) * tile.activation.interval_fs
    accesses = ceil_div(ceil_div(round_.outputs * work.output_bits, 8) * 8, tile.buffer.port_bits)
    write_busy = accesses * tile.buffer.interval_fs
    scatter_busy, scatter = scatter_fs(chip, round_) if work.scattered else (0, 0)
    tail = (
        scatter
        + max(_last(merge_busy, tile.shift_add.latency_fs, tile.shift_add.interval_fs), timing.stage_fs)
        + max(_last(finish_busy, tile.activation.latency_fs, tile.activation.interval_fs), timing.stage_fs)
        + max(_last(write_busy, tile.buffer.latency_fs, tile.buffer.interval_fs), timing.stage_fs)
    )
    reading = (steps - 1) * step + array_fs(chip, each)
    fill = load + reading + convert + shift + tail
    if timing.discipline == "serial":
        return ClosedForm(fill, fill, work.windows * len(work.rounds))
    double_buffered = ceil_div(load + steps * step, timing.input_slots)
    interval = max(steps * step, load_busy + write_busy, scatter_busy, merge_busy, finish_busy, double_buffered)
    return ClosedForm(fill, interval, work.windows * len(work.rounds))


def _last(busy_fs: int, latency_fs: int, interval_fs: int) -> int:
    """When the last of several operations finishes, from the time that they occupy the unit."""
    return busy_fs - interval_fs + latency_fs if busy_fs else 0


def _widest(work: LayerWork, chip: Chip) -> tuple[int, int]:
    """Conversions of an ADC in a step, and steps of a window, of the slowest array."""
    acts = [activations(array, work.input_steps, chip) for round_ in work.rounds for array in round_.arrays]
    return max(each for act in acts for each, _ in act.runs), max(act.steps for act in acts)


def _load_fs(work: LayerWork, chip: Chip, number: int) -> tuple[int, int]:
    """Port occupancy and latency of loading one window: buffer read, then bus and input register."""
    load = work.rounds[number].loads[0]
    buffer, bus = chip.tile.buffer, chip.tile.bus
    accesses = ceil_div(8 * load.bytes, buffer.port_bits)
    transfers = ceil_div(8 * load.bytes, bus.width_bits)
    read = buffer.latency_fs + (accesses - 1) * buffer.interval_fs
    move = bus.latency_fs + (transfers - 1) * bus.interval_fs + chip.macro.input_register.latency_fs
    return accesses * buffer.interval_fs, max(read + move, chip.timing.stage_fs)
