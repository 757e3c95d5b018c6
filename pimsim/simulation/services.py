"""How one array works through a window: operation units, conversions per ADC, and service times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import prod

from pimsim.hardware.laws import resolved_bits
from pimsim.hardware.records import Chip
from pimsim.mapping.units import Heights, weights_per_group
from pimsim.simulation.work import ArrayWork, Round


@dataclass(frozen=True)
class Reads:
    """Operation units of one column group that follow each other and are alike.

    Attributes:
        group: number of the column group.
        units: how many there are.
        rows: rows that each of them drives.
        columns: physical columns of each.
        converted: those of them whose sums are converted.
        updates: weight columns whose last slice stands in them (output-register updates).
        conversions_each: conversions that each ADC makes in a step, k_eff.
        bits: what a conversion resolves.
    """

    group: int
    units: int
    rows: int
    columns: int
    converted: int
    updates: int
    conversions_each: int
    bits: int


@dataclass(frozen=True)
class Activation:
    """The steps of one array for one window: operation units x input steps (`hardware.md` 4.3).

    Column groups come one after another, in each its row groups, and in each of those the input steps. Each column
    group drives rows of its own, closed up to units of h rows.

    Attributes:
        reads: the operation units, in order.
        input_steps: S.
        own_rows: whether column groups drive rows of their own.
    """

    reads: tuple[Reads, ...]
    input_steps: int
    own_rows: bool = False

    @property
    def steps(self) -> int:
        """Array activations for one window."""
        return self.total()

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """(conversions of each ADC in a step, bits of each, steps in a row that are like it), in order."""
        runs: list[tuple[int, int, int]] = []
        for read in self.reads:
            steps = read.units * self.input_steps
            if runs and runs[-1][:2] == (read.conversions_each, read.bits):
                steps += runs.pop()[2]
            runs.append((read.conversions_each, read.bits, steps))
        return tuple(runs)

    @property
    def units(self) -> int:
        """Operation units that are read for a window, each for all input steps."""
        return sum(read.units for read in self.reads)

    @cached_property
    def fullest(self) -> tuple[int, int]:
        """The first column group that has the most operation units, and how many it has."""
        units: dict[int, int] = {}
        for read in self.reads:
            units[read.group] = units.get(read.group, 0) + read.units
        return max(units.items(), key=lambda item: (item[1], -item[0]))

    @property
    def most_rows(self) -> int:
        """The most rows that a step drives."""
        return max(read.rows for read in self.reads)

    def total(self, *names: str) -> int:
        """The product of some fields of `Reads`, summed over units and input steps."""
        products = (read.units * int(prod(getattr(read, name) for name in names)) for read in self.reads)
        return self.input_steps * sum(products)


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def _chunks(total: int, size: int) -> tuple[int, ...]:
    full, rest = divmod(total, size)
    return (size,) * full + ((rest,) if rest else ())


def activations(array: ArrayWork, input_steps: int, chip: Chip, most_rows: int = 0) -> Activation:
    """How an array with its driven rows and used columns is activated for one window.

    A column group of several weights is one operation unit wide; one of a weight that is wider than a unit takes
    several, and its output is updated after the last.

    Args:
        array: its operation units by column group, and its columns.
        input_steps: S.
        chip: gives the operation unit and the converters.
        most_rows: the most rows that any operation unit of the layer drives; 0: of this array.
    """
    u = chip.crossbar.active_columns
    per_weight = array.columns // array.weight_columns
    most = most_rows or array.most_rows
    converters = ceil_div(u, chip.macro.adc.columns)
    reads: list[Reads] = []
    group = 0
    widths = _chunks(array.weight_columns, weights_per_group(u, per_weight))
    for place, (heights, width) in enumerate(zip(array.group_units, widths, strict=True)):
        columns = _chunks(width * per_weight, u)
        for number, held in enumerate(columns):
            updates = width if number == len(columns) - 1 else 0
            converted = array.group_columns[place] if array.group_columns else None
            for units, rows, used in _alike(heights, converted, held):
                bits = conversion_bits(chip, rows, most)
                reads.append(Reads(group, units, rows, held, used, updates, ceil_div(used, converters), bits))
            group += 1
    return Activation(tuple(reads), input_steps, array.own_rows)


def _alike(heights: Heights, converted: tuple[int, ...] | None, held: int) -> Iterator[tuple[int, int, int]]:
    """Operation units that follow each other and are alike: (how many, rows of each, columns that each converts)."""
    if converted is None:
        yield from ((units, rows, held) for units, rows in heights)
        return
    rows = (rows for units, rows in heights for _ in range(units))
    for (driven, used), run in groupby(zip(rows, converted, strict=True)):
        yield len(list(run)), driven, used


def conversion_bits(chip: Chip, rows: int, most_rows: int) -> int:
    """Bits that a conversion of ``rows`` rows resolves in a layer whose operation units drive at most ``most_rows``."""
    adc = chip.macro.adc
    if adc.resolution == "fixed":
        return adc.bits
    return resolved_bits(chip.macro, rows if adc.resolution == "dynamic" else most_rows)


def is_fused(chip: Chip) -> bool:
    """Whether columns are sensed and converted in turn, without sample-and-hold."""
    return chip.timing.discipline in ("multiplexed", "serial-sum")


def is_serial(chip: Chip) -> bool:
    """Whether a step follows the whole of the one before, and a window that of the one before."""
    return chip.timing.discipline in ("serial", "serial-sum")


def array_fs(chip: Chip, conversions_each: int, bits: int | None = None) -> int:
    """How long one step holds the array: drive, settle and sample, or sense column after column.

    ``multiplexed`` and ``serial-sum`` have no sample-and-hold: every multiplexed column is read and converted in turn;
    in ``serial-sum`` it is shifted and added, too, before the next (`hardware.md` 4.3 III: rows are driven again for
    every conversion).
    """
    macro = chip.macro
    read = macro.row_driver.latency_fs + macro.crossbar.read_latency_fs
    if not is_fused(chip):
        return read + macro.sample_hold.latency_fs
    digital = macro.shift_add.latency_fs if chip.timing.discipline == "serial-sum" else 0
    return conversions_each * (read + _resolving(chip, macro.adc.latency_fs, bits) + digital)


def burst_fs(chip: Chip, conversions_each: int, bits: int | None = None) -> tuple[int, int]:
    """Occupancy and latency of an ADC that converts that many columns one after another.

    ``bits`` that it resolves; None: all. A converter that stops early takes time in proportion, rounded up.
    """
    interval, latency = (_resolving(chip, t, bits) for t in (chip.macro.adc.interval_fs, chip.macro.adc.latency_fs))
    return conversions_each * interval, max(latency + (conversions_each - 1) * interval, chip.timing.stage_fs)


def bursts_in_flight(chip: Chip, conversions_each: int) -> int:
    """Steps that an ADC whose latency is above its interval works on at the same time."""
    adc = chip.macro.adc
    busy = conversions_each * adc.interval_fs
    return ceil_div(adc.latency_fs + busy - adc.interval_fs, busy)


def _resolving(chip: Chip, full_fs: int, bits: int | None) -> int:
    return full_fs if bits is None else ceil_div(full_fs * bits, chip.macro.adc.bits)


def index_fs(chip: Chip, act: Activation) -> tuple[int, ...]:
    """How long the row selection of each step takes: decoding, and a fetch where a new unit (or row of units) begins.

    One entry where all steps are alike. What a row of units shares is fetched with the column group that has the most
    of them; where column groups drive rows of their own, they share nothing.
    """
    index = chip.index
    decode, fetch = index.decode_latency_fs, index.fetch_latency_fs + index.decode_latency_fs
    if decode == fetch or index.fetch == "image":
        return (decode,)
    times: list[int] = []
    every = index.fetch == "unit" or act.own_rows
    for read in act.reads:
        first = fetch if every or read.group == act.fullest[0] else decode
        times += [first, *[decode] * (act.input_steps - 1)] * read.units
    return tuple(times)


def index_bytes(chip: Chip, act: Activation) -> int:
    """Index bytes that an array fetches for one window."""
    shared = act.units if act.own_rows else act.fullest[1]
    return {"image": 0, "unit-row": shared, "unit": act.units}[chip.index.fetch] * chip.index.fetch_bytes


def shift_add_fs(chip: Chip, conversions_each: int) -> tuple[int, int]:
    """Occupancy and latency of the shift-add share of one array for the samples of one step.

    Samples stream through the unit, so that its own latency hides behind the burst unless it is longer.
    """
    unit, macro = chip.macro.shift_add, chip.macro
    if chip.timing.discipline == "serial-sum":  # the step has shifted and added
        return 0, max(macro.output_register.latency_fs, chip.timing.stage_fs)
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
