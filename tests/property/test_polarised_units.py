"""Arrays of magnitudes: exact where every operation unit has one sign a column, refused where one has not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pimsim.errors import QuantizationError
from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.hardware.encodings import POLARISED, columns_per_weight
from pimsim.hardware.laws import lossless_adc_bits
from pimsim.hardware.records import Adc, Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.pruning.methods.forms import Forms

#: What leaves rows where they are, in operation units counted from the first row of each array.
IN_PLACE: tuple[dict[str, Any], ...] = ({"skip": "none"}, {"skip": "ou", "compact": False}, {"skip": "array"})
WAYS = [("auto", "packed"), ("bit-serial", "packed"), ("bit-serial", "plain")]
PROFILE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Case:
    layer: Layer
    rows: int
    height: int
    cell_bits: int
    dac_bits: int
    inputs: np.ndarray
    skip: dict[str, Any]

    @property
    def array(self) -> ArrayShape:
        each = columns_per_weight(POLARISED, self.layer.precision.weight_bits, self.cell_bits)
        return ArrayShape(self.rows, 3 * each, each, (self.height, 2 * each))

    def on_arrays(self, exact: str, engine: str) -> CrossbarLayer:
        array = self.array
        unit = self.height, 2 * array.columns_per_weight
        crossbar = Crossbar(self.rows, array.columns, self.cell_bits, POLARISED, 0, 0.0, 0.0, 0.0, *unit, 0.0, 0)
        bits = lossless_adc_bits(self.height, self.dac_bits, self.cell_bits, POLARISED)
        adc = Adc(bits, 0, 0, 0.0, 0.0, 0.0, 1, 1, "isaac", 8, "saturate")
        read_out = ReadOut(crossbar, RowDriver(self.dac_bits, 0, 0.0, 0.0, 0.0), adc, exact, engine)
        assert self.layer.weight is not None
        placement = place(map_layer(self.layer.geometry, array, "im2col"), self.layer.weight, **self.skip)
        return CrossbarLayer(self.layer, placement, read_out)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any weights; three in four layers polarised by the pruning method, with the fragments of the operation unit."""
    groups = draw(st.sampled_from([1, 1, 2]))
    geometry = Geometry(
        "layer", groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 4)),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))), (4, 5), padding=(1, 0, 0, 1), groups=groups,
    )  # fmt: skip
    precision = Precision(draw(st.integers(2, 8)), draw(st.integers(1, 6)), draw(st.booleans()))
    rng, top = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), 2 ** (precision.weight_bits - 1) - 1
    weight = rng.integers(-top, top + 1, geometry.weight_shape)
    weight *= rng.random(weight.shape) < draw(st.sampled_from([0.1, 0.6, 1.0]))
    rows = draw(st.sampled_from([5, 12, 24]))
    height = draw(st.sampled_from([h for h in (1, 3, 4, 5, rows) if h <= rows]))
    if draw(st.integers(0, 3)):
        # The whole weight of the layer as the method sees it: a matrix for each group.
        matrices = [part.reshape(len(part), -1).T.astype(float) for part in np.split(weight, groups)]
        masks = Forms(fragment=height, array=f"{rows}x1").matrix_masks({"layer": matrices})["layer"]
        weight = weight * np.concatenate([mask.T for mask in masks]).reshape(weight.shape)
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    inputs = rng.integers(low, low + 2**precision.activation_bits, (2, geometry.in_channels, *geometry.input_size))
    return Case(
        Layer(geometry, precision, weight), rows, height, draw(st.integers(1, 3)), draw(st.integers(1, 2)), inputs,
        draw(st.sampled_from(IN_PLACE)),
    )  # fmt: skip


