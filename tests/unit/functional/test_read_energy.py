"""Data-dependent read energy: against a sum over every cell and step, and against the fixed energy (10.7, 9)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pimsim.errors import SimulationError
from pimsim.functional.read_energy import read_energy_j
from pimsim.hardware.encodings import drive, encode
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision


def case(chip: Chip, rows: int, outputs: int, windows: int, bits: int) -> tuple[Layer, np.ndarray]:
    generator = np.random.default_rng(3)
    geometry = Geometry("linear", rows, outputs, (1, 1), (windows, 1), kind="linear")
    weight = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), geometry.weight_shape)
    inputs = generator.integers(0, 2**bits, (1, rows, windows, 1))
    return Layer(geometry, Precision(bits, bits), weight), inputs


def energy(chip: Chip, layer: Layer, inputs: np.ndarray) -> float:
    bits = layer.precision.weight_bits
    placement = place(map_layer(layer.geometry, ArrayShape(128, 128, bits // 2), "im2col"), layer.weight)
    return read_energy_j(layer, placement, inputs, chip.crossbar, chip.macro.row_driver)


def test_equals_the_sum_over_every_cell_and_step() -> None:
    chip = load_chip("isaac-like-8b", {"tile.macro.crossbar.encoding": "offset"})
    layer, inputs = case(chip, 5, 3, 4, 8)
    device = chip.crossbar.device
    assert layer.weight is not None and device is not None
    codes = encode(layer.weight.reshape(3, 5), "offset", 8, 2)
    off, on = 1 / device.off_resistance_ohm, 1 / device.on_resistance_ohm
    total = 0.0
    for window in range(4):
        for row in range(5):
            for bit in drive(inputs[0, row, window, 0], 8, 1):
                for code in codes[:, row].reshape(-1):
                    total += int(bit) * 0.2**2 * (off + code * (on - off) / 3) * 100e-9
    assert energy(chip, layer, inputs) == pytest.approx(total, rel=1e-12, abs=0)


def test_uniform_weights_and_half_the_bits_cost_the_fixed_energy() -> None:
    """`hardware.md` 10.7 property 9: within 3 %. Plain offset: inverting full columns would lower the mean level."""
    chip = load_chip("isaac-like-8b", {"tile.macro.crossbar.encoding": "offset"})
    layer, inputs = case(chip, 128, 32, 200, 8)
    fixed = 200 * 8 * 128 * 128 * chip.crossbar.cell_read_energy_j
    assert energy(chip, layer, inputs) == pytest.approx(fixed, rel=0.03, abs=0)


def test_zero_inputs_cost_nothing() -> None:
    chip = load_chip("isaac-like-8b")
    layer, inputs = case(chip, 8, 4, 3, 8)
    assert energy(chip, layer, np.zeros_like(inputs)) == 0.0


def test_a_device_is_needed() -> None:
    chip = load_chip("isaac-like-8b")
    layer, inputs = case(chip, 8, 4, 3, 8)
    bare = replace(
        chip, tile=replace(chip.tile, macro=replace(chip.macro, crossbar=replace(chip.crossbar, device=None)))
    )
    with pytest.raises(SimulationError, match="the cell's voltage and resistances are needed"):
        energy(bare, layer, inputs)
