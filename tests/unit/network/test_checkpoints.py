"""Checkpoint files: every form that is read, and the exact message for every one that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from pimsim.errors import CheckpointError
from pimsim.network.checkpoints import load_checkpoint, load_state_dict, merge_prune_pairs
from pimsim.network.state_matching import match


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return set(left) == set(right) and all(torch.equal(left[key], right[key]) for key in left)


def message(call: Any, *arguments: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".safetensors"])
def test_bare_state_dicts_of_every_suffix(tmp_path: Path, suffix: str) -> None:
    path, state = tmp_path / f"net{suffix}", network().state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded, metadata = load_state_dict(path)
    assert equal(loaded, state)
    assert metadata == {}


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net", "ema"])
def test_wrapped_state_dicts(tmp_path: Path, wrapper: str) -> None:
    path, state = tmp_path / "net.pt", network().state_dict()
    torch.save({"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}}, path)
    assert equal(load_checkpoint(path).state, state)


def test_wrappers_within_wrappers_and_the_old_format(tmp_path: Path) -> None:
    path, state = tmp_path / "net.th", network().state_dict()
    torch.save({"model": {"state_dict": state}}, path, _use_new_zipfile_serialization=False)
    assert equal(load_checkpoint(path).state, state)


PREFIXES = ["", "module.", "model.", "_orig_mod.", "net.", "module._orig_mod.", "model.net."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_stripped_where_that_makes_the_keys_fit(prefix: str) -> None:
    module = network()
    assert equal(match(prefixed(module.state_dict(), prefix), module).state, module.state_dict())


def test_a_prefix_that_is_the_networks_own_is_kept() -> None:
    inner = nn.Module()
    inner.model = network()
    assert equal(match(inner.state_dict(), inner).state, inner.state_dict())
    assert equal(match(prefixed(inner.state_dict(), "model."), inner).state, inner.state_dict())


def test_prune_pairs_become_the_masked_weight_and_the_mask() -> None:
    module, plain = network(), network()
    prune.l1_unstructured(module[0], "weight", 0.5)
    fitted = match(prefixed(module.state_dict(), "module."), plain)
    mask = module[0].weight_mask
    assert torch.equal(fitted.state["0.weight"], module[0].weight_orig.detach() * mask)
    assert equal(fitted.masks, {"0.weight": mask})
    assert set(fitted.state) == set(plain.state_dict())


def test_a_mask_alone_is_no_pair() -> None:
    state = {"a_orig": torch.ones(2), "b_mask": torch.ones(2)}
    assert merge_prune_pairs(state) == (state, {})


def test_a_network_that_is_itself_reparametrized_keeps_its_pairs() -> None:
    module = network()
    prune.l1_unstructured(module[0], "weight", 0.5)
    assert equal(match(module.state_dict(), module).state, module.state_dict())


def test_missing_batch_counters_are_the_networks_own() -> None:
    module = network()
    state = {key: value for key, value in module.state_dict().items() if "num_batches" not in key}
    assert equal(match(state, module).state, module.state_dict())


def test_quantization_records_are_read_from_safetensors_metadata(tmp_path: Path) -> None:
    path, records = tmp_path / "net.safetensors", {"0": {"weight_bits": 4}}
    save_file(network().state_dict(), path, metadata={"pimsim": json.dumps({"quantization": records})})
    assert load_checkpoint(path).quantization == records
    save_file(network().state_dict(), path, metadata={"pimsim": "[1"})
    assert message(lambda: load_checkpoint(path).quantization) == (
        f"{path}: metadata entry 'pimsim': it must be JSON with the entry 'quantization': {{layer: record}}."
    )


def test_missing_file_folder_and_suffix(tmp_path: Path) -> None:
    path = tmp_path / "no.pt"
    assert message(load_checkpoint, path) == f"{path}: checkpoint: there is no such file. Check the path."
    folder = f"{tmp_path}: checkpoint: this is not a file. Give the path of one file."
    assert message(load_checkpoint, tmp_path) == folder
    other = tmp_path / "net.onnx"
    other.touch()
    assert message(load_checkpoint, other) == (
        f"{other}: a file that ends in '.onnx': checkpoints end in .pt, .pth, .th, .safetensors."
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_torch_files(tmp_path: Path, zipped: bool, share: float) -> None:
    path = tmp_path / "net.pt"
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    text = message(load_checkpoint, path)
    assert text.startswith(f"{path}: a file that cannot be read (")
    assert text.endswith("): it is truncated, damaged or not a checkpoint. Copy or save it again.")


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_files_of_something_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"this is no checkpoint, only a line of text\n" * 20)
    text = message(load_checkpoint, path)
    assert text.endswith("): it is truncated, damaged or not a checkpoint. Copy or save it again.")


def test_truncated_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert message(load_checkpoint, path).startswith(f"{path}: a file that cannot be read (")


class Hostile:
    """Runs code when it is unpickled; no test may see it run."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of the checkpoint was run",))