def has_a_mixed_unit(case: Case) -> bool:
    """Whether a column of a group's matrix has both signs in rows that one operation unit of an array reads."""
    weight, groups = case.layer.weight, case.layer.geometry.groups
    assert weight is not None
    for output, kernels in enumerate(weight.reshape(len(weight), -1)):
        assert 0 <= output // (len(weight) // groups) < groups
        for first in range(0, len(kernels), case.rows):
            column = kernels[first : min(first + case.rows, len(kernels))]
            units = [column[row : row + case.height] for row in range(0, len(column), case.height)]
            if any((unit < 0).any() and (unit > 0).any() for unit in units):
                return True
    return False


@PROFILE
@given(cases())
def test_exact_unless_a_unit_has_both_signs(case: Case) -> None:
    wanted = reference_convolution(case.layer, case.inputs)
    for exact, engine in WAYS:
        on_arrays = case.on_arrays(exact, engine)
        if has_a_mixed_unit(case):
            with pytest.raises(QuantizationError, match=r"^layer: weights -\d+ and \d+ of output channel \d+ in one"):
                on_arrays.multiply(case.inputs)
            continue
        outputs, seen = on_arrays.multiply(case.inputs)
        np.testing.assert_array_equal(outputs, wanted)
        assert seen.clipped == 0
        for stored in on_arrays.programmed:
            assert stored.cells.max(initial=0) < 1 << case.cell_bits
            assert not stored.correction.any()


@PROFILE
@given(cases())
def test_a_negated_layer_has_the_same_cells(case: Case) -> None:
    """The sign is in the digital side alone."""
    assert case.layer.weight is not None
    if has_a_mixed_unit(case):
        return
    other = replace(case, layer=replace(case.layer, weight=-case.layer.weight))
    ours, theirs = (one.on_arrays("bit-serial", "plain").programmed for one in (case, other))
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.cells, yours.cells)
        np.testing.assert_array_equal(mine.weights, -yours.weights)


def test_two_units_of_other_signs_by_hand() -> None:
    """Rows 0 and 1 hold 3 and 1, rows 2 and 3 hold -2 and 0: two 2-bit cells a weight of 4 bits, gains +1 and -1."""
    weight = np.array([3, 1, -2, 0]).reshape(1, 4, 1, 1)
    layer = Layer(Geometry("fc", 4, 1), Precision(4, 2), weight)
    case = Case(layer, 4, 2, 2, 1, np.array([1, 2, 3, 3]).reshape(1, 4, 1, 1), {"skip": "none"})
    on_arrays = case.on_arrays("bit-serial", "plain")
    (stored,) = on_arrays.programmed
    assert stored.cells[:, :, 0].tolist() == [[3, 0], [1, 0], [2, 0], [0, 0]]
    assert stored.gain[:, :, 0].tolist() == [[1, 4], [-1, -4]]
    assert on_arrays.multiply(case.inputs)[0].item() == 3 + 2 - 6


def test_packed_rows_are_no_fragments_any_more() -> None:
    """Row 1 is zero: closed up, rows 0 and 2 are read together, and the message says what to do."""
    weight = np.array([3, 0, -2, -1]).reshape(1, 4, 1, 1)
    layer = Layer(Geometry("fc", 4, 1), Precision(4, 2), weight)
    inputs = np.array([1, 2, 3, 3]).reshape(1, 4, 1, 1)
    for skip in ({"skip": "row"}, {"skip": "ou"}):
        with pytest.raises(QuantizationError) as caught:
            Case(layer, 4, 2, 2, 1, inputs, skip).on_arrays("auto", "packed").multiply(inputs)
        assert str(caught.value) == (
            "fc: weights -2 and 3 of output channel 0 in one operation unit: with the encoding 'polarised' the weights "
            "of a column that are read together share one sign. Prune with --method forms --fragment 2 for arrays of 4 "
            "rows, map with im2col, and use skip none, or ou with compact false, so that rows keep their places."
        )
    assert Case(layer, 4, 2, 2, 1, inputs, IN_PLACE[1]).on_arrays("auto", "packed").multiply(inputs)[0].item() == -6
