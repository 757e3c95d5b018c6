"""Rules that no single value can break: impossible combinations on a chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pimsim.hardware.encodings import POLARISED, columns_per_weight
from pimsim.hardware.records import Chip, Crossbar
from pimsim.units import ns

ARRAY = "tile.macro.crossbar"
ADC = "tile.macro.adc"


@dataclass(frozen=True)
class Broken:
    """A broken rule: the dotted path of the value to blame, what was given, the rule and the fix."""

    path: str
    given: str
    rule: str
    fix: str


def broken_rules(chip: Chip) -> list[Broken]:
    """Every impossible combination on a chip; empty for a sound one."""
    return [
        *_array_rules(chip.crossbar),
        *_precision_rules(chip),
        *_sharing_rules(chip),
        *_tile_rules(chip),
        *_index_rules(chip),
    ]


def _array_rules(array: Crossbar) -> Iterator[Broken]:
    """An operation unit within the array, and a cell whose states and read time are possible."""
    for side, active, whole in (
        ("rows", array.active_rows, array.rows),
        ("columns", array.active_columns, array.columns),
    ):
        if active > whole:
            rule = f"an operation unit cannot drive more {side} than the array has ({whole})"
            yield Broken(f"{ARRAY}.active_{side}", f"{active} active {side}", rule, f"Use {whole} or fewer")
    if array.read_energy == "data-dependent" and array.device is None:
        rule = "data-dependent read energy needs a device"
        fix = "Add 'device:' with read_voltage, on_resistance and off_resistance, or use 'fixed'"
        yield Broken(f"{ARRAY}.read_energy", "'data-dependent'", rule, fix)
    if array.device is None:
        return
    if array.device.off_resistance_ohm <= array.device.on_resistance_ohm:
        given = f"{array.device.off_resistance_ohm:g} ohm off, {array.device.on_resistance_ohm:g} ohm on"
        rule = "the off resistance must be above the on resistance"
        yield Broken(f"{ARRAY}.device.off_resistance", given, rule, "Exchange the two")
    if array.device.read_time_fs > array.read_latency_fs:
        rule = "a cell cannot conduct for longer than the array is read"
        fix = f"Use {ns(array.read_latency_fs):g} ns or less, or leave read_time out"
        yield Broken(f"{ARRAY}.device.read_time", f"{ns(array.device.read_time_fs):g} ns of read time", rule, fix)


def _precision_rules(chip: Chip) -> Iterator[Broken]:
    """Cells, drivers and weights whose bits fit each other and the array."""
    array, weight = chip.crossbar, chip.weight_bits
    if array.cell_bits > weight:
        rule = f"a cell cannot hold more bits than a weight has ({weight})"
        yield Broken(f"{ARRAY}.cell_bits", f"{array.cell_bits} cell bits", rule, f"Use {weight} or fewer")
    driver, activation = chip.macro.row_driver.bits, chip.activation_bits
    if driver > activation:
        rule = f"a driver cannot carry more bits than an activation has ({activation})"
        yield Broken("tile.macro.row_driver.bits", f"{driver} driver bits", rule, f"Use {activation} or fewer")
    if array.encoding == POLARISED and weight < 2:
        rule = f"a weight needs a bit beside its sign, which encoding '{POLARISED}' keeps outside the cells"
        yield Broken("weight_bits", f"{weight} weight bits", rule, "Use 2 or more, or another encoding")
        return
    columns = columns_per_weight(array.encoding, weight, array.cell_bits)
    if columns > array.columns:
        rule = f"one {weight}-bit weight takes {columns} columns and the array has {array.columns}"
        fix = "Use more columns, more cell bits or fewer weight bits"
        yield Broken(f"{ARRAY}.columns", f"{array.columns} columns", rule, fix)


def _sharing_rules(chip: Chip) -> Iterator[Broken]:
    """Converters shared by no more columns or arrays than there are."""
    adc, columns, arrays = chip.macro.adc, chip.crossbar.columns, chip.macro.arrays
    if adc.columns > columns:
        rule = f"an ADC cannot be shared by more columns than the array has ({columns})"
        yield Broken(f"{ADC}.columns", f"{adc.columns} columns", rule, f"Use {columns} or fewer")
    if adc.arrays > arrays:
        rule = f"an ADC cannot be shared by more arrays than the macro has ({arrays})"
        yield Broken(f"{ADC}.arrays", f"{adc.arrays} arrays", rule, f"Use {arrays} or fewer")


def _index_rules(chip: Chip) -> Iterator[Broken]:
    """Fetches of some bytes, and none where the index is held; a converter that may stop early."""
    index, adc = chip.index, chip.macro.adc
    if index.fetch != "image" and not index.fetch_bytes:
        rule = f"an index that is fetched for every {index.fetch} needs the bytes of a fetch"
        yield Broken("index.fetch", f"'{index.fetch}'", rule, "Add 'fetch_bytes: 1', or use fetch 'image'")
    if index.fetch == "image" and (index.fetch_bytes or index.fetch_latency_fs):
        key, given = (
            ("fetch_bytes", f"{index.fetch_bytes} bytes") if index.fetch_bytes else ("fetch_latency", "a latency")
        )
        rule = "an index that is held for the whole image is not fetched while arrays are read"
        yield Broken(f"index.{key}", given, rule, f"Leave {key} out, or use fetch 'unit-row' or 'unit'")
    if adc.resolution != "fixed" and adc.overflow == "rescale":
        rule = "a converter that stops early counts in units of one and cannot rescale"
        yield Broken(f"{ADC}.resolution", f"'{adc.resolution}'", rule, "Use overflow 'saturate', or resolution 'fixed'")


def _tile_rules(chip: Chip) -> Iterator[Broken]:
    """A port no wider than its memory, and a router for tiles that exist."""
    buffer = chip.tile.buffer
    if buffer.port_bits > 8 * buffer.size_bytes:
        rule = f"a port cannot be wider than the buffer ({8 * buffer.size_bytes} bits)"
        yield Broken(
            "tile.buffer.port_bits", f"{buffer.port_bits} bits", rule, "Use a narrower port or a larger buffer"
        )
    if chip.router.tiles > chip.tiles:
        rule = f"a router cannot be shared by more tiles than the chip has ({chip.tiles})"
        yield Broken("router.tiles", f"{chip.router.tiles} tiles", rule, f"Use {chip.tiles} or fewer")
