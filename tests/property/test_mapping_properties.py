"""What must hold for every layer, array and mapper (`mapping.md` 4, `pruning-sdk.md` 2)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pimsim.errors import MappingError
from pimsim.mapping import closed_forms
from pimsim.mapping.layout import ArrayShape, Mapping
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import MAPPERS, map_layer
from pimsim.mapping.skipping import GRANULARITIES, keep_weight, place
from pimsim.mapping.tiling import GROUPS, cut, lay_out, tap_count, tap_positions
from pimsim.network.layers import Geometry

CHOICES = [*((skip, "tile") for skip in GRANULARITIES), ("row", "layer")]
METHODS = sorted(MAPPERS)
few = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Small layers with rectangular everything; the input is as large as the kernel needs, or larger."""
    size = st.integers(1, 3)
    groups = draw(st.integers(1, 3))
    kernel, stride, dilation = (draw(st.tuples(size, size)) for _ in range(3))
    top, bottom, left, right = padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    reach = (dilation[0] * (kernel[0] - 1) + 1 - top - bottom, dilation[1] * (kernel[1] - 1) + 1 - left - right)
    inputs = max(1, reach[0]) + draw(st.integers(0, 6)), max(1, reach[1]) + draw(st.integers(0, 6))
    ic, oc = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    return Geometry("layer", ic, oc, kernel, inputs, stride, padding, dilation, groups)


arrays = st.builds(ArrayShape, st.integers(1, 200), st.integers(2, 120), st.integers(1, 2))


def weights(geometry: Geometry, seed: int) -> NDArray[np.int64]:
    """Small integers; whole kernel positions, output channels and single weights are pruned away."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-3, 4, geometry.weight_shape)
    shapes = (1, 1, *geometry.kernel), (len(weight), 1, 1, 1), geometry.weight_shape
    for shape, kept in zip(shapes, rng.choice([0.5, 0.8, 1.0], 3), strict=True):
        weight = weight * (rng.random(shape) < kept)
    return weight


def convolve(geometry: Geometry, images: NDArray[np.int64], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """torch's convolution in float64, exact for these small integers."""
    top, bottom, left, right = geometry.padding
    padded = torch.nn.functional.pad(torch.tensor(images, dtype=torch.float64), (left, right, top, bottom))
    outputs = torch.nn.functional.conv2d(
        padded,
        torch.tensor(weight, dtype=torch.float64),
        stride=geometry.stride,
        dilation=geometry.dilation,
        groups=geometry.groups,
    )
    return outputs.numpy().astype(np.int64)


