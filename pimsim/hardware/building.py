"""From a checked hardware file to records: the leakage split and the ADC scaling law happen here."""

from __future__ import annotations

from dataclasses import dataclass

from pimsim.hardware.laws import adc_ratio, extrapolated, lossless_adc_bits
from pimsim.hardware.records import (
    Adc,
    Buffer,
    Bus,
    Chip,
    Crossbar,
    Device,
    Index,
    Macro,
    OffChip,
    Register,
    Router,
    RowDriver,
    SampleHold,
    Tile,
    Timing,
    Unit,
)
from pimsim.hardware.schema import (
    BufferSpec,
    BusSpec,
    ChipSpec,
    Counted,
    CrossbarSpec,
    IndexSpec,
    MacroSpec,
    OffChipSpec,
    RegisterSpec,
    RouterSpec,
    Streamed,
    TileSpec,
    UnitSpec,
)
from pimsim.units import FS_PER_S


@dataclass(frozen=True)
class Split:
    """Dynamic energy per operation (or byte), static power of one unit, and its full-duty rate."""

    energy: float
    static_w: float
    rate: float


def split(spec: Counted | Streamed | CrossbarSpec, energy: float, share: float, operations: int = 1) -> Split:
    """The energy of one operation divided into a dynamic part and static power.

    Where the file gives ``static_power``, ``energy`` is dynamic as it stands. Otherwise it is the whole
    full-duty power over the rate, and ``share`` of that power is static: power at full duty is the same
    for every share (`hardware.md` 9, phi).

    Args:
        spec: the component.
        energy: joules of one operation, as the file gives it.
        share: the chip's leakage share.
        operations: operations at once (cells of an array).
    """
    rate = spec.full_duty or 0.0
    if spec.static_power is not None:
        return Split(energy, spec.static_power, rate)
    return Split((1 - share) * energy, share * energy * operations * rate, rate)


def build_chip(spec: ChipSpec, sources: tuple[tuple[str, str], ...]) -> Chip:
    """The chip that a checked hardware file describes.

    Raises:
        ConfigError: ADC bits outside the range of the scaling law.
    """
    share = spec.leakage_share or 0.0
    return Chip(
        name=spec.name,
        technology_m=spec.technology,
        weight_bits=spec.weight_bits,
        activation_bits=spec.activation_bits,
        tiles=spec.tiles,
        tile=_tile(spec.tile, share, spec.technology),
        router=_router(spec.router, share),
        off_chip=_off_chip(spec.off_chip),
        index=_index(spec.index),
        timing=Timing(spec.timing.discipline, spec.timing.stage, spec.timing.input_slots, spec.timing.output_slots),
        sources=sources,
        notes=(*spec.notes, *_adc_notes(spec.tile.macro)),
        leakage_share=share,
    )


def _adc_bits(spec: MacroSpec) -> int:
    """Bits of the converter; ``lossless`` is what a full operation unit needs (`hardware.md` 2.1)."""
    if isinstance(spec.adc.bits, int):
        return spec.adc.bits
    array = spec.crossbar
    rows = array.active_rows or array.rows
    return lossless_adc_bits(rows, spec.row_driver.bits, array.cell_bits, array.encoding)


def _adc_notes(macro: MacroSpec) -> list[str]:
    """What a reader of the results must know about a rescaled converter, or one that may stop early."""
    spec, chosen = macro.adc, _adc_bits(macro)
    reference = spec.reference_bits or chosen
    notes = []
    if spec.resolution != "fixed":
        notes.append(f"ADC resolution '{spec.resolution}': energy and time of a conversion in proportion to its bits")
    if chosen == reference:
        return notes
    notes.append(f"ADC rescaled from {reference} to {chosen} bits by law '{spec.scaling}'")
    outside = [bits for bits in (reference, chosen) if extrapolated(spec.scaling, bits)]
    notes += [f"ADC law '{spec.scaling}' is extrapolated to {bits} bits (published for 4 to 10)" for bits in outside]
    return notes


def _tile(spec: TileSpec, share: float, technology: float) -> Tile:
    return Tile(
        macros=spec.macros,
        macro=_macro(spec.macro, share, technology),
        buffer=_buffer(spec.buffer, share),
        bus=_bus(spec.bus, share),
        shift_add=_unit(spec.shift_add, share),
        activation=_unit(spec.activation, share),
        max_pool=_unit(spec.max_pool, share),
        output_register=_register(spec.output_register, share),
    )


