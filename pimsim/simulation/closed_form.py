"""Latency of one layer in closed form: fill + (N - 1) x interval (`hardware.md` 4.2, 4.3).

The third witness beside the engines. It holds where all windows are alike (one phase of services) and
nothing but the terms below limits the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from pimsim.hardware.records import Chip
from pimsim.simulation.services import (
    Activation,
    activations,
    array_fs,
    burst_fs,
    ceil_div,
    index_fs,
    is_fused,
    is_serial,
    scatter_fs,
    shift_add_fs,
)
from pimsim.simulation.streams import has_index_stage
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


def step_fs(chip: Chip, conversions_each: int, bits: int | None = None, index: int = 0) -> int:
    """Time between two steps of an array, t_step: the slowest of row selection, read, conversion and shift-add.

    Discipline ``serial`` adds selection, read and conversion; ``multiplexed`` senses column after column, and so does
    ``serial-sum``, which adds selection.
    """
    read, (shift, _) = array_fs(chip, conversions_each, bits), shift_add_fs(chip, conversions_each)
    convert = (0, 0) if is_fused(chip) else burst_fs(chip, conversions_each, bits)
    if is_serial(chip):
        return index + read + convert[1]
    return max(index, read, convert[0], shift)


@dataclass(frozen=True)
class _Window:
    """What an array takes for a window: until its last step starts, its last step, and to the next window."""

    until_last_fs: int
    last_fs: int
    interval_fs: int


def closed_form(work: LayerWork, chip: Chip) -> ClosedForm:
    """Closed-form latency of a layer whose arrays all stand in one tile.

    Exact where all steps are alike, or the reads bind in every step. ``arrays: 1`` counts every (array tile, window)
    pair as a window: the published computing cycles.
    """
    timing, tile = chip.timing, chip.tile
    loads = [_load_fs(work, chip, number) for number in range(len(work.rounds))]
    load_busy, load = max(busy for busy, _ in loads), max(latency for _, latency in loads)
    window = max((_window(act, work, chip) for act in _activations(work, chip)), key=lambda w: w.interval_fs)
    round_ = work.rounds[-1]
    units = len(round_.loads)
    merge_busy = ceil_div(round_.tile_merges, tile.shift_add.count * units) * tile.shift_add.interval_fs
    finish_busy = ceil_div(round_.outputs, tile.activation.count * units) * tile.activation.interval_fs
    accesses = ceil_div(ceil_div(round_.outputs * work.output_bits, 8) * 8, tile.buffer.port_bits)
    write_busy = accesses * tile.buffer.interval_fs
    # The adders take the samples of every step, of all slices, before the sums of a window: these never bind.
    scatter = scatter_fs(chip, round_)[1] if work.scattered else 0
    tail = (
        scatter
        + max(_last(merge_busy, tile.shift_add.latency_fs, tile.shift_add.interval_fs), timing.stage_fs)
        + max(_last(finish_busy, tile.activation.latency_fs, tile.activation.interval_fs), timing.stage_fs)
        + max(_last(write_busy, tile.buffer.latency_fs, tile.buffer.interval_fs), timing.stage_fs)
    )
    fill = load + window.until_last_fs + window.last_fs + tail
    if is_serial(chip):
        return ClosedForm(fill, fill, work.windows * len(work.rounds))
    double_buffered = ceil_div(load + window.interval_fs, timing.input_slots)
    interval = max(window.interval_fs, load_busy + write_busy, merge_busy, finish_busy, double_buffered)
    return ClosedForm(fill, interval, work.windows * len(work.rounds))


def _window(act: Activation, work: LayerWork, chip: Chip) -> _Window:
    """One window of an array: the rows of a step are selected while those before are read, unless steps are serial."""
    index = index_fs(chip, act) if has_index_stage(chip, work.gathered) else (0,)
    selecting = index * (act.steps // len(index))
    kinds = [(each, bits) for each, bits, steps in act.runs for _ in range(steps)]
    following = selecting if is_serial(chip) else (*selecting[1:], selecting[0])
    paces = [step_fs(chip, *kind, then) for kind, then in zip(kinds, following, strict=True)]
    each, bits = kinds[-1]
    convert = 0 if is_fused(chip) else burst_fs(chip, each, bits)[1]
    last = array_fs(chip, each, bits) + convert + shift_add_fs(chip, each)[1]
    first = selecting[-1] if is_serial(chip) else selecting[0]
    return _Window(first + sum(paces[:-1]), last, sum(paces))


def _activations(work: LayerWork, chip: Chip) -> set[Activation]:
    most_rows = work.most_rows
    arrays = (array for round_ in work.rounds for array in round_.arrays)
    return {activations(array, work.input_steps, chip, most_rows) for array in arrays}


def _last(busy_fs: int, latency_fs: int, interval_fs: int) -> int:
    """When the last of several operations finishes, from the time that they occupy the unit."""
    return busy_fs - interval_fs + latency_fs if busy_fs else 0


def _load_fs(work: LayerWork, chip: Chip, number: int) -> tuple[int, int]:
    """Port occupancy and latency of loading one window: buffer read, then bus and input register."""
    load = work.rounds[number].loads[0]
    buffer, bus = chip.tile.buffer, chip.tile.bus
    accesses = ceil_div(8 * load.bytes, buffer.port_bits)
    transfers = ceil_div(8 * load.bytes, bus.width_bits)
    read = buffer.latency_fs + (accesses - 1) * buffer.interval_fs
    move = bus.latency_fs + (transfers - 1) * bus.interval_fs + chip.macro.input_register.latency_fs
    return accesses * buffer.interval_fs, max(read + move, chip.timing.stage_fs)
