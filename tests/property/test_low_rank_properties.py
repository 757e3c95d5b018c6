"""Low-rank layers: the two stages compute the product of their factors, and cost what the formulas say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_layers import arrays, compute, convolve, geometries, weights

from pimsim.errors import MappingError
from pimsim.mapping import closed_forms
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.low_rank import LowRank, tiles_on_diagonal
from pimsim.mapping.stages import StagedMapping, place_stages
from pimsim.network.layers import Geometry

few = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def mappers(draw: st.DrawFn, geometry: Geometry, simple: bool = False) -> LowRank:
    """A mapper whose rank, groups and window suit the layer."""
    ic, oc = geometry.group_channels
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if ic % g == 0]))
    rank = draw(st.integers(1, min(oc, ic // groups * geometry.kernel[0] * geometry.kernel[1])))
    height, width = (draw(st.integers(1, size)) for size in geometry.output_size)
    window = draw(st.sampled_from([None, f"{height}x{width}"]))
    search, zeros = draw(st.sampled_from(["square", "rectangular"])), draw(st.sampled_from(["skip", "count"]))
    packing = "serial" if simple else draw(st.sampled_from(["serial", "packed"]))
    return LowRank(rank, groups, window, search, zeros, draw(st.sampled_from(["sequential", "pipelined"])), packing)


def product_of_factors(
    geometry: Geometry, mapping: StagedMapping, reduce: NDArray[np.int64], expand: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The weight of the layer that the two factors stand for, output by output."""
    oc, ic = geometry.out_channels // geometry.groups, geometry.in_channels // geometry.groups
    weight = np.zeros(geometry.weight_shape, dtype=np.int64)
    outer = mapping.stages[0].geometry
    middle, part = outer.out_channels // geometry.groups, outer.in_channels // outer.groups
    rank = outer.out_channels // outer.groups
    for output in range(geometry.out_channels):
        first = output // oc * middle
        for k in range(middle):
            channels = slice((first + k) // rank * part % ic, (first + k) // rank * part % ic + part)
            weight[output, channels] += expand[output, k, 0, 0] * reduce[first + k]
    return weight


@few
@given(geometries(), arrays, st.data(), st.integers(0, 2**32 - 1))
def test_the_stages_compute_the_product_of_the_factors(
    geometry: Geometry, array: ArrayShape, data: st.DataObject, seed: int
) -> None:
    mapping = data.draw(mappers(geometry)).map(geometry, array)
    first, second = (weights(stage.geometry, seed + i) for i, stage in enumerate(mapping.stages))
    images = np.random.default_rng(seed).integers(-5, 6, (2, geometry.in_channels, *geometry.input_size))
    placement = place_stages(mapping, (first, second), "row")
    between = compute(placement.stages[0], images, first)
    outputs = compute(placement.stages[1], between, second)
    whole = product_of_factors(geometry, mapping, first, second)
    np.testing.assert_array_equal(outputs, convolve(geometry, images, whole))


@few
@given(geometries(), arrays, st.data())
def test_cycles_equal_the_formulas(geometry: Geometry, array: ArrayShape, data: st.DataObject) -> None:
    geometry = Geometry("layer", geometry.in_channels, geometry.out_channels, geometry.kernel, geometry.input_size,
                        geometry.stride, geometry.padding, geometry.dilation)  # fmt: skip
    mapper = data.draw(mappers(geometry, simple=True))
    mapping = mapper.map(geometry, array)
    rank, skip = mapping.stages[0].geometry.out_channels // mapper.groups, mapper.zero_tiles == "skip"
    cycles = closed_forms.low_rank(geometry, array, rank, mapper.groups, mapping.outputs, skip)
    assert tuple(stage.cycles for stage in mapping.stages) == cycles
    assert mapping.cycles == (max(cycles) if mapper.stages == "pipelined" else sum(cycles))


@few
@given(geometries(), arrays, st.data())
def test_the_search_finds_the_fewest_cycles(geometry: Geometry, array: ArrayShape, data: st.DataObject) -> None:
    mapper = data.draw(mappers(geometry))
    (height, width), square = geometry.output_size, mapper.search == "square"
    sides = [(h, w) for h in range(1, height + 1) for w in range(1, width + 1) if h == w or not square]
    options = {name: getattr(mapper, name) for name in ("rank", "groups", "search", "zero_tiles", "stages", "packing")}
    costs = [(LowRank(window_outputs=f"{h}x{w}", **options).map(geometry, array).cycles, (h, w)) for h, w in sides]
    best = LowRank(window_outputs=None, **options).map(geometry, array)
    assert (best.cycles, best.outputs) == min(costs)


@few
@given(geometries(), arrays, st.data())
def test_tiles_left_out_hold_no_weight(geometry: Geometry, array: ArrayShape, data: st.DataObject) -> None:
    mapping = data.draw(mappers(geometry)).map(geometry, array)
    for stage in mapping.stages:
        cells = sum(int(stage.taps(tile)[2].sum()) for tile in stage.tiles)
        positions = stage.outputs[0] * stage.outputs[1]
        assert cells == stage.weight_cells == positions * np.prod(stage.geometry.weight_shape)
        assert all(len(tile.rows) <= array.rows for tile in stage.tiles)
        assert all(len(tile.columns) <= array.weight_columns for tile in stage.tiles)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 12))
