"""Cost laws: what an ADC of given resolution costs, how many bits lose nothing, what reading a cell takes.

The scaling laws of `hardware.md` 2.2 are chosen by name in a hardware file (``adc.scaling``). They move
comparisons between small operation units and full arrays by a factor of two, so the name is part of
every result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pimsim.errors import ConfigError, nearest
from pimsim.hardware.records import ENCODINGS, Device, Macro
from pimsim.units import seconds

#: ISAAC's converter (ISCA 2016, Table I): 2 mW at 8 bits and 1.28 GS/s.
ISAAC_BITS, ISAAC_ENERGY_J = 8, 2e-3 / 1.28e9
#: List (c) of `hardware.md` 2.2, 32 nm, Saberi-type SAR: joules and square metres by bits.
SABERI_ENERGY_PJ = MappingProxyType({4: 0.79, 5: 0.99, 6: 1.20, 7: 1.42, 8: 1.67, 9: 1.97, 10: 2.38})
SABERI_AREA_UM2 = MappingProxyType({4: 361.0, 5: 477.0, 6: 627.0, 7: 845.0, 8: 1200.0, 9: 1828.0, 10: 3002.0})
ACCELERGY_LEAST_BITS = 4
#: Share of the regression's energy that is static (Accelergy's convention).
ACCELERGY_STATIC_SHARE = 0.2


@dataclass(frozen=True)
class AdcCost:
    """Energy of one conversion in joules (static share included) and area of one converter in m**2."""

    energy_j: float
    area_m2: float


def isaac(bits: int, technology_m: float, rate_hz: float) -> AdcCost:
    """Law (a): energy in proportion to 2**b / (b + 1), anchored at ISAAC's 8-bit ADC; area of list (c).

    Source: PP_sim and the SRE line of work; `hardware.md` 2.2 (a). Technology and rate play no part.
    """
    del technology_m, rate_hz
    energy = ISAAC_ENERGY_J * (2**bits / (bits + 1)) / (2**ISAAC_BITS / (ISAAC_BITS + 1))
    return AdcCost(energy, _listed(SABERI_AREA_UM2, bits) * 1e-12)


def saberi(bits: int, technology_m: float, rate_hz: float) -> AdcCost:
    """Law (c): the published list for 32 nm, 4 to 10 bits. Technology and rate play no part."""
    del technology_m, rate_hz
    return AdcCost(_listed(SABERI_ENERGY_PJ, bits) * 1e-12, _listed(SABERI_AREA_UM2, bits) * 1e-12)


def accelergy(bits: int, technology_m: float, rate_hz: float) -> AdcCost:
    """Law (e): regression over the Murmann survey, for any node and rate, 4 bits or more.

    Source: Accelergy ADC model (arXiv 2404.06553), coefficients of `hardware.md` 2.2 (e).

    Raises:
        ConfigError: fewer than 4 bits, where the regression has no data.
    """
    if bits < ACCELERGY_LEAST_BITS:
        fix = "Use 4 bits or more, or scaling 'isaac'"
        raise ConfigError(f"{bits} ADC bits", "the accelergy regression starts at 4 bits", None, fix)
    node_nm = technology_m * 1e9
    figure_of_merit = min(213.781 - 2.8719 * math.log(rate_hz), 128.307 + 3.2205 * bits)
    sndr = 6.02 * bits + 1.76
    correction = math.exp(26.0496 + 1.88004 * math.log(node_nm) - 2.82913 * math.log(bits) - 1.47020)
    energy_pj = correction / (2 * 10 ** ((figure_of_merit - sndr) / 10))
    logs = 0.99328 * math.log(node_nm) + 0.180715 * math.log(rate_hz) + 0.299124 * math.log(energy_pj)
    return AdcCost(energy_pj * 1e-12, math.exp(1.34619 + logs) * 1e-12)


#: A law: (bits, technology in metres, samples per second) -> cost.
Law = Callable[[int, float, float], AdcCost]
LAWS: Mapping[str, Law] = MappingProxyType({"isaac": isaac, "saberi": saberi, "accelergy": accelergy})


def adc_cost(scaling: str, bits: int, technology_m: float, rate_hz: float) -> AdcCost:
    """The cost of one ADC under a law given by name.

    Raises:
        ConfigError: an unknown law, or bits outside its range.
    """
    if scaling not in LAWS:
        raise ConfigError(f"'{scaling}'", "no ADC scaling law has this name", None, nearest(scaling, LAWS))
    return LAWS[scaling](bits, technology_m, rate_hz)


def adc_ratio(scaling: str, bits: int, reference_bits: int, technology_m: float, rate_hz: float) -> tuple[float, float]:
    """What energy and area of a ``reference_bits`` converter are multiplied by at ``bits``: (energy, area)."""
    new = adc_cost(scaling, bits, technology_m, rate_hz)
    old = adc_cost(scaling, reference_bits, technology_m, rate_hz)
    return new.energy_j / old.energy_j, new.area_m2 / old.area_m2


def extrapolated(scaling: str, bits: int) -> bool:
    """Whether a law leaves its published list at ``bits`` (laws ``isaac``, for area, and ``saberi``)."""
    return scaling in ("isaac", "saberi") and bits not in SABERI_AREA_UM2


def _listed(table: Mapping[int, float], bits: int) -> float:
    """An entry of a list; outside it the last ratio at that end goes on (our choice, `hardware.md` [E])."""
    first, last = min(table), max(table)
    if bits < first:
        return table[first] * (table[first] / table[first + 1]) ** (first - bits)
    if bits > last:
        return table[last] * (table[last] / table[last - 1]) ** (bits - last)
    return table[bits]


def lossless_adc_bits(rows: int, dac_bits: int, cell_bits: int, encoding: str) -> int:
    """The least ADC bits that digitise a column sum of ``rows`` driven rows exactly.

    ceil(log2(F + 1)) with full scale F = rows (2**v - 1)(2**w - 1); one bit less where columns over half
    of full scale are stored inverted (encoding ``offset-inverted``), never less than 1. A sign beside the cells
    (``polarised``) takes none. `hardware.md` 2.1.

    Raises:
        ConfigError: an unknown encoding, or a count below 1.
    """
    if encoding not in ENCODINGS:
        raise ConfigError(f"'{encoding}'", "no weight encoding has this name", None, nearest(encoding, ENCODINGS))
    for name, value in (("rows", rows), ("DAC bits", dac_bits), ("cell bits", cell_bits)):
        if value < 1:
            raise ConfigError(f"{value} {name}", "1 or more is needed")
    full_scale = rows * ((1 << dac_bits) - 1) * ((1 << cell_bits) - 1)
    return max(1, full_scale.bit_length() - (encoding == "offset-inverted"))


def resolved_bits(macro: Macro, rows: int) -> int:
    """Bits that a conversion of ``rows`` driven rows needs: those that lose nothing, at most what the converter has.

    A successive-approximation converter stops after them; no sum that it could hold is lost, so that codes are those
    of all its bits. `hardware.md` 2.1.
    """
    crossbar = macro.crossbar
    needed = lossless_adc_bits(rows, macro.row_driver.bits, crossbar.cell_bits, crossbar.encoding)
    return min(macro.adc.bits, needed)


def cell_conductances(device: Device, cell_bits: int) -> tuple[float, ...]:
    """Siemens of each level 0 .. 2**cell_bits - 1, access transistor included.

    Cell levels are linear in conductance: G_l = G_off + l (G_on - G_off) / (2**w - 1); `hardware.md` 3.4.
    """
    on, off, top = 1 / device.on_resistance_ohm, 1 / device.off_resistance_ohm, 2**cell_bits - 1
    levels = (off + level * (on - off) / top for level in range(top + 1))
    return tuple(1 / (1 / level + device.access_resistance_ohm) for level in levels)


def mean_conductance(device: Device, cell_bits: int) -> float:
    """Siemens of a cell when all levels are equally frequent."""
    levels = cell_conductances(device, cell_bits)
    return sum(levels) / len(levels)


def read_energy(device: Device, cell_bits: int, level: float, drive: float = 1.0) -> float:
    """Joules of reading one cell once: (V drive)**2 G t; `hardware.md` 3.4.

    Args:
        device: the cell.
        cell_bits: bits per cell.
        level: its level, 0 .. 2**cell_bits - 1; a mean level is interpolated between the two nearest
            (exact without an access transistor).
        drive: input code over its full scale, x / (2**v - 1): 0 or 1 with one-bit drivers.

    Raises:
        ConfigError: a level or drive outside its range.
    """
    conductances = cell_conductances(device, cell_bits)
    if not 0 <= level <= len(conductances) - 1:
        raise ConfigError(f"cell level {level}", f"levels run from 0 to {len(conductances) - 1}")
    if not 0 <= drive <= 1:
        raise ConfigError(f"drive {drive}", "the drive is a fraction of full scale, 0 to 1")
    below = min(int(level), len(conductances) - 2)
    conductance = conductances[below] + (level - below) * (conductances[below + 1] - conductances[below])
    return (device.read_voltage_v * drive) ** 2 * conductance * seconds(device.read_time_fs)


def mean_read_energy(device: Device, cell_bits: int, density: float) -> float:
    """Joules of an average cell read: levels equally frequent, a share ``density`` of input bits 1."""
    voltage, time = device.read_voltage_v, seconds(device.read_time_fs)
    return density * voltage**2 * mean_conductance(device, cell_bits) * time
