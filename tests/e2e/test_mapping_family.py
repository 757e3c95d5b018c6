"""``pimsim map`` with every mapper, its options, its pictures and its refusals, and ``pimsim compare``."""

from __future__ import annotations

import json

import pytest

KEYS = [
    "mapping", "cycles", "windows", "window", "ic_tile", "oc_tile", "row_tiles", "column_tiles",
    "rows_mapped", "rows_skipped", "skip_ratio", "cell_utilisation", "arrays", "dense_arrays", "options",
]  # fmt: skip
LAYER = "k=3x3,ic=16,oc=16,in=14x14"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the command runs and leaves its files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mapped(pimsim, *words):
    done = pimsim("map", *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


# 12x12 outputs, 144 rows of a kernel on 64x64 arrays; by hand from `mapping.md` 1.2 to 1.5.
@pytest.mark.parametrize(
    ("mapping", "cycles", "options"),
    [
        ("im2col", 144 * 3, {"groups": "serial", "rows": "element"}),
        ("smd", 144 * 3, {"groups": "serial"}),
        # n = 2: 16 * 16 = 256 rows are more than the 192 of three arrays.
        ("sdk", 144 * 3, {"groups": "serial", "search": "published"}),
        # 4x4 window: 4 channels an array, 4 arrays, 36 windows.
        ("vw-sdk", 36 * 4, {"groups": "serial", "clamp": True, "tie": "first", "search": "exact"}),
        ("vwc-sdk", 36 * 4, {"groups": "serial", "clamp": False, "tie": "first", "search": "exact"}),
        ("kernel-split", 144 * 9, {"groups": "serial"}),
    ],
)
def test_every_mapper_prints_the_contract_with_its_options(pimsim, mapping, cycles, options):
    found = mapped(pimsim, "--layer", LAYER, "--array", "64x64", "--mapping", mapping)
    assert list(found) == KEYS
    assert (found["mapping"], found["cycles"], found["options"]) == (mapping, cycles, options)


def test_low_rank_prints_its_stages(pimsim):
    words = ("--layer", LAYER, "--array", "64x64", "--mapping", "low-rank", "--rank", "1/4", "--groups", 2)
    found = mapped(pimsim, *words, "--window-outputs", "2x2", "--zero-tiles", "count")
    assert list(found) == [*KEYS, "stages"]
    assert found["options"]["rank"] == 4 and found["options"]["groups"] == 2
    first, second = found["stages"]
    # Two groups of 16 pixels x 8 channels = 128 rows, 4 x 4 columns; then 4 x 8 rows and 4 x 16 columns.
    assert (first["cycles"], second["cycles"], found["cycles"]) == (36 * 2 * 2, 36, 36 * 5)
    assert (first["window"], second["window"], found["windows"]) == ([4, 4], [2, 2], 36)
    assert list(first) == ["name", *KEYS]
    assert found["rows_mapped"] == first["rows_mapped"] + second["rows_mapped"] == 256 + 32


def test_options_of_the_published_search(pimsim):
    words = ("--layer", "k=3x3,ic=21,oc=27,in=18x18", "--array", "256x512", "--mapping", "vwc-sdk")
    assert mapped(pimsim, *words)["cycles"] == 48
    assert mapped(pimsim, *words, "--option", "search=as-published")["cycles"] == 64


def test_low_rank_maps_a_table_and_prints_it(pimsim, repository):
    done = pimsim("map", "--shapes", repository / "workloads/shapes/resnet18.yaml", "--mapping", "low-rank")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("total: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--mapping", "low-rank", "--rank", 17),
            "pimsim: layer: rank=17: the 16x144 matrix has a rank of at most 16. Use a rank from 1 to 16.",
        ),
        (
            ("--mapping", "low-rank", "--rank", 10, "--groups", 16),
            "pimsim: layer: rank=10: the 16x9 matrix of each group has a rank of at most 9. Use a rank from 1 to 9.",
        ),
        (
            ("--mapping", "low-rank", "--rank", "quarter"),
            "pimsim: rank=quarter: a rank is a whole number of at least 1, or a fraction of the output channels. "
            "Write it like 16 or 1/4.",
        ),
        (
            ("--mapping", "low-rank", "--groups", 3),
            "pimsim: layer: groups=3 with 16 input channels: the groups of a factorisation must divide the input "
            "channels. Use one of 1, 2, 4, 8, 16.",
        ),
        (
            ("--mapping", "low-rank", "--groups", 0),
            "pimsim: groups=0: at least one group is needed.",
        ),
        (
            ("--mapping", "low-rank", "--window-outputs", "13x2"),
            "pimsim: layer: window_outputs=13x2: a window holds at most the 12x12 outputs of the layer. "
            "Use a smaller window.",
        ),
        (
            ("--mapping", "low-rank", "--window-outputs", "2"),
            "pimsim: window_outputs=2: output positions of a window are HEIGHTxWIDTH, at least 1x1. Write it like 2x2.",
        ),
        (
            ("--mapping", "low-rank", "--zero-tiles", "keep"),
            "pimsim: zero_tiles 'keep': unknown choice for zero tiles. Did you mean 'skip'? Known: skip, count.",
        ),
        (
            ("--mapping", "low-rank", "--keep", "000111111"),
            "pimsim: layer: a keep pattern: 'low-rank' maps the factors of the weight, which have no pruned positions. "
            "Leave out --keep, or map with another method.",
        ),
        (
            ("--mapping", "sdk", "--rank", 4),
            "pimsim: option 'rank' of mapping 'sdk': unknown option. Known: groups, search.",
        ),
        (
            ("--mapping", "vw-sdk", "--option", "clamp=perhaps"),
            "pimsim: option clamp=perhaps of mapping 'vw-sdk': 'clamp' is true or false.",
        ),
        (
            ("--mapping", "vw-sdk", "--option", "serach=exact"),
            "pimsim: option 'serach' of mapping 'vw-sdk': unknown option. Did you mean 'search'? "
            "Known: groups, clamp, tie, search.",
        ),
        (
            ("--mapping", "vw-sdk", "--option", "search=published"),
            "pimsim: search 'published': unknown search. Did you mean 'as-published'? Known: exact, as-published.",
        ),
        (
            ("--mapping", "vw-sdk", "--option", "search=as-published", "--option", "tie=min-transfer"),
            "pimsim: tie 'min-transfer': the published search keeps the first window. Leave out one of the two.",
        ),
        (
            ("--mapping", "vwc-sdk", "--array", "8x64"),
            "pimsim: layer: kernel 3x3 on an array of 8 rows: VWC-SDK keeps the 9 rows of a channel in one array. "
            "Use at least 9 rows, or map with im2col.",
        ),
        (
            ("--mapping", "im2col", "--option", "rows=channel", "--array", "8x64"),
            "pimsim: layer: kernel 3x3 on an array of 8 rows: im2col by channels keeps the 9 rows of a channel in one "
            "array. Use at least 9 rows, or map with im2col.",
        ),
        (
            ("--draw", "array.jpg"),
            "pimsim: 'array.jpg': a picture is one of .pdf, .png, .svg. Change the suffix.",
        ),
        (
            ("--draw", "array.png", "--colour", "kernels"),
            "pimsim: colouring 'kernels': unknown colouring. Did you mean 'kernel'? Known: kernel, window.",
        ),
        (
            ("--draw", "missing/array.png"),
            "pimsim: 'missing/array.png': the picture cannot be written: No such file or directory. "
            "Give a file in a folder that exists.",
        ),
    ],
)
def test_what_cannot_be_mapped_or_drawn_says_why(pimsim, words, message):
    done = pimsim("map", "--layer", LAYER, *words)
    assert (done.code, done.err.strip().splitlines()[-1]) == (2, message)
    assert done.out == ""


