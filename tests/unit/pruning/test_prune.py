"""The whole command on a few digits: files, metadata, card, fine-tuning and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

from pimsim.errors import CheckpointError, DataError, NetworkError, PimsimError, PruningError, QuantizationError
from pimsim.network.checkpoints import load_checkpoint, merge_prune_pairs
from pimsim.network.datasets import load_dataset
from pimsim.network.modules import load_module
from pimsim.network.quantizers import LayerQuantization, quantize_activation, quantize_weight
from pimsim.pruning.command import prune_command
from pimsim.pruning.prune import PruneResult, prune

MODEL = f"{Path(__file__).parents[3] / 'models' / 'digits_cnn.py'}:digits_cnn"
DIGITS: dict[str, Any] = {
    "network": MODEL, "data": "digits", "normalize": ((0.305,), (0.376,)), "batch": 64, "lr": 0.05,
    "crop_padding": 0, "flip": False, "show_progress": False, "warmup_epochs": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    out = tmp_path_factory.mktemp("dense") / "dense.safetensors"
    return prune(**DIGITS, out=out, epochs=10, float_epochs=6)


@pytest.fixture(scope="module")
def pruned(dense: PruneResult, tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    out = tmp_path_factory.mktemp("pruned") / "pruned.safetensors"
    return prune(**DIGITS, out=out, checkpoint=dense.checkpoint, method="pattern", epochs=3)


def metadata(result: PruneResult) -> dict[str, Any]:
    with safe_open(str(result.checkpoint), "pt") as file:
        content: dict[str, Any] = json.loads(file.metadata()["pimsim"])
    return content


def integer_accuracy(result: PruneResult, network: str = MODEL) -> float:
    """Top-1 with every weight layer computed in integers, from the written file alone."""
    checkpoint = load_checkpoint(result.checkpoint)
    state, masks = merge_prune_pairs(checkpoint.state)
    model = load_module(network)
    model.load_state_dict(state)
    for name, values in checkpoint.quantization.items():
        compute_in_integers(model.get_submodule(name), LayerQuantization.from_dict(values), masks.get(f"{name}.weight"))
    test = load_dataset("digits", "test", DIGITS["normalize"])
    with torch.no_grad():
        return float((model.double()(test.images.double()).argmax(1) == test.labels).double().mean())


def compute_in_integers(layer: Any, record: LayerQuantization, mask: torch.Tensor | None) -> None:
    codes = quantize_weight(layer.weight.detach(), record, mask)
    scale = (torch.tensor(record.weight_scale).double() * record.activation_scale).reshape(-1, *[1] * (codes.dim() - 2))
    bias = 0 if layer.bias is None else layer.bias.detach().double().reshape(-1, *scale.shape[1:])

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        x_int = quantize_activation(inputs, record).double()
        linear = isinstance(layer, torch.nn.Linear)
        product = (
            functional.linear(x_int, codes.double())
            if linear
            else functional.conv2d(x_int, codes.double(), padding=layer.padding)
        )
        return product * scale + bias

    layer.forward = forward


@pytest.mark.parametrize("which", ["dense", "pruned"])
def test_the_written_integers_reach_the_reported_accuracy(which: str, request: pytest.FixtureRequest) -> None:
    result: PruneResult = request.getfixturevalue(which)
    assert result.quantized_accuracy > 0.5
    # Values on a rounding boundary may fall to either side in float32 and float64.
    assert integer_accuracy(result) == pytest.approx(result.quantized_accuracy, abs=0.011)


# DoReFa clips activations to [0, 1] and shrinks weights: it wants a batch norm everywhere.
NORMED_NETWORK = """
from torch import nn


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10), nn.BatchNorm1d(10),
    )
