"""What must hold for every layer, array and mapper (`mapping.md` 4, `pruning-sdk.md` 2)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_layers import arrays, compute, convolve, geometries, weights

from pimsim.errors import MappingError
from pimsim.mapping import closed_forms
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.layout import Mapping
from pimsim.mapping.registry import MAPPERS, map_layer
from pimsim.mapping.skipping import REFILLED, SKIPS, keep_weight, place
from pimsim.mapping.tiling import GROUPS, cut, lay_out, tap_count, tap_positions
from pimsim.network.layers import Geometry

#: Repeats leave out units that hold weights, so dense layers skip too, and slices need a chip: both have tests of their
#: own.
CHOICES = [
    *((skip, "tile") for skip in SKIPS if skip not in ("repeat", "slice")),
    *((skip, "layer") for skip in REFILLED),
]
#: Mappers with the options that change a layout; groups come on top.
METHODS = [
    *((name, {}) for name in sorted(MAPPERS)),
    ("im2col", {"rows": "channel"}),
    ("sdk", {"search": "free"}),
    ("vw-sdk", {"tie": "min-transfer"}),
    ("vw-sdk", {"search": "as-published"}),
]
Method = tuple[str, dict[str, str]]
few = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mapped(geometry: Geometry, array: ArrayShape, method: Method, **options: str) -> Mapping:
    """The layer by one of `METHODS`; cases that keep whole channels on too few rows are left out."""
    name, chosen = method
    if name == "vwc-sdk" or chosen.get("rows") == "channel":
        assume(array.rows >= geometry.kernel[0] * geometry.kernel[1])
    return map_layer(geometry, array, name, **chosen, **options)


@few
@given(
    geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS), st.sampled_from(CHOICES), st.integers(0)
)
def test_mapped_arrays_compute_the_convolution(
    geometry: Geometry, array: ArrayShape, method: Method, groups: str, choice: tuple[str, str], seed: int
) -> None:
    weight = weights(geometry, seed % 2**32)
    images = np.random.default_rng(seed % 997).integers(-5, 6, (2, geometry.in_channels, *geometry.input_size))
    placement = place(mapped(geometry, array, method, groups=groups), weight, *choice)
    np.testing.assert_array_equal(compute(placement, images, weight), convolve(geometry, images, weight))


@few
@given(geometries(), arrays, st.sampled_from(GROUPS))
def test_counts_on_the_layout_equal_the_closed_forms(geometry: Geometry, array: ArrayShape, groups: str) -> None:
    packed = groups == "packed"
    for name, witness in (
        ("im2col", closed_forms.im2col),
        ("sdk", closed_forms.sdk),
        ("vw-sdk", closed_forms.vw_sdk),
    ):
        mapping, counts = map_layer(geometry, array, name, groups=groups), witness(geometry, array, packed)
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
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS))
def test_no_mapper_beats_full_arrays(geometry: Geometry, array: ArrayShape, method: Method, groups: str) -> None:
    assert mapped(geometry, array, method, groups=groups).cycles >= closed_forms.lower_bound(geometry, array)


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
def test_counts_of_smd_kernel_split_and_free_sdk(geometry: Geometry, array: ArrayShape) -> None:
    assert map_layer(geometry, array, "smd").cycles == closed_forms.smd(geometry, array)
    assert map_layer(geometry, array, "kernel-split").cycles == closed_forms.kernel_split(geometry, array)
    for packed in (False, True):
        free = map_layer(geometry, array, "sdk", search="free", groups=GROUPS[packed])
        assert free.cycles == closed_forms.sdk_free(geometry, array, packed)


@few
@given(geometries(), arrays)
def test_im2col_by_channels_never_beats_im2col_by_elements(geometry: Geometry, array: ArrayShape) -> None:
    assume(array.rows >= geometry.kernel[0] * geometry.kernel[1])
    by_channel = map_layer(geometry, array, "im2col", rows="channel")
    counts = closed_forms.count(geometry, array, (1, 1), whole_channels=True)
    assert counts is not None and by_channel.cycles == counts.cycles
    assert by_channel.cycles >= map_layer(geometry, array, "im2col").cycles


@few
@given(geometries(), arrays)
def test_the_published_search_is_the_authors_queue(geometry: Geometry, array: ArrayShape) -> None:
    queue: list[closed_forms.Counts] = []
    for counts in closed_forms.every_window(geometry, array):
        queue += [counts] if counts.outputs[1] == 1 else []
        if counts.cycles < queue[0].cycles:
            queue = [*queue[1:], counts]
    assume(queue)
    published = map_layer(geometry, array, "vwc-sdk", search="as-published")
    assert (published.cycles, published.outputs) == (queue[0].cycles, queue[0].outputs)
    assert published.cycles >= map_layer(geometry, array, "vwc-sdk").cycles


@few
@given(geometries(), arrays, st.booleans())
def test_fewest_transfers_among_the_fewest_cycles(geometry: Geometry, array: ArrayShape, clamp: bool) -> None:
    found = list(closed_forms.every_window(geometry, array))
    clamped = [closed_forms.im2col(geometry, array)] if clamp else []
    assume(found)
    best = min([*clamped, *found], key=lambda counts: (counts.cycles, counts.input_transfers))
    mapping = map_layer(geometry, array, "vw-sdk", tie="min-transfer", clamp=clamp)
    assert mapping.cycles == best.cycles
    rows = closed_forms.window_rows(geometry, mapping.outputs)
    assert mapping.windows * rows * geometry.in_channels == best.input_transfers


@few
@given(geometries(), arrays)
def test_raw_vw_sdk_is_no_worse_than_sdk_tiled_by_whole_channels(geometry: Geometry, array: ArrayShape) -> None:
    sdk = map_layer(geometry, array, "sdk")
    whole = closed_forms.count(geometry, array, sdk.outputs, whole_channels=True)
    if whole is not None and whole.row_tiles == sdk.row_tiles:
        assert map_layer(geometry, array, "vw-sdk", clamp=False).cycles <= sdk.cycles


@few
@given(geometries(), arrays, st.sampled_from([m for m in METHODS if "as-published" not in m[1].values()]))
def test_turning_the_layer_on_its_side_costs_the_same(geometry: Geometry, array: ArrayShape, method: Method) -> None:
    top, bottom, left, right = geometry.padding
    sides = {name: getattr(geometry, name)[::-1] for name in ("kernel", "input_size", "stride", "dilation")}
    turned = replace(geometry, padding=(left, right, top, bottom), **sides)
    assert mapped(geometry, array, method).cycles == mapped(turned, array, method).cycles


@few
@given(geometries(), arrays, st.sampled_from(METHODS))
def test_padding_and_a_padded_input_agree(geometry: Geometry, array: ArrayShape, method: Method) -> None:
    padded = replace(geometry, input_size=geometry.padded_size, padding=(0, 0, 0, 0))
    first, second = (mapped(layer, array, method) for layer in (geometry, padded))
    assert (first.cycles, first.window, first.tiles) == (second.cycles, second.window, second.tiles)


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS))
def test_tiles_fit_the_array_and_come_in_order(
    geometry: Geometry, array: ArrayShape, method: Method, groups: str
) -> None:
    mapping = mapped(geometry, array, method, groups=groups)
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
@example(Geometry("layer", 1, 1, (2, 2), (5, 5), dilation=(2, 2)), ArrayShape(64, 64), ("vw-sdk", {}), "serial", 4)
@example(
    Geometry("layer", 2, 2, (3, 3), (9, 9), (3, 2), dilation=(2, 3)), ArrayShape(99, 64), ("vw-sdk", {}), "serial", 3
)
def test_row_skipping_equals_the_dense_matrix(
    geometry: Geometry, array: ArrayShape, method: Method, groups: str, seed: int
) -> None:
    mapping, weight = mapped(geometry, array, method, groups=groups), weights(geometry, seed)
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
    geometry: Geometry, array: ArrayShape, method: Method, seed: int
) -> None:
    mapping, weight = mapped(geometry, array, method), weights(geometry, seed)
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


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(GROUPS), st.integers(0, 2**32 - 1))
def test_column_skipping_equals_the_dense_matrix(
    geometry: Geometry, array: ArrayShape, method: Method, groups: str, seed: int
) -> None:
    mapping, weight = mapped(geometry, array, method, groups=groups), weights(geometry, seed)
    left = [(mapping.cell_weights(tile, weight) != 0).any(axis=0) for tile in mapping.tiles]
    apart, together = (place(mapping, weight, "column", pack) for pack in ("tile", "layer"))
    kept = [(tile, columns) for tile, columns in zip(mapping.tiles, left, strict=True) if columns.any()]
    assert [tile.rows for tile in apart.tiles] == [tile.rows for tile, _ in kept]
    assert [tile.columns for tile in apart.tiles] == [tile.columns.take(columns) for tile, columns in kept]
    assert apart.columns_skipped == together.columns_skipped == apart.columns_mapped - sum(int(c.sum()) for c in left)
    for placement in (apart, together):
        assert placement.nonzero_cells == place(mapping, weight).nonzero_cells
        assert placement.weight_cells == sum(int(mapping.taps(tile)[2].sum()) for tile in placement.tiles)
    for panel in {(tile.block, tile.row_tile) for tile in mapping.tiles}:
        counts = [int(c.sum()) for t, c in zip(mapping.tiles, left, strict=True) if (t.block, t.row_tile) == panel]
        widths = [len(t.columns) for t in mapping.tiles if (t.block, t.row_tile) == panel]
        filled = [tile for tile in together.tiles if (tile.block, tile.row_tile) == panel]
        whole = counts == widths
        assert len(filled) == (len(widths) if whole else -(-sum(counts) // array.weight_columns))
        assert sum(len(tile.columns) for tile in filled) == sum(counts)


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(["tile", "layer"]), st.integers(0, 2**32 - 1))
def test_block_takes_rows_or_columns_whichever_leaves_fewer_arrays(
    geometry: Geometry, array: ArrayShape, method: Method, pack: str, seed: int
) -> None:
    mapping, weight = mapped(geometry, array, method), weights(geometry, seed)
    rows, columns, block = (place(mapping, weight, skip, pack) for skip in ("row", "column", "block"))
    assert len(block.tiles) == min(len(rows.tiles), len(columns.tiles))
    assert block == (rows if block.skip == "row" else columns)


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
    geometry: Geometry, array: ArrayShape, method: Method, data: st.DataObject
) -> None:
    size = geometry.kernel[0] * geometry.kernel[1]
    pattern = data.draw(st.text("01", min_size=size, max_size=size))
    kept = {divmod(i, geometry.kernel[1]) for i, bit in enumerate(pattern) if bit == "1"}
    mapping = mapped(geometry, array, method)
    skipped = place(mapping, keep_weight(geometry, pattern), "row").rows_skipped
    per_channel = closed_forms.skipped_rows(mapping.view, mapping.outputs, kept)
    expected = per_channel * geometry.in_channels * mapping.column_tiles
    assert skipped == expected or (skipped > expected and cuts_windows(mapping))


def idle_rows(mapping: Mapping, skip: str) -> int:
    """Rows that hold no weight at all, and that this granularity leaves out."""
    used = [mapping.taps(tile)[2].any(axis=1) for tile in mapping.tiles]
    if skip == "array":
        used = [np.full_like(rows, rows.any()) for rows in used]
    return 0 if skip == "none" else sum(int((~rows).sum()) for rows in used)


def cuts_windows(mapping: Mapping) -> bool:
    """Whether arrays hold only some output positions of a window (SDK's free search cuts columns anywhere).

    The pixels that only the other positions touch are then rows without any weight in that array.
    """
    positions = mapping.outputs[0] * mapping.outputs[1]
    return any(len(set(zip(t.columns.a, t.columns.b, strict=True))) < positions for t in mapping.tiles)


@few
@given(geometries(), arrays, st.sampled_from(METHODS), st.sampled_from(CHOICES))
def test_pruned_to_nothing_costs_nothing_and_dense_skips_nothing(
    geometry: Geometry, array: ArrayShape, method: Method, choice: tuple[str, str]
) -> None:
    mapping = mapped(geometry, array, method)
    nothing = place(mapping, np.zeros(geometry.weight_shape, dtype=np.int64), *choice)
    if choice[0] != "none":
        assert (nothing.tiles, nothing.cycles, nothing.index_bits) == ((), 0, 0)
        assert (nothing.rows_skipped, nothing.cell_utilisation) == (mapping.rows_mapped, 0.0)
    dense = place(mapping, np.ones(geometry.weight_shape, dtype=np.int64), *choice)
    if choice[0] in ("column", "block"):
        whole = all(mapping.taps(tile)[2].any(axis=0).all() for tile in mapping.tiles)
        assert dense.tiles == mapping.tiles or not whole or choice == ("block", "layer")
        return
    idle = idle_rows(mapping, choice[0])
    assert idle == 0 or cuts_windows(mapping)
    assert dense.rows_skipped == idle
    # An array without any row needs no index; where arrays are refilled, their column tile has one.
    left = {(tile.block, tile.column_tile) for tile in dense.tiles}
    partly = sum(len(t.rows) for t in mapping.tiles if (t.block, t.column_tile) in left) if choice[1] == "layer" else (
        sum(len(t.rows) for t in mapping.tiles if mapping.taps(t)[2].any()))  # fmt: skip
    if choice[0] == "row":
        assert (dense.index_bits > 0) == (partly > sum(len(tile.rows) for tile in dense.tiles))
    else:
        assert dense.index_bits == 0 or (choice[0] == "ou" and cuts_windows(mapping))
    if choice[1] == "tile":
        assert dense.tiles == place(mapping, None, *choice).tiles
    if choice[1] == "tile" and not idle:
        assert dense.tiles == mapping.tiles
        assert dense.cell_utilisation == mapping.cell_utilisation
