"""Published cycle counts of im2col, SDK and VW-SDK (`mapping.md` 3.1; djwhsdj/VW-SDK, 512x512, one column a weight)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimsim.mapping import closed_forms
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.convention import with_convention
from pimsim.mapping.layout import Mapping
from pimsim.mapping.registry import map_layer
from pimsim.network.layers import Geometry
from pimsim.network.shapes import load_shapes

ARRAY = ArrayShape(512, 512)
SHAPES = Path(__file__).parents[2] / "workloads" / "shapes"

# input, kernel, IC, OC | im2col | SDK, its window side | VW-SDK, its window (wide, low), ICt, OCt
TABLE = [
    (224, 3, 3, 64, 49284, 12321, 4, 6216, (10, 3), 3, 64),
    (224, 3, 64, 64, 98568, 24642, 4, 24642, (4, 4), 32, 128),
    (112, 3, 64, 128, 24200, 6050, 4, 6050, (4, 4), 32, 128),
    (112, 3, 128, 128, 36300, 36300, 3, 12100, (4, 4), 32, 128),
    (56, 3, 128, 256, 8748, 8748, 3, 5832, (4, 3), 42, 256),
    (56, 3, 256, 256, 14580, 14580, 3, 10206, (4, 3), 42, 256),
    (112, 7, 3, 64, 11236, 2809, 8, 1431, (10, 8), 3, 64),
    (56, 3, 64, 64, 5832, 1458, 4, 1458, (4, 4), 32, 128),
    (28, 3, 128, 128, 2028, 2028, 3, 676, (4, 4), 32, 128),
    (14, 3, 256, 256, 720, 720, 3, 504, (4, 3), 42, 256),
]


def _layer(size: int, kernel: int, ic: int, oc: int) -> Geometry:
    return Geometry("layer", ic, oc, (kernel, kernel), (size, size))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "{1}x{1}x{2}x{3}@{0}".format(*row))
def test_published_layer(row: tuple) -> None:  # type: ignore[type-arg]
    size, kernel, ic, oc, im2col, sdk, side, vw_sdk, (wide, low), ic_tile, oc_tile = row
    layer = _layer(size, kernel, ic, oc)
    assert map_layer(layer, ARRAY, "im2col").cycles == im2col
    square = map_layer(layer, ARRAY, "sdk")
    assert (square.cycles, square.window) == (sdk, (side, side))
    best = map_layer(layer, ARRAY, "vw-sdk")
    assert (best.cycles, best.window, best.ic_tile, best.oc_tile) == (vw_sdk, (low, wide), ic_tile, oc_tile)
    counts = closed_forms.im2col(layer, ARRAY), closed_forms.sdk(layer, ARRAY), closed_forms.vw_sdk(layer, ARRAY)
    assert [count.cycles for count in counts] == [im2col, sdk, vw_sdk]


@pytest.mark.parametrize(
    ("size", "ic", "oc", "cycles"),
    [(28, 256, 512, 3380), (28, 512, 512, 6084), (14, 512, 512, 1296), (7, 512, 512, 225)],
)
def test_im2col_wins_where_channels_cannot_be_split(size: int, ic: int, oc: int, cycles: int) -> None:
    # 3x3x256 fills 5 arrays either way: the repository's VGG-13 branch prints the kernel for a tie as well.
    best = map_layer(_layer(size, 3, ic, oc), ARRAY, "vw-sdk")
    assert (best.cycles, best.window, best.ic_tile, best.oc_tile) == (cycles, (3, 3), ic, oc)


def test_whole_channels_need_a_tenth_array() -> None:
    # `mapping.md` 1.2: 3x3x512 on 512 rows takes 10 arrays of whole channels, 9 when cut anywhere.
    layer = _layer(7, 3, 512, 512)
    assert map_layer(layer, ARRAY, "vw-sdk", clamp=False).row_tiles == 10
    assert map_layer(layer, ARRAY, "im2col").row_tiles == 9
    by_channel = map_layer(layer, ARRAY, "im2col", rows="channel")
    assert (by_channel.row_tiles, by_channel.ic_tile, by_channel.cycles) == (10, 56, 250)


def _total(network: str, method: str) -> int:
    layers = load_shapes(SHAPES / network).layers
    mapped: list[Mapping] = [map_layer(with_convention(layer.geometry, "valid"), ARRAY, method) for layer in layers]
    return sum(mapping.cycles for mapping in mapped)


def test_resnet18_speedup_of_the_abstract() -> None:
    sdk, vw_sdk = _total("resnet18-paper.yaml", "sdk"), _total("resnet18-paper.yaml", "vw-sdk")
    assert (sdk, vw_sdk) == (2809 + 1458 + 2028 + 720 + 225, 1431 + 1458 + 676 + 504 + 225)
    assert round(sdk / vw_sdk, 2) == 1.69


# `mapping.md` 3.2 and 3.3: VWC-SDK needs no clamp. Columns: input, kernel, IC, OC, window (wide, low), ICt, cycles.
CNN8 = [
    (40, 5, 3, 24, (13, 6), None, None),
    (18, 3, 24, 32, (10, 4), 6, 64),
    (18, 3, 32, 32, (6, 6), 7, 80),
    (9, 3, 32, 64, (9, 3), 9, 28),
    (7, 3, 64, 64, (7, 3), 12, 30),
    (5, 5, 64, 256, (5, 5), 10, 7),
    (18, 3, 18, 21, (10, 4), 6, 48),
    (18, 3, 21, 27, (6, 6), 7, 48),
    (9, 3, 27, 60, (9, 3), 9, 21),
    (7, 3, 60, 60, (7, 3), 12, 25),
    (5, 5, 60, 256, (5, 5), 10, 6),
]


@pytest.mark.parametrize("row", CNN8, ids=lambda row: "{1}x{1}x{2}x{3}@{0}".format(*row))
def test_cnn8_at_256x512(row: tuple) -> None:  # type: ignore[type-arg]
    size, kernel, ic, oc, (wide, low), ic_tile, cycles = row
    best = map_layer(_layer(size, kernel, ic, oc), ArrayShape(256, 512), "vw-sdk", clamp=False)
    assert best.window == (low, wide)
    assert ic_tile is None or (best.ic_tile, best.cycles) == (ic_tile, cycles)


@pytest.mark.parametrize(
    ("size", "channels", "window", "ic_tile", "cycles"),
    [
        (32, 64, (4, 3), 42, 900),
        (16, 128, (3, 3), 56, 588),
        (8, 256, (3, 3), 56, 360),
        (32, 42, (4, 3), 42, 450),
        (16, 112, (3, 3), 56, 392),
        (8, 224, (3, 3), 56, 288),
    ],
)
def test_wide_resnet20_at_512x256_with_2_bit_weights(
    size: int, channels: int, window: tuple[int, int], ic_tile: int, cycles: int
) -> None:
    array = ArrayShape(512, 256, columns_per_weight=2)
    best = map_layer(_layer(size, 3, channels, channels), array, "vw-sdk", clamp=False)
    assert (best.window, best.ic_tile, best.cycles) == (window[::-1], ic_tile, cycles)
