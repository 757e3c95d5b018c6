"""Where the gain goes: what each entry of a comparison saves against the dense one, part by part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pimsim.records.outcomes import Outcome
from pimsim.records.schema import COUNT, REAL, TEXT, Column

#: Components by what their energy is spent on; a component that is not listed counts as ``other``.
PARTS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "drivers": ("row_driver", "crossbar"),
        "loads": ("input_register", "buffer", "bus", "router"),
        "conversions": ("adc", "sample_hold", "shift_add", "output_register"),
        "outputs": ("tile_shift_add", "activation", "max_pool", "tile_output_register"),
        "index": ("index",),
    }
)

GAIN_COLUMNS = (
    Column("label", TEXT, "", "the entry"),
    Column("arrays_saved", COUNT, "", "arrays of the dense entry less those of this one"),
    Column("drivers_saved_pj", REAL, "pJ", "row drivers and cells: fewer rows driven"),
    Column("loads_saved_pj", REAL, "pJ", "buffer, bus, input registers and router: fewer inputs brought to the rows"),
    Column("conversions_saved_pj", REAL, "pJ", "ADC, sample and hold, shift-add, output register: fewer conversions"),
    Column("resolution_saved_pj", REAL, "pJ", "ADC: less energy per conversion; 0 at one fixed resolution"),
    Column("outputs_saved_pj", REAL, "pJ", "adders that join arrays, activation, pooling, output registers"),
    Column("index_saved_pj", REAL, "pJ", "reading and decoding the index; negative: it costs"),
    Column("other_saved_pj", REAL, "pJ", "all other components"),
    Column("dynamic_saved_pj", REAL, "pJ", "the sum of the above"),
    Column("static_saved_pj", REAL, "pJ", "static power x run time of the units in use"),
    Column("time_saved_ns", REAL, "ns", "latency of the dense entry less that of this one"),
    Column("serial_steps_saved", COUNT, "", "array activations one after another that fall away"),
)


@dataclass(frozen=True)
class Gain:
    """What one entry saves; the attributes are `GAIN_COLUMNS`. What is negative costs more than dense.

    The dynamic parts add up to ``dynamic_saved_pj`` exactly but for rounding (`math.fsum`).
    """

    label: str
    arrays_saved: int
    drivers_saved_pj: float
    loads_saved_pj: float
    conversions_saved_pj: float
    resolution_saved_pj: float
    outputs_saved_pj: float
    index_saved_pj: float
    other_saved_pj: float
    static_saved_pj: float
    time_saved_ns: float
    serial_steps_saved: int

    @property
    def dynamic_saved_pj(self) -> float:
        """All dynamic parts together."""
        parts = (*PARTS, "resolution", "other")
        return math.fsum(getattr(self, f"{part}_saved_pj") for part in parts)


def gain(outcome: Outcome, dense: Outcome) -> Gain:
    """What an entry saves against the dense one."""
    saved = {part: energy_of(dense, part) - energy_of(outcome, part) for part in (*PARTS, "other")}
    resolution = _resolution_saved(outcome, dense)
    saved["conversions"] -= resolution
    return Gain(
        outcome.label,
        dense.arrays - outcome.arrays,
        **{f"{part}_saved_pj": value for part, value in saved.items()},
        resolution_saved_pj=resolution,
        static_saved_pj=dense.static_energy_pj - outcome.static_energy_pj,
        time_saved_ns=dense.latency_ns - outcome.latency_ns,
        serial_steps_saved=dense.serial_steps - outcome.serial_steps,
    )


def gains(outcomes: Sequence[Outcome], dense: Outcome) -> tuple[Gain, ...]:
    """What every entry but the dense one saves."""
    return tuple(gain(outcome, dense) for outcome in outcomes if outcome.label != dense.label)


def energy_of(outcome: Outcome, part: str) -> float:
    """Dynamic picojoules of a part of `PARTS`, or of the components that belong to none (``other``)."""
    known = {name for names in PARTS.values() for name in names}
    energies = outcome.energy_by_component_pj
    dynamic = {name: value for name, value in energies.items() if f"{name}_static" in energies}
    if part == "other":
        return math.fsum(value for name, value in dynamic.items() if name not in known)
    return math.fsum(value for name, value in dynamic.items() if name in PARTS[part])


def _resolution_saved(outcome: Outcome, dense: Outcome) -> float:
    """ADC energy saved because a conversion takes less, not because there are fewer: n (e_dense - e)."""
    before, after = dense.conversions, outcome.conversions
    if not before or not after:
        return 0.0
    adc = "adc"
    each_before = dense.energy_by_component_pj.get(adc, 0.0) / before
    each_after = outcome.energy_by_component_pj.get(adc, 0.0) / after
    # Of the same energy a conversion: what is left is rounding of the division.
    return 0.0 if math.isclose(each_before, each_after, rel_tol=1e-12) else after * (each_before - each_after)
