"""How one array works through a window: operation units, conversions per ADC, and service times."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pimsim.hardware.records import Chip
from pimsim.simulation.work import ArrayWork, Round


@dataclass(frozen=True)
class Activation:
    """The steps of one array for one window: row groups x column groups x input steps (`hardware.md` 4.3).

    Attributes:
        rows: rows driven in each row group (G_r entries).
        columns: physical columns converted in each column group (G_c entries).
        updates: weight columns whose last slice stands in each column group (output-register updates).
        conversions_each: conversions that each ADC makes in a step, k_eff, by column group.
        input_steps: S.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    updates: tuple[int, ...]
    conversions_each: tuple[int, ...]
    input_steps: int

    @property
    def steps(self) -> int:
        """Array activations for one window."""
        return len(self.rows) * len(self.columns) * self.input_steps

    @property
    def uniform(self) -> bool:
        """True when all steps are alike, so that one entry describes them all."""
        return len(self.rows) == 1 and len(self.columns) == 1

    @property
    def order(self) -> list[tuple[int, int]]:
        """(row group, column group) of every step: column groups outermost, input steps innermost."""
        if self.uniform:
            return [(0, 0)]
        return [
            (r, c) for c in range(len(self.columns)) for r in range(len(self.rows)) for _ in range(self.input_steps)
        ]

    @property
    def service_key(self) -> tuple[object, ...]:
        """Arrays with the same key take the same time in every step."""
        return len(self.rows), self.conversions_each, self.input_steps


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def _chunks(total: int, size: int) -> tuple[int, ...]:
    full, rest = divmod(total, size)
    return (size,) * full + ((rest,) if rest else ())


def activations(array: ArrayWork, input_steps: int, chip: Chip) -> Activation:
    """How an array with its driven rows and used columns is activated for one window."""
    crossbar, adc = chip.crossbar, chip.macro.adc
    columns = _chunks(array.columns, crossbar.active_columns)
    per_weight = array.columns // array.weight_columns
    ends = [sum(columns[: i + 1]) // per_weight for i in range(len(columns))]
    updates = tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
    converters = ceil_div(crossbar.active_columns, adc.columns)
    each = tuple(ceil_div(used, converters) for used in columns)
    return Activation(_chunks(array.rows, crossbar.active_rows), columns, updates, each, input_steps)


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
