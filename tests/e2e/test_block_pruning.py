"""``pimsim prune`` with methods on the unrolled matrix, and what ``pimsim run`` makes of their checkpoints."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pimsim as package

CHIP = {
    "tile.macro.crossbar.rows": 32, "tile.macro.crossbar.columns": 16, "tile.macro.adc.columns": 16,
    "tile.macro.adc.bits": 8,
}  # fmt: skip


def pruned(pimsim: Any, repository: Path, tmp_path: Path, *words: object) -> tuple[str, str]:
    out = tmp_path / "pruned.safetensors"
    done = pimsim(
        "prune", "--network", repository / "models/digits_cnn.py:digits_cnn", "--data", "digits", "--out", out,
        "--checkpoint", repository / "models/digits_cnn-w4a4.safetensors", "--epochs", 2, "--warmup-epochs", 0,
        "--lr", 0.001, "--limit", 100, "--no-flip", "--crop-padding", 0, "--normalize", "0.305/0.376", *words,
    )  # fmt: skip
    assert done.code == 0, done.err
    return str(out), done.out


def simulated(repository: Path, checkpoint: str, **options: Any) -> Any:
    return package.simulate(
        repository / "workloads/digits.yaml", checkpoint=checkpoint, hardware="pim-prune", set=CHIP, mapping="im2col",
        images=3, trace="none", **options,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["row", "column", "best"])
def test_a_run_takes_the_arrays_of_the_card_and_computes_the_same(
    pimsim: Any, repository: Path, tmp_path: Path, mode: str
) -> None:
    words = ("--method", "pim-prune", "--array", "32x16", "--columns-per-weight", 2, "--keep", "0.3", "--mode", mode)
    checkpoint, card = pruned(pimsim, repository, tmp_path, *words, "--admm-epochs", 1)
    promised = dict(re.findall(r"(conv\d): (\d+) of \d+ arrays", card))
    skip = "block" if mode == "best" else mode
    engines = [
        simulated(repository, checkpoint, skip=skip, pack="layer", engine=engine) for engine in ("compiled", "event")
    ]
    assert replace(engines[0].simulation, engine="event") == engines[1].simulation
    arrays = engines[0].layers.set_index("layer")["arrays"]
    # Layers of 4-bit weights, which take 2 columns; the first and the last have 8 bits.
    assert {name: arrays[name] for name in ("conv2", "conv3", "conv4")} == {
        name: int(promised[name]) for name in ("conv2", "conv3", "conv4")
    }
    dense = simulated(repository, checkpoint)
    assert arrays.sum() < dense.layers["arrays"].sum()
    assert engines[0].check.exact


@pytest.mark.parametrize(
    ("words", "skip"),
    [
        (("--method", "crossbar", "--array", "32x16", "--columns-per-weight", 2, "--keep", "1/2"), {"skip": "array"}),
        (("--method", "ou-row", "--column-group", 4, "--keep", "1/3"), {"skip": "ou"}),
        (
            ("--method", "n-m", "--n-of-m", "1:4", "--column-group", 8, "--layers", "conv2"),
            {"skip": "row", "pack": "layer"},
        ),
    ],
    ids=["crossbar", "ou-row", "n-m"],
)
def test_the_other_methods_save_what_they_promise(
    pimsim: Any, repository: Path, tmp_path: Path, words: tuple[object, ...], skip: dict[str, str]
) -> None:
    checkpoint, _ = pruned(pimsim, repository, tmp_path, *words)
    units = {**CHIP, "tile.macro.crossbar.active_rows": 8, "tile.macro.crossbar.active_columns": 8}
    options = {"set": units} if skip["skip"] == "ou" else {"set": CHIP}
    found, dense = (
        package.simulate(
            repository / "workloads/digits.yaml",
            checkpoint=checkpoint,
            hardware="pim-prune",
            mapping="im2col",
            images=3,
            trace="none",
            **options,
            **how,
        )
        for how in (skip, {"skip": "none"})
    )
    assert found.check.exact
    assert found.layers["conversions"].sum() < dense.layers["conversions"].sum()


def test_empty_slices_of_the_method_save_conversions_and_not_one_weight(
    pimsim: Any, repository: Path, tmp_path: Path
) -> None:
    chip = {
        **CHIP, "tile.macro.crossbar.active_rows": 8, "tile.macro.crossbar.active_columns": 8,
        "tile.macro.crossbar.encoding": "differential",
    }  # fmt: skip
    words = ("--method", "bit-slice", "--keep", "1/2", "--array", "32x16", "--exempt", "first-last")
    checkpoint, card = pruned(pimsim, repository, tmp_path, *words)
    assert "at most 50.0% of the slices of 2 bits in fragments of 8 rows hold a bit, in conv2, conv3, conv4" in card
    found, dense = (
        package.simulate(
            repository / "workloads/digits.yaml", checkpoint=one, hardware="pim-prune", mapping="im2col", images=3,
            trace="none", set=chip, skip="slice", compact=False,
        )
        for one in (checkpoint, str(repository / "models/digits_cnn-w4a4.safetensors"))
    )  # fmt: skip
    assert found.check.exact
    assert found.check.conversions_checked == 3 * found.layers["conversions"].sum()
    assert found.layers["array_steps"].sum() <= dense.layers["array_steps"].sum()
    inner = found.layers.set_index("layer")["conversions"] / dense.layers.set_index("layer")["conversions"]
    assert inner[["conv2", "conv3", "conv4"]].max() < 0.75


def test_a_method_that_changes_values_is_not_shown_as_a_mask(pimsim: Any, repository: Path) -> None:
    for method, options in (("bit-slice", ()), ("prap", ())):
        done = pimsim(
            "compare", "--network", repository / "models/digits_cnn.py:digits_cnn", "--checkpoint",
            repository / "models/digits_cnn-w4a4.safetensors", "--methods", method, "--input-shape", "1,8,8", *options,
        )  # fmt: skip
        assert done.code == 2
        assert done.err.strip().endswith(
            f"method '{method}' without training: it changes the values of weights, not only which of them are zero. "
            "Make a checkpoint with pimsim prune (--epochs 0 trains nothing), and compare --checkpoints."
        )


def test_bad_options_end_with_code_2(pimsim: Any, repository: Path, tmp_path: Path) -> None:
    base = ("prune", "--network", repository / "models/digits_cnn.py:digits_cnn", "--data", "digits", "--out",
            tmp_path / "x.safetensors")  # fmt: skip
    for words, message in (
        (("--method", "pim-prune", "--keep", "2"), "keep=2.0: the share of segments that stays is 0 to 1."),
        (("--method", "pim-prune", "--array", "128"), "array '128': an array is ROWSxCOLUMNS."),
        (("--method", "pairs", "--mode", "row"), "--mode with the method 'pairs': it belongs to 'pim-prune'"),
        (("--method", "pim-prune", "--hardware", "pim-prune"), "--hardware with the method 'pim-prune'"),
    ):
        done = pimsim(*base, *words)
        assert done.code == 2
        assert message in done.err
    assert not list(tmp_path.iterdir())
