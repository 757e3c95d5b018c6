"""FORMS: fragments of one sign, in projections, in training, and in the file that is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.network.checkpoints import load_checkpoint, merge_prune_pairs
from pimsim.network.quantizers import LayerQuantization, dorefa_codes, quantize_weight
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.forms_training import FormsHook
from pimsim.pruning.masks import mask_layers
from pimsim.pruning.methods.forms import Forms
from pimsim.pruning.prune import prune
from pimsim.pruning.recipe import Recipe
from pimsim.pruning.registry import pruning_method

MODELS = Path(__file__).parents[3] / "models"
DIGITS: dict[str, Any] = {
    "network": f"{MODELS / 'digits_cnn.py'}:digits_cnn", "data": "digits", "normalize": ((0.305,), (0.376,)),
    "batch": 64, "lr": 0.01, "crop_padding": 0, "flip": False, "show_progress": False, "warmup_epochs": 0.0,
    "limit": 100, "method": "forms",
}  # fmt: skip


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3, groups=2), nn.Flatten(), nn.Linear(8, 5))


def columns(weight: Tensor) -> np.ndarray:
    """The rows of the im2col matrix of each output channel, (OC, H), whatever its group."""
    return weight.detach().double().numpy().reshape(len(weight), -1)


def fragments(column: np.ndarray, height: int, rows: int) -> list[np.ndarray]:
    arrays = [column[first : first + rows] for first in range(0, len(column), rows)]
    return [array[row : row + height] for array in arrays for row in range(0, len(array), height)]


def polarised(weight: Tensor, height: int, rows: int) -> bool:
    parts = [part for column in columns(weight) for part in fragments(column, height, rows)]
    return not any((part < 0).any() and (part > 0).any() for part in parts)


@pytest.mark.parametrize(("height", "rows"), [(8, 128), (4, 10), (1, 7), (10, 10), (3, 8)])
def test_the_sign_of_the_sum_wins_in_every_fragment_of_every_array(height: int, rows: int) -> None:
    built = network()
    masks = pruning_method("forms", {"fragment": height, "array": f"{rows}x4"}).plan(built).masks
    assert list(masks) == ["0", "1", "3"]
    for name, mask in masks.items():
        weight = built[int(name)].weight
        assert polarised(weight * mask, height, rows)
        for column, kept in zip(columns(weight), columns(mask), strict=True):
            pairs = zip(fragments(column, height, rows), fragments(kept, height, rows), strict=True)
            for part, stays in pairs:
                np.testing.assert_array_equal(stays > 0, part > 0 if part.sum() >= 0 else part < 0)


def test_a_sum_of_zero_is_positive_and_zero_weights_do_not_stay() -> None:
    built = nn.Sequential(nn.Linear(6, 1))
    with torch.no_grad():
        built[0].weight.copy_(torch.tensor([[1.0, -1.0, 0.0, -2.0, 1.0, 0.0]]))
    mask = pruning_method("forms", {"fragment": 3}).plan(built).masks["0"]
    assert mask.tolist() == [[1, 0, 0, 1, 0, 0]]


def test_a_weight_that_dorefa_would_round_to_the_other_sign_does_not_stay() -> None:
    """Its codes are odd: the nearest to -1e-9 is +1 or -1, and float32 rounds to +1."""
    built = nn.Sequential(nn.Linear(4, 1))
    with torch.no_grad():
        built[0].weight.copy_(torch.tensor([[-1.0, -1e-9, -1e-5, -0.5]]))
    assert dorefa_codes(built[0].weight.detach(), 4).tolist() == [[-15, 1, -1, -9]]
    assert pruning_method("forms", {"fragment": 4}).plan(built).masks["0"].tolist() == [[1, 0, 1, 1]]


def test_the_card_counts_the_signs() -> None:
    """27 rows in arrays of 16 are 2 + 2 fragments of 12 outputs; 54 are 4 x 2 - 1 of 8, 8 rows are 1 of 5."""
    plan = pruning_method("forms", {"array": "16x4"}).plan(network())
    assert plan.notes == (
        "fragments of 8 rows in arrays of 16: an operation unit of as many rows and the encoding polarised need "
        "columns for magnitudes only",
        f"{4 * 12 + 7 * 8 + 5} signs are kept beside the arrays, a bit each",
    )


def with_hook(built: nn.Module, epochs: int = 3, **options: Any) -> FormsHook:
    method = Forms(**options)
    mask_layers(built, {})
    hook = method.training_hook(built, Recipe(epochs=epochs, warmup_epochs=0))
    hook.attached(built)
    return hook


def disturb(built: nn.Module, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in trained_layers(built).values():
            layer.weight_orig.add_(torch.randn(layer.weight_orig.shape, generator=draw) * 0.2)


def test_weights_are_projected_at_the_start_and_after_every_epoch_and_the_last_leaves_the_masks() -> None:
    built = network()
    hook = with_hook(built, epochs=2)
    layers = trained_layers(built)
    assert [hook.changes_weights(epoch) for epoch in range(2)] == [True, True]
    for epoch in range(2):
        assert all(polarised(layer.weight_orig, 8, 128) for layer in layers.values())
        assert all(bool(layer.weight_mask.all()) for layer in layers.values())
        before = layers["0"].weight_orig == 0
        disturb(built, epoch)
        hook.after_epoch(built, epoch)
        if epoch == 0:
            # A weight that was set to zero may come back with the sign of its fragment.
            assert bool((layers["0"].weight_orig[before] != 0).any())
    for layer in layers.values():
        assert polarised(layer.weight_orig, 8, 128)
        assert torch.equal(layer.weight_mask, (layer.weight_orig != 0).to(layer.weight_orig))


def test_weights_of_a_pruned_network_stay_zero() -> None:
    built = network()
    with torch.no_grad():
        built[0].weight[:, 1] = 0
        built[3].weight.zero_()  # as some layers start from scratch
    hook = with_hook(built, epochs=1)
    layers = trained_layers(built)
    assert not layers["0"].weight_mask[:, 1].any()
    disturb(built, 0)
    hook.after_epoch(built, 0)
    assert not layers["0"].weight_mask[:, 1].any()
    assert bool(layers["3"].weight_mask.any())


def test_layers_that_are_not_chosen_keep_their_signs() -> None:
    built = network()
    hook = with_hook(built, epochs=1, layers=("1",))
    hook.after_epoch(built, 0)
    layers = trained_layers(built)
    assert torch.equal(layers["0"].weight_orig, network()[0].weight)
    assert polarised(layers["1"].weight_orig, 8, 128) and not polarised(layers["0"].weight_orig, 8, 128)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0, "checkpoint": MODELS / "digits_cnn-w4a4.safetensors"},
        {"epochs": 2, "checkpoint": MODELS / "digits_cnn-w4a4.safetensors", "array": "32x16", "fragment": 4},
        {"epochs": 2, "float_epochs": 1, "weight_quantizer": "dorefa"},
    ],
    ids=["untrained", "fine-tuned", "dorefa from scratch"],
)
def test_the_integers_of_the_file_are_polarised(tmp_path: Path, options: dict[str, Any]) -> None:
    done = prune(**DIGITS, **options, out=tmp_path / "forms.safetensors")
    checkpoint = load_checkpoint(done.checkpoint)
    state, masks = merge_prune_pairs(checkpoint.state)
    rows = int(options.get("array", "128x128").split("x")[0])
    for name, values in checkpoint.quantization.items():
        record = LayerQuantization.from_dict(values)
        codes = quantize_weight(state[f"{name}.weight"], record, masks[f"{name}.weight"])
        assert polarised(codes, options.get("fragment", 8), rows)
        assert bool((codes < 0).any()) and bool((codes > 0).any())
    assert "| quantized |" in done.card.read_text() or not options["epochs"]


def test_a_run_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    options = {**DIGITS, "checkpoint": MODELS / "digits_cnn-w4a4.safetensors", "epochs": 3}
    whole = prune(**options, out=tmp_path / "whole.safetensors")
    own = FormsHook.after_epoch

    def killed_in_the_second(hook: FormsHook, network: nn.Module, epoch: int) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        own(hook, network, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FormsHook, "after_epoch", killed_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            prune(**options, out=tmp_path / "killed.safetensors")
    killed = prune(**options, out=tmp_path / "killed.safetensors")
    states = [load_checkpoint(one.checkpoint).state for one in (whole, killed)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Forms(fragment=0), "fragment=0: a fragment has at least one row."),
        (lambda: Forms(fragment=64, array="32x16"),
         "fragment=64 with arrays of 32 rows: a fragment lies in one array. Use --fragment 32 or less."),
        (lambda: Forms(array="128"), "array '128': an array is ROWSxCOLUMNS. Write it like 128x128."),
        (lambda: prune(**DIGITS, out="x.safetensors", epochs=3, admm_epochs=1),
         "--admm-epochs with the method 'forms': it changes weights in training in its own way. Leave --admm-epochs "
         "out."),
    ],
)  # fmt: skip
def test_what_a_user_can_get_wrong_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(PruningError) as caught:
        call()
    assert str(caught.value) == message