"""


def test_dorefa_integers_reach_the_reported_accuracy(tmp_path: Path) -> None:
    (tmp_path / "normed.py").write_text(NORMED_NETWORK)
    options = {**DIGITS, "network": f"{tmp_path / 'normed.py'}:normed", "weight_quantizer": "dorefa"}
    result = prune(**options, out=tmp_path / "dorefa.safetensors", method="pattern", epochs=4)
    assert result.quantized_accuracy > 0.5
    assert integer_accuracy(result, options["network"]) == pytest.approx(result.quantized_accuracy, abs=0.011)


def test_a_dense_checkpoint_has_the_keys_of_the_network(dense: PruneResult) -> None:
    assert set(load_checkpoint(dense.checkpoint).state) == set(load_module(MODEL).state_dict())


def test_pruned_weights_have_the_names_of_torch_prune(pruned: PruneResult) -> None:
    state = load_checkpoint(pruned.checkpoint).state
    for name in ("conv2", "conv4"):
        assert f"{name}.weight" not in state
        assert state[f"{name}.weight_mask"].shape == state[f"{name}.weight_orig"].shape
    assert "conv3.weight" in state


def test_torch_reads_a_pruned_checkpoint(pruned: PruneResult) -> None:
    """With nothing but torch and safetensors: the masks are bytes, and torch brings them to the weight's type."""
    model = load_module(MODEL)
    for name in ("conv2", "conv4"):
        torch.nn.utils.prune.identity(model.get_submodule(name), "weight")
    state = load_file(str(pruned.checkpoint))
    model.load_state_dict(state)
    model(torch.zeros(1, 1, 8, 8))
    assert state["conv2.weight_mask"].dtype == torch.bool
    assert model.conv2.weight_mask.dtype == torch.float32
    assert torch.equal(model.conv2.weight == 0, ~state["conv2.weight_mask"] | (state["conv2.weight_orig"] == 0))


def test_metadata_hold_scales_method_patterns_and_recipe(pruned: PruneResult) -> None:
    content = metadata(pruned)
    assert set(content) == {"quantization", "method", "keep", "recipe"}
    assert content["method"] == "pattern"
    assert content["keep"] == dict(pruned.plan.keep)
    assert content["recipe"]["epochs"] == 3
    records = {name: LayerQuantization.from_dict(v) for name, v in content["quantization"].items()}
    assert {name: record.weight_bits for name, record in records.items()} == {
        "conv1": 8, "conv2": 4, "conv3": 4, "conv4": 4, "linear": 8,
    }  # fmt: skip


def test_masks_repeat_the_pattern_of_the_metadata(pruned: PruneResult) -> None:
    state = load_checkpoint(pruned.checkpoint).state
    for name, keep in metadata(pruned)["keep"].items():
        kernels = state[f"{name}.weight_mask"].flatten(2).flatten(0, 1).unique(dim=0)
        assert ["".join(str(int(tap)) for tap in kernel) for kernel in kernels] == [keep]


def test_admm_ends_with_the_masks_of_the_weights_that_it_drew(dense: PruneResult, tmp_path: Path) -> None:
    options = {**DIGITS, "checkpoint": dense.checkpoint, "method": "patdnn", "entries": 4, "connectivity": 2.0}
    result = prune(
        **options, out=tmp_path / "admm.safetensors", epochs=5, admm_epochs=3, admm_warmup=1, admm_rho=1.0,
        optimizer="adam", dimension="kernel",
    )  # fmt: skip
    state = load_checkpoint(result.checkpoint).state
    mask = state["conv2.weight_mask"]
    assert torch.equal(mask, result.plan.masks["conv2"] != 0)
    kernels = mask.flatten(2).sum(2)
    assert set(kernels.unique().tolist()) == {0, 4}
    assert int((kernels > 0).sum()) == kernels.numel() // 2
    card = result.card.read_text()
    assert "--admm-epochs 3 --admm-warmup 1 --admm-rho 1.0" in card and "--optimizer adam" in card
    assert "chosen from" in card
    assert [record.phase for record in result.history] == ["admm quantized"] * 3 + ["quantized"] * 2
    best = torch.load(tmp_path / "admm.training" / "best.pt", weights_only=True)
    assert best["history"][-1]["phase"] == "quantized"
    assert integer_accuracy(result) == pytest.approx(result.quantized_accuracy, abs=0.011)
    assert result.quantized_accuracy > 0.5


def test_the_card_tells_accuracy_command_and_curve(pruned: PruneResult) -> None:
    card = pruned.card.read_text()
    assert f"{100 * pruned.quantized_accuracy:.2f} % of the test images" in card
    assert "--method pattern" in card
    assert "no float epochs in this run" in card
    assert sum(line.startswith("| ") and "| quantized |" in line for line in card.splitlines()) == 3
    assert "###" in card


def test_no_path_of_this_machine_is_written(pruned: PruneResult, dense: PruneResult) -> None:
    for result in (pruned, dense):
        text = result.card.read_text() + json.dumps(metadata(result))
        assert str(result.checkpoint.parent) not in text
        assert str(Path(__file__).parents[3]) not in text


