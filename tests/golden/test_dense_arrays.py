"""Dense arrays of whole networks through ``pimsim map``, against sum of ceil(H / R) * ceil(M c_w / C)."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pimsim import api

SHAPES = Path(__file__).parents[2] / "workloads" / "shapes"
#: The smallest square array of each network here; smaller ones, down to 16, hold as well and take longer.
NETWORKS = {"resnet18": 32, "resnet18-cifar": 16, "resnet18-paper": 16, "vgg16": 64, "mobilenetv2": 32}
SQUARES = [(size, size) for size in (16, 32, 64, 128, 256, 512)]
OTHERS = [(64, 256), (256, 64), (512, 128)]


def matrices(name: str) -> list[tuple[int, int, int]]:
    """(groups, H, M) of every layer, read from the file without pimsim: H and M of one group."""
    found = []
    for entry in YAML(typ="safe").load((SHAPES / f"{name}.yaml").read_text(encoding="utf-8"))["layers"]:
        if entry.get("kind") == "linear":
            one = (1, entry["in_features"], entry["out_features"])
        else:
            groups = entry.get("groups", 1)
            one = (groups, entry["ic"] // groups * entry["k"] ** 2, entry["oc"] // groups)
        found += [one] * entry.get("repeat", 1)
    return found


def formula(name: str, rows: int, columns: int, per_weight: int) -> int:
    """A group is a matrix of its own: with one group the formula of `pruning-blocks.md` 0.3."""
    return sum(g * ceil(h / rows) * ceil(m * per_weight / columns) for g, h, m in matrices(name))


@pytest.mark.parametrize("name", NETWORKS)
def test_totals_equal_the_formula_at_every_size(name: str) -> None:
    cases = [(*shape, 1) for shape in SQUARES if shape[0] >= NETWORKS[name]] + [(*shape, 4) for shape in OTHERS]
    for rows, columns, per_weight in cases:
        total = api.map(shapes=SHAPES / f"{name}.yaml", array=f"{rows}x{columns}", columns_per_weight=per_weight).total
        assert total["dense_arrays"] == total["arrays"] == formula(name, rows, columns, per_weight)


def test_a_weight_is_never_split_over_two_arrays() -> None:
    """Three columns a weight: 42 weights fit 128 columns, so 64 outputs take 2 arrays where 192 / 128 would too."""
    total = api.map("k=1,ic=8,oc=126,in=4", array="128x128", columns_per_weight=3).total
    assert total["dense_arrays"] == 126 // 42 == ceil(126 * 3 / 128)
    # 127 weights need a fourth array, although 381 columns would fit 3 arrays cut anywhere.
    total = api.map("k=1,ic=8,oc=127,in=4", array="128x128", columns_per_weight=3).total
    assert (total["dense_arrays"], ceil(127 * 3 / 128)) == (4, 3)


def test_the_command_prints_the_total(pimsim: Any, repository: Path) -> None:
    words = ("--array", "128x128", "--columns-per-weight", 4, "--json")
    done = pimsim("map", "--shapes", repository / "workloads/shapes/resnet18-cifar.yaml", *words)
    found = json.loads(done.out)
    assert found["total"]["dense_arrays"] == formula("resnet18-cifar", 128, 128, 4)
    assert found["total"]["dense_arrays"] == sum(layer["dense_arrays"] for layer in found["layers"])
    assert len(found["layers"]) == 21
