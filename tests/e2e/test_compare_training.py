"""``pimsim compare --methods ... --train``: methods are fine-tuned before they are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import pimsim as package
from pimsim.network.checkpoints import load_checkpoint

RECIPE = ("epochs=2", "lr=0.002", "warmup_epochs=0.5", "flip=false", "limit=200", "seed=3")


def compared(pimsim: Any, repository: Path, out: Path, *words: object, train: tuple[str, ...] = RECIPE) -> Any:
    options = [word for each in train for word in ("--train", each)]
    return pimsim(
        "compare", "--network", repository / "models/digits_cnn.py:digits_cnn", "--checkpoint",
        repository / "models/digits_cnn-w4a4.safetensors", "--data", "digits", "--normalize", "0.305/0.376",
        "--hardware", "isaac-like-8b", "--mapping", "sdk", "--skip", "row", "--images", 50, "--out", out, *options,
        *words,
    )  # fmt: skip


def test_every_method_gets_the_checkpoint_that_prune_makes(pimsim: Any, repository: Path, tmp_path: Path) -> None:
    done = compared(pimsim, repository, tmp_path, "--methods", "pairs,garos,bit-slice:keep=0.75", "--entries", "6")
    assert done.code == 0, done.err
    assert "mask only" not in done.out
    alone = package.prune(
        f"{repository / 'models/digits_cnn.py'}:digits_cnn", "digits", tmp_path / "alone.safetensors", method="garos",
        entries=6, hardware="isaac-like-8b", checkpoint=repository / "models/digits_cnn-w4a4.safetensors", epochs=2,
        lr=0.002, warmup_epochs=0.5, flip=False, limit=200, seed=3, normalize=((0.305,), (0.376,)), show_progress=False,
    )  # fmt: skip
    mine, theirs = (load_checkpoint(path).state for path in (tmp_path / "methods-garos6.safetensors", alone.checkpoint))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert (tmp_path / "methods-pairs6.md").is_file()
    assert (tmp_path / "methods-bit-slice-keep-0.75.md").is_file()


@pytest.mark.parametrize(
    ("train", "words", "message"),
    [
        (("lr=0.1",), (), "--train: no number of epochs: training needs one. Give --train epochs=8."),
        (("epochs=2", "rl=0.1"), (), "--train: 'rl': training in a comparison has no such option. Did you mean 'lr'?"),
        (("epochs=2", "lr=fast"), (), "--train: lr=fast: it is a number. Write it like lr=0.05."),
        (("epochs=2.5",), (), "--train: epochs=2.5: it is a whole number. Write it like epochs=8."),
        (("epochs=true",), (), "--train: epochs=True: it is a whole number. Write it like epochs=8."),
        (("epochs=2", "warmup_epochs=2"), (), "warmup_epochs=2: warmup_epochs must be 0 or more and less than epochs."),
        (("epochs",), (), "--train: 'epochs': a setting is KEY=VALUE."),
    ],
)
def test_bad_options_of_training_train_nothing(
    pimsim: Any, repository: Path, tmp_path: Path, train: tuple[str, ...], words: tuple[str, ...], message: str
) -> None:
    done = compared(pimsim, repository, tmp_path, "--methods", "pairs", *words, train=train)
    assert done.code == 2
    assert f"pimsim: {message}" in done.err
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--methods", "pairs", "--data", "digits"), "--train without --out: trained checkpoints need a folder"),
        (
            ("--methods", "pairs", "--out", "x", "--input-shape", "1,8,8"),
            "--train without --data: training needs images",
        ),
    ],
)
def test_what_training_needs(pimsim: Any, repository: Path, words: tuple[str, ...], message: str) -> None:
    done = pimsim(
        "compare", "--network", repository / "models/digits_cnn.py:digits_cnn", "--checkpoint",
        repository / "models/digits_cnn-w4a4.safetensors", "--train", "epochs=1", *words,
    )  # fmt: skip
    assert done.code == 2
    assert message in done.err


def test_checkpoints_are_not_trained_again(pimsim: Any, repository: Path, tmp_path: Path) -> None:
    done = pimsim(
        "compare", "--network", repository / "models/digits_cnn.py:digits_cnn", "--checkpoints",
        repository / "models/digits_cnn-w4a4.safetensors", "--data", "digits", "--out", tmp_path, "--train", "epochs=1",
    )  # fmt: skip
    assert done.code == 2
    assert "--train without a method: checkpoints are compared as they are." in done.err