def _macro(spec: MacroSpec, share: float, technology: float) -> Macro:
    driver, hold = spec.row_driver, spec.sample_hold
    drive, sample = split(driver, driver.energy, share), split(hold, hold.energy, share)
    return Macro(
        arrays=spec.arrays,
        crossbar=_crossbar(spec.crossbar, share),
        row_driver=RowDriver(driver.bits, driver.latency, drive.energy, drive.static_w, driver.area, drive.rate),
        sample_hold=SampleHold(hold.depth, hold.latency, sample.energy, sample.static_w, hold.area, sample.rate),
        adc=_adc(spec, share, technology),
        shift_add=_unit(spec.shift_add, share),
        input_register=_register(spec.input_register, share),
        output_register=_register(spec.output_register, share),
    )


def _crossbar(spec: CrossbarSpec, share: float) -> Crossbar:
    cost = split(spec, spec.cell_read_energy, share, operations=spec.rows * spec.columns)
    return Crossbar(
        rows=spec.rows,
        columns=spec.columns,
        cell_bits=spec.cell_bits,
        encoding=spec.encoding,
        read_latency_fs=spec.read_latency,
        cell_read_energy_j=cost.energy,
        cell_area_m2=spec.cell_area,
        static_power_w=cost.static_w,
        active_rows=spec.active_rows or spec.rows,
        active_columns=spec.active_columns or spec.columns,
        program_energy_per_cell_j=spec.program_energy_per_cell,
        program_time_per_row_fs=spec.program_time_per_row,
        read_energy=spec.read_energy,
        device=_device(spec),
        full_duty_hz=cost.rate,
    )


def _device(spec: CrossbarSpec) -> Device | None:
    cell = spec.device
    if cell is None:
        return None
    time = cell.read_time or spec.read_latency
    return Device(cell.read_voltage, cell.on_resistance, cell.off_resistance, time, cell.access_resistance)


def _adc(macro: MacroSpec, share: float, technology: float) -> Adc:
    """The converter at its bits: energy, static power and area of the reference times the law's ratio."""
    spec, bits = macro.adc, _adc_bits(macro)
    reference = spec.reference_bits or bits
    energy_ratio, area_ratio = 1.0, 1.0
    if bits != reference:
        rate = FS_PER_S / spec.interval
        energy_ratio, area_ratio = adc_ratio(spec.scaling, bits, reference, technology, rate)
    cost = split(spec, spec.energy, share)
    return Adc(
        bits=bits,
        latency_fs=spec.latency,
        interval_fs=spec.interval,
        energy_j=cost.energy * energy_ratio,
        static_power_w=cost.static_w * energy_ratio,
        area_m2=spec.area * area_ratio,
        columns=spec.columns if isinstance(spec.columns, int) else macro.crossbar.columns,
        arrays=spec.arrays,
        scaling=spec.scaling,
        reference_bits=reference,
        overflow=spec.overflow,
        full_duty_hz=cost.rate,
        resolution=spec.resolution,
    )


def _unit(spec: UnitSpec, share: float) -> Unit:
    cost = split(spec, spec.energy, share)
    return Unit(spec.count, spec.latency, spec.interval, cost.energy, cost.static_w, spec.area, cost.rate)


def _register(spec: RegisterSpec, share: float) -> Register:
    cost, write = split(spec, spec.energy_per_byte, share), spec.write_energy_per_byte
    wrote = None if write is None else split(spec, write, share).energy
    return Register(spec.size, spec.latency, cost.energy, cost.static_w, spec.area, cost.rate, wrote)


def _buffer(spec: BufferSpec, share: float) -> Buffer:
    cost = split(spec, spec.access_energy, share)
    return Buffer(
        spec.size, spec.port_bits, spec.latency, spec.interval, cost.energy, cost.static_w, spec.area, cost.rate
    )


def _bus(spec: BusSpec, share: float) -> Bus:
    cost = split(spec, spec.energy_per_byte, share)
    return Bus(spec.width_bits, spec.latency, spec.interval, cost.energy, cost.static_w, spec.area, cost.rate)


def _router(spec: RouterSpec, share: float) -> Router:
    cost = split(spec, spec.energy, share)
    return Router(
        spec.tiles, spec.flit_bits, spec.latency, spec.interval, cost.energy, cost.static_w, spec.area, cost.rate
    )


def _index(spec: IndexSpec) -> Index:
    return Index(
        format=spec.format,
        energy_per_byte_j=spec.energy_per_byte,
        decode_energy_j=spec.decode_energy,
        fetch=spec.fetch,
        fetch_bytes=spec.fetch_bytes or 0,
        fetch_latency_fs=spec.fetch_latency,
        decode_latency_fs=spec.decode_latency,
        static_power_w=spec.static_power,
        area_m2=spec.area,
    )


def _off_chip(spec: OffChipSpec) -> OffChip:
    return OffChip(spec.count, spec.static_power, spec.area)
