"""Published timing and energy of one array and of VGG-8 on `isaac-like` (`hardware.md` 10.1), by target id."""

from __future__ import annotations

import pytest

from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.results import LayerResult
from pimsim.simulation.work import LayerWork, layer_work

NS = 10**6


def work_of(geometry: Geometry, chip: Chip, bits: int, **options: int) -> LayerWork:
    per_weight = columns_per_weight(chip.crossbar.encoding, bits, chip.crossbar.cell_bits)
    array = ArrayShape(chip.crossbar.rows, chip.crossbar.columns, per_weight)
    placement = place(map_layer(geometry, array, "im2col"), None)
    return layer_work(Layer(geometry, Precision(bits, bits)), placement, chip, **options)


def run(geometry: Geometry, bits: int, preset: str = "isaac-like", **options: int) -> LayerResult:
    chip = load_chip(preset)
    return simulate_layer(work_of(geometry, chip, bits, **options), chip)


def full_array(outputs: int, bits: int) -> Geometry:
    """A layer of 128 inputs that fills the columns of one array."""
    return Geometry("full", 128, 128 * 2 // bits, (1, 1), (outputs, 1))


@pytest.mark.parametrize(("windows", "latency_ns"), [(1, 2_200), (1024, 1_639_000)])
def test_i10_latency_of_windows_on_one_array(windows: int, latency_ns: int) -> None:
    result = run(full_array(windows, 16), 16)
    assert result.latency_fs == latency_ns * NS
    assert result.fill_fs == 22 * 100 * NS


def test_i10_eight_bit_variant_fills_in_14_stages() -> None:
    result = run(full_array(1024, 8), 8, "isaac-like-8b")
    assert (result.fill_fs, result.interval_fs) == (14 * 100 * NS, 8 * 100 * NS)
    assert result.latency_fs == (14 + 8 * 1023) * 100 * NS


@pytest.mark.parametrize(("bits", "preset", "per_mac"), [(16, "isaac-like", 1.0), (8, "isaac-like-8b", 0.25)])
def test_i11_conversions_per_mac(bits: int, preset: str, per_mac: float) -> None:
    result = run(full_array(5, bits), bits, preset)
    assert result.conversions == per_mac * result.macs


def test_i8_energy_of_one_array_mvm() -> None:
    chip = load_chip("isaac-like", {"leakage_share": 0})
    result = simulate_layer(work_of(full_array(1, 16), chip, 16), chip)
    nanojoules = {name: value * 1e9 for name, value in result.dynamic_energy_j.items()}
    expected = {
        "adc": 3.200,
        "row_driver": 0.800,
        "crossbar": 0.480,
        "sample_hold": 0.002,
        "shift_add": 0.040,
        "input_register": 0.248,
        "output_register": 0.046,
    }
    for component, value in expected.items():
        assert nanojoules[component] == pytest.approx(value, abs=0.0005), component
    assert sum(nanojoules[name] for name in expected) == pytest.approx(4.816, abs=0.001)


VGG8 = [
    (3, 128, 32, 8, 16_384, 16_777_216),
    (128, 128, 32, 72, 16_384, 150_994_944),
]


@pytest.mark.parametrize(("ic", "oc", "side", "arrays", "stages", "conversions"), VGG8)
def test_vgg8_layers_at_16_bits(ic: int, oc: int, side: int, arrays: int, stages: int, conversions: int) -> None:
    geometry = Geometry("conv", ic, oc, (3, 3), (side, side), padding=(1, 1, 1, 1))
    result = run(geometry, 16)
    assert (result.arrays, result.conversions) == (arrays, conversions)
    assert result.windows * result.steps == stages
    assert result.interval_fs * result.windows == stages * 100 * NS


def test_one_array_performs_the_published_computing_cycles() -> None:
    """`arrays: 1`: fill + (cycles - 1) x initiation interval (`design.md` section 4)."""
    geometry = Geometry("conv", 64, 32, (3, 3), (6, 6), padding=(1, 1, 1, 1))
    result = run(geometry, 8, "isaac-like-8b", arrays=1)
    assert result.cycles == 36 * 5
    assert result.rounds == 5
    assert result.latency_fs == result.fill_fs + (result.cycles - 1) * 8 * 100 * NS
