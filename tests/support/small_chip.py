"""A small chip with round numbers for simulation tests, made from records, not from a preset file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pimsim.hardware.records import (
    Adc,
    Buffer,
    Bus,
    Chip,
    Crossbar,
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

NS = 10**6
ISAAC_CLOCK = 833_333


def chip(
    rows: int = 128,
    columns: int = 128,
    cell_bits: int = 2,
    active: tuple[int, int] | None = None,
    read_fs: int = 100 * NS,
    stage_fs: int = 100 * NS,
    adc_columns: int | None = None,
    adc_arrays: int = 1,
    adc_interval_fs: int = 781_250,
    dac_bits: int = 1,
    discipline: str = "pipelined",
    depth: int = 1,
    input_slots: int = 2,
    output_slots: int = 2,
    arrays: int = 8,
    macros: int = 12,
) -> Chip:
    """ISAAC's timing by default; every number that a test varies is an argument."""
    h, u = active or (rows, columns)
    crossbar = Crossbar(rows, columns, cell_bits, "offset", read_fs, 1e-15, 1e-15, 0.0, h, u, 1e-12, 86 * NS)
    adc = Adc(
        8,
        adc_interval_fs,
        adc_interval_fs,
        1e-12,
        2e-4,
        1e-9,
        adc_columns or columns,
        adc_arrays,
        "isaac",
        8,
        "saturate",
    )
    clocked = Unit(1, ISAAC_CLOCK, ISAAC_CLOCK, 1e-14, 1e-6, 1e-12)
    shift_add = Unit(4, ISAAC_CLOCK, 390_625, 1e-14, 1e-6, 1e-12)
    register = Register(2048, 0, 1e-13, 1e-5, 1e-9)
    macro = Macro(
        arrays,
        crossbar,
        RowDriver(dac_bits, 0, 1e-13, 1e-7, 1e-13),
        SampleHold(depth, 0, 1e-15, 1e-9, 1e-14),
        adc,
        shift_add,
        register,
        register,
    )
    buffer = Buffer(65536, 256, 1_182_000, ISAAC_CLOCK, 1e-11, 1e-4, 1e-8)
    bus = Bus(256, ISAAC_CLOCK, ISAAC_CLOCK, 1e-13, 1e-4, 1e-8)
    tile = Tile(macros, macro, buffer, bus, clocked, replace(clocked, count=2), clocked, register)
    return Chip(
        "test",
        32e-9,
        16,
        16,
        168,
        tile,
        Router(4, 32, 3 * ISAAC_CLOCK, ISAAC_CLOCK, 1e-12, 1e-3, 1e-7),
        OffChip(4, 2.6, 5.72e-6),
        Index("bitmap", 1e-13, 1e-13),
        Timing(discipline, stage_fs, input_slots, output_slots),
    )


def varied(**changes: Any) -> Chip:
    """`chip` with some arguments changed (for hypothesis)."""
    return chip(**changes)
