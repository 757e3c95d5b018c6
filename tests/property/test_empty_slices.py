"""Empty bit slices of operation units against the cells: conversions, time and energy fall, values stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_cases import BITS, Case, cases

from pimsim.errors import MappingError
from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.hardware.encodings import encode
from pimsim.hardware.records import RESOLUTIONS
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.mapping.slice_skipping import Slicing
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.simulation import compiled, event
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.work import layer_work


def converted(case: Case) -> list[int]:
    """Physical columns with a programmed cell in each read of a window."""
    found = []
    for tile, rows, columns, _ in case.units():
        cells = case.placement.mapping.cell_weights(tile, case.layer.weight)[np.ix_(rows, columns)]
        codes = encode(cells, case.encoding, BITS, 2)
        found.append(sum(bool(codes[:, c, s].any()) for c in range(len(columns)) for s in range(codes.shape[2])))
    return found


@given(cases(skip="slice"), st.sampled_from(RESOLUTIONS))
@settings(max_examples=60, deadline=None)
def test_conversions_are_those_of_programmed_columns(case: Case, resolution: str) -> None:
    adc = replace(case.machine.macro.adc, resolution=resolution, bits=12)
    machine = replace(case.machine, tile=replace(case.machine.tile, macro=replace(case.machine.macro, adc=adc)))
    work, columns = layer_work(case.layer, case.placement, machine), converted(case)
    result = simulate_layer(work, machine, event.play)
    assert simulate_layer(work, machine, compiled.play) == result
    reads = work.windows * work.input_steps
    assert case.placement.unit_steps == len(columns)
    assert result.array_steps == reads * len(columns)
    assert result.conversions == reads * sum(columns)
    # All cells of the driven rows conduct, converted or not.
    assert result.counts.get("crossbar", 0) == reads * sum(len(rows) * width for _, rows, _, width in case.units())


@given(cases(skip="slice"))
@settings(max_examples=40, deadline=None)
def test_nothing_costs_more_than_with_whole_units(case: Case) -> None:
    dense = place(case.placement.mapping, case.layer.weight, "ou", compact=case.compact)
    units, slices = (
        simulate_layer(layer_work(case.layer, placement, case.machine), case.machine, compiled.play)
        for placement in (dense, case.placement)
    )
    assert slices.latency_fs <= units.latency_fs
    assert slices.conversions <= units.conversions
    assert slices.array_steps == units.array_steps
    # A bit for each physical column of every unit, in arrays that leave one out.
    arrays: dict[int, list[tuple[int, int]]] = {}
    for (tile, *_, width), used in zip(case.units(), converted(case), strict=True):
        arrays.setdefault(id(tile), []).append((width, used))
    named = [sum(width for width, _ in reads) for reads in arrays.values() if any(w > used for w, used in reads)]
    assert case.placement.index_bits == dense.index_bits + sum(named)


@given(cases(skip="slice"), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_values_and_counted_conversions_are_those_of_the_cells(case: Case, seed: int) -> None:
    precision = case.layer.precision
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    shape = 1, case.layer.geometry.in_channels, *case.layer.geometry.input_size
    inputs = np.random.default_rng(seed).integers(low, low + 2**precision.activation_bits, shape)
    adc = replace(case.machine.macro.adc, bits=12)
    read_out = ReadOut(case.machine.crossbar, case.machine.macro.row_driver, adc, "bit-serial", "plain")
    outputs, seen = CrossbarLayer(case.layer, case.placement, read_out).multiply(inputs)
    np.testing.assert_array_equal(outputs, reference_convolution(case.layer, inputs))
    work = layer_work(case.layer, case.placement, case.machine)
    assert seen.conversions == work.windows * work.input_steps * sum(converted(case))


def small_layer(weight: int) -> tuple[Layer, Geometry]:
    geometry = Geometry("layer", 8, 2, (1, 1), (2, 2))
    return Layer(geometry, Precision(4, 2, False), np.full(geometry.weight_shape, weight)), geometry


def test_upper_slices_of_small_weights_are_not_converted() -> None:
    """Worked by hand: weights of 1 in 2-bit cells, differential, fill one of four columns."""
    layer, geometry = small_layer(1)
    mapping = map_layer(geometry, ArrayShape(8, 8, 4, (4, 4)), "im2col")
    placed = place(mapping, layer.weight, "slice", slicing=Slicing("differential", 4, 2))
    assert placed.tiles[0].converted == ((1, 1), (1, 1))
    assert placed.index_bits == 4 * 4


def test_a_last_group_that_is_not_full_has_fewer_columns() -> None:
    """Worked by hand: three weights of two columns in units of two weights, the upper slice of the last empty."""
    geometry = Geometry("layer", 4, 3, (1, 1), (2, 2))
    weight = np.array([-5, -5, 1]).reshape(3, 1, 1, 1) * np.ones((1, 4, 1, 1), dtype=np.int64)
    mapping = map_layer(geometry, ArrayShape(4, 6, 2, (2, 4)), "im2col")
    placed = place(mapping, weight, "slice", slicing=Slicing("twos-complement", 4, 3))
    # -5 is 1 011: both columns; 1 is 0 001: one of two.
    assert placed.tiles[0].converted == ((4, 4), (1, 1))
    assert placed.index_bits == 2 * 4 + 2 * 2


def test_full_slices_need_no_index() -> None:
    layer, geometry = small_layer(-3)
    mapping = map_layer(geometry, ArrayShape(8, 4, 2, (8, 2)), "im2col")
    placed = place(mapping, layer.weight, "slice", slicing=Slicing("twos-complement", 4, 3))
    assert placed.tiles[0].converted is None
    assert placed.index_bits == 0


@pytest.mark.parametrize(
    ("slicing", "unit", "given_", "fix"),
    [
        (None, (4, 4), "skip 'slice' without a chip", "Use pimsim run or compare"),
        (Slicing("offset", 4, 1), (4, 4), "the encoding 'offset'", "encoding=differential"),
        (Slicing("differential", 4, 2), (4, 2), "operation units of 2 columns", "active_columns=4"),
        (Slicing("differential", 4, 1), (4, 4), "weights of 4 columns", "4 bits in cells of 1 take 8"),
    ],
)
def test_what_has_no_empty_slices_is_refused(
    slicing: Slicing | None, unit: tuple[int, int], given_: str, fix: str
) -> None:
    layer, geometry = small_layer(1)
    mapping = map_layer(geometry, ArrayShape(8, 8, 4, unit), "im2col")
    with pytest.raises(MappingError) as caught:
        place(mapping, layer.weight, "slice", slicing=slicing)
    assert given_ in str(caught.value)
    assert fix in str(caught.value)
    with pytest.raises(MappingError, match="skip 'slice' without weights"):
        place(mapping, None, "slice", slicing=Slicing("differential", 4, 2))
