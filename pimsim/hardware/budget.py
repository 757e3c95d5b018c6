"""Power and area at full duty, by component, for a macro, a tile and the chip.

Full duty means that every unit works at the rate of the published table (``full_duty_*`` of its record);
a simulation counts what really happens instead. Source of the roll-up: ISAAC Table I, `hardware.md` 9.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from pimsim.hardware.encodings import columns_per_weight, input_steps
from pimsim.hardware.records import Adc as AdcRecord
from pimsim.hardware.records import Bus, Chip, Macro, Register, Router, RowDriver, SampleHold, Unit
from pimsim.units import seconds


@dataclass(frozen=True)
class Line:
    """One component of a budget: how many there are, their static and full-duty dynamic power, and area."""

    component: str
    count: float
    static_w: float
    dynamic_w: float
    area_m2: float

    @property
    def power_w(self) -> float:
        """Static plus dynamic power at full duty, watts."""
        return self.static_w + self.dynamic_w

    def times(self, count: float, prefix: str = "") -> Line:
        """This line ``count`` times over, its name prefixed."""
        return Line(
            prefix + self.component,
            count * self.count,
            count * self.static_w,
            count * self.dynamic_w,
            count * self.area_m2,
        )


@dataclass(frozen=True)
class Budget:
    """The lines of a macro, tile or chip, with their totals."""

    lines: tuple[Line, ...]

    @property
    def power_w(self) -> float:
        """Power at full duty, watts."""
        return sum(line.power_w for line in self.lines)

    @property
    def static_w(self) -> float:
        """Static power, watts."""
        return sum(line.static_w for line in self.lines)

    @property
    def area_m2(self) -> float:
        """Area, square metres."""
        return sum(line.area_m2 for line in self.lines)

    def __getitem__(self, component: str) -> Line:
        """The line of a component by name."""
        return next(line for line in self.lines if line.component == component)


def adcs_per_macro(macro: Macro) -> int:
    """Converters of one macro: each serves ``adc.columns`` columns of ``adc.arrays`` arrays."""
    per_array = -(-macro.crossbar.columns // macro.adc.columns)
    return -(-macro.arrays // macro.adc.arrays) * per_array


def macro_budget(macro: Macro) -> Budget:
    """Power and area of one macro by component."""
    array = macro.crossbar
    cells = array.rows * array.columns
    read_w = array.cell_read_energy_j * cells * array.full_duty_hz
    crossbar = Line("crossbar", 1, array.static_power_w, read_w, array.cell_area_m2 * cells)
    return Budget(
        (
            _line("adc", macro.adc, adcs_per_macro(macro)),
            _line("row_driver", macro.row_driver, macro.arrays * array.rows),
            _line("sample_hold", macro.sample_hold, macro.arrays * array.columns),
            crossbar.times(macro.arrays),
            _line("shift_add", macro.shift_add, macro.shift_add.count),
            _streamed("input_register", macro.input_register),
            _streamed("output_register", macro.output_register),
        )
    )


def tile_budget(chip: Chip) -> Budget:
    """Power and area of one tile by component, its share of a router included."""
    tile = chip.tile
    buffer = tile.buffer
    port_w = buffer.access_energy_j * buffer.full_duty_hz
    own = (
        Line("buffer", 1, buffer.static_power_w, port_w, buffer.area_m2),
        _streamed("bus", tile.bus),
        _line("router", chip.router, 1 / chip.router.tiles),
        _line("activation", tile.activation, tile.activation.count),
        _line("tile_shift_add", tile.shift_add, tile.shift_add.count),
        _line("max_pool", tile.max_pool, tile.max_pool.count),
        _streamed("tile_output_register", tile.output_register),
        Line("index", 1, chip.index.static_power_w, 0.0, chip.index.area_m2),
    )
    return Budget((*(line.times(tile.macros) for line in macro_budget(tile.macro).lines), *own))


def chip_budget(chip: Chip) -> Budget:
    """Power and area of the chip by component; routers are whole, off-chip links constant power."""
    lines = [line.times(chip.tiles) for line in tile_budget(chip).lines if line.component != "router"]
    links = chip.off_chip
    off_chip = Line("off_chip", links.count, links.count * links.static_power_w, 0.0, links.count * links.area_m2)
    return Budget((*lines, _line("router", chip.router, -(-chip.tiles // chip.router.tiles)), off_chip))


def peak_operations_per_second(chip: Chip) -> float:
    """Operations per second (two per multiply-accumulate) with every array full and busy."""
    array, adc = chip.crossbar, chip.macro.adc
    weights = array.columns // columns_per_weight(array.encoding, chip.weight_bits, array.cell_bits)
    steps = len(input_steps(chip.activation_bits, chip.macro.row_driver.bits))
    groups = -(-array.rows // array.active_rows) * -(-array.columns // array.active_columns)
    converted = min(adc.columns, array.active_columns) * adc.arrays
    read_fs = chip.macro.row_driver.latency_fs + array.read_latency_fs + chip.macro.sample_hold.latency_fs
    step_fs = max(read_fs, converted * adc.interval_fs)
    return chip.arrays * 2 * array.rows * weights / seconds(steps * groups * step_fs)


def _line(name: str, unit: RowDriver | SampleHold | AdcRecord | Unit | Router, count: float) -> Line:
    """The line of ``count`` units that cost per operation."""
    dynamic = unit.energy_j * unit.full_duty_hz
    return Line(name, 1, unit.static_power_w, dynamic, unit.area_m2).times(count)


def _streamed(name: str, unit: Register | Bus) -> Line:
    """The line of a memory or bus that costs per byte."""
    dynamic = unit.energy_per_byte_j * unit.full_duty_bytes_per_s
    return Line(name, 1, unit.static_power_w, dynamic, unit.area_m2)
