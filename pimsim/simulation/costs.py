"""Energy, static power and area by component: counts times energy per action, power times time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pimsim.hardware.records import Adc, Buffer, Chip, Register, Unit

UPDATE_BYTES = 2  # one accumulation touches 16 bits of the output register (ISAAC, `hardware.md` 1.1)


@dataclass(frozen=True)
class Item:
    """One component of the chip: how many units are allocated, and what each costs at rest.

    ``busy`` names the pipeline stages whose occupancy is this component's busy time.
    """

    component: str
    level: str
    units: int
    static_power_w: float
    area_m2: float
    busy: tuple[str, ...] = ()


def inventory(chip: Chip, tiles: int) -> tuple[Item, ...]:
    """The components of ``tiles`` tiles and their routers, in the fixed order of all reports.

    Off-chip links are not listed: their power is constant and no inference traffic crosses them.
    """
    macro, tile, crossbar = chip.macro, chip.tile, chip.crossbar
    macros = tiles * tile.macros
    arrays = macros * macro.arrays
    converters = -(-(-(-crossbar.columns // macro.adc.columns) * arrays) // macro.adc.arrays)
    routers = -(-tiles // chip.router.tiles)
    cells = crossbar.rows * crossbar.columns
    adc, driver, hold = macro.adc, macro.row_driver, macro.sample_hold
    ir, register, tor, bus = macro.input_register, macro.output_register, tile.output_register, tile.bus
    return (
        Item("crossbar", "array", arrays, crossbar.static_power_w, cells * crossbar.cell_area_m2, ("array",)),
        Item("row_driver", "array", arrays * crossbar.rows, driver.static_power_w, driver.area_m2),
        Item("sample_hold", "array", arrays * crossbar.columns, hold.static_power_w, hold.area_m2),
        Item("adc", "array", converters, adc.static_power_w, adc.area_m2, ("adc",)),
        Item("shift_add", "macro", macros * macro.shift_add.count, *_rest(macro.shift_add), ("shift_add",)),
        Item("input_register", "macro", macros, ir.static_power_w, ir.area_m2),
        Item("output_register", "macro", macros, register.static_power_w, register.area_m2),
        Item("buffer", "tile", tiles, *_rest(tile.buffer), ("edram_read", "edram_write")),
        Item("bus", "tile", tiles, bus.static_power_w, bus.area_m2, ("bus",)),
        Item("tile_shift_add", "tile", tiles * tile.shift_add.count, *_rest(tile.shift_add), ("merge",)),
        Item("activation", "tile", tiles * tile.activation.count, *_rest(tile.activation), ("activation",)),
        Item("max_pool", "tile", tiles * tile.max_pool.count, *_rest(tile.max_pool)),
        Item("tile_output_register", "tile", tiles, tor.static_power_w, tor.area_m2),
        Item("router", "chip", routers, chip.router.static_power_w, chip.router.area_m2, ("router",)),
        Item("index", "tile", tiles, chip.index.static_power_w, chip.index.area_m2, ("index",)),
    )


def _rest(unit: Unit | Buffer) -> tuple[float, float]:
    return unit.static_power_w, unit.area_m2


def dynamic_energy_j(counts: Mapping[str, int], chip: Chip) -> dict[str, float]:
    """Joules by component of the counted actions, in inventory order (`hardware.md` 5)."""
    macro, tile = chip.macro, chip.tile
    wrote, read = counts.get("input_register_write_bytes", 0), counts.get("input_register_read_bits", 0) / 8
    held = counts.get("tile_output_register_bits", 0) / 8  # every output is written once and read once
    index = counts.get("index_bytes", 0) * chip.index.energy_per_byte_j
    return {
        "crossbar": counts.get("crossbar", 0) * chip.crossbar.cell_read_energy_j,
        "row_driver": counts.get("row_driver", 0) * macro.row_driver.energy_j,
        "sample_hold": counts.get("sample_hold", 0) * macro.sample_hold.energy_j,
        "adc": adc_energy_j(counts, macro.adc),
        "shift_add": counts.get("shift_add", 0) * macro.shift_add.energy_j,
        "input_register": wrote * macro.input_register.write_j + read * macro.input_register.energy_per_byte_j,
        "output_register": counts.get("output_register", 0) * UPDATE_BYTES * _both_ways(macro.output_register),
        "buffer": counts.get("buffer", 0) * tile.buffer.access_energy_j,
        "bus": counts.get("bus", 0) * tile.bus.energy_per_byte_j,
        "tile_shift_add": counts.get("tile_shift_add", 0) * tile.shift_add.energy_j,
        "activation": counts.get("activation", 0) * tile.activation.energy_j,
        "max_pool": counts.get("max_pool", 0) * tile.max_pool.energy_j,
        "tile_output_register": held * _both_ways(tile.output_register),
        "router": counts.get("router", 0) * chip.router.energy_j,
        "index": index + counts.get("index_decode", 0) * chip.index.decode_energy_j,
    }


def adc_energy_j(counts: Mapping[str, int], adc: Adc) -> float:
    """Joules of the counted conversions: in proportion to the bits of each where the converter may stop early."""
    if adc.resolution == "fixed":
        return counts.get("adc", 0) * adc.energy_j
    resolved = sum(bits * counts.get(conversions_at(bits), 0) for bits in range(1, adc.bits + 1))
    return resolved / adc.bits * adc.energy_j


def conversions_at(bits: int) -> str:
    """The name under which conversions that resolve so many bits are counted, where the converter may stop early."""
    return f"adc_{bits}_bits"


def _both_ways(register: Register) -> float:
    """Joules of a byte that is written as often as it is read: the mean of both."""
    return (register.energy_per_byte_j + register.write_j) / 2


#: The action that a component's ``actions`` column counts.
ACTIONS = {
    "input_register": "input_register_write_bytes",
    "tile_output_register": "tile_output_register_bits",
    "index": "index_decode",
}
