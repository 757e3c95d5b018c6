"""``pimsim map``: the machine-readable contract and the published numbers through the command line."""

from __future__ import annotations

import json

import pytest

KEYS = [
    "mapping", "cycles", "windows", "window", "ic_tile", "oc_tile", "row_tiles", "column_tiles",
    "rows_mapped", "rows_skipped", "skip_ratio", "cell_utilisation",
]  # fmt: skip
LAYER = "k=3x3,ic=64,oc=128,in=28x28,stride=1,pad=0,dilation=1,groups=1"


def mapped(pimsim, *words):
    done = pimsim("map", *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_one_layer_prints_one_object_with_the_keys_of_the_contract(pimsim):
    found = mapped(pimsim, "--layer", LAYER, "--array", "512x512", "--columns-per-weight", 1, "--mapping", "vw-sdk")
    assert [key for key in found if key in KEYS] == KEYS
    assert found["mapping"] == "vw-sdk"
    # By hand: a 4x4 window has 2x2 outputs; ICt = 512 // 16 = 32, OCt = 512 // 4 = 128; 13 * 13 windows, 2 x 1 tiles.
    assert (found["window"], found["ic_tile"], found["oc_tile"]) == ([4, 4], 32, 128)
    assert (found["windows"], found["row_tiles"], found["column_tiles"], found["cycles"]) == (169, 2, 1, 338)
    assert (found["rows_mapped"], found["rows_skipped"]) == (1024, 0)
    assert found["cell_utilisation"] == pytest.approx(9 * 32 * 128 * 4 / 512**2)


def test_a_keep_pattern_skips_the_rows_that_no_kept_weight_touches(pimsim):
    words = ("--layer", LAYER, "--array", "512x512", "--mapping", "im2col")
    dense, pruned = mapped(pimsim, *words), mapped(pimsim, *words, "--keep", "000111111")
    assert dense["rows_mapped"] == pruned["rows_mapped"] == 9 * 64
    assert (dense["rows_skipped"], pruned["rows_skipped"]) == (0, 3 * 64)


def test_rows_in_two_column_tiles_count_twice(pimsim):
    found = mapped(pimsim, "--layer", "k=3,ic=8,oc=200,in=8", "--array", "128x128", "--mapping", "im2col")
    assert (found["column_tiles"], found["rows_mapped"]) == (2, 2 * 72)


def test_columns_per_weight_narrows_the_array(pimsim):
    found = mapped(pimsim, "--layer", "k=1,ic=8,oc=128,in=4", "--array", "128x128", "--columns-per-weight", 4)
    assert (found["column_tiles"], found["oc_tile"]) == (4, 32)


@pytest.mark.parametrize(
    ("mapping", "cycles"),
    # VW-SDK paper, ResNet-18 on 512x512, convention "valid": im2col, SDK, VW-SDK (mapping.md 3.1).
    [("im2col", 20041), ("sdk", 7240), ("vw-sdk", 4294)],
)
def test_a_shape_table_adds_up_to_the_published_total(pimsim, repository, mapping, cycles):
    table = repository / "workloads/shapes/resnet18-paper.yaml"
    found = mapped(pimsim, "--shapes", table, "--array", "512x512", "--mapping", mapping, "--convention", "valid")
    assert found["total"]["cycles"] == cycles == sum(layer["cycles"] for layer in found["layers"])
    assert set(KEYS) < set(found["layers"][0])


def test_text_is_a_table_with_a_total(pimsim):
    done = pimsim("map", "--layer", LAYER, "--mapping", "vw-sdk")
    assert done.out.splitlines()[0].split() == [
        "layer", "window", "ICt", "OCt", "windows", "tiles", "cycles", "rows", "skipped", "cells", "used",
    ]  # fmt: skip
    assert "338 computing cycles" in done.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--layer", LAYER, "--array", "512"),
            "pimsim: --array: '512': an array is ROWSxCOLUMNS. Write it like 512x512.",
        ),
        (
            (),
            "pimsim: neither a layer nor a shape table: one of them is needed. "
            "Give --layer k=3x3,ic=64,oc=128,in=28x28 or --shapes FILE.yaml.",
        ),
        (
            ("--layer", LAYER, "--keep", "0011"),
            "pimsim: layer: keep pattern '0011': a 3x3 kernel needs 9 characters, each 0 or 1. "
            "Write the kernel positions row by row, 1 for a weight that stays.",
        ),
        (
            ("--layer", "k=5,ic=1,oc=1,in=3"),
            "pimsim: layer: kernel 5x5, dilation (1, 1) on a padded input of 3x3: "
            "the kernel must fit in the padded input.",
        ),
        (
            ("--layer", LAYER, "--array", "8x512", "--hardware", "isaac-like"),
            "pimsim: both array and hardware: one of them is needed. Leave out --array or --hardware.",
        ),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(pimsim, words, message):
    done = pimsim("map", *words)
    assert (done.code, done.out, done.err.strip()) == (2, "", message)


def test_an_unknown_mapping_is_refused_with_the_nearest_name(pimsim):
    done = pimsim("map", "--layer", LAYER, "--mapping", "vw-skd")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("pimsim: mapping 'vw-skd': unknown mapping. Did you mean 'vw-sdk'? Known: im2col, ")


def test_an_unknown_option_is_exit_code_2(pimsim):
    done = pimsim("map", "--arrray", "8x8")
    assert done.code == 2
    assert "No such option" in done.err