def test_tiles_on_the_diagonal_are_those_with_a_nonzero_cell(
    rows: int, columns: int, tall: int, wide: int, blocks: int
) -> None:
    matrix = np.kron(np.eye(blocks, dtype=int), np.ones((rows, columns), dtype=int))
    tiles = sum(
        matrix[y : y + tall, x : x + wide].any()
        for y in range(0, len(matrix), tall)
        for x in range(0, matrix.shape[1], wide)
    )
    assert tiles_on_diagonal((rows, columns), ArrayShape(tall, wide), blocks)[-1] == tiles


@few
@given(geometries(), st.data())
def test_a_rank_or_groups_that_do_not_suit_are_refused(geometry: Geometry, data: st.DataObject) -> None:
    ic, oc = geometry.group_channels
    groups = data.draw(st.integers(1, 8))
    most = min(oc, ic // groups * geometry.kernel[0] * geometry.kernel[1])
    if ic % groups:
        with pytest.raises(MappingError, match="must divide the input channels"):
            LowRank(1, groups).map(geometry, ArrayShape(64, 64))
    else:
        LowRank(most, groups).map(geometry, ArrayShape(64, 64))
        with pytest.raises(MappingError, match=f"has a rank of at most {most}"):
            LowRank(most + 1, groups).map(geometry, ArrayShape(64, 64))


def test_theorem_2_the_mapped_factors_are_the_mapped_product() -> None:
    # D(SDK(W)) = (I_N x L) SDK(R), `pruning-blocks.md` 2.1: cells of both stages of a 3x3 window of 2x2 outputs.
    geometry, rng = Geometry("layer", 2, 3, (2, 2), (3, 3)), np.random.default_rng(5)
    first, second = LowRank(2, 1, "2x2").map(geometry, ArrayShape(64, 64)).stages
    reduce, expand = (rng.integers(-4, 5, stage.geometry.weight_shape) for stage in (first, second))
    ((one,), (two,)) = first.tiles, second.tiles
    # Columns of the first stage and rows of the second run over window positions, then channels.
    mapped = first.cell_weights(one, reduce) @ second.cell_weights(two, expand)
    np.testing.assert_array_equal(second.cell_weights(two, expand), np.kron(np.eye(4, dtype=int), expand[:, :, 0, 0].T))
    whole = np.einsum("ok,kcyx->ocyx", expand[:, :, 0, 0], reduce)
    from pimsim.mapping.registry import map_layer

    (tile,) = (sdk := map_layer(geometry, ArrayShape(64, 64), "sdk")).tiles
    np.testing.assert_array_equal(mapped, sdk.cell_weights(tile, whole))
