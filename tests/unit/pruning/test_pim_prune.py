"""PIM-Prune's packing against a worked example, brute force and the simulator's own placement."""

from __future__ import annotations

from math import ceil, floor, log2

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pimsim.errors import PruningError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry
from pimsim.pruning.pim_prune import Crossbar, Pack, pack, pack_together, share_of


def worked_example() -> NDArray[np.float64]:
    """16 x 12 on 4x4 arrays: each 4-wide row segment (r, j) holds four times the number written here.

    Column panel 0 is strongest in rows 0 to 4, panel 1 in rows 8 and 9, panel 2 is weak everywhere.
    """
    strength = np.full((16, 3), 1.0)
    strength[:5, 0] = [9, 8, 7, 6, 5]
    strength[8:10, 1] = [4, 3]
    strength[5:8, 0] = [2.5, 2.4, 2.3]
    strength[0:2, 1] = [2.2, 2.1]
    return np.repeat(strength, 4, axis=1)


def test_worked_example_in_row_mode() -> None:
    """7 of 48 segments stay: 5 in panel 0, 2 in panel 1; 2 + 1 arrays of 12, filled up to 8 and 4 segments."""
    packed = pack(worked_example(), (4, 4), keep=7 / 48)
    assert (packed.dense_arrays, packed.occupied_arrays, packed.compression) == (12, 3, 4.0)
    assert (packed.segments, packed.selected, packed.kept) == (48, 7, 12)
    assert packed.kept_per_panel == (8, 4, 0)
    rows = [np.flatnonzero(packed.mask[:, 4 * panel]).tolist() for panel in range(3)]
    assert rows == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 8, 9], []]
    # Without re-packing: panel 0 in blocks 0 and 1, panel 1 in blocks 0 and 2.
    assert packed.nonempty_blocks == 4
    assert (packed.bitmap_bits, packed.coordinate_bits, packed.index_bits) == (48, 12 * 4, 48)
    bare = pack(worked_example(), (4, 4), keep=7 / 48, fill_up=False)
    assert (bare.occupied_arrays, bare.kept, bare.kept_per_panel, bare.nonempty_blocks) == (3, 7, (5, 2, 0), 3)
    assert (bare.bitmap_bits, bare.coordinate_bits, bare.index_bits) == (48, 28, 28)


def test_worked_example_in_column_mode() -> None:
    """Segments (i, c) of row panel 0 and panel 0 columns are strongest: 4 of 48 stay, one array of 12."""
    packed = pack(worked_example(), (4, 4), keep=3 / 48, mode="column")
    assert (packed.dense_arrays, packed.occupied_arrays) == (12, 1)
    assert (packed.selected, packed.kept, packed.kept_per_panel) == (3, 4, (4, 0, 0, 0))
    assert np.flatnonzero(packed.mask.any(axis=0)).tolist() == [0, 1, 2, 3]
    assert (packed.bitmap_bits, packed.coordinate_bits) == (4 * 12, 4 * 4)


def test_best_is_the_mode_with_fewer_arrays() -> None:
    rows, columns = np.ones((16, 12)), np.ones((16, 12))
    rows[::4] *= 100
    columns[:, [0, 1, 4, 8]] *= 100
    columns *= 1 + np.arange(16)[:, None] / 16
    for matrix, mode, share in ((rows, "row", 1 / 4), (columns, "column", 1 / 3)):
        best = pack(matrix, (4, 4), share, "best")
        assert best.mode == mode
        assert best == pack(matrix, (4, 4), share, mode)
        assert best.occupied_arrays <= min(pack(matrix, (4, 4), share, m).occupied_arrays for m in ("row", "column"))
    assert pack(rows, (4, 4), 1 / 4, "row").occupied_arrays == 3
    assert pack(columns, (4, 4), 1 / 3, "column").occupied_arrays == 4 < pack(columns, (4, 4), 1 / 3).occupied_arrays


matrices = st.builds(
    lambda h, m, seed: np.random.default_rng(seed).integers(-4, 5, (h, m)).astype(float),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)
crossbars = st.builds(Crossbar, st.integers(1, 8), st.integers(3, 9), st.integers(1, 3))
shares = st.sampled_from([0.0, 0.07, 0.25, 0.5, 0.9, 1.0])
quick = settings(max_examples=150, deadline=None)