@pytest.mark.parametrize("mapping", ["im2col", "smd", "sdk", "vw-sdk", "vwc-sdk", "kernel-split", "low-rank"])
def test_every_mapper_is_drawn(pimsim, folder, mapping):
    done = pimsim("map", "--layer", LAYER, "--array", "64x64", "--mapping", mapping, "--draw", "array.svg")
    assert done.code == 0, done.err
    assert done.err == "drawn: array.svg\n"
    assert (folder / "array.svg").read_text().count("<image") >= 1


def test_compare_prints_published_beside_ours(pimsim, repository):
    done = pimsim("compare", "--shapes", repository / "workloads/papers/vw-sdk.yaml")
    assert done.code == 0, done.err
    assert "conv1   3x3x3x64@224     49,284 =     3x3x3x64  12,321 =     4x4x3x64 =   6,216 =   10x3x3x64 =" in done.out
    assert "total sdk / vw-sdk: 1.69 =" in done.out
    assert done.out.splitlines()[-1] == "66 of 67 published values met"


def test_compare_takes_mappers_with_options_and_writes_its_files(pimsim, repository, folder):
    words = ("--shapes", repository / "workloads/shapes/cnn8.yaml", "--array", "256x512", "--convention", "valid")
    done = pimsim("compare", *words, "--mappings", "im2col,vw-sdk:tie=min-transfer,smd", "--out", "out", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert {value["mapping"] for value in found["values"]} == {"im2col", "vw-sdk:tie=min-transfer", "smd"}
    # conv7 is 5x5x64x256 on its own size: 1600 rows in 7 arrays.
    assert ("conv7", "7") in {(value["layer"], value["ours"]) for value in found["values"]}
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["cnn8.csv", "cnn8.png", "cnn8.txt"]
    assert (folder / "out" / "cnn8.csv").read_text().splitlines()[0].startswith("table,array,layer,shape,mapping,")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "im2col: 49284",
            "im2coll: 49284",
            "mapping 'im2coll': unknown mapping. Did you mean 'im2col'?",
        ),
        ("cycles: 12321", "cycle: 12321", "key 'cycle': unknown key. Did you mean 'cycles'?"),
        ("array: 512x512", "array: 512", "--array: '512': an array is ROWSxCOLUMNS. Write it like 512x512."),
        ("oc: 64, in: 224", "oc: 64", "missing in."),
        ("tables:", "tables: 3\nnote:", "key 'note': unknown key."),
    ],
)
def test_a_papers_file_that_cannot_be_read_says_where(pimsim, repository, folder, old, new, message):
    text = (repository / "workloads/papers/vw-sdk.yaml").read_text()
    assert old in text
    (folder / "paper.yaml").write_text(text.replace(old, new, 1))
    done = pimsim("compare", "--shapes", "paper.yaml", "--mappings", "im2col")
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_compare_refuses_what_is_not_an_option(pimsim, repository):
    table = repository / "workloads/shapes/cnn8.yaml"
    done = pimsim("compare", "--shapes", table, "--mappings", "vw-sdk:fast")
    assert (done.code, done.err.strip()) == (
        2, "pimsim: mapping 'vw-sdk:fast': 'fast': an option is KEY=VALUE. Write NAME:KEY=VALUE.")  # fmt: skip
