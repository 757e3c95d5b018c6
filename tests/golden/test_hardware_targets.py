"""Published hardware numbers that the presets must reproduce (`hardware.md` 10.1, 10.4), by their id."""

from __future__ import annotations

import pytest

from pimsim.hardware.budget import chip_budget, macro_budget, peak_operations_per_second, tile_budget
from pimsim.hardware.encodings import columns_per_weight, input_steps
from pimsim.hardware.laws import isaac
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.units import parse_quantity


@pytest.fixture(scope="module")
def chip() -> Chip:
    return load_chip("isaac-like")


@pytest.fixture(scope="module")
def lossless_static() -> Chip:
    """The same chip with all power dynamic (phi = 0), where energies are those of `hardware.md` 1.1."""
    return load_chip("isaac-like", {"leakage_share": 0})


def test_i1_arrays_of_the_chip(chip: Chip) -> None:
    assert chip.arrays == 168 * 12 * 8 == 16128


def test_i2_peak_operations(chip: Chip) -> None:
    assert peak_operations_per_second(chip) == pytest.approx(41288e9, rel=1e-4)


def test_i3_power_efficiency(chip: Chip) -> None:
    assert peak_operations_per_second(chip) / chip_budget(chip).power_w == pytest.approx(627.5e9, rel=1e-3)


def test_i4_area_efficiency(chip: Chip) -> None:
    per_mm2 = peak_operations_per_second(chip) / (chip_budget(chip).area_m2 * 1e6)
    assert per_mm2 == pytest.approx(478.95e9, rel=1e-2)


def test_i5_macro_power_and_area(chip: Chip) -> None:
    budget = macro_budget(chip.macro)
    assert budget.power_w == pytest.approx(24.08e-3, rel=1e-6)
    assert budget.area_m2 == pytest.approx(0.01312e-6, rel=1e-4)


#: ISAAC Table I, one macro (IMA): power in mW and area in mm^2 of each row.
MACRO_ROWS = [
    ("adc", 16, 0.0096),
    ("row_driver", 4, 0.00017),
    ("sample_hold", 0.010, 0.00004),
    ("crossbar", 2.4, 0.0002),
    ("shift_add", 0.2, 0.00024),
    ("input_register", 1.24, 0.0021),
    ("output_register", 0.23, 0.00077),
]


@pytest.mark.parametrize(("component", "power_mw", "area_mm2"), MACRO_ROWS)
def test_i5_rows_of_the_macro(chip: Chip, component: str, power_mw: float, area_mm2: float) -> None:
    line = macro_budget(chip.macro)[component]
    assert line.power_w == pytest.approx(power_mw * 1e-3, rel=1e-6)
    assert line.area_m2 == pytest.approx(area_mm2 * 1e-6, rel=1e-6)


def test_i6_tile_power_and_area(chip: Chip) -> None:
    budget = tile_budget(chip)
    assert budget.power_w == pytest.approx(329.8e-3, rel=1e-3)
    assert budget.area_m2 == pytest.approx(0.3723e-6, rel=1e-3)


#: ISAAC Table I, one tile without its macros: power in mW and area in mm^2 of each row.
TILE_ROWS = [
    ("buffer", 20.7, 0.083),
    ("bus", 7, 0.090),
    ("router", 10.5, 0.151 / 4),
    ("activation", 0.52, 0.0006),
    ("tile_shift_add", 0.05, 0.00006),
    ("max_pool", 0.4, 0.00024),
    ("tile_output_register", 1.68, 0.0032),
]


@pytest.mark.parametrize(("component", "power_mw", "area_mm2"), TILE_ROWS)
def test_i6_rows_of_the_tile(chip: Chip, component: str, power_mw: float, area_mm2: float) -> None:
    line = tile_budget(chip)[component]
    assert line.power_w == pytest.approx(power_mw * 1e-3, rel=1e-6)
    assert line.area_m2 == pytest.approx(area_mm2 * 1e-6, rel=1e-6)


def test_i7_chip_power_and_area(chip: Chip) -> None:
    budget = chip_budget(chip)
    assert budget.power_w == pytest.approx(65.8, rel=1e-3)
    assert budget.area_m2 == pytest.approx(85.4e-6, rel=1e-3)
    assert budget["off_chip"].power_w == pytest.approx(10.4)
    assert budget["off_chip"].area_m2 == pytest.approx(22.88e-6)
    assert budget["router"].count == 42


