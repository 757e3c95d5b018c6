"""Mappers by name, their options, and layouts small enough to write down."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from pimsim.errors import MappingError, NetworkError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.convention import as_published, with_convention
from pimsim.mapping.registry import map_layer
from pimsim.network.layers import Geometry

LAYER = Geometry("conv", 2, 3, (2, 2), (4, 4))


def test_im2col_rows_run_over_channel_then_kernel_row_then_kernel_column() -> None:
    (tile,) = map_layer(LAYER, ArrayShape(8, 3), "im2col").tiles
    listed = list(zip(tile.rows.channel.tolist(), tile.rows.y.tolist(), tile.rows.x.tolist(), strict=True))
    assert listed == [(c, y, x) for c in (0, 1) for y in (0, 1) for x in (0, 1)]
    assert tile.columns.output.tolist() == [0, 1, 2]


def test_sdk_places_shifted_kernels() -> None:
    # One channel, a 2x2 kernel and 2x2 outputs in a 3x3 window: the matrix of Zhang et al. written out.
    layer = Geometry("conv", 1, 1, (2, 2), (3, 3))
    (tile,) = (mapping := map_layer(layer, ArrayShape(9, 4), "sdk")).tiles
    weight = np.array([1, 2, 3, 4]).reshape(1, 1, 2, 2)
    expected = [
        [1, 0, 0, 0],
        [2, 1, 0, 0],
        [0, 2, 0, 0],
        [3, 0, 1, 0],
        [4, 3, 2, 1],
        [0, 4, 0, 2],
        [0, 0, 3, 0],
        [0, 0, 4, 3],
        [0, 0, 0, 4],
    ]
    assert mapping.cell_weights(tile, weight).tolist() == expected
    assert (mapping.window, mapping.windows, mapping.cycles) == ((3, 3), 1, 1)


def test_last_windows_overrun_the_map_and_read_zeros() -> None:
    # A 1x1 kernel on a 3x3 map with 2x2 outputs a window: 2x2 windows, the last ones half outside.
    layer = Geometry("conv", 1, 1, (1, 1), (3, 3))
    mapping = map_layer(layer, ArrayShape(4, 4), "sdk")
    (tile,) = mapping.tiles
    assert mapping.gather_shape == (1, 4, 4)
    assert mapping.window_pixels(tile.rows).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert mapping.output_index(tile.columns).tolist() == [
        [0, 1, 3, 4],
        [2, -1, 5, -1],
        [6, 7, -1, -1],
        [8, -1, -1, -1],
    ]
    padded = mapping.pad_input(np.arange(1, 10).reshape(1, 1, 3, 3))
    assert padded.reshape(4, 4).tolist() == [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]]


def test_packed_groups_share_an_array_block_diagonally() -> None:
    # `mapping.md` 1.8: depthwise 3x3 on 20 rows holds two channels an array.
    depthwise = Geometry("conv", 4, 4, (3, 3), (6, 6), groups=4)
    packed = map_layer(depthwise, ArrayShape(20, 20), "im2col", groups="packed")
    assert [(tile.block, len(tile.rows), len(tile.columns)) for tile in packed.tiles] == [(0, 18, 2), (1, 18, 2)]
    assert packed.cell_utilisation == 36 / 800
    serial = map_layer(depthwise, ArrayShape(20, 20), "im2col")
    assert (serial.blocks, serial.cycles, packed.cycles) == (4, 64, 32)


def test_tiles_of_a_block_share_their_rows_and_columns() -> None:
    mapping = map_layer(Geometry("fc", 8, 6), ArrayShape(4, 3), "im2col")
    assert [(tile.column_tile, tile.row_tile) for tile in mapping.tiles] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert mapping.tiles[0].rows is mapping.tiles[2].rows
    assert mapping.tiles[0].columns is mapping.tiles[1].columns


def test_a_mapping_is_a_value_that_prints_itself() -> None:
    layer, array = Geometry("conv", 3, 64, (3, 3), (224, 224)), ArrayShape(512, 512)
    mapping, again = (map_layer(layer, array, "vw-sdk") for _ in range(2))
    assert mapping == again and hash(mapping) == hash(again)
    assert mapping != map_layer(layer, array, "sdk")
    assert str(mapping) == "vw-sdk 10x3x3x64: 6216 cycles, 6216 windows, 1 x 1 tiles"
    assert "outputs=(1, 8), ic_tile=3, oc_tile=64, options=(('groups', 'serial'), ('clamp', True), " in repr(mapping)


def test_rows_and_columns_differ_by_any_axis() -> None:
    first, second = (map_layer(LAYER, ArrayShape(8, 3 * n), "sdk").tiles[0] for n in (1, 4))
    assert first.rows == map_layer(LAYER, ArrayShape(8, 3), "im2col").tiles[0].rows
    assert first.columns == map_layer(LAYER, ArrayShape(8, 3), "im2col").tiles[0].columns
    moved = map_layer(LAYER, ArrayShape(18, 12), "sdk").tiles[0]
    assert second.rows != moved.rows and second.columns != moved.columns


def test_published_convention_ignores_padding_stride_and_dilation() -> None:
    layer = Geometry("conv", 3, 64, (7, 7), (112, 112), (2, 2), (3, 3, 3, 3), (2, 2))
    assert as_published(layer) == Geometry("conv", 3, 64, (7, 7), (112, 112))
    assert with_convention(layer, "valid").output_size == (106, 106)
    assert with_convention(layer, "same") is layer


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: map_layer(LAYER, ArrayShape(8, 8), "vwsdk"),
            "mapping 'vwsdk': unknown mapping. Did you mean 'vw-sdk'? Known: im2col, smd, sdk, vw-sdk, vwc-sdk, "
            "kernel-split, low-rank.",
        ),
        (
            lambda: map_layer(LAYER, ArrayShape(8, 8), "sdk", group="packed"),
            "option 'group' of mapping 'sdk': unknown option. Did you mean 'groups'? Known: groups, search.",
        ),
        (
            lambda: map_layer(LAYER, ArrayShape(8, 8), "im2col", groups="paked"),
            "groups 'paked': unknown layout of groups. Did you mean 'packed'? Known: serial, packed.",
        ),
        (
            lambda: with_convention(LAYER, "vallid"),
            "convention 'vallid': unknown convention. Did you mean 'valid'? Known: same, valid.",
        ),
        (
            lambda: ArrayShape(8, 3, 4),
            "4 columns per weight on an array of 3 columns: an array must be wide enough for one weight. "
            "Use a wider array, fewer weight bits or more bits per cell.",
        ),
        (
            lambda: ArrayShape(0, 8),
            "array 0x8 with 1 columns per weight: rows, columns and columns per weight must be at least 1.",
        ),
        (
            lambda: map_layer(LAYER, ArrayShape(3, 8), "vw-sdk", clamp=False),
            "conv: kernel 2x2 on an array of 3 rows: VW-SDK keeps the 4 rows of a channel in one array. "
            "Use at least 4 rows, or map with im2col.",
        ),
    ],
)
def test_what_cannot_be_mapped_says_why(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MappingError) as caught:
        call()
    assert str(caught.value) == message


def test_a_kernel_that_leaves_the_published_map_is_refused() -> None:
    with pytest.raises(NetworkError, match="the kernel must fit in the padded input"):
        as_published(Geometry("conv", 1, 1, (3, 3), (2, 2), padding=(1, 1, 1, 1)))


def test_an_array_smaller_than_a_kernel_falls_back_to_im2col() -> None:
    mapping = map_layer(LAYER, ArrayShape(3, 8), "vw-sdk")
    assert (mapping.method, mapping.window, mapping.row_tiles) == ("vw-sdk", (2, 2), 3)


def test_a_large_linear_layer_maps_in_a_second() -> None:
    start = time.process_time()
    mapping = map_layer(Geometry("fc", 25088, 4096, kind="linear"), ArrayShape(128, 128, 4), "vw-sdk")
    assert len(mapping.tiles) == 196 * 128
    assert time.process_time() - start < 1.0
