"""How one array works through a window: operation units, conversions per ADC, and service times."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from math import prod

from pimsim.hardware.records import Chip
from pimsim.mapping.units import weights_per_group
from pimsim.simulation.work import ArrayWork, Round


@dataclass(frozen=True)
class Activation:
    """The steps of one array for one window: row groups x column groups x input steps (`hardware.md` 4.3).

    Column groups come one after another, in each its row groups, and in each of those the input steps. Each column
    group drives rows of its own, closed up to groups of h.

    Attributes:
        rows: rows driven by each column group, r_g (G_c entries).
        row_groups: reads that these take, ceil(r_g / h).
        columns: physical columns converted in each column group.
        updates: weight columns whose last slice stands in each column group (output-register updates).
        conversions_each: conversions that each ADC makes in a step, k_eff, by column group.
        input_steps: S.
    """

    rows: tuple[int, ...]
    row_groups: tuple[int, ...]
    columns: tuple[int, ...]
    updates: tuple[int, ...]
    conversions_each: tuple[int, ...]
    input_steps: int

    @property
    def unit_steps(self) -> int:
        """Operation units that are read for one window and input step."""
        return sum(self.row_groups)

    @property
    def steps(self) -> int:
        """Array activations for one window."""
        return self.unit_steps * self.input_steps

    @cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """(conversions of each ADC in a step, steps in a row that are like it), in order."""
        runs: list[tuple[int, int]] = []
        for each, groups in zip(self.conversions_each, self.row_groups, strict=True):
            steps = groups * self.input_steps
            if runs and runs[-1][0] == each:
                runs[-1] = each, runs[-1][1] + steps
            elif steps:
                runs.append((each, steps))
        return tuple(runs)

    def over_groups(self, *factors: tuple[int, ...]) -> int:
        """The product of values by column group, summed over the groups and times the input steps."""
        total: int = sum(prod(values) for values in zip(*factors, strict=True))
        return self.input_steps * total


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def _chunks(total: int, size: int) -> tuple[int, ...]:
    full, rest = divmod(total, size)
    return (size,) * full + ((rest,) if rest else ())


def activations(array: ArrayWork, input_steps: int, chip: Chip) -> Activation:
    """How an array with its driven rows and used columns is activated for one window.

    A column group of several weights is one operation unit wide; one of a weight that is wider than a unit takes
    several, and its output is updated after the last.
    """
    crossbar, adc = chip.crossbar, chip.macro.adc
    per_weight = array.columns // array.weight_columns
    weights = weights_per_group(crossbar.active_columns, per_weight)
    rows: list[int] = []
    columns: list[int] = []
    updates: list[int] = []
    for driven, width in zip(array.group_rows, _chunks(array.weight_columns, weights), strict=True):
        units = _chunks(width * per_weight, crossbar.active_columns)
        rows += [driven] * len(units)
        columns += units
        updates += [*[0] * (len(units) - 1), width]
    converters = ceil_div(crossbar.active_columns, adc.columns)
    return Activation(
        tuple(rows),
        tuple(ceil_div(driven, crossbar.active_rows) for driven in rows),
        tuple(columns),
        tuple(updates),
        tuple(ceil_div(used, converters) for used in columns),
        input_steps,
    )


def array_fs(chip: Chip, conversions_each: int) -> int:
    """How long one step holds the array: drive, settle and sample, or sense column after column.

    ``multiplexed`` has no sample-and-hold: every multiplexed column is read and converted in turn.
    """
    macro = chip.macro
    read = macro.row_driver.latency_fs + macro.crossbar.read_latency_fs
    if chip.timing.discipline == "multiplexed":
        return conversions_each * (read + macro.adc.latency_fs)
    return read + macro.sample_hold.latency_fs


def burst_fs(chip: Chip, conversions_each: int) -> tuple[int, int]:
    """Occupancy and latency of an ADC that converts that many columns one after another."""
    adc = chip.macro.adc
    latency = adc.latency_fs + (conversions_each - 1) * adc.interval_fs
    return conversions_each * adc.interval_fs, max(latency, chip.timing.stage_fs)


def shift_add_fs(chip: Chip, conversions_each: int) -> tuple[int, int]:
    """Occupancy and latency of the shift-add share of one array for the samples of one step.

    Samples stream through the unit, so that its own latency hides behind the burst unless it is longer.
    """
    unit, macro = chip.macro.shift_add, chip.macro
    converters = ceil_div(chip.crossbar.active_columns, macro.adc.columns)
    occupancy = conversions_each * converters * ceil_div(macro.arrays, unit.count) * unit.interval_fs
    return occupancy, max(occupancy, unit.latency_fs + macro.output_register.latency_fs, chip.timing.stage_fs)


def scatter_fs(chip: Chip, round_: Round) -> tuple[int, int]:
    """Occupancy and latency of sending every sum of a window to the output that it belongs to.

    The fullest macro decides: its adders take one sum each at a time into the output register.
    """
    macro = chip.macro
    sums: Counter[tuple[int, int]] = Counter()
    for array in round_.arrays:
        sums[array.tile, array.macro] += array.weight_columns
    beats = ceil_div(max(sums.values()), macro.shift_add.count)
    occupancy = beats * macro.shift_add.interval_fs
    latency = occupancy - macro.shift_add.interval_fs + macro.shift_add.latency_fs + macro.output_register.latency_fs
    return occupancy, max(occupancy, latency, chip.timing.stage_fs)