def test_i8_energy_of_one_array_mvm(lossless_static: Chip) -> None:
    """16 steps of 128 rows and 128 columns; 512 B of input and 256 updates of 2 B of output register."""
    macro, array = lossless_static.macro, lossless_static.crossbar
    steps = len(input_steps(16, macro.row_driver.bits))
    samples = steps * array.columns
    parts_nj = {
        "adc": (samples * macro.adc.energy_j, 3.200),
        "row_driver": (steps * array.rows * macro.row_driver.energy_j, 0.800),
        "array": (steps * array.rows * array.columns * array.cell_read_energy_j, 0.480),
        "sample_hold": (samples * macro.sample_hold.energy_j, 0.002),
        "shift_add": (samples * macro.shift_add.energy_j, 0.040),
        "input_register": (2 * array.rows * 2 * macro.input_register.energy_per_byte_j, 0.248),
        "output_register": (samples // 8 * 2 * macro.output_register.energy_per_byte_j, 0.046),
    }
    for name, (energy_j, published_nj) in parts_nj.items():
        assert energy_j * 1e9 == pytest.approx(published_nj, rel=1e-6), name
    assert sum(energy for energy, _ in parts_nj.values()) * 1e9 == pytest.approx(4.816, rel=1e-6)
    assert macro_budget(macro).power_w * 1.6e-6 / 8 * 1e9 == pytest.approx(4.816, rel=1e-6)


def test_i9_share_of_the_adc(chip: Chip) -> None:
    macro, tile = macro_budget(chip.macro), tile_budget(chip)
    assert macro["adc"].power_w / macro.power_w == pytest.approx(0.66, abs=0.005)
    assert tile["adc"].power_w / tile.power_w == pytest.approx(0.58, abs=0.005)
    assert tile["adc"].area_m2 / tile.area_m2 == pytest.approx(0.31, abs=0.005)


def test_i12_adc_power_of_the_chip(chip: Chip) -> None:
    assert chip_budget(chip)["adc"].power_w == pytest.approx(32.26, rel=1e-3)


def test_p1_energy_of_a_puma_mvm() -> None:
    energy = parse_quantity("19.09 mW", "power") * parse_quantity("2304 ns", "time") / 10**15
    assert float(energy) * 1e9 == pytest.approx(43.98, abs=0.005)


def test_o1_power_of_the_sre_adc() -> None:
    """ISAAC's converter at 6 bits by law (a), at ISAAC's rate."""
    assert isaac(6, 32e-9, 1.28e9).energy_j * 1.28e9 * 1e3 == pytest.approx(0.6429, abs=5e-5)
    adc = load_chip("isaac-like", {"tile.macro.adc.bits": 6, "leakage_share": 0}).macro.adc
    assert adc.energy_j * 1.28e9 * 1e3 == pytest.approx(0.6429, abs=5e-5)


def test_property_1_power_at_full_duty_does_not_depend_on_the_leakage_share() -> None:
    powers = [chip_budget(load_chip("isaac-like", {"leakage_share": share})).power_w for share in (0, 0.1, 0.35)]
    assert powers == pytest.approx([powers[0]] * 3, rel=1e-9)


#: `hardware.md` 9.1, columns "E_dyn, phi = 0.1" and "static each, phi = 0.1"; joules and watts.
SPLIT_ROWS = [
    ("macro.row_driver", "energy_j", 0.3516e-12, 0.3906e-6),
    ("macro.sample_hold", "energy_j", 0.8789e-15, 0.977e-9),
    ("macro.adc", "energy_j", 1.40625e-12, 0.2e-3),
    ("macro.shift_add", "energy_j", 0.01758e-12, 5e-6),
    ("macro.input_register", "energy_per_byte_j", 0.436e-12, 0.124e-3),
    ("macro.output_register", "energy_per_byte_j", 0.1617e-12 / 2, 0.023e-3),
    ("tile.buffer", "access_energy_j", 16.87e-12, 0.46e-3),
    ("tile.bus", "energy_per_byte_j", 0.410e-12, 0.7e-3),
    ("router", "energy_j", 4.27e-12, 1.04e-3),
    ("tile.activation", "energy_j", 0.195e-12, 26e-6),
    ("tile.shift_add", "energy_j", 0.0375e-12, 5e-6),
    ("tile.max_pool", "energy_j", 0.300e-12, 40e-6),
    ("tile.output_register", "energy_per_byte_j", 0.394e-12, 0.168e-3),
]


@pytest.mark.parametrize(("path", "field", "energy_j", "static_w"), SPLIT_ROWS)
def test_dynamic_and_static_share_of_each_component(
    chip: Chip, path: str, field: str, energy_j: float, static_w: float
) -> None:
    component: object = chip
    for name in path.split("."):
        component = getattr(component, name)
    assert getattr(component, field) == pytest.approx(energy_j, rel=2e-3)
    assert getattr(component, "static_power_w") == pytest.approx(static_w, rel=2e-3)  # noqa: B009


def test_timing_facts_of_the_preset(chip: Chip) -> None:
    adc, unit = chip.macro.adc, chip.macro.shift_add
    assert (chip.crossbar.read_latency_fs, chip.timing.stage_fs) == (100_000_000, 100_000_000)
    assert adc.interval_fs * adc.columns == 100_000_000
    assert unit.interval_fs * 2 == adc.interval_fs
    assert (chip.timing.discipline, chip.timing.input_slots, chip.timing.output_slots) == ("pipelined", 2, 2)


def test_eight_bit_preset_changes_precision_alone(chip: Chip) -> None:
    eight = load_chip("isaac-like-8b")
    assert (eight.name, eight.weight_bits, eight.activation_bits) == ("isaac-like-8b", 8, 8)
    assert (eight.tile, eight.router, eight.timing) == (chip.tile, chip.router, chip.timing)
    assert len(input_steps(8, 1)) == 8
    assert columns_per_weight(eight.crossbar.encoding, 8, 2) == 4