def compute(placement: Placement, images: NDArray[np.int64], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every window on every array left, partial sums added where they belong."""
    mapping = placement.mapping
    geometry = mapping.geometry
    inputs = mapping.pad_input(images)
    outputs = np.zeros((len(images), geometry.out_channels * np.prod(geometry.output_size) + 1), dtype=np.int64)
    for tile in placement.tiles:
        products = inputs[:, mapping.window_pixels(tile.rows)] @ mapping.cell_weights(tile, weight)
        for image, sums in enumerate(products):
            np.add.at(outputs[image], mapping.output_index(tile.columns), sums)
    return outputs[:, :-1].reshape(len(images), geometry.out_channels, *geometry.output_size)


@few
@given(
    geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS), st.sampled_from(CHOICES), st.integers(0)
)
def test_mapped_arrays_compute_the_convolution(
    geometry: Geometry, array: ArrayShape, method: str, groups: str, choice: tuple[str, str], seed: int
) -> None:
    weight = weights(geometry, seed % 2**32)
    images = np.random.default_rng(seed % 997).integers(-5, 6, (2, geometry.in_channels, *geometry.input_size))
    placement = place(map_layer(geometry, array, method, groups=groups), weight, *choice)
    np.testing.assert_array_equal(compute(placement, images, weight), convolve(geometry, images, weight))


@few
@given(geometries(), arrays, st.sampled_from(GROUPS))
def test_counts_on_the_layout_equal_the_closed_forms(geometry: Geometry, array: ArrayShape, groups: str) -> None:
    packed = groups == "packed"
    for method, witness in (
        ("im2col", closed_forms.im2col),
        ("sdk", closed_forms.sdk),
        ("vw-sdk", closed_forms.vw_sdk),
    ):
        mapping, counts = map_layer(geometry, array, method, groups=groups), witness(geometry, array, packed)
        assert (mapping.cycles, mapping.windows, mapping.outputs) == (counts.cycles, counts.windows, counts.outputs)
        tiles = mapping.blocks, mapping.row_tiles, mapping.column_tiles
        assert tiles == (counts.blocks, counts.row_tiles, counts.column_tiles)
        assert mapping.cell_utilisation == pytest.approx(counts.utilisation, rel=1e-12)
        if not packed:
            assert mapping.rows_mapped * mapping.windows == counts.input_transfers * mapping.column_tiles


@few
@given(geometries(), arrays)
def test_bounds_on_cycles(geometry: Geometry, array: ArrayShape) -> None:
    im2col, sdk, vw_sdk = (map_layer(geometry, array, method).cycles for method in ("im2col", "sdk", "vw-sdk"))
    assert max(vw_sdk, sdk) <= im2col
    assert min(vw_sdk, sdk) >= closed_forms.lower_bound(geometry, array)


@few
@given(geometries(), arrays)
def test_the_search_finds_the_minimum_in_the_published_order(geometry: Geometry, array: ArrayShape) -> None:
    found = list(closed_forms.every_window(geometry, array))
    if not found:
        with pytest.raises(MappingError):
            map_layer(geometry, array, "vw-sdk", clamp=False)
        return
    first = min(found, key=lambda counts: (counts.cycles, counts.outputs))
    best = map_layer(geometry, array, "vw-sdk", clamp=False)
    assert (best.cycles, best.outputs) == (first.cycles, first.outputs)


@few
@given(geometries(), arrays)
def test_raw_vw_sdk_is_no_worse_than_sdk_tiled_by_whole_channels(geometry: Geometry, array: ArrayShape) -> None:
    sdk = map_layer(geometry, array, "sdk")
    whole = closed_forms.count(geometry, array, sdk.outputs, whole_channels=True)
    if whole is not None and whole.row_tiles == sdk.row_tiles:
        assert map_layer(geometry, array, "vw-sdk", clamp=False).cycles <= sdk.cycles


@few
@given(geometries(), arrays, st.sampled_from(METHODS))
def test_turning_the_layer_on_its_side_costs_the_same(geometry: Geometry, array: ArrayShape, method: str) -> None:
    top, bottom, left, right = geometry.padding
    sides = {name: getattr(geometry, name)[::-1] for name in ("kernel", "input_size", "stride", "dilation")}
    turned = replace(geometry, padding=(left, right, top, bottom), **sides)
    assert map_layer(geometry, array, method).cycles == map_layer(turned, array, method).cycles


@few
@given(geometries(), arrays, st.sampled_from(METHODS))
def test_padding_and_a_padded_input_agree(geometry: Geometry, array: ArrayShape, method: str) -> None:
    padded = replace(geometry, input_size=geometry.padded_size, padding=(0, 0, 0, 0))
    first, second = (map_layer(layer, array, method) for layer in (geometry, padded))
    assert (first.cycles, first.window, first.tiles) == (second.cycles, second.window, second.tiles)


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS))
def test_tiles_fit_the_array_and_come_in_order(geometry: Geometry, array: ArrayShape, method: str, groups: str) -> None:
    mapping = map_layer(geometry, array, method, groups=groups)
    order = [(tile.block, tile.column_tile, tile.row_tile) for tile in mapping.tiles]
    assert order == sorted(set(order))
    assert all(0 < len(tile.rows) <= array.rows for tile in mapping.tiles)
    assert all(0 < len(tile.columns) * array.columns_per_weight <= array.columns for tile in mapping.tiles)


@given(*[st.integers(1, 9)] * 4)
def test_tap_count_is_the_number_of_tap_positions(outputs: int, kernel: int, stride: int, dilation: int) -> None:
    listed = {a * stride + k * dilation for a, k in product(range(outputs), range(kernel))}
    assert tap_count(outputs, kernel, stride, dilation) == len(listed)
    assert tap_positions(outputs, kernel, stride, dilation).tolist() == sorted(listed)


def slow_rows_left(mapping: Mapping, weight: NDArray[np.int64]) -> list[list[int]]:
    """Rows with a nonzero cell in each tile, from the dense cell matrix."""
    matrices = [mapping.cell_weights(tile, weight) for tile in mapping.tiles]
    return [np.flatnonzero((matrix != 0).any(axis=1)).tolist() for matrix in matrices]


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS), st.integers(0, 2**32 - 1))
@example(Geometry("layer", 1, 1, (2, 2), (5, 5), dilation=(2, 2)), ArrayShape(64, 64), "vw-sdk", "serial", 4)
@example(Geometry("layer", 2, 2, (3, 3), (9, 9), (3, 2), dilation=(2, 3)), ArrayShape(99, 64), "vw-sdk", "serial", 3)
def test_row_skipping_equals_the_dense_matrix(
    geometry: Geometry, array: ArrayShape, method: str, groups: str, seed: int
) -> None:
    mapping, weight = map_layer(geometry, array, method, groups=groups), weights(geometry, seed)
    left = slow_rows_left(mapping, weight)
    placement = place(mapping, weight, "row")
    kept = [(tile, rows) for tile, rows in zip(mapping.tiles, left, strict=True) if rows]
    assert [tile.rows for tile in placement.tiles] == [tile.rows.take(np.array(rows)) for tile, rows in kept]
    assert [tile.columns for tile in placement.tiles] == [tile.columns for tile, _ in kept]
    assert placement.rows_skipped == mapping.rows_mapped - sum(map(len, left))
    assert placement.nonzero_cells == sum(
        int(np.count_nonzero(mapping.cell_weights(tile, weight))) for tile in mapping.tiles
    )
    assert placement.weight_cells == sum(int(mapping.taps(tile)[2].sum()) for tile in placement.tiles)
    by_array = place(mapping, weight, "array")
    assert by_array.tiles == tuple(tile for tile, _ in kept)


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.integers(0, 2**32 - 1))
def test_refilled_arrays_hold_the_kept_rows_in_order(
    geometry: Geometry, array: ArrayShape, method: str, seed: int
) -> None:
    mapping, weight = map_layer(geometry, array, method), weights(geometry, seed)
    apart, together = place(mapping, weight, "row"), place(mapping, weight, "row", "layer")
    assert together.rows_skipped == apart.rows_skipped
    assert len(together.tiles) <= len(apart.tiles)
    for group in {(tile.block, tile.column_tile) for tile in apart.tiles}:
        expected = [
            row for tile in apart.tiles if (tile.block, tile.column_tile) == group for row in _listed(tile.rows)
        ]
        refilled = [tile for tile in together.tiles if (tile.block, tile.column_tile) == group]
        assert [row for tile in refilled for row in _listed(tile.rows)] == expected
        assert [tile.row_tile for tile in refilled] == list(range(-(-len(expected) // array.rows)))


def _listed(rows: object) -> list[tuple[int, int, int]]:
    return list(zip(*(getattr(rows, axis).tolist() for axis in ("channel", "y", "x")), strict=True))


WINDOWS = [(low, wide) for low in range(3, 6) for wide in range(3, 7)]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: "{1}x{0}".format(*window))
def test_rows_skipped_for_every_3x3_pattern(window: tuple[int, int]) -> None:
    # A whole map of one window on arrays of one channel and two output channels: 2 row tiles, 2 column tiles.
    outputs = window[0] - 2, window[1] - 2
    geometry = Geometry("layer", 2, 4, (3, 3), window)
    array = ArrayShape(window[0] * window[1], outputs[0] * outputs[1] * 2)
    tiles = lay_out(geometry, cut(geometry, array, outputs, whole_channels=True, groups="serial"))
    mapping = Mapping("window", geometry, array, outputs, ic_tile=1, oc_tile=2, tiles=tiles)
    assert (mapping.window, mapping.row_tiles, mapping.column_tiles) == (window, 2, 2)
    for code in range(512):
        pattern = f"{code:09b}"
        kept = {divmod(i, 3) for i, bit in enumerate(pattern) if bit == "1"}
        skipped = place(mapping, keep_weight(geometry, pattern), "row").rows_skipped
        assert skipped == closed_forms.skipped_rows(geometry, outputs, kept) * 2 * mapping.column_tiles


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.data())
def test_rows_skipped_for_random_patterns(
    geometry: Geometry, array: ArrayShape, method: str, data: st.DataObject
) -> None:
    size = geometry.kernel[0] * geometry.kernel[1]
    pattern = data.draw(st.text("01", min_size=size, max_size=size))
    kept = {divmod(i, geometry.kernel[1]) for i, bit in enumerate(pattern) if bit == "1"}
    mapping = map_layer(geometry, array, method)
    skipped = place(mapping, keep_weight(geometry, pattern), "row").rows_skipped
    per_channel = closed_forms.skipped_rows(geometry, mapping.outputs, kept)
    assert skipped == per_channel * geometry.in_channels * mapping.column_tiles


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(CHOICES))
def test_pruned_to_nothing_costs_nothing_and_dense_skips_nothing(
    geometry: Geometry, array: ArrayShape, method: str, choice: tuple[str, str]
) -> None:
    mapping = map_layer(geometry, array, method)
    nothing = place(mapping, np.zeros(geometry.weight_shape, dtype=np.int64), *choice)
    if choice[0] != "none":
        assert (nothing.tiles, nothing.cycles, nothing.index_bits) == ((), 0, 0)
        assert (nothing.rows_skipped, nothing.cell_utilisation) == (mapping.rows_mapped, 0.0)
    dense = place(mapping, np.ones(geometry.weight_shape, dtype=np.int64), *choice)
    assert (dense.rows_skipped, dense.index_bits) == (0, 0)
    if choice[1] == "tile":
        assert dense.tiles == mapping.tiles == place(mapping, None, *choice).tiles
        assert dense.cell_utilisation == mapping.cell_utilisation