def test_pickled_modules_are_refused_with_the_conversion(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(network(), path)
    assert message(load_checkpoint, path) == (
        f"{path}: a pickled object (it needs torch.nn.modules.container.Sequential): loading it would run code from "
        "the file, so only tensors are read. If you trust the file, convert it once: "
        "torch.save(torch.load('net.pt', weights_only=False).state_dict(), 'net-state.pt') "
        "for a pickled module, or save its state dict alone."
    )
    torch.save({"state_dict": network().state_dict(), "extra": Hostile()}, path)
    assert "loading it would run code from the file" in message(load_checkpoint, path)


@pytest.mark.parametrize(
    ("content", "given"),
    [
        ([1, 2], "a list without tensors"),
        ({}, "a dict with the entries (none)"),
        ({"epoch": 3, "lr": 0.1}, "a dict with the entries epoch, lr"),
    ],
)
def test_files_without_tensors(tmp_path: Path, content: Any, given: str) -> None:
    path = tmp_path / "net.pt"
    torch.save(content, path)
    assert message(load_checkpoint, path) == (
        f"{path}: {given}: a checkpoint is a state dict, "
        "or holds one as state_dict, model_state_dict, model, net, ema. Save model.state_dict()."
    )


def test_other_things_among_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({**network().state_dict(), "epoch": 3}, path)
    assert message(load_checkpoint, path) == (
        f"{path}: entries that are not tensors: epoch: a bare state dict holds tensors only. "
        "Save model.state_dict(), or wrap it as {'state_dict': ..., ...}."
    )


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    path, state = tmp_path / "net.pt", network().state_dict()
    state["3.weight"][0, :2] = torch.tensor([float("nan"), float("inf")])
    torch.save(state, path)
    assert message(load_checkpoint, path) == (
        f"{path}: tensor '3.weight' with 2 of 24 values NaN or infinite: weights must be finite numbers. "
        "Take an earlier checkpoint of the training."
    )


def test_a_mismatch_lists_every_kind_with_the_nearest_names() -> None:
    module = network()
    state = module.state_dict()
    state["0.wieght"] = state.pop("0.weight")
    state["head"] = torch.zeros(1)
    state["3.bias"] = torch.zeros(4)
    assert message(match, prefixed(state, "module."), module, "net.pt") == (
        "net.pt: a checkpoint that does not fit Sequential (1 missing: 0.weight (nearest: 0.wieght); "
        "2 unexpected: 0.wieght (nearest: 0.weight), head; 1 wrong shape: 3.bias is 4, the network has 3): "
        "its keys and shapes must be those of the network. "
        "Check that the network and its options are those that the checkpoint was trained with."
    )


def test_long_mismatches_are_shortened() -> None:
    text = message(match, {f"{number}x": torch.zeros(1) for number in range(10)}, nn.Linear(1, 1))
    assert "10 unexpected: 0x, 1x, 2x, 3x, 4x, 5x and 4 more" in text
