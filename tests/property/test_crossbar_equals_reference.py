"""With an ADC that loses nothing, the crossbar equals the integer reference for everything it can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polarised_weights import held

from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.laws import lossless_adc_bits
from pimsim.hardware.records import ENCODINGS, Adc, Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import MAPPERS, map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision

SKIPS: tuple[dict[str, Any], ...] = (
    {"skip": "none"},
    {"skip": "row"},
    {"skip": "row", "pack": "layer"},
    {"skip": "array"},
    {"skip": "ou"},
    {"skip": "ou", "compact": False},
    {"skip": "repeat"},
    {"skip": "column"},
    {"skip": "column", "pack": "layer"},
    {"skip": "block", "pack": "layer"},
)
ROWS = 24


def crossbar(encoding: str, cell_bits: int, active: tuple[int, int], columns: int) -> Crossbar:
    return Crossbar(ROWS, columns, cell_bits, encoding, 0, 0.0, 0.0, 0.0, *active, 0.0, 0)


def adc(bits: int, overflow: str = "saturate") -> Adc:
    return Adc(bits, 0, 0, 0.0, 0.0, 0.0, 1, 1, "isaac", 8, overflow)


@dataclass(frozen=True)
class Case:
    layer: Layer
    placement: Placement
    array: Crossbar
    dac_bits: int
    inputs: np.ndarray

    def run(self, adc_bits: int, exact: str, engine: str, overflow: str = "saturate") -> CrossbarLayer:
        driver = RowDriver(self.dac_bits, 0, 0.0, 0.0, 0.0)
        return CrossbarLayer(
            self.layer, self.placement, ReadOut(self.array, driver, adc(adc_bits, overflow), exact, engine)
        )

    @property
    def lossless(self) -> int:
        rows = min(self.array.active_rows, ROWS)
        return lossless_adc_bits(rows, self.dac_bits, self.array.cell_bits, self.array.encoding)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    least = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = tuple(low + draw(st.integers(0, 4)) for low in least)
    return Geometry(
        name="layer",
        in_channels=groups * draw(st.integers(1, 4)),
        out_channels=groups * draw(st.integers(1, 4)),
        kernel=kernel,
        input_size=size,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=draw(st.tuples(*[st.integers(0, 2)] * 4)),
        dilation=dilation,
        groups=groups,
    )


def shifted_copies(weight: np.ndarray, half: int, rng: np.random.Generator) -> np.ndarray:
    """Most outputs repeat others up to a power of two."""
    small = np.clip(weight, -min(half, 3), min(half, 3) - 1)
    sources, shifts = rng.integers(0, len(weight), len(weight)), rng.integers(0, 3, len(weight))
    copies = small[sources] << shifts.reshape(-1, 1, 1, 1)
    return np.where(np.abs(copies) < half, copies, small)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    geometry = draw(geometries())
    precision = Precision(draw(st.integers(2, 8)), draw(st.integers(1, 8)), draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    half = 2 ** (precision.weight_bits - 1)
    weight = rng.integers(-half, half, geometry.weight_shape)
    weight *= rng.random(weight.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    if draw(st.booleans()):
        weight = shifted_copies(weight, half, rng)
    weight *= rng.random((1, 1, *geometry.kernel)) < draw(st.sampled_from([0.5, 1.0]))
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    inputs = rng.integers(low, low + 2**precision.activation_bits, (2, geometry.in_channels, *geometry.input_size))
    encoding, cell_bits = draw(st.sampled_from(ENCODINGS)), draw(st.integers(1, 3))
    weight = held(weight, encoding, precision.weight_bits)
    columns = 3 * columns_per_weight(encoding, precision.weight_bits, cell_bits) + draw(st.integers(0, 30))
    widths = [1, min(5, columns), max(1, columns // 2), columns]
    unit = draw(st.sampled_from([1, 4, 7, ROWS])), draw(st.sampled_from(widths))
    array = crossbar(encoding, cell_bits, unit, columns)
    shape = ArrayShape(ROWS, columns, columns_per_weight(encoding, precision.weight_bits, cell_bits), unit)
    options = {"groups": draw(st.sampled_from(["serial", "packed"]))}
    mapping = map_layer(geometry, shape, draw(st.sampled_from(sorted(MAPPERS))), **options)
    placement = place(mapping, weight, **draw(st.sampled_from(SKIPS)))
    layer = Layer(geometry, precision, weight)
    return Case(layer, placement, array, draw(st.integers(1, 3)), inputs)


PROFILE = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("engine", ["plain", "packed"])
@PROFILE
@given(case=cases())
def test_bit_serial_equals_reference(case: Case, engine: str) -> None:
    """Every mapper, skip, encoding, signedness, driver, operation unit and geometry, one bit at a time."""
    wanted = reference_convolution(case.layer, case.inputs)
    outputs, seen = case.run(case.lossless, "bit-serial", engine).multiply(case.inputs)
    np.testing.assert_array_equal(outputs, wanted)
    assert seen.clipped == 0
    assert seen.collapsed_columns == 0


@PROFILE
@given(case=cases(), lost=st.integers(0, 3), overflow=st.sampled_from(["saturate", "rescale"]))
def test_three_ways_agree_with_any_adc(case: Case, lost: int, overflow: str) -> None:
    """Plain, packed and (wholly or partly) collapsed give the same outputs, exact or not."""
    bits = max(1, case.lossless - lost)
    plain, seen = case.run(bits, "bit-serial", "plain", overflow).multiply(case.inputs)
    packed, packed_seen = case.run(bits, "bit-serial", "packed", overflow).multiply(case.inputs)
    auto, auto_seen = case.run(bits, "auto", "packed", overflow).multiply(case.inputs)
    np.testing.assert_array_equal(packed, plain)
    np.testing.assert_array_equal(auto, plain)
    assert packed_seen == seen
    assert auto_seen.clipped == seen.clipped
    assert auto_seen.conversions == seen.conversions


@PROFILE
@given(case=cases(), overflow=st.sampled_from(["saturate", "rescale"]))
def test_lossless_collapses_wholly(case: Case, overflow: str) -> None:
    """With a lossless ADC no column can overflow, so nothing is left for the bit-serial path."""
    outputs, seen = case.run(case.lossless, "auto", "plain", overflow).multiply(case.inputs)
    np.testing.assert_array_equal(outputs, reference_convolution(case.layer, case.inputs))
    assert seen.path == "collapsed"