def brute_force(
    matrix: NDArray[np.float64], array: Crossbar, keep: float, mode: str, fill: bool
) -> tuple[int, NDArray[np.bool_], int, int]:
    """Arrays, mask, bitmap and coordinate bits, segment by segment with sorted lists."""
    if mode == "column":
        # Column mode is row mode of the transposed matrix on an array that is turned as well.
        turned = Crossbar(array.weights, array.rows)
        arrays, mask, bitmap, coordinates = brute_force(matrix.T, turned, keep, "row", fill)
        return arrays, mask.T, bitmap, coordinates
    height, width = matrix.shape
    panels = [range(c, min(c + array.weights, width)) for c in range(0, width, array.weights)]
    order = sorted(
        ((sum(matrix[r, c] ** 2 for c in panel), j, r) for j, panel in enumerate(panels) for r in range(height)),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )
    count = max(floor(keep * len(order) + 0.5), 1 if keep > 0 else 0)
    kept = {(j, r) for _, j, r in order[:count]}
    for j in range(len(panels)):
        mine = [entry for entry in kept if entry[0] == j]
        room = -len(mine) % array.rows
        if fill:
            kept |= {(k, r) for _, k, r in [e for e in order if e[1] == j and e[1:] not in kept][:room]}
    mask = np.zeros((height, width), dtype=bool)
    for j, r in kept:
        mask[r, panels[j].start : panels[j].stop] = True
    arrays = sum(ceil(len([1 for k, _ in kept if k == j]) / array.rows) for j in range(len(panels)))
    return arrays, mask, height * len(panels), len(kept) * ceil(log2(height)) if height > 1 else 0


@quick
@given(matrices, crossbars, shares, st.sampled_from(["row", "column"]), st.booleans())
def test_packing_equals_brute_force(
    matrix: NDArray[np.float64], array: Crossbar, keep: float, mode: str, fill: bool
) -> None:
    packed = one(matrix, array, keep, mode, fill_up=fill)
    arrays, mask, bitmap, coordinates = brute_force(matrix, array, keep, mode, fill)
    np.testing.assert_array_equal(packed.mask, mask)
    assert (packed.occupied_arrays, packed.bitmap_bits, packed.coordinate_bits) == (arrays, bitmap, coordinates)
    assert packed.index_bits == min(bitmap, coordinates)


def one(matrix: NDArray[np.float64], array: Crossbar, keep: float, mode: str, **options: object) -> Pack:
    options = {"columns_per_weight": array.columns_per_weight, **options}
    return pack(matrix, (array.rows, array.columns), keep, mode, **options)  # type: ignore[arg-type]


@quick
@given(matrices, crossbars, shares, st.sampled_from(["row", "column", "best"]))
def test_fill_up_costs_no_array_and_takes_no_weight_away(
    matrix: NDArray[np.float64], array: Crossbar, keep: float, mode: str
) -> None:
    full, bare = (one(matrix, array, keep, mode, fill_up=fill) for fill in (True, False))
    assert full.occupied_arrays == bare.occupied_arrays
    assert full.kept >= bare.kept == bare.selected
    if full.mode == bare.mode:
        assert (full.mask | bare.mask).sum() == full.mask.sum()
        assert (matrix[~full.mask] ** 2).sum() <= (matrix[~bare.mask] ** 2).sum()


