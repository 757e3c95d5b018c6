"""`pimsim compare` on the published tables: every value met, but for those that are known to be wrong or misprinted.

Sources: `mapping.md` 3.1 to 3.3 (READMEs of djwhsdj/VW-SDK and djwhsdj/VWC-SDK) and `pruning-blocks.md` 2.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pimsim.api.comparing import compare_mappings
from pimsim.mapping import closed_forms
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.channel_pruning import prune_channels
from pimsim.mapping.registry import map_layer, map_unit
from pimsim.mapping.skipping import keep_weight, place
from pimsim.mapping.stages import StagedMapping
from pimsim.network.layers import Geometry
from pimsim.network.published import load_published

PAPERS = Path(__file__).parents[2] / "workloads" / "papers"


def test_vw_sdk_tables_are_met() -> None:
    found = compare_mappings(PAPERS / "vw-sdk.yaml")
    # 10 rows x (im2col, SDK and VW-SDK cycles), 6 SDK windows, 10 VW-SDK windows with ICt and OCt, one ratio.
    assert found.matches + len(found.mismatches) == 10 * 3 + 6 + 10 * 3 + 1
    (capped,) = found.mismatches
    assert (capped.layer, capped.quantity, capped.published, capped.ours) == ("conv2", "oc_tile", "64", "128")
    assert capped.reason


def test_vwc_sdk_tables_are_met_but_for_known_differences() -> None:
    found = compare_mappings(PAPERS / "vwc-sdk.yaml")
    differing = [(v.table, v.layer, v.mapping, v.quantity, v.published, v.ours) for v in found.mismatches]
    legacy = "vwc-sdk:search=as-published"
    assert differing == [
        ("CNN-8", "channels", "pruning:search=exact", "channels", "3 18 18 27 60 60 60", "fixed point reached before"),
        ("CNN-8 after RCP1", "conv3", "vwc-sdk", "cycles", "64", "48"),
        ("CNN-8 after RCP1", "conv3", "vwc-sdk", "window", "10x6", "6x6"),
        ("CNN-8 after RCP1", "conv3", "vwc-sdk", "ic_tile", "6", "7"),
        ("CNN-8 after RCP1", "conv3", legacy, "window", "10x6", "10x4"),
        ("CNN-8 after RCP2", "conv3", "vwc-sdk", "window", "10x6", "10x4"),
        ("ResNet-20 wide, first convolution", "conv1 after RCP1", "vwc-sdk", "window", "4x3", "5x3"),
    ]
    assert all(value.reason for value in found.mismatches)


def test_the_authors_search_returns_the_published_64_cycles() -> None:
    layer, array = Geometry("conv3", 21, 27, (3, 3), (18, 18)), ArrayShape(256, 512)
    for name in ("vw-sdk", "vwc-sdk"):
        published = map_layer(layer, array, name, search="as-published")
        assert (published.cycles, published.window, published.ic_tile) == (64, (4, 10), 6)
        exact = map_layer(layer, array, name)
        assert (exact.cycles, exact.window, exact.ic_tile) == (48, (6, 6), 7)


CNN8 = [
    Geometry(f"conv{i}", ic, oc, (k, k), (size, size))
    for i, (size, k, ic, oc) in enumerate(
        [(40, 5, 3, 24), (18, 3, 24, 32), (18, 3, 32, 32), (9, 3, 32, 64), (7, 3, 64, 64), (7, 3, 64, 64),
         (5, 5, 64, 256)], 1)
]  # fmt: skip


def test_cnn8_channels_come_out_of_the_procedure() -> None:
    first, second = prune_channels(CNN8, ArrayShape(256, 512), "chain", "as-published")
    assert first.in_channels == (3, 18, 21, 27, 60, 60, 60)
    assert first.out_channels == (18, 21, 27, 60, 60, 60, 256)
    assert (second.in_channels, second.out_channels) == (
        (3, 18, 18, 27, 60, 60, 60), (18, 18, 27, 60, 60, 60, 256))  # fmt: skip
    (exact,) = prune_channels(CNN8, ArrayShape(256, 512))
    assert exact.in_channels == first.in_channels
    assert exact.ic_tiles == (0, 6, 7, 9, 12, 12, 10)


def test_wide_resnet20_residues() -> None:
    blocks = [Geometry(f"b{i}", c, c, (3, 3), (s, s)) for i, (s, c) in enumerate([(32, 64), (16, 128), (8, 256)])]
    (only,) = prune_channels(blocks, ArrayShape(512, 256, 2), "blocks", "as-published")
    assert (only.in_channels, only.pruned) == ((42, 112, 224), (22, 16, 32))


# `pruning-blocks.md` 2.4: skipped rows of one channel for a kept pattern of a 3x3 kernel in a P x P window.
@pytest.mark.parametrize(
    ("keep", "skipped"),
    [
        ("000010000", lambda p: 4 * p - 4),
        ("000110000", lambda p: 3 * p - 2),
        ("110110000", lambda p: 2 * p - 1),
        ("111111000", lambda p: p),
        ("011111111", lambda p: 1),
    ],
)
@pytest.mark.parametrize("side", [3, 4, 5, 6])
def test_skipped_rows_of_kept_patterns(keep: str, skipped: object, side: int) -> None:
    layer = Geometry("layer", 1, 1, (3, 3), (side, side))
    mapping = map_layer(layer, ArrayShape(side * side, (side - 2) ** 2), "sdk")
    assert mapping.window == (side, side)
    assert place(mapping, keep_weight(layer, keep), "row").rows_skipped == skipped(side)  # type: ignore[operator]


# `pruning-blocks.md` 2.2 worked by hand: layer, array, rank, groups, n | C_R, then C_L counted and skipped.
LOW_RANK = [
    # 64 @ 30 (WRN16-4 stage 1, valid): 15^2 windows; 16 pixels x 64 rows = 1024 -> 8 arrays of 128; N k = 64 columns.
    # (4 16) x (4 64): 64 rows -> 1, 256 columns -> 2; both hold blocks.
    ((64, 64, 32), (128, 128), 16, 1, 2, 225 * 8, 225 * 2, 225 * 2),
    # Four groups: 16 x 16 = 256 rows -> 2 arrays each; stage 2 (4 64) x (4 64): 2 x 2 arrays, the diagonal 2.
    ((64, 64, 32), (128, 128), 16, 4, 2, 225 * 4 * 2, 225 * 4, 225 * 2),
    # n = 1: 576 rows -> 5; stage 2 is one array.
    ((64, 64, 32), (128, 128), 16, 1, 1, 900 * 5, 900, 900),
    # 256 @ 6: n = 2, 9 windows; 16 x 256 / 4 groups = 1024 rows -> 8, N k = 4 32 = 128 -> 1, four groups;
    # stage 2 (4 128) x (4 256) on 128: 4 x 8 arrays, each block covers 1 x 2: 8.
    ((256, 256, 8), (128, 128), 32, 4, 2, 9 * 4 * 8, 9 * 32, 9 * 8),
]


@pytest.mark.parametrize("row", LOW_RANK)
def test_low_rank_cycles_by_hand(row: tuple) -> None:  # type: ignore[type-arg]
    (ic, oc, size), (height, width), rank, groups, n, first, counted, skipped = row
    layer, array = Geometry("layer", ic, oc, (3, 3), (size, size)), ArrayShape(height, width)
    for zero_tiles, second in (("count", counted), ("skip", skipped)):
        mapping = map_unit(
            layer, array, "low-rank", rank=rank, groups=groups, window_outputs=f"{n}x{n}", zero_tiles=zero_tiles
        )
        assert isinstance(mapping, StagedMapping)
        assert [stage.cycles for stage in mapping.stages] == [first, second]
        assert mapping.cycles == first + second
        assert closed_forms.low_rank(layer, array, rank, groups, (n, n), zero_tiles == "skip") == (first, second)


def test_every_paper_file_says_where_its_numbers_come_from() -> None:
    for path in sorted(PAPERS.glob("*.yaml")):
        read = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        assert read["source"], path.name
        assert "networks" in read or load_published(path).source == read["source"], path.name
