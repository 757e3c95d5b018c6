"""Layers with a kernel for each output phase: reference, integer product, layout and crossbar compute the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from phase_layers import convolve_by_phase, phase_geometries, strided
from polarised_weights import held
from random_layers import arrays, compute, convolve, weights

from pimsim.errors import MappingError
from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.laws import lossless_adc_bits
from pimsim.hardware.records import ENCODINGS, Adc, Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.layout import Mapping
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.mapping.tiling import GROUPS
from pimsim.network.integer import integer_multiply
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.network.phases import anchored_kernels, convolve_phases, sliding_kernels
from pimsim.simulation.dependencies import _inputs

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("im2col", {}), ("im2col", {"rows": "channel"}), ("sdk", {}), ("sdk", {"search": "free"}), ("vw-sdk", {}),
    ("vw-sdk", {"tie": "min-transfer"}), ("vw-sdk", {"search": "as-published"}), ("vwc-sdk", {}),
]  # fmt: skip
SKIPS = (("none", "tile"), ("row", "tile"), ("row", "layer"), ("array", "tile"))
few = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mapped(geometry: Geometry, array: ArrayShape, method: tuple[str, dict[str, Any]], groups: str) -> Mapping:
    """The layer on the array; mappers that keep channels or outputs whole may refuse a small one."""
    name, options = method
    try:
        return map_layer(geometry, array, name, groups=groups, **options)
    except MappingError as error:
        assert (name == "vwc-sdk" or options.get("rows") == "channel") and error.fix
        assume(False)
        raise


def images_of(geometry: Geometry, seed: int) -> np.ndarray:
    return np.random.default_rng(seed % 997).integers(-5, 6, (2, geometry.in_channels, *geometry.input_size))


@few
@given(phase_geometries(), st.integers(0))
def test_reference_and_integer_product_are_the_sum_over_each_outputs_own_kernel(geometry: Geometry, seed: int) -> None:
    weight, images = weights(geometry, seed % 2**32), images_of(geometry, seed)
    wanted = convolve_by_phase(geometry, images, weight)
    layer = Layer(geometry, Precision(4, 4, activation_signed=True), weight)
    np.testing.assert_array_equal(reference_convolution(layer, images), wanted)
    np.testing.assert_array_equal(integer_multiply(layer, torch.tensor(images)).numpy(), wanted)


@few
@given(phase_geometries(), st.integers(0))
def test_one_kernel_in_all_phases_is_plain_convolution(geometry: Geometry, seed: int) -> None:
    assume(not geometry.anchored)
    plain = replace(geometry, phases=(1, 1))
    weight, images = weights(plain, seed % 2**32), images_of(geometry, seed)
    layer = Layer(geometry, Precision(), np.repeat(weight, geometry.kernels, axis=0))
    np.testing.assert_array_equal(reference_convolution(layer, images), convolve(plain, images, weight))


@few
@given(phase_geometries(), st.integers(0))
def test_sliding_kernels_are_anchored_ones_with_idle_taps(geometry: Geometry, seed: int) -> None:
    assume(not geometry.anchored)
    images = torch.tensor(images_of(geometry, seed), dtype=torch.float64)
    kernels = torch.tensor(weights(geometry, seed % 2**32), dtype=torch.float64)
    spread = anchored_kernels(kernels, geometry.phases, geometry.stride, geometry.dilation)
    size = spread.shape[2], spread.shape[3]
    anchored = replace(geometry, kernel=size, dilation=(1, 1), anchored=True)
    assert anchored.output_size == geometry.output_size
    assert torch.equal(convolve_phases(anchored, images, spread), convolve_phases(geometry, images, kernels))
    if geometry.dilation == (1, 1):
        back = sliding_kernels(spread, geometry.phases, geometry.stride)
        assert back is not None and torch.equal(back, kernels)
        filled = torch.ones_like(spread)
        idle = anchored_kernels(torch.ones_like(kernels), geometry.phases, geometry.stride, (1, 1)).eq(0).any()
        assert (sliding_kernels(filled, geometry.phases, geometry.stride) is None) == bool(idle)


@few
@given(phase_geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS), st.sampled_from(SKIPS),
       st.integers(0))  # fmt: skip
def test_mapped_arrays_compute_every_phase(
    geometry: Geometry, array: ArrayShape, method: tuple[str, dict[str, Any]], groups: str, choice: tuple[str, str],
    seed: int,
) -> None:  # fmt: skip
    weight, images = weights(geometry, seed % 2**32), images_of(geometry, seed)
    placement = place(mapped(geometry, array, method, groups), weight, *choice)
    np.testing.assert_array_equal(compute(placement, images, weight), convolve_by_phase(geometry, images, weight))


@few
@given(phase_geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS), st.integers(0))
def test_skipped_rows_and_nonzero_cells_are_those_of_the_explicit_matrix(
    geometry: Geometry, array: ArrayShape, method: tuple[str, dict[str, Any]], groups: str, seed: int
) -> None:
    weight = weights(geometry, seed % 2**32)
    mapping = mapped(geometry, array, method, groups)
    placement = place(mapping, weight, "row")
    matrices = [mapping.cell_weights(tile, weight) for tile in mapping.tiles]
    assert placement.rows_skipped == sum(int((matrix == 0).all(axis=1).sum()) for matrix in matrices)
    assert placement.nonzero_cells == sum(int(np.count_nonzero(matrix)) for matrix in matrices)
    assert mapping.weight_cells == sum(int(mapping.taps(tile)[2].sum()) for tile in mapping.tiles)


@few
@given(phase_geometries(), arrays, st.sampled_from(GROUPS))
def test_im2col_of_anchored_kernels_is_that_of_the_strided_convolution(
    geometry: Geometry, array: ArrayShape, groups: str
) -> None:
    """The witness of all counts: rows, columns and windows of one ordinary convolution with a channel a kernel."""
    assume(geometry.anchored)
    ours, theirs = (map_layer(shape, array, "im2col", groups=groups) for shape in (geometry, strided(geometry)))
    for count in ("cycles", "windows", "rows_mapped", "row_tiles", "column_tiles", "blocks", "weight_cells", "window"):
        assert getattr(ours, count) == getattr(theirs, count), count
    assert ours.cell_utilisation == theirs.cell_utilisation


@few
@given(phase_geometries(), st.integers(0))
def test_each_window_needs_the_inputs_that_its_outputs_read(geometry: Geometry, seed: int) -> None:
    """`dependencies` against the pixels that move an output, one dimension at a time."""
    for d in (0, 1):
        outputs = np.arange(geometry.output_size[d])
        low, high, some = _inputs(geometry, d, outputs, outputs)
        for output in outputs:
            each = geometry.place_outputs[d]
            place = output // each * each * geometry.stride[d] - geometry.padding[2 * d]
            read = [place + k * geometry.dilation[d] for k in range(geometry.kernel[d])]
            inside = [pixel for pixel in read if 0 <= pixel < geometry.input_size[d]]
            if inside:
                assert some[output] and low[output] <= inside[0] and inside[-1] <= high[output]


ROWS = 24


@few
@given(st.data(), phase_geometries(), st.sampled_from(ENCODINGS), st.sampled_from(["auto", "bit-serial"]))
def test_the_crossbar_is_bit_exact_in_every_encoding(
    data: st.DataObject, geometry: Geometry, encoding: str, exact: str
) -> None:
    precision = Precision(data.draw(st.integers(2, 6)), data.draw(st.integers(1, 6)), data.draw(st.booleans()))
    rng, half = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), 2 ** (precision.weight_bits - 1)
    weight = rng.integers(-half, half, geometry.weight_shape) * (rng.random(geometry.weight_shape) < 0.7)
    weight = held(weight, encoding, precision.weight_bits) * (rng.random((1, 1, *geometry.kernel)) < 0.7)
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    inputs = rng.integers(low, low + 2**precision.activation_bits, (2, geometry.in_channels, *geometry.input_size))
    cell_bits, dac_bits = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    active = data.draw(st.sampled_from([1, 7, ROWS]))
    each = columns_per_weight(encoding, precision.weight_bits, cell_bits)
    columns = 3 * each + data.draw(st.integers(0, 30))
    method = data.draw(st.sampled_from([("im2col", {}), ("sdk", {}), ("vw-sdk", {})]))
    mapping = mapped(geometry, ArrayShape(ROWS, columns, each), method, data.draw(st.sampled_from(GROUPS)))
    placement = place(mapping, weight, *data.draw(st.sampled_from(SKIPS)))
    layer = Layer(geometry, precision, weight)
    bits = lossless_adc_bits(active, dac_bits, cell_bits, encoding)
    read_out = ReadOut(
        Crossbar(ROWS, columns, cell_bits, encoding, 0, 0.0, 0.0, 0.0, active, columns, 0.0, 0),
        RowDriver(dac_bits, 0, 0.0, 0.0, 0.0), Adc(bits, 0, 0, 0.0, 0.0, 0.0, 1, 1, "isaac", 8, "saturate"), exact,
        data.draw(st.sampled_from(["plain", "packed"])),
    )  # fmt: skip
    outputs, seen = CrossbarLayer(layer, placement, read_out).multiply(inputs)
    np.testing.assert_array_equal(outputs, reference_convolution(layer, inputs))
    assert seen.clipped == 0


@pytest.mark.parametrize(
    ("method", "words"),
    [("smd", "conv: SMD"), ("kernel-split", "conv: kernel-split"), ("low-rank", "conv.reduce: low-rank")],
)
def test_mappers_of_one_kernel_say_which_to_take(method: str, words: str) -> None:
    layer = Geometry("conv", 4, 4, (4, 4), (8, 8), padding=(1, 1, 1, 1), phases=(2, 2), anchored=True)
    with pytest.raises(MappingError) as caught:
        map_layer(layer, ArrayShape(64, 64), method)
    name, what = words.split(": ")
    assert str(caught.value) == (
        f"{name}: a layer with a kernel for each of 2x2 output phases: {what} programs one kernel for all outputs. "
        "Map it with sdk, vw-sdk or im2col, whose windows then hold whole blocks of phases."
    )


def test_a_window_that_splits_a_block_is_refused() -> None:
    """A mapper of an outside package that knows nothing of phases never gives a wrong layout."""
    layer = Geometry("conv", 4, 4, (3, 3), (8, 8), phases=(2, 2))
    mapping = map_layer(layer, ArrayShape(64, 64), "sdk")
    for outputs in ((1, 2), (2, 3)):
        with pytest.raises(MappingError, match=f"a window of {outputs[0]}x{outputs[1]} outputs: the layer has"):
            replace(mapping, outputs=outputs)


def test_too_few_columns_for_the_phases_of_a_channel() -> None:
    layer = Geometry("conv", 1, 1, (3, 3), (8, 8), phases=(3, 3))
    with pytest.raises(MappingError, match="9 output phases on an array of 8 weight columns"):
        map_layer(layer, ArrayShape(64, 8), "vw-sdk", clamp=False)
    assert map_layer(layer, ArrayShape(64, 8), "vw-sdk").column_tiles == 2


def test_windows_of_ordinary_layers_hold_any_number_of_outputs() -> None:
    shapes = product((1, 2, 3), (1, 2, 3))
    layer = Geometry("conv", 2, 2, (3, 3), (8, 8))
    mapping = map_layer(layer, ArrayShape(64, 64), "im2col")
    assert all(replace(mapping, outputs=outputs).outputs == outputs for outputs in shapes)
