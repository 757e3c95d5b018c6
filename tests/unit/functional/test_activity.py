"""Row and cell activity against a loop over every window, step, row and cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polarised_weights import held

from pimsim.functional.activity import activity
from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.hardware.encodings import columns_per_weight, drive
from pimsim.hardware.records import ENCODINGS, Adc, Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision

ADC = Adc(12, 0, 0, 0.0, 0.0, 0.0, 1, 1, "isaac", 8, "saturate")


def test_one_row_by_hand() -> None:
    """Weight 1 in 2-bit offset cells is 1 + 2 = code 3 of one 2-bit cell; input 5 = 101b drives it twice."""
    layer = Layer(Geometry("fc", 1, 1), Precision(2, 3), np.ones((1, 1, 1, 1), np.int64))
    array = Crossbar(2, 2, 2, "offset", 0, 0.0, 0.0, 0.0, 2, 2, 0.0, 0)
    placement = place(map_layer(layer.geometry, ArrayShape(2, 2, 1), "im2col"), layer.weight)
    seen = activity(layer, placement, np.full((1, 1, 1, 1), 5), array, RowDriver(1, 0, 0.0, 0.0, 0.0))
    assert (seen.driven_row_steps, seen.row_steps) == (2, 3)
    assert seen.level_reads.tolist() == [0, 0, 0, 2]
    assert seen.density == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    encoding=st.sampled_from(ENCODINGS),
    method=st.sampled_from(["im2col", "sdk", "vw-sdk"]),
    skip=st.sampled_from(["none", "row", "array"]),
    dac_bits=st.integers(1, 2),
    signed=st.booleans(),
)
def test_counts_every_driven_cell(
    seed: int, encoding: str, method: str, skip: str, dac_bits: int, signed: bool
) -> None:
    rng = np.random.default_rng(seed)
    geometry = Geometry("conv", 2, 3, (2, 2), (4, 4), (1, 1), (1, 0, 0, 1))
    weight = rng.integers(-4, 4, geometry.weight_shape) * (rng.random((1, 2, 2, 2)) < 0.6)
    weight = held(weight, encoding, 3)
    layer = Layer(geometry, Precision(3, 4, signed), weight)
    q = columns_per_weight(encoding, 3, 2)
    array = Crossbar(10, 30, 2, encoding, 0, 0.0, 0.0, 0.0, 4, 30, 0.0, 0)
    placement = place(map_layer(geometry, ArrayShape(10, 30, q), method), weight, skip)
    inputs = rng.integers(-8 if signed else 0, 8 if signed else 16, (2, 2, 4, 4))
    driver = RowDriver(dac_bits, 0, 0.0, 0.0, 0.0)
    seen = activity(layer, placement, inputs, array, driver)
    cells = CrossbarLayer(layer, placement, ReadOut(array, driver, ADC)).programmed
    driven, reads = 0, np.zeros(4, dtype=np.int64)
    padded = placement.mapping.pad_input(inputs)
    for programmed in cells:
        pixels = placement.mapping.window_pixels(programmed.rows)
        for image in padded:
            for window in pixels:
                codes = drive(image[window], 4, dac_bits, signed)
                tiles = sum(
                    1 for tile in placement.tiles if (tile.block, tile.rows) == (programmed.block, programmed.rows)
                )
                driven += tiles * np.count_nonzero(codes)
                for row, code in enumerate((codes**2).sum(axis=1)):
                    reads += code * np.bincount(programmed.cells[row].reshape(-1), minlength=4)
    assert seen.driven_row_steps == driven
    assert seen.level_reads.tolist() == reads.tolist()
