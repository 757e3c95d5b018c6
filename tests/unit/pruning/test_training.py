"""The training loop: it learns, it resumes exactly, it refuses what it cannot go on from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pimsim.errors import CheckpointError, PruningError
from pimsim.network.datasets import ImageDataset, load_dataset
from pimsim.pruning import training
from pimsim.pruning.fake_quantization import QuantizationOptions, attach_quantizers
from pimsim.pruning.masks import mask_layers, pattern_mask
from pimsim.pruning.recipe import EpochRecord, Recipe

RECIPE = Recipe(epochs=4, float_epochs=2, lr=0.05, batch=32, crop_padding=1, flip=False, warmup_epochs=0.5)


@pytest.fixture(scope="module")
def digits() -> tuple[ImageDataset, ImageDataset]:
    sets = [load_dataset("digits", split, ((0.3,), (0.4,)), limit=256) for split in ("train", "test")]
    return sets[0].in_memory(), sets[1].in_memory()


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        built = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(), nn.Dropout(0.1), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(32, 10),
        )  # fmt: skip
    mask_layers(built, {"3": pattern_mask("000111111", built[3].weight)})
    attach_quantizers(built, QuantizationOptions())
    return built


def run(built: nn.Module, digits: tuple[ImageDataset, ImageDataset], folder: Path) -> tuple[EpochRecord, ...]:
    return training.train(built, RECIPE, *digits, folder, RECIPE.to_dict(), show_progress=False)


def without_times(history: tuple[EpochRecord, ...]) -> list[dict[str, Any]]:
    return [{**asdict(record), "seconds": 0} for record in history]


class Killed(BaseException):
    """What a test raises in the middle of an epoch."""


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    step, taken = training._step, [0]

    def counted(*arguments: Any) -> tuple[Tensor, Tensor]:
        taken[0] += 1
        if taken[0] > steps:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(training, "_step", counted)


# Eight batches an epoch: killed in the first epoch, at its end, in each phase, in the last epoch.
@pytest.mark.parametrize("steps", [3, 8, 13, 20, 31])
def test_a_killed_run_ends_as_an_undisturbed_one(
    steps: int, digits: tuple[ImageDataset, ImageDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = network()
    expected = run(undisturbed, digits, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, steps)
        run(network(), digits, tmp_path / "killed")
    torch.manual_seed(steps)
    resumed = network()
    assert without_times(run(resumed, digits, tmp_path / "killed")) == without_times(expected)
    for key, value in undisturbed.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_training_learns_in_both_phases(digits: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    history = run(network(), digits, tmp_path)
    assert [record.phase for record in history] == ["float", "float", "quantized", "quantized"]
    assert history[-1].loss < 0.95 * history[0].loss
    assert history[-1].test_accuracy > 0.25


def test_a_caller_keeps_its_random_numbers(digits: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    built = network()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    run(built, digits, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_finished_run_is_not_trained_again(
    digits: tuple[ImageDataset, ImageDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = run(network(), digits, tmp_path)
    kill_after(monkeypatch, 0)
    assert run(network(), digits, tmp_path) == history


def test_best_and_last_state_are_kept(digits: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    history = run(network(), digits, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt"]
    built = network()
    best = training.load_state(built, tmp_path / "best.pt")
    most = max(record.test_accuracy for record in history if record.phase == "quantized")
    assert best["history"][-1]["test_accuracy"] == most
    assert training.accuracy(built, digits[1]) == most
    assert training.is_quantized(built)


def test_pruned_weights_stay_zero(digits: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    built = network()
    run(built, digits, tmp_path)
    assert not built[3].weight[:, :, 0].any()


def test_another_recipe_is_not_resumed(digits: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    run(network(), digits, tmp_path)
    other = Recipe(epochs=5, seed=1)
    with pytest.raises(PruningError, match=r"run with other options \(batch, .*epochs, .*seed, .*\)"):
        training.train(network(), other, *digits, tmp_path, other.to_dict(), show_progress=False)


def test_a_damaged_state_is_refused(digits: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="a training state that cannot be used"):
        run(network(), digits, tmp_path)


def test_a_diverging_run_stops(digits: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    wild = Recipe(epochs=3, float_epochs=2, lr=1e30, warmup_epochs=0, crop_padding=0)
    with pytest.raises(PruningError, match="training must stay finite"):
        training.train(network(), wild, *digits, tmp_path, {}, show_progress=False)


def test_only_weights_decay() -> None:
    built = network()
    decayed = {id(p) for p in training._optimizer(built, RECIPE).param_groups[0]["params"]}
    assert decayed == {id(layer.weight_orig) for layer in (built[0], built[3], built[8])}