def test_the_float_accuracy_is_that_of_the_last_float_epoch(dense: PruneResult, pruned: PruneResult) -> None:
    assert dense.float_accuracy == dense.history[5].test_accuracy
    assert pruned.float_accuracy is None


def test_results_are_plain_values(pruned: PruneResult) -> None:
    assert json.loads(json.dumps(pruned.to_dict()))["test_images"] == 360


def test_fine_tuning_starts_from_the_trained_scales(dense: PruneResult, tmp_path: Path) -> None:
    result = prune(**{**DIGITS, "lr": 1e-9}, out=tmp_path / "same.safetensors", checkpoint=dense.checkpoint, epochs=1)
    assert result.quantized_accuracy == pytest.approx(dense.quantized_accuracy, abs=0.08)
    before, after = metadata(dense)["quantization"], metadata(result)["quantization"]
    for name, record in before.items():
        assert after[name]["activation_scale"] == pytest.approx(record["activation_scale"], rel=1e-4)


def test_a_masked_checkpoint_keeps_its_mask_without_a_method(pruned: PruneResult, tmp_path: Path) -> None:
    result = prune(**DIGITS, out=tmp_path / "more.safetensors", checkpoint=pruned.checkpoint, epochs=1)
    before, after = load_checkpoint(pruned.checkpoint).state, load_checkpoint(result.checkpoint).state
    assert torch.equal(before["conv2.weight_mask"], after["conv2.weight_mask"])


def test_the_command_names_every_option_that_is_not_the_default() -> None:
    options = {
        "network": "net.py:build", "method": "pattern", "keep": ["000111111", "111111000"], "epochs": 48,
        "flip": False, "bfloat16": True, "lr": 0.1, "normalize": [[0.5, 0.25], [1.0, 2.0]], "checkpoint": None,
    }  # fmt: skip
    defaults = {**(prune.__kwdefaults__ or {}), "keep": ()}
    assert prune_command(options, "FOLDER", "out.safetensors", "CIFAR-10 (JPEG)", defaults) == (
        "pimsim prune --network net.py:build --data FOLDER --out out.safetensors --method pattern "
        "--keep 000111111 --keep 111111000 --epochs 48 --no-flip --bfloat16 --normalize 0.5,0.25/1,2 "
        "--data-name 'CIFAR-10 (JPEG)'"
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network": "nowhere.py:net"}, NetworkError, "there is no such file"),
        ({"data": "nowhere"}, DataError, "must be 'digits' or an existing folder"),
        ({"checkpoint": "nowhere.pt"}, CheckpointError, "there is no such file"),
        ({"method": "magic"}, PruningError, "pruning method 'magic'"),
        ({"weight_bits": 1}, QuantizationError, "symmetric weights have 2 to 16 bits"),
        ({"epochs": -1}, PruningError, "epochs must be at least 1"),
        ({"optimizer": "lion"}, PruningError, "optimizer must be one of sgd, adam"),
        ({"admm_epochs": 2}, PruningError, "ADMM with the method 'none'"),
        ({"method": "pairs", "admm_epochs": 30}, PruningError, "after ADMM the pruned network needs an epoch"),
        ({"method": "pairs", "admm_epochs": 1, "admm_warmup": 2}, PruningError, "admm_epochs=1, admm_warmup=2"),
        ({"method": "pairs", "admm_norm": "l1"}, PruningError, "admm_norm 'l1': unknown norm"),
        ({"method": "pairs", "admm_rho": 0.0}, PruningError, "admm_rho=0.0"),
        ({"method": "pairs", "keep": ("0" * 9,)}, PruningError, "option 'keep' with the method 'pairs'"),
        ({"out": "x.pt"}, PruningError, "a checkpoint is written as .safetensors"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_written(
    changes: dict[str, Any], error: type[PimsimError], message: str, tmp_path: Path
) -> None:
    arguments = {**DIGITS, "out": tmp_path / "x.safetensors", **changes}
    with pytest.raises(error) as caught:
        prune(**arguments)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_one_split_is_no_training_data(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "data" / "test" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "test" / "a" / "0.png")
    arguments = {**DIGITS, "data": tmp_path / "data", "normalize": None, "out": tmp_path / "x.safetensors"}
    with pytest.raises(DataError, match="training needs train/ and test/"):
        prune(**arguments)
