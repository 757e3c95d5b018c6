"""PRAP-PIM in training: the regularisers, the projections, and what the written file holds."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from pimsim.errors import PruningError, QuantizationError
from pimsim.network.checkpoints import load_checkpoint, merge_prune_pairs
from pimsim.network.quantizers import LayerQuantization, quantize_weight
from pimsim.pruning import prap
from pimsim.pruning.fake_quantization import QuantizationOptions, attach_quantizers, trained_layers
from pimsim.pruning.masks import mask_layers
from pimsim.pruning.methods.prap import Prap
from pimsim.pruning.prap_training import PrapHook
from pimsim.pruning.prune import PruneResult, prune
from pimsim.pruning.recipe import Recipe

MODELS = Path(__file__).parents[3] / "models"
DIGITS: dict[str, Any] = {
    "network": f"{MODELS / 'digits_cnn.py'}:digits_cnn", "data": "digits", "normalize": ((0.305,), (0.376,)),
    "batch": 64, "lr": 0.01, "crop_padding": 0, "flip": False, "show_progress": False, "warmup_epochs": 0.5,
    "checkpoint": MODELS / "digits_cnn-w4a4.safetensors",
}  # fmt: skip


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    out = tmp_path_factory.mktemp("prap") / "prap.safetensors"
    return prune(
        **DIGITS, out=out, method="prap", weight_bits=8, epochs=3, project=(1,), mask_penalty=0.1, reuse_penalty=0.01
    )


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Conv2d(6, 5, 1), nn.Conv2d(5, 5, 3, groups=5), nn.Linear(16, 4),
        nn.Linear(4, 2),
    )  # fmt: skip


def with_hook(method: Prap, **recipe: Any) -> tuple[nn.Module, PrapHook]:
    built = small()
    mask_layers(built, {})
    attach_quantizers(built, QuantizationOptions(weight_bits=8))
    hook = method.training_hook(built, Recipe(**{"epochs": 4, "lr": 0.01, **recipe}))
    hook.attached(built)
    return built, hook


def test_the_inner_layers_are_taken_and_the_first_and_last_left_alone() -> None:
    chosen = Prap().chosen(small())
    assert {name: layer.kept_positions for name, layer in chosen.items()} == {"1": 4, "2": 1, "4": 1}
    one_each = Prap(shapes=(8, 1, 0.5), targets=(0.5, 1, 0.25)).chosen(small())
    assert [(layer.kept_positions, layer.target) for layer in one_each.values()] == [(8, 0.5), (1, 1), (0.5, 0.25)]
    assert Prap(shapes=(8, 1, 0.5), targets=(0.5, 1, 0.25)).new_grids(small()) == ("1", "4")


@pytest.mark.parametrize("mode", ["shape+similar", "shape", "identical", "orc"])
def test_the_penalty_is_the_published_sum(mode: str) -> None:
    built, hook = with_hook(Prap(mode=mode, targets=(0.5,) if mode == "shape+similar" else (), layers=("1",),
                                 mask_penalty=0.3, reuse_penalty=0.7))  # fmt: skip
    weight = trained_layers(built)["1"].weight_orig.detach().double().numpy()
    hook.before_epoch(built, 0)
    layer = Prap(mode=mode, layers=("1",)).chosen(built)["1"]
    mask = layer.pruned(weight)
    reuse = layer.reuse(weight, mask)
    kept = mask if reuse is None else reuse.mask
    total = 0.15 * float((weight[~kept] ** 2).sum())
    if reuse is not None:
        step = float(np.float32(prap.fine_codes(weight, fraction_bits=reuse.fraction_bits)[1]))
        target = reuse.project(weight, step)
        for group, output in np.ndindex(reuse.scale.shape):
            s = reuse.scale[group, output]
            part = slice(group * reuse.grid.group, (group + 1) * reuse.grid.group)
            distance = (weight[output, part] - target[output, part]) ** 2
            total += 0.7 * float(distance.sum()) * (1 / s**2 if s else 1 / 256**2)
        rest = reuse.grid.groups * reuse.grid.group
        total += 0.7 * float(((weight[:, rest:] - target[:, rest:]) ** 2).sum())
    penalty = hook.penalty(built)
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(total, rel=1e-5)


def test_weights_are_projected_after_the_epochs_named_and_the_last_which_leaves_the_masks() -> None:
    built, hook = with_hook(Prap(project=(2,), layers=("1",)))
    layer = trained_layers(built)["1"]
    assert [hook.changes_weights(epoch) for epoch in range(4)] == [False, True, False, True]
    hook.before_epoch(built, 0)
    before = layer.weight_orig.detach().clone()
    hook.after_epoch(built, 0)
    assert torch.equal(layer.weight_orig, before)
    hook.after_epoch(built, 1)
    assert not torch.equal(layer.weight_orig, before) and bool(layer.weight_mask.all())
    projected = layer.weight_orig.detach().clone()
    hook.after_epoch(built, 3)
    assert torch.equal(layer.weight_orig != 0, projected != 0)
    assert not bool(layer.weight_mask.all())
    assert not layer.weight_orig[layer.weight_mask == 0].any()


def test_a_hook_goes_on_from_its_state() -> None:
    built, hook = with_hook(Prap())
    hook.before_epoch(built, 0)
    with torch.no_grad():
        for layer in trained_layers(built).values():
            layer.weight_orig.add_(torch.randn_like(layer.weight_orig) * 0.1)
    file = io.BytesIO()
    torch.save(hook.state(), file)
    file.seek(0)
    _, again = with_hook(Prap())
    again.load(torch.load(file, weights_only=True))
    for one in (hook, again):
        one.before_epoch(built, 1)
    first, second = hook.penalty(built), again.penalty(built)
    assert first is not None and second is not None and torch.equal(first, second)
    copies = []
    for one in (hook, again):
        state = {name: layer.weight_orig.detach().clone() for name, layer in trained_layers(built).items()}
        one.after_epoch(built, 3)
        copies.append({n: layer.weight_orig.detach().clone() for n, layer in trained_layers(built).items()})
        with torch.no_grad():
            for name, layer in trained_layers(built).items():
                layer.weight_orig.copy_(state[name])
    assert all(torch.equal(copies[0][name], copies[1][name]) for name in copies[0])


def test_the_file_holds_patterns_that_repeat_up_to_a_shift(pruned: PruneResult) -> None:
    checkpoint = load_checkpoint(pruned.checkpoint)
    state, masks = merge_prune_pairs(checkpoint.state)
    for name in ("conv2", "conv3", "conv4"):
        record = LayerQuantization.from_dict(checkpoint.quantization[name])
        assert (record.weight_bits, len(record.weight_scale)) == (16, 1)
        codes = quantize_weight(state[f"{name}.weight"], record, masks[f"{name}.weight"]).numpy()
        grid = prap.PatternGrid(codes.shape, 2)
        for patterns in grid.split(codes).reshape(grid.groups, grid.outputs, -1):
            odd = [tuple(p // (np.gcd.reduce(p) & -np.gcd.reduce(p))) for p in patterns if p.any()]
            assert len(set(odd)) <= grid.outputs // 2
            assert len({tuple(p != 0) for p in patterns}) <= grid.outputs // 2
            assert max(map(max, odd)) <= 127
        assert int(masks[f"{name}.weight"].sum(dim=(2, 3)).max()) <= 4


def test_whoever_may_read_the_card_may_read_the_checkpoint(pruned: PruneResult) -> None:
    assert pruned.checkpoint.stat().st_mode == pruned.card.stat().st_mode


def test_the_card_tells_patterns_and_accuracies_before_projections(pruned: PruneResult) -> None:
    card = pruned.card.read_text()
    assert re.search(r"conv3: shape\+similar, 4 positions in groups of 2 channels, 0\.5000 of the patterns kept", card)
    assert card.count("before the projection)") == 2
    assert "--project 1 --mask-penalty 0.1 --reuse-penalty 0.01" in card
    with safe_open(str(pruned.checkpoint), "pt") as file:
        content = json.loads(file.metadata()["pimsim"])
    assert content["method"] == "prap" and content["recipe"]["mode"] == "shape+similar"


def test_a_quantized_start_is_what_its_integers_stand_for(tmp_path: Path) -> None:
    options = {**DIGITS, "lr": 1e-9}
    same = prune(**options, out=tmp_path / "same.safetensors", method="none", epochs=1)
    # Every pattern is kept up to its last bit, so only 8-bit rounding on one grid is new.
    kept = prune(**options, out=tmp_path / "kept.safetensors", method="prap", mode="identical", weight_bits=8,
                 targets=(0.99,), epochs=1)  # fmt: skip
    assert kept.history[0].unprojected_accuracy == pytest.approx(same.quantized_accuracy, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "shapes"}, r"mode 'shapes': unknown mode. Did you mean 'shape'"),
        ({"mode": "similar", "shapes": (4.0,)}, r"that mode has no shapes. Leave --shapes out"),
        ({"mode": "orc", "targets": (0.5,)}, r"that mode reuses no pattern. Leave --targets out"),
        ({"share": 0.5}, r"that mode prunes no share. Leave --share out"),
        ({"mode": "orc", "share": 0.0}, r"the share that is kept is more than 0"),
        ({"targets": (1.5,)}, r"a share of patterns is more than 0 and at most 1"),
        ({"reuse_penalty": -1.0}, r"a penalty is 0 or more"),
        ({"weight_bits": 9}, r"patterns of 2 to 8 bits can be reused"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PruningError, match=message):
        Prap(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": (4.0, 4.0)}, r"2 shapes for 3 layers: one for all layers, or one for each in network order"),
        ({"shapes": (3.0,)}, r"1: 3 kept positions: .* fill the 8 rows of an operation unit. Use 8, 4, 2 or 1"),
        ({"shapes": (4.0, 4.0, 1.0)}, r"2: 4 kept positions: a 1x1 or linear layer has one"),
        ({"layers": ("3",)}, r"layer '3': must name a convolution of one group or a linear layer"),
    ],
)
def test_options_that_do_not_fit_the_network_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PruningError, match=message):
        Prap(**options).plan(small())


def test_an_epoch_that_the_run_does_not_have_is_refused() -> None:
    with pytest.raises(PruningError, match=r"project 5: weights are projected after an epoch from 1 to 4"):
        with_hook(Prap(project=(5,)))


def test_a_penalty_that_would_diverge_is_refused() -> None:
    built, hook = with_hook(Prap(reuse_penalty=100.0), lr=0.1)
    hook.before_epoch(built, 0)
    with pytest.raises(
        PruningError, match=r"training would diverge. Use --lr \S+ or less, or a smaller --reuse-penalty"
    ):
        hook.penalty(built)


def test_dorefa_weights_cannot_be_reused() -> None:
    built = small()
    mask_layers(built, {})
    attach_quantizers(built, QuantizationOptions("dorefa", weight_bits=8))
    with pytest.raises(PruningError, match="shifted copies need a grid with a zero"):
        Prap().training_hook(built, Recipe(2)).attached(built)


def test_admm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match="--admm-epochs with the method 'prap': it changes weights in training"):
        prune(**DIGITS, out=tmp_path / "a.safetensors", method="prap", weight_bits=8, epochs=3, admm_epochs=1)


def test_a_start_with_other_activation_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="fine-tuning with"):
        prune(**DIGITS, out=tmp_path / "a.safetensors", method="prap", weight_bits=8, activation_bits=8, epochs=1)


def test_without_epochs_the_network_is_projected_as_it_is(tmp_path: Path) -> None:
    options = {**DIGITS, "method": "prap", "weight_bits": 8, "targets": (0.75,), "shapes": (8.0,)}
    result = prune(**options, out=tmp_path / "a.safetensors", epochs=0)
    assert result.history == () and 0.5 < result.quantized_accuracy <= 1
    state, _ = merge_prune_pairs(load_checkpoint(result.checkpoint).state)
    source = load_checkpoint(DIGITS["checkpoint"])
    record = LayerQuantization.from_dict(source.quantization["conv3"])
    weight = source.state["conv3.weight"]
    codes = quantize_weight(weight, record).numpy() * np.array(record.weight_scale).reshape(-1, 1, 1, 1)
    mask = prap.shape_mask(codes, 8)
    reuse = prap.similar_reuse(codes, 0.75, 1, mask)
    assert state["conv3.weight"].numpy() == pytest.approx(reuse.project(codes) * reuse.mask, rel=1e-5, abs=1e-9)