@quick
@given(matrices, crossbars, st.sampled_from(["row", "column", "best"]), st.booleans())
def test_keep_one_is_dense_and_keep_zero_is_nothing(
    matrix: NDArray[np.float64], array: Crossbar, mode: str, fill: bool
) -> None:
    dense, nothing = (one(matrix, array, keep, mode, fill_up=fill) for keep in (1.0, 0.0))
    assert dense.occupied_arrays == dense.dense_arrays == dense.nonempty_blocks
    assert dense.mask.all()
    assert (nothing.occupied_arrays, nothing.kept, nothing.nonempty_blocks) == (0, 0, 0)
    assert not nothing.mask.any()
    rows, columns = matrix.shape
    assert dense.dense_arrays == ceil(rows / array.rows) * ceil(columns / (array.columns // array.columns_per_weight))


@quick
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(1, 16))
def test_wider_segments_never_keep_more_energy(seed: int, rows: int, width: int, kept: int) -> None:
    """At an equal number of kept weights, halving the segment width never loses weight energy (before fill-up)."""
    matrix = np.random.default_rng(seed).normal(size=(12, 24))
    wide = pack(matrix, (rows, 2 * width), min(1.0, kept / (12 * (12 // width))), fill_up=False)
    narrow = pack(matrix, (rows, width), wide.kept * 2 / (12 * (24 // width)), fill_up=False)
    assert wide.mask.sum() == narrow.mask.sum()
    assert (matrix[narrow.mask] ** 2).sum() >= (matrix[wide.mask] ** 2).sum() - 1e-9
    # The price: the index of the finer segments is twice as long.
    assert narrow.bitmap_bits == 2 * wide.bitmap_bits


@quick
@given(matrices, crossbars, shares, st.sampled_from([1, 2]))
def test_the_simulator_places_exactly_the_packed_arrays(
    matrix: NDArray[np.float64], array: Crossbar, keep: float, kernel: int
) -> None:
    """Skip `row` and `column` with pack `layer` on im2col are row and column mode; `block` is the best of both."""
    matrix = np.where(matrix == 0, 1.0, matrix)[: len(matrix) // kernel**2 * kernel**2]
    if not len(matrix):
        return
    rows, columns = matrix.shape
    geometry = Geometry("layer", rows // kernel**2, columns, (kernel, kernel), (kernel + 1, kernel))
    shape = ArrayShape(array.rows, array.columns, array.columns_per_weight)
    mapping = map_layer(geometry, shape, "im2col")
    for mode in ("row", "column"):
        packed = one(matrix, array, keep, mode)
        weight = (matrix * packed.mask).T.reshape(geometry.weight_shape).astype(np.int64)
        placement = place(mapping, weight, mode, "layer", "bitmap")
        assert len(placement.tiles) == packed.occupied_arrays
        assert len(mapping.tiles) == packed.dense_arrays
        assert len(place(mapping, weight, "array").tiles) == packed.nonempty_blocks
        # The bitmap counts all panels; a panel that keeps all or nothing needs no index on the chip.
        length = rows if mode == "row" else columns
        partial = [count for count in packed.kept_per_panel if 0 < count < length]
        assert placement.index_bits == len(partial) * length
        block = place(mapping, weight, "block", "layer")
        assert len(block.tiles) <= packed.occupied_arrays


def test_both_phases_zero_more_than_rows_alone_and_count_what_is_left() -> None:
    matrix = np.random.default_rng(1).normal(size=(32, 24))
    both, rows = pack(matrix, (8, 8), 0.25, "both"), pack(matrix, (8, 8), 0.5, "row")
    assert both.selected == rows.selected  # the first phase keeps sqrt(1/4) of the rows
    assert not (both.mask & ~rows.mask).any()
    assert both.mask.sum() == rows.mask.sum() // 2
    assert both.occupied_arrays <= rows.occupied_arrays
    assert both.bitmap_bits == rows.bitmap_bits + 8 * rows.occupied_arrays
    # Full arrays of 8 rows: each column that stays holds 8 weights, and 3 bits name it.
    assert both.coordinate_bits == rows.coordinate_bits + 3 * (both.mask.sum() // 8)
    # Two column panels with equal rows share an array once half of their columns are gone.
    twin = np.ones((8, 16))
    twin[:4] = 100.0
    twin[:, ::2] *= 3
    assert pack(twin, (4, 8), 0.25, "row").occupied_arrays == 1
    assert pack(twin, (4, 8), 0.25, "both").occupied_arrays == 1
    assert pack(twin, (4, 8), 0.25, "both").mask.sum() == 4 * 8


def test_segments_of_several_matrices_are_ranked_together() -> None:
    strong, weak = np.full((8, 4), 10.0), np.ones((8, 4))
    packs = pack_together([weak, strong], Crossbar(4, 4), 0.5, "row", fill_up=False)
    assert [p.kept for p in packs] == [0, 8]
    # Of equal norms the first stay; normalised, a short segment stands beside a long one.
    assert [p.kept for p in pack_together([weak, weak], Crossbar(4, 4), 0.5, "row")] == [8, 0]
    short = [np.ones((4, 8)), np.ones((4, 2)) * 1.5]
    assert [p.kept for p in pack_together(short, Crossbar(4, 8), 0.5, "row")] == [4, 0]
    assert [p.kept for p in pack_together(short, Crossbar(4, 8), 0.5, "row", normalise=True)] == [0, 4]


def test_tensors_and_index_formats() -> None:
    matrix = torch.tensor(worked_example(), dtype=torch.float32)
    packed = pack(matrix, (4, 4), keep=7 / 48, fill_up=False, index_format="bitmap")
    assert packed == pack(worked_example(), (4, 4), keep=7 / 48, fill_up=False, index_format="bitmap")
    assert packed.index_bits == 48
    assert pack(matrix, (4, 4), keep=0.5, index_format="coordinates").index_bits == 24 * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack(np.ones(4), (4, 4), 0.5), "a matrix of shape (4,): (rows, output channels) are needed. "
         "Unroll a convolution first: weight.flatten(1).T."),
        (lambda: pack(np.full((2, 2), np.nan), (4, 4), 0.5), "a matrix with values that are not finite: their norms "
         "have no order."),
        (lambda: pack(np.ones((4, 4)), (4, 4), 1.5), "keep=1.5: the share of segments that stays is 0 to 1."),
        (lambda: pack(np.ones((4, 4)), (4, 4), 0.5, "rows"), "mode 'rows': unknown mode. Did you mean 'row'? "
         "Known: row, column, best, both."),
        (lambda: pack(np.ones((4, 4)), (0, 4), 0.5), "crossbar 0x4 with 1 columns per weight: rows, columns and "
         "columns per weight must be at least 1."),
        (lambda: pack(np.ones((4, 4)), (4, 2), 0.5, columns_per_weight=4), "4 columns per weight on a crossbar of 2 "
         "columns: an array must be wide enough for one weight. Use a wider crossbar."),
        (lambda: pack(np.ones((4, 4)), (4, 4), 0.5, index_format="huffman"), "index format 'huffman': unknown index "
         "format. Known: bitmap, coordinates, smallest."),
        (lambda: share_of("a quarter"), "keep 'a quarter': a share is a number from 0 to 1. "
         "Write it like 0.25 or 1/4."),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_says_why(call: object, message: str) -> None:
    with pytest.raises(PruningError) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value) == message
