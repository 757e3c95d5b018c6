"""``pimsim prune --method forms``, and chips with the encoding ``polarised`` that run its checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pimsim as package
from pimsim.errors import PimsimError

CHIP = {
    "tile.macro.crossbar.rows": 32, "tile.macro.crossbar.columns": 16, "tile.macro.adc.columns": 16,
    "tile.macro.crossbar.active_rows": 8, "tile.macro.crossbar.active_columns": 8,
    "tile.macro.crossbar.encoding": "polarised",
}  # fmt: skip
IN_PLACE = [{"skip": "none"}, {"skip": "ou", "compact": False}]


@pytest.fixture(scope="module")
def checkpoint(repository_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("forms") / "forms.safetensors"
    done = package.prune(
        f"{repository_path / 'models/digits_cnn.py'}:digits_cnn", "digits", out, method="forms", array="32x16",
        checkpoint=repository_path / "models/digits_cnn-w4a4.safetensors", epochs=0, limit=100,
        normalize=((0.305,), (0.376,)), show_progress=False,
    )  # fmt: skip
    return Path(done.checkpoint)


def simulated(repository: Path, checkpoint: Path | None, changes: dict[str, Any] | None = None, **options: Any) -> Any:
    chosen = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
    return package.simulate(
        repository / "workloads/digits.yaml", hardware="pim-prune", set={**CHIP, **(changes or {})}, mapping="im2col",
        images=10, trace="none", **chosen, **options,
    )  # fmt: skip


@pytest.mark.parametrize("skip", IN_PLACE, ids=["none", "ou"])
def test_a_pruned_checkpoint_runs_without_a_differing_output(
    repository: Path, checkpoint: Path, skip: dict[str, Any]
) -> None:
    played = [simulated(repository, checkpoint, engine=one, **skip) for one in ("compiled", "event")]
    assert replace(played[0].simulation, engine="event") == played[1].simulation
    assert played[0].check.exact and played[0].check.mismatches == 0


def test_magnitudes_take_fewer_columns_than_pairs_and_than_signs(repository: Path, checkpoint: Path) -> None:
    """1-bit cells, and 2 layers of 8 bits and 3 of 4: 7 and 3 columns a weight, of 8 and 4, of 16 and 8."""
    cells = {"tile.macro.crossbar.cell_bits": 1}
    found = {
        encoding: simulated(repository, checkpoint, {**cells, "tile.macro.crossbar.encoding": encoding}, skip="none")
        for encoding in ("polarised", "twos-complement", "differential")
    }
    assert all(one.check.exact for one in found.values())
    columns = {
        "polarised": [7, 3, 3, 3, 7], "twos-complement": [8, 4, 4, 4, 8], "differential": [16, 8, 8, 8, 16],
    }  # fmt: skip
    reads = {name: (one.layers["conversions"] / columns[name]).tolist() for name, one in found.items()}
    assert reads["polarised"] == reads["twos-complement"] == reads["differential"]


def test_what_is_not_charged_is_said(repository: Path, checkpoint: Path) -> None:
    note = "encoding 'polarised': the sign bit of each fragment, and adding or subtracting by it, are not charged"
    assert note in simulated(repository, checkpoint, skip="none").notes


@pytest.mark.parametrize("check", [True, False])
def test_a_checkpoint_of_both_signs_is_refused(repository: Path, check: bool) -> None:
    with pytest.raises(PimsimError) as caught:
        simulated(repository, None, skip="none", check=check)
    assert str(caught.value) == (
        "conv1: weights -127 and 120 of output channel 0 in one operation unit: with the encoding 'polarised' the "
        "weights of a column that are read together share one sign. Prune with --method forms --fragment 8 for arrays "
        "of 32 rows, map with im2col, and use skip none, or ou with compact false, so that rows keep their places."
    )


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"tile.macro.crossbar.active_rows": 16}, {"skip": "none"}),
        ({"tile.macro.crossbar.rows": 12}, {"skip": "none"}),
        ({}, {"skip": "row"}),
        ({}, {"skip": "ou"}),
    ],
    ids=["larger unit", "other array", "packed rows", "packed units"],
)
def test_fragments_that_do_not_match_the_units_are_refused(
    repository: Path, checkpoint: Path, changes: dict[str, Any], options: dict[str, Any]
) -> None:
    height, rows = (changes.get(f"tile.macro.crossbar.{name}", CHIP[f"tile.macro.crossbar.{name}"])
                    for name in ("active_rows", "rows"))  # fmt: skip
    with pytest.raises(PimsimError) as caught:
        simulated(repository, checkpoint, changes, **options)
    assert f"Prune with --method forms --fragment {height} for arrays of {rows} rows" in str(caught.value)
    assert str(caught.value).startswith("conv")


def test_smaller_units_than_fragments_are_polarised_too(repository: Path, checkpoint: Path) -> None:
    assert simulated(repository, checkpoint, {"tile.macro.crossbar.active_rows": 4}, skip="none").check.exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"skip": "none", "skip_inputs": True},
            "--skip-inputs: skipped inputs with a sign for each unit of 8 rows (encoding 'polarised'): rows are read "
            "in other company in every step, which values must not depend on. Leave skip_inputs out, or use --set "
            "tile.macro.crossbar.encoding=differential.",
        ),
        (
            {"skip": "repeat"},
            "conv1: skip 'repeat' with the encoding 'polarised': the bits of patterns that repeat are counted with "
            "their signs, which this encoding keeps elsewhere. Use skip ou with compact false, or --set "
            "tile.macro.crossbar.encoding=twos-complement.",
        ),
    ],
    ids=["inputs", "repeat"],
)
def test_skipping_that_does_not_go_with_it_is_refused(
    repository: Path, checkpoint: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PimsimError) as caught:
        simulated(repository, checkpoint, **options)
    assert str(caught.value) == message


def test_the_command_line_writes_a_checkpoint_that_runs(pimsim: Any, repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "forms.safetensors"
    done = pimsim(
        "prune", "--network", repository / "models/digits_cnn.py:digits_cnn", "--data", "digits", "--out", out,
        "--checkpoint", repository / "models/digits_cnn-w4a4.safetensors", "--epochs", 1, "--warmup-epochs", 0,
        "--lr", 0.001, "--limit", 50, "--no-flip", "--crop-padding", 0, "--normalize", "0.305/0.376",
        "--method", "forms", "--fragment", 4, "--array", "32x16",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "fragments of 4 rows in arrays of 32" in done.out
    assert simulated(repository, out, {"tile.macro.crossbar.active_rows": 4}, skip="none").check.exact
    refused = pimsim("prune", "--network", "n.py:n", "--data", "digits", "--out", out, "--method", "pairs",
                     "--fragment", 4)  # fmt: skip
    assert refused.code == 2
    assert "--fragment with the method 'pairs': it belongs to 'bit-slice' and 'forms'" in refused.err
