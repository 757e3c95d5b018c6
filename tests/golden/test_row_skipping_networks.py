"""Rows that patterns free in whole networks, on the arrays of the papers: by the mapper, and by hand.

`pruning-sdk.md` 4 to 8: PAIRS on ResNet-20 at 512x256, GAROS and KERNTROL on WRN16-4 at 2048x1024 and 1024x1024, one
column a weight. The layers that count are the 3x3 ones with stride 1 and as many inputs as outputs.
"""

from __future__ import annotations

import pytest

import pimsim
from pimsim.api.comparing_methods import compare_methods

#: Kept positions -> a pattern that frees most rows of a window of P x P pixels, and how many of each channel.
PATTERNS = {
    8: ("011111111", lambda p: 1), 7: ("001111111", lambda p: 2), 6: ("000111111", lambda p: p),
    5: ("000011111", lambda p: p + 1), 4: ("000011011", lambda p: 2 * p - 1), 2: ("000010010", lambda p: 3 * p - 2),
    1: ("000010000", lambda p: 4 * p - 4),
}  # fmt: skip
#: Layers of each stage by channels, and the side of their window by array (rows, columns): worked out below.
STAGES = (64, 128, 256)
WINDOWS = {(2048, 1024): (5, 4, 4), (1024, 1024): (4, 4, 3)}


def side_by_hand(channels: int, rows: int, columns: int) -> int:
    """The largest square window on as many arrays as one kernel takes (`mapping.md` 1.4)."""

    def arrays(outputs: int) -> int:
        side = outputs + 2
        return -(-side * side * channels // rows) * -(-outputs * outputs * channels // columns)

    outputs = 1
    while arrays(outputs + 1) <= arrays(1):
        outputs += 1
    return outputs + 2


@pytest.mark.parametrize("array", WINDOWS)
def test_windows_of_wrn16_4(repository, array):
    assert tuple(side_by_hand(channels, *array) for channels in STAGES) == WINDOWS[array]
    found = pimsim.map(
        shapes=repository / "workloads/shapes/wrn16-4.yaml", array="x".join(map(str, array)), mapping="sdk"
    )
    assert [layer["window"][0] for layer in treated(found)] == [side for side in WINDOWS[array] for _ in range(3)]


def treated(found):
    """The nine layers that are pruned."""
    names = {p.mapping.geometry.name for p in found.placements
             if p.mapping.geometry.kernel == (3, 3) and p.mapping.geometry.stride == (1, 1)
             and p.mapping.geometry.in_channels == p.mapping.geometry.out_channels}  # fmt: skip
    layers = [layer for layer in found.layers() if layer["name"] in names]
    assert len(layers) == 9
    return layers


@pytest.mark.parametrize(
    ("array", "rows", "skipped"),
    [
        # 3 (25 64 + 16 128 + 16 256) rows; 8 entries free one of each channel, 3 (64 + 128 + 256), and so on.
        ("2048x1024", 23232, {8: 1344, 7: 2688, 6: 5568, 5: 6912, 4: 9792, 2: 14016, 1: 16896}),
        # 3 (16 64 + 16 128 + 9 256) rows; a window of one kernel frees each position that is pruned.
        ("1024x1024", 16128, {8: 1344, 7: 2688, 6: 4608, 5: 5952, 4: 7872, 2: 11136, 1: 13056}),
    ],
)
def test_totals_of_wrn16_4(repository, array, rows, skipped):
    sides = WINDOWS[tuple(int(side) for side in array.split("x"))]
    for entries, (keep, gain) in PATTERNS.items():
        by_hand = 3 * sum(c * (9 - entries if p == 3 else gain(p)) for c, p in zip(STAGES, sides, strict=True))
        assert by_hand == skipped[entries]
        shapes = repository / "workloads/shapes/wrn16-4.yaml"
        layers = treated(pimsim.map(shapes=shapes, array=array, mapping="sdk", keep=keep))
        assert sum(layer["rows_mapped"] for layer in layers) == rows
        assert sum(layer["rows_skipped"] for layer in layers) == by_hand, entries
        assert all(layer["skip_ratio"] == layer["rows_skipped"] / layer["rows_mapped"] for layer in layers)


@pytest.mark.slow
def test_masks_on_the_dense_resnet20(repository):
    """16 layers in windows of 5x5, 4x4, 4x4: 10,080 rows; PatDNN's and random patterns as the weights choose."""
    models = repository / "models"
    found = compare_methods(
        methods=["pairs", "patdnn", "random"], entries=[8, 6, 4], check=False, hardware="isaac-like-8b", mapping="sdk",
        skip="row", network=f"{models / 'resnet20.py'}:resnet20", input_shape="3,32,32",
        checkpoint=str(models / "resnet20-cifar10jpeg-w4a4.safetensors"),
        set={"tile.macro.crossbar.rows": 512, "tile.macro.crossbar.columns": 512},
    )  # fmt: skip
    skipped = {outcome.label: outcome.rows_skipped for outcome in found.outcomes}
    assert skipped == {
        "dense": 0, "pairs8": 576, "pairs6": 2400, "pairs4": 4224, "patdnn8": 112, "patdnn6": 1952, "patdnn4": 3872,
        "random8": 128, "random6": 864, "random4": 2880,
    }  # fmt: skip
    assert {outcome.pruned_rows_mapped for outcome in found.outcomes[1:]} == {10080}
    assert {outcome.rows_mapped for outcome in found.outcomes} == {10880}
