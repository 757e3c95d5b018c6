"""Published numbers of operation-unit designs (`hardware.md` 9.4, 10.4), by target id, and what their steps take."""

from __future__ import annotations

import numpy as np
import pytest

from pimsim.hardware.laws import isaac
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.simulation.closed_form import step_fs
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.results import LayerResult
from pimsim.simulation.services import array_fs
from pimsim.simulation.work import layer_work

NS = 10**6
ALL_DYNAMIC = {"leakage_share": 0}


def full_array(chip: Chip, windows: int = 2, skip: str = "none", weight: np.ndarray | None = None) -> LayerResult:
    """8-bit weights that fill one array of 128x128 cells."""
    crossbar = chip.crossbar
    per_weight = 8 // crossbar.cell_bits
    geometry = Geometry("full", 128, 128 // per_weight, (1, 1), (windows, 1))
    array = ArrayShape(128, 128, per_weight, (crossbar.active_rows, crossbar.active_columns))
    placement = place(map_layer(geometry, array, "im2col"), weight, skip, index_format=chip.index.format)
    return simulate_layer(layer_work(Layer(geometry, Precision(8, 8)), placement, chip), chip)


def test_o1_sre_converter() -> None:
    assert isaac(6, 32e-9, 1.2e9).energy_j * 1.28e9 == pytest.approx(0.6429e-3, abs=5e-8)
    adc = load_chip("sre-16x16", ALL_DYNAMIC).macro.adc
    assert adc.energy_j * 1.2e9 == pytest.approx(0.6429e-3, abs=5e-8)


def test_o3_one_full_array_of_prap() -> None:
    result = full_array(load_chip("prap", ALL_DYNAMIC))
    assert (result.steps, result.conversions) == (256 * 8, 2 * 16_384)
    assert result.conversions / result.macs == 8.0
    assert result.dynamic_energy_j["adc"] / 2 * 1e9 == pytest.approx(8.77, abs=0.005)
    assert result.interval_fs / NS / 1000 == pytest.approx(13.65, abs=0.005)


@pytest.mark.parametrize(
    ("preset", "step_ns", "dac_fj", "adc_pj", "adc_um2"),
    [("prap", 6.67, 9.75, 0.535, 1200), ("ou-9x8", 7.68, 30, 0.313, 477), ("sre-16x16", 13.3, 52, 0.535, 627)],
)
def test_component_table(preset: str, step_ns: float, dac_fj: float, adc_pj: float, adc_um2: float) -> None:
    chip = load_chip(preset, ALL_DYNAMIC)
    macro = chip.macro
    assert step_fs(chip, chip.crossbar.active_columns) / NS == pytest.approx(step_ns, abs=0.05)
    assert macro.row_driver.energy_j * 1e15 == pytest.approx(dac_fj)
    assert macro.adc.energy_j * 1e12 == pytest.approx(adc_pj, abs=1e-3)
    assert macro.adc.area_m2 * 1e12 == pytest.approx(adc_um2)
    assert macro.shift_add.energy_j * 1e12 == pytest.approx(0.131)
    assert chip.crossbar.cell_read_energy_j * 1e15 == pytest.approx(1.8, abs=0.01)
    assert chip.index.decode_energy_j * 1e12 == pytest.approx(0.45)


def test_static_power_of_prap_at_a_leakage_share_of_a_tenth() -> None:
    macro = load_chip("prap").macro
    assert macro.adc.static_power_w * 1e3 == pytest.approx(0.0643, abs=5e-5)
    assert macro.row_driver.static_power_w * 1e6 == pytest.approx(0.39)


def test_serial_sum_repeats_the_authors_step() -> None:
    """8 x (2.5 + 3.16 + 6.67) = 98.6 ns for each operation unit and input bit, and the shift-adds."""
    chip = load_chip("prap", {"timing.discipline": "serial-sum", "tile.macro.shift_add.latency": "0 ns"})
    assert array_fs(chip, 8) / NS == pytest.approx(98.6, abs=0.05)
    result = full_array(chip)
    # M = S * OU_rows * (cols / OU_w) steps one after another, and windows one after another.
    assert result.latency_fs == 2 * result.fill_fs
    assert result.fill_fs - 2048 * array_fs(chip, 8) < 30 * NS
    with_adds = load_chip("prap", {"timing.discipline": "serial-sum"})
    assert array_fs(with_adds, 8) - array_fs(chip, 8) == 8 * 833_333


def test_one_read_then_serial_conversion() -> None:
    chip = load_chip("prap", {"timing.discipline": "serial", "tile.macro.adc.interval": "6.666667 ns"})
    assert step_fs(chip, 8) / NS == pytest.approx(59.0, abs=0.05)


@pytest.mark.parametrize("preset", ["prap", "ou-9x8", "sre-16x16"])
def test_pipelined_steps_are_shorter_than_serial_ones(preset: str) -> None:
    """10.7 property 5."""
    times = [
        step_fs(load_chip(preset, {"timing.discipline": discipline}), 8)
        for discipline in ("pipelined", "serial", "serial-sum")
    ]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("preset", "fetched"),
    # Half of the rows of every column group are zero. prap: one byte a row of units where all columns keep the same
    # rows; sre: 14 bytes for every unit of 16 of its 8 column groups.
    [("prap", 8 * 1), ("sre-16x16", 8 * 4 * 14)],
)
def test_index_bytes_of_a_window(preset: str, fetched: int) -> None:
    chip = load_chip(preset)
    weight = np.ones((128 // (8 // chip.crossbar.cell_bits), 128, 1, 1), dtype=np.int64)
    weight[:, ::2] = 0
    result = full_array(chip, 3, "ou", weight)
    assert result.counts["index_bytes"] == 3 * fetched
    assert result.dynamic_energy_j["index"] == pytest.approx(
        3 * fetched * 0.53e-12 + result.array_steps * 0.45e-12, rel=1e-9
    )


@pytest.mark.parametrize(("size", "bits"), [(32, 6), (64, 7), (128, 8), (256, 9)])
def test_pim_prune_converters_follow_the_array(size: int, bits: int) -> None:
    """`hardware.md` 2.1: log2 R + v + w - 1, less one for inversion; one converter an array."""
    sizes = {"tile.macro.crossbar.rows": size, "tile.macro.crossbar.columns": size}
    adc = load_chip("pim-prune", sizes).macro.adc
    assert (adc.bits, adc.columns) == (bits, size)
