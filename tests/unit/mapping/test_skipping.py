"""What is left of a mapping when zero rows or arrays are skipped, and what the index costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pimsim.errors import MappingError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.index_cost import delta_bits, index_bits, pattern_bits
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import keep_weight, place
from pimsim.mapping.summary import summary
from pimsim.network.layers import Geometry

LINEAR = Geometry("fc", 8, 2, kind="linear")
ARRAY = ArrayShape(4, 1)  # 2 row tiles, 2 column tiles
CONV = Geometry("conv", 64, 64, (3, 3), (28, 28))


def _linear_weight(*kept: set[int]) -> np.ndarray:
    """One output a set: ones at the inputs that it keeps."""
    return np.array([[[[int(i in output)]] for i in range(8)] for output in kept])


def _rows(placement: object) -> list[tuple[int, int, list[int]]]:
    return [(t.column_tile, t.row_tile, t.rows.channel.tolist()) for t in placement.tiles]  # type: ignore[attr-defined]


WEIGHT = _linear_weight({1, 2, 5}, {0})


def test_rows_are_skipped_in_each_array_tile_for_itself() -> None:
    placement = place(map_layer(LINEAR, ARRAY, "im2col"), WEIGHT, "row")
    assert _rows(placement) == [(0, 0, [1, 2]), (0, 1, [5]), (1, 0, [0])]
    assert (placement.rows_mapped, placement.rows_skipped, placement.nonzero_cells) == (16, 12, 4)
    assert (placement.skip_ratio, placement.compression) == (0.75, 4 / 3)
    assert placement.index_bits == 3 * 4  # a bitmap of the four rows of each array in use


def test_kept_rows_of_a_column_tile_refill_arrays() -> None:
    placement = place(map_layer(LINEAR, ARRAY, "im2col"), WEIGHT, "row", "layer", "list")
    assert _rows(placement) == [(0, 0, [1, 2, 5]), (1, 0, [0])]
    assert placement.index_bits == 4 * 3  # four kept rows, each one of eight inputs


def test_arrays_without_a_nonzero_cell_disappear_whole() -> None:
    placement = place(map_layer(LINEAR, ARRAY, "im2col"), WEIGHT, "array")
    assert _rows(placement) == [(0, 0, [0, 1, 2, 3]), (0, 1, [4, 5, 6, 7]), (1, 0, [0, 1, 2, 3])]
    assert (placement.rows_skipped, placement.index_bits, placement.cycles) == (4, 0, 3)


UNITS = ArrayShape(6, 2, 1, (2, 1))  # operation units of 2 rows and 1 column; 2 row tiles of 6 and 2 rows
SPARSE = _linear_weight({0, 3, 4}, {0})


@pytest.mark.parametrize(("compact", "rows", "steps"), [(True, [3, 1], 2 + 1), (False, [6, 2], 3 + 1)])
def test_each_column_group_leaves_out_its_own_rows(compact: bool, rows: list[int], steps: int) -> None:
    placement = place(map_layer(LINEAR, UNITS, "im2col"), SPARSE, "ou", compact=compact)
    (tile,) = placement.tiles
    assert tile.group_rows(1).tolist() == rows
    assert (placement.unit_steps, placement.dense_unit_steps) == (steps, 2 * (3 + 1))
    assert placement.rows_skipped == (5 if compact else 2)
    # A bit for each row, or for each operation unit, in each of the two columns of the array in use.
    assert placement.index_bits == (12 if compact else 6)
    assert placement.weight_cells == sum(rows)


def test_a_tile_falls_into_parts_of_equal_rows() -> None:
    weight = _linear_weight({0, 3}, {1}, {0, 3})
    (tile,) = place(
        map_layer(replace(LINEAR, out_channels=3), ArrayShape(8, 3, 1, (2, 1)), "im2col"), weight, "ou"
    ).tiles
    parts = {tuple(part.columns.output.tolist()): part.rows.channel.tolist() for part in tile.parts()}
    assert parts == {(0, 2): [0, 3], (1,): [1]}


def test_a_dense_layer_needs_no_index_of_units() -> None:
    mapping = map_layer(LINEAR, UNITS, "im2col")
    placement = place(mapping, _linear_weight(set(range(8)), set(range(8))), "ou")
    assert (placement.tiles, placement.index_bits) == (mapping.tiles, 0)


def test_a_layer_without_weights_is_dense() -> None:
    mapping = map_layer(LINEAR, ARRAY, "im2col")
    placement = place(mapping, None, "row")
    assert (placement.tiles, placement.rows_skipped, placement.nonzero_cells) == (mapping.tiles, 0, None)


def test_column_tiles_that_keep_the_same_rows_share_them() -> None:
    placement = place(map_layer(LINEAR, ARRAY, "im2col"), _linear_weight({1, 2}, {1, 2}), "row")
    assert placement.tiles[0].rows is placement.tiles[1].rows


def test_block_counts_arrays_before_index_bits() -> None:
    """Two weights in two column tiles and one row tile: columns need one array and 32 bits, rows two and 8."""
    geometry = Geometry("fc", 4, 32, (1, 1), (1, 1), kind="linear")
    mapping, weight = map_layer(geometry, ArrayShape(4, 4), "im2col"), np.zeros((32, 4, 1, 1), dtype=np.int64)
    weight[0, 0] = weight[4, 1] = 1
    rows, columns, block = (place(mapping, weight, skip, "layer") for skip in ("row", "column", "block"))
    assert [(len(p.tiles), p.index_bits) for p in (rows, columns)] == [(2, 8), (1, 32)]
    assert block == columns
    assert (columns.columns_mapped, columns.columns_skipped, columns.scattered, rows.scattered) == (32, 30, True, False)
    assert columns.tiles[0].columns.output.tolist() == [0, 4]
    # Of equal numbers of arrays the smaller index wins, then rows.
    weight[4, 1] = 0
    assert place(mapping, weight, "block", "layer") == place(mapping, weight, "row", "layer")


def test_summary_has_the_keys_of_the_contract() -> None:
    mapping = map_layer(CONV, ArrayShape(512, 512), "vw-sdk")
    dense, pruned = place(mapping, None), place(mapping, keep_weight(CONV, "000111111"), "row")
    # 4x4 windows of 2x2 outputs: 32 channels of 16 rows an array, 4 * 64 of 512 columns, 9 of 16 cells a column.
    assert summary(mapping, dense) == {
        "mapping": "vw-sdk",
        "cycles": 338,
        "windows": 169,
        "window": [4, 4],
        "ic_tile": 32,
        "oc_tile": 128,
        "row_tiles": 2,
        "column_tiles": 1,
        "rows_mapped": 1024,
        "rows_skipped": 0,
        "skip_ratio": 0.0,
        "cell_utilisation": 9 / 16 / 2,
        "arrays": 2,
        "dense_arrays": 2,
        "options": {"groups": "serial", "clamp": True, "tie": "first", "search": "exact"},
    }
    # One border row kept out skips P = 4 rows a channel (`pruning-sdk.md` 3); its 3 positions leave 6 cells a column.
    assert summary(mapping, pruned)["rows_skipped"] == 4 * 64
    assert summary(mapping, place(mapping, keep_weight(CONV, "0" * 9), "row"))["row_tiles"] == 0


def test_keep_pattern_is_row_major_in_every_channel() -> None:
    weight = keep_weight(Geometry("conv", 2, 3, (2, 3), (4, 4)), "100011")
    assert weight.shape == (3, 2, 2, 3) and (weight == [[1, 0, 0], [0, 1, 1]]).all()


KEPT = np.zeros(40, dtype=bool)
KEPT[[0, 17, 39]] = True


@pytest.mark.parametrize(
    ("name", "bits"), [("bitmap", 40), ("list", 3 * 6), ("delta4", (3 + 2) * 4), ("delta5", 3 * 5)]
)
def test_index_formats(name: str, bits: int) -> None:
    # Gaps of 0, 16 and 21 rows: codes of 4 bits reach 15, so two of them need a filler row.
    assert index_bits(name, KEPT) == bits


def test_index_of_patterns_and_of_nothing() -> None:
    assert pattern_bits(64, 4) == 128 and pattern_bits(64, 5) == 192 and pattern_bits(64, 1) == 0
    assert delta_bits(np.zeros(8, dtype=bool)) == 0


MAPPED = map_layer(CONV, ArrayShape(128, 128), "im2col")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: place(MAPPED, None, "rows"),
            "conv: skip 'rows': unknown skip. Did you mean 'row'? Known: none, row, ou, array, slice, repeat, column, "
            "block.",
        ),
        (
            lambda: place(MAPPED, None, "row", "layers"),
            "conv: pack 'layers': unknown pack. Did you mean 'layer'? Known: tile, layer.",
        ),
        (
            lambda: place(MAPPED, None, "row", "tile", "bits"),
            "conv: index format 'bits': unknown index format. "
            "Did you mean 'bitmap'? Known: bitmap, list, delta4, delta5.",
        ),
        (
            lambda: place(MAPPED, None, "array", "layer"),
            "conv: pack 'layer' with skip 'array': only kept rows or columns can refill arrays. "
            "Use skip 'row', 'column' or 'block', or pack 'tile'.",
        ),
        (
            lambda: place(MAPPED, None, "row", compact=False),
            "conv: compact false with skip 'row': only the rows of operation units close up or keep their places. "
            "Use skip 'ou', or leave compact out.",
        ),
        (
            lambda: place(MAPPED, None, "ou", "layer"),
            "conv: pack 'layer' with skip 'ou': only kept rows or columns can refill arrays. "
            "Use skip 'row', 'column' or 'block', or pack 'tile'.",
        ),
        (
            lambda: ArrayShape(128, 128, 4, (129, 8)),
            "an operation unit of 129x8: it must have a row and a column at least, and fit the array of 128x128. "
            "Use a smaller operation unit.",
        ),
        (
            lambda: (
                place(map_layer(LINEAR, ArrayShape(4, 2, 1, (2, 1)), "im2col"), WEIGHT, "ou").tiles[0].group_rows(2)
            ),
            "column groups of 1 weights: the operation unit of the crossbar holds 2. "
            "Place the layer on arrays with the operation unit of this crossbar.",
        ),
        (
            lambda: place(MAPPED, np.ones((64, 64, 1, 1), dtype=np.int64)),
            "conv: weight of shape (64, 64, 1, 1): the layer needs (64, 64, 3, 3).",
        ),
        (
            lambda: keep_weight(CONV, "00011111"),
            "conv: keep pattern '00011111': a 3x3 kernel needs 9 characters, each 0 or 1. "
            "Write the kernel positions row by row, 1 for a weight that stays.",
        ),
        (
            lambda: keep_weight(CONV, "00011111x"),
            "conv: keep pattern '00011111x': a 3x3 kernel needs 9 characters, each 0 or 1. "
            "Write the kernel positions row by row, 1 for a weight that stays.",
        ),
        (
            lambda: index_bits("huffman", KEPT),
            "index format 'huffman': unknown index format. Known: bitmap, list, delta4, delta5.",
        ),
    ],
)
def test_what_cannot_be_skipped_says_why(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MappingError) as caught:
        call()
    assert str(caught.value) == message
