"""SMD, kernel-split, VWC-SDK, low-rank and channel pruning: layouts written down, choices and refusals."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pimsim.errors import MappingError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.channel_pruning import ic_tile, prune_channels
from pimsim.mapping.layout import unfold
from pimsim.mapping.low_rank import LowRank, rank_of
from pimsim.mapping.registry import map_layer, map_unit
from pimsim.mapping.stages import place_stages
from pimsim.network.layers import Geometry
from pimsim.network.shapes import load_shapes

SHAPES = Path(__file__).parents[3] / "workloads" / "shapes"


def test_smd_repeats_the_matrix_on_the_diagonal() -> None:
    layer = Geometry("conv", 1, 2, (1, 2), (1, 4))
    (tile,) = (mapping := map_layer(layer, ArrayShape(5, 4), "smd")).tiles
    weight = np.array([1, 2, 3, 4]).reshape(2, 1, 1, 2)
    assert mapping.cell_weights(tile, weight).tolist() == [[1, 3, 0, 0], [2, 4, 0, 0], [0, 0, 1, 3], [0, 0, 2, 4]]
    # Three outputs in two windows of two; the last copy of the last window has nothing to do.
    assert (mapping.windows, mapping.cycles, mapping.window) == (2, 2, (1, 2))
    assert mapping.output_index(tile.columns).tolist() == [[0, 3, 1, 4], [2, 5, -1, -1]]
    strip = mapping.pad_input(np.array([[[[5, 6, 7, 8]]]]))
    assert strip[:, mapping.window_pixels(tile.rows)].tolist() == [[[5, 6, 6, 7], [7, 8, 0, 0]]]


def test_smd_copies_fill_the_array_but_not_more_than_the_outputs() -> None:
    # `mapping.md` 1.3: d = min(512 / 27, 512 / 64) = 8.
    mapping = map_layer(Geometry("conv", 3, 64, (3, 3), (10, 10)), ArrayShape(512, 512), "smd")
    assert (mapping.outputs, mapping.cycles, mapping.rows_mapped) == ((1, 8), 8, 216)
    few = map_layer(Geometry("conv", 1, 1, (3, 3), (4, 4)), ArrayShape(512, 512), "smd")
    assert (few.outputs, few.cycles) == ((1, 4), 1)
    depthwise = Geometry("conv", 4, 4, (3, 3), (4, 4), groups=4)
    packed = map_layer(depthwise, ArrayShape(80, 80), "smd", groups="packed")
    assert (packed.outputs, packed.cycles, packed.rows_mapped) == ((1, 2), 2, 72)


def test_an_unfolded_layer_keeps_its_outputs() -> None:
    layer = Geometry("conv", 3, 5, (3, 2), (9, 8), (2, 1), (1, 1, 0, 0), (1, 2))
    strip = unfold(layer)
    assert strip.output_size == (1, layer.output_size[0] * layer.output_size[1])
    assert strip.macs == layer.macs


def test_kernel_split_gives_every_position_its_own_arrays() -> None:
    layer = Geometry("conv", 3, 2, (2, 2), (3, 3))
    mapping = map_layer(layer, ArrayShape(2, 2), "kernel-split")
    listed = [list(zip(t.rows.channel, t.rows.y, t.rows.x, strict=True)) for t in mapping.tiles]
    assert listed[:3] == [[(0, 0, 0), (1, 0, 0)], [(2, 0, 0)], [(0, 0, 1), (1, 0, 1)]]
    assert (len(mapping.tiles), mapping.row_tiles, mapping.cycles, mapping.ic_tile) == (8, 8, 32, 2)


def test_free_sdk_may_take_more_arrays() -> None:
    # 3x3, one to 8 channels, 16 weight columns: published n = 1 (4 x 8 > 16); free 2x2 in 2 arrays, 9 windows.
    layer = Geometry("conv", 1, 8, (3, 3), (8, 8))
    published, free = (map_layer(layer, ArrayShape(16, 16), "sdk", search=s) for s in ("published", "free"))
    assert (published.cycles, free.cycles, free.column_tiles, free.window) == (36, 18, 2, (4, 4))
    assert map_layer(layer, ArrayShape(16, 16), "vw-sdk").cycles == 18


def test_fewest_transfers_break_ties() -> None:
    # 1x4 and 2x2 outputs both take 4 cycles of a 4x4 output map; 4x4 pixels a window are fewer than 3x6.
    layer, array = Geometry("conv", 1, 4, (3, 3), (6, 6)), ArrayShape(18, 16)
    first, fewest = (map_layer(layer, array, "vw-sdk", tie=tie) for tie in ("first", "min-transfer"))
    assert (first.window, fewest.window, first.cycles, fewest.cycles) == ((3, 6), (4, 4), 4, 4)


def test_all_convolutions_of_resnet50_are_searched_in_a_fifth_of_a_second() -> None:
    layers = [layer.geometry for layer in load_shapes(SHAPES / "resnet50.yaml").layers if layer.geometry.kind == "conv"]
    assert len(layers) == 53
    start = time.process_time()
    mapped = [map_layer(layer, ArrayShape(512, 512), "vw-sdk") for layer in layers]
    assert time.process_time() - start < 0.2
    assert all(mapping.cycles > 0 for mapping in mapped)


def test_low_rank_makes_ordinary_layers_of_one() -> None:
    layer = Geometry("conv", 8, 16, (3, 3), (14, 14), (2, 2), (1, 1, 1, 1))
    mapping = LowRank("1/4", 2).map(layer, ArrayShape(64, 64))
    reduce, expand = (stage.geometry for stage in mapping.stages)
    assert reduce == Geometry("conv.reduce", 8, 8, (3, 3), (14, 14), (2, 2), (1, 1, 1, 1), groups=2)
    assert expand == Geometry("conv.expand", 8, 16, input_size=(7, 7))
    assert dict(mapping.options)["rank"] == 4
    again = LowRank("1/4", 2).map_pair(reduce, expand, ArrayShape(64, 64), layer, (("rank", 4),))
    assert again == mapping and hash(again) == hash(mapping)
    assert str(mapping).startswith("low-rank ")
    placed = place_stages(mapping, None)
    assert (placed.cycles, placed.rows_skipped, len(placed.tiles)) == (mapping.cycles, 0, len(mapping.tiles))
    cells = sum(stage.weight_cells for stage in mapping.stages)
    assert placed.cell_utilisation == cells / (64 * 64 * len(mapping.tiles))


def test_pipelined_stages_cost_the_slower_one() -> None:
    layer, array = Geometry("conv", 64, 64, (3, 3), (32, 32)), ArrayShape(128, 128)
    options = {"rank": 16, "window_outputs": "2x2"}
    both = map_unit(layer, array, "low-rank", **options).cycles
    assert (both, map_unit(layer, array, "low-rank", stages="pipelined", **options).cycles) == (2250, 1800)


def test_packed_factors_share_arrays() -> None:
    # Four groups of 9 x 4 = 36 rows and 2 columns fit one array of 144 rows.
    layer, array = Geometry("conv", 16, 16, (3, 3), (5, 5)), ArrayShape(144, 16)
    options = {"rank": 2, "groups": 4, "window_outputs": "1x1"}
    serial, packed = (map_unit(layer, array, "low-rank", packing=how, **options) for how in ("serial", "packed"))
    assert [len(mapping.stages[0].tiles) for mapping in (serial, packed)] == [4, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize(("rank", "outputs", "number"), [(3, 8, 3), ("3", 8, 3), ("1/4", 64, 16), ("1/8", 4, 1)])
def test_a_rank_is_a_number_or_a_fraction(rank: int | str, outputs: int, number: int) -> None:
    assert rank_of(rank, outputs) == number


@pytest.mark.parametrize("rank", [0, "0", "-1", "1/0", "5/4", "0/4", "1/", "a/b", "0.25", ""])
def test_anything_else_is_no_rank(rank: int | str) -> None:
    with pytest.raises(MappingError, match="a rank is a whole number of at least 1"):
        rank_of(rank, 8)


def test_channels_below_one_array_and_last_tiles_are_kept() -> None:
    # ICt of 3x3 on 9 rows is 1: nothing is left over. A layer with fewer channels than its tile keeps them.
    few = [Geometry("a", 3, 2, (3, 3), (8, 8)), Geometry("b", 2, 4, (3, 3), (6, 6))]
    assert prune_channels(few, ArrayShape(9, 64)) == ()
    assert prune_channels(few, ArrayShape(512, 64)) == ()
    # The second layer has more channels than the third, but only one tile of them: it keeps that tile.
    narrow = [Geometry("a", 3, 4, (3, 3), (3, 3)), Geometry("b", 4, 2, (3, 3), (3, 3)), Geometry("c", 2, 8, (1, 1))]
    assert ic_tile(narrow[1], ArrayShape(36, 8)) == 4
    assert prune_channels(narrow, ArrayShape(36, 8)) == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: map_layer(Geometry("conv", 4, 4), ArrayShape(8, 8), "low-rank"),
            "conv: mapping 'low-rank': it computes a layer by its factors, and this layer has none. "
            "Factorise the network first, or map shapes with 'pimsim map'.",
        ),
        (
            lambda: LowRank().map_pair(
                Geometry("r", 4, 4), Geometry("e", 3, 4), ArrayShape(8, 8), Geometry("conv", 4, 4)
            ),
            "e: 1x1 on 3 channels of (1, 1): the second factor is a 1x1 convolution with stride 1 on the 4 channels of "
            "(1, 1) of 'r'.",
        ),
        (
            lambda: prune_channels([Geometry("a", 3, 4), Geometry("b", 5, 4)], ArrayShape(8, 8)),
            "a: 4 channels followed by 5: a chain's layers take the outputs before them, a block has as many outputs "
            "as inputs. Give the layers in the order of the network.",
        ),
        (
            lambda: prune_channels([Geometry("a", 3, 4)], ArrayShape(8, 8), "blocks"),
            "a: 3 channels followed by 4: a chain's layers take the outputs before them, a block has as many outputs "
            "as inputs. Give the layers in the order of the network.",
        ),
        (
            lambda: prune_channels([Geometry("a", 4, 4, groups=2)], ArrayShape(8, 8)),
            "a: groups=2: channels of groups cannot be pruned apart.",
        ),
        (
            lambda: prune_channels([], ArrayShape(8, 8), "tree"),
            "topology 'tree': unknown topology. Known: chain, blocks.",
        ),
        (
            lambda: prune_channels([Geometry("a", 4, 4, (3, 3), (5, 5))], ArrayShape(8, 8), "blocks"),
            "a: kernel 3x3 on an array of 8 rows: VWC-SDK keeps the 9 rows of a channel in one array. "
            "Use at least 9 rows, or map with im2col.",
        ),
        (
            lambda: map_layer(Geometry("a", 4, 4), ArrayShape(8, 8), "sdk", groups=1),
            "option groups=1 of mapping 'sdk': 'groups' is a word.",
        ),
        (
            lambda: map_unit(Geometry("a", 4, 4), ArrayShape(8, 8), "low-rank", groups=True),
            "option groups=True of mapping 'low-rank': 'groups' is a whole number.",
        ),
        (
            lambda: map_layer(Geometry("a", 4, 4), ArrayShape(8, 8), "im2col", rows="channels"),
            "rows 'channels': unknown granularity of rows. Did you mean 'channel'? Known: element, channel.",
        ),
    ],
)
def test_what_cannot_be_done_says_why(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MappingError) as caught:
        call()
    assert str(caught.value) == message
