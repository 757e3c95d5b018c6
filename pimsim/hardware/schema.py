"""What a hardware file may say: keys and their types, one pydantic model per component."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from pimsim.hardware.values import (
    AdcBits,
    Area,
    Bandwidth,
    Bits,
    ByteEnergy,
    Columns,
    Count,
    Discipline,
    Duration,
    EncodingName,
    Energy,
    Example,
    Fetch,
    Format,
    IntegerBits,
    Length,
    Overflow,
    Power,
    Rate,
    ReadEnergy,
    Resistance,
    Resolution,
    Scaling,
    SeriesResistance,
    Share,
    Size,
    Text,
    Texts,
    Time,
    Voltage,
)


class Part(BaseModel):
    """Any mapping of a hardware file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Counted(Part):
    """A component whose cost is per operation; without ``static_power`` the chip's leakage share applies."""

    area: Area
    static_power: Power | None = None
    full_duty: Rate | None = None


class Streamed(Part):
    """A component whose cost is per byte; without ``static_power`` the chip's leakage share applies."""

    energy_per_byte: ByteEnergy
    area: Area
    static_power: Power | None = None
    full_duty: Bandwidth | None = None


class DeviceSpec(Part):
    """``device``: a memory cell for data-dependent read energy; it conducts for the whole read unless given."""

    read_voltage: Voltage
    on_resistance: Resistance
    off_resistance: Resistance
    read_time: Duration | None = None
    access_resistance: SeriesResistance = 0.0


class CrossbarSpec(Part):
    """``crossbar``: the memory array; the operation unit is the whole array unless given."""

    rows: Count
    columns: Count
    cell_bits: Bits
    encoding: EncodingName
    read_latency: Duration
    cell_read_energy: Energy
    cell_area: Area
    program_energy_per_cell: Energy
    program_time_per_row: Time
    static_power: Power | None = None
    full_duty: Rate | None = None
    active_rows: Count | None = None
    active_columns: Count | None = None
    read_energy: ReadEnergy = "fixed"
    device: DeviceSpec | None = None


class RowDriverSpec(Counted):
    """``row_driver``: one driver (DAC) per row."""

    bits: Bits
    latency: Time
    energy: Energy


class SampleHoldSpec(Counted):
    """``sample_hold``: one sample-and-hold per column."""

    depth: Count
    latency: Time
    energy: Energy


class AdcSpec(Counted):
    """``adc``: ``reference_bits`` is where energy, static power and area hold; ``bits`` unless given.

    ``bits`` may be ``lossless``: as many as the rows of an operation unit need; ``columns`` may be ``all``.
    """

    bits: AdcBits
    latency: Time
    interval: Duration
    energy: Energy
    columns: Columns
    arrays: Count
    scaling: Scaling
    overflow: Overflow
    reference_bits: Bits | None = None
    resolution: Resolution = "fixed"


class UnitSpec(Counted):
    """``shift_add``, ``activation``, ``max_pool``: identical digital units."""

    count: Count
    latency: Time
    interval: Duration
    energy: Energy


class RegisterSpec(Streamed):
    """``input_register``, ``output_register``."""

    size: Size
    latency: Time
    write_energy_per_byte: ByteEnergy | None = None


class BufferSpec(Counted):
    """``buffer``: eDRAM or SRAM of a tile."""

    size: Size
    port_bits: Count
    latency: Time
    interval: Duration
    access_energy: Energy


class BusSpec(Streamed):
    """``bus``: between the buffer and the macros of a tile."""

    width_bits: Count
    latency: Time
    interval: Duration


class RouterSpec(Counted):
    """``router``: one per ``tiles`` tiles."""

    tiles: Count
    flit_bits: Count
    latency: Time
    interval: Duration
    energy: Energy


class OffChipSpec(Part):
    """``off_chip``: links of constant power."""

    count: Count
    static_power: Power
    area: Area


class IndexSpec(Part):
    """``index``: what skipping rows costs to look up, and the index buffer of a tile."""

    format: Format
    energy_per_byte: ByteEnergy
    decode_energy: Energy
    fetch: Fetch = "image"
    fetch_bytes: Count | None = None
    fetch_latency: Time = 0
    decode_latency: Time = 0
    static_power: Power = 0.0
    area: Area = 0.0


class TimingSpec(Part):
    """``timing``: how stages overlap."""

    discipline: Discipline
    stage: Time
    input_slots: Count
    output_slots: Count


class MacroSpec(Part):
    """``macro``: arrays with their converters and registers."""

    arrays: Count
    crossbar: CrossbarSpec
    row_driver: RowDriverSpec
    sample_hold: SampleHoldSpec
    adc: AdcSpec
    shift_add: UnitSpec
    input_register: RegisterSpec
    output_register: RegisterSpec


class TileSpec(Part):
    """``tile``: macros around a buffer and a bus."""

    macros: Count
    macro: MacroSpec
    buffer: BufferSpec
    bus: BusSpec
    shift_add: UnitSpec
    activation: UnitSpec
    max_pool: UnitSpec
    output_register: RegisterSpec


class ChipSpec(Part):
    """A hardware file."""

    name: Text
    technology: Length
    weight_bits: IntegerBits
    activation_bits: IntegerBits
    tiles: Count
    tile: TileSpec
    router: RouterSpec
    off_chip: OffChipSpec
    index: IndexSpec
    timing: TimingSpec
    leakage_share: Share | None = None
    notes: Texts = ()


def part_at(path: tuple[str, ...]) -> type[Part] | None:
    """The model that describes the mapping at a path; None where the schema has no mapping there."""
    part: type[Part] | None = ChipSpec
    for key in path:
        field = part.model_fields.get(key) if part else None
        part = _model(field.annotation) if field else None
    return part


def example_of(part: type[Part], key: str) -> str:
    """``key: value`` as one would write it, for the message of a missing key."""
    field = part.model_fields[key]
    texts = [item.text for item in field.metadata if isinstance(item, Example)]
    return f"{key}: {texts[0]}" if texts else f"{key}:"


def _model(annotation: Any) -> type[Part] | None:
    """The model inside an annotation such as ``DeviceSpec | None``."""
    options = getattr(annotation, "__args__", (annotation,))
    models = [option for option in options if isinstance(option, type) and issubclass(option, Part)]
    return models[0] if models else None
