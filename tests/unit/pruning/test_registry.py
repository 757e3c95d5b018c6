"""Methods by name, the layers they take and the patterns they choose."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from pimsim.errors import PruningError
from pimsim.pruning import registry
from pimsim.pruning.masks import mask_layers, pattern_mask
from pimsim.pruning.methods.none import NoPruning
from pimsim.pruning.methods.pattern import GivenPatterns
from pimsim.pruning.patterns import border_patterns
from pimsim.pruning.plans import PruningPlan
from pimsim.pruning.registry import METHODS, method_options, pruning_method


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, stride=2), nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 8, 5), nn.Linear(8, 2),
    )  # fmt: skip


def with_weak_border(keep: str) -> nn.Sequential:
    """A network whose second layer is weak exactly where ``keep`` prunes."""
    built = network()
    with torch.no_grad():
        # Signs that cancel in every sum: only the energy tells the taps apart.
        signs = torch.tensor([1.0, -1.0]).repeat(2).reshape(4, 1, 1, 1)
        built[1].weight.copy_((pattern_mask(keep, built[1].weight) + 0.1) * signs)
    return built


def test_only_stride_1_square_width_3x3_convolutions_are_taken() -> None:
    plan = GivenPatterns().plan(network())
    assert [name for name, _ in plan.keep] == ["1", "5"]


@pytest.mark.parametrize("keep", border_patterns())
def test_the_pattern_with_most_energy_is_chosen(keep: str) -> None:
    assert dict(GivenPatterns().plan(with_weak_border(keep)).keep)["1"] == keep


def test_the_first_candidate_wins_a_tie() -> None:
    built = network()
    nn.init.ones_(built[1].weight)
    assert dict(GivenPatterns().plan(built).keep)["1"] == border_patterns()[0]


def test_named_layers_replace_the_default_choice() -> None:
    plan = pruning_method("pattern", {"keep": ["1" * 12 + "0" * 13], "layers": ["6"]}).plan(network())
    assert plan.keep == (("6", "1" * 12 + "0" * 13),)


def test_a_plan_prunes_the_same_taps_in_every_kernel() -> None:
    built = with_weak_border("110110110")
    masks = GivenPatterns().plan(built).masks
    assert set(masks) == {"1", "5"}
    assert masks["1"].shape == built[1].weight.shape
    assert masks["1"].unique(dim=0).shape[0] == 1
    assert masks["1"][0, 0].tolist() == [[1, 1, 0]] * 3


def test_planning_leaves_the_weights_alone() -> None:
    built, before = network(), network().state_dict()
    GivenPatterns().plan(built)
    assert all(torch.equal(value, before[key]) for key, value in built.state_dict().items())


def test_a_plan_has_a_picture_and_equality() -> None:
    kernels = {"conv1": "000111111", "layer2.conv": "110110110"}
    masks = {name: pattern_mask(keep, torch.ones(2, 3, 3, 3)) for name, keep in kernels.items()}
    plan = PruningPlan("pattern", masks, ("chosen from two",))
    assert plan.picture() == "conv1        ... ### ###\nlayer2.conv  ##. ##. ##.\nchosen from two"
    assert dict(plan.keep) == kernels
    assert repr(plan) == "PruningPlan('pattern', 2 layers, 33.3% of their weights pruned)"
    assert plan == PruningPlan("pattern", {n: mask.clone() for n, mask in masks.items()}, plan.notes)
    masks["conv1"][0, 0, 1, 1] = 0
    assert plan != PruningPlan("pattern", {**masks, "conv1": torch.ones(2, 3, 3, 3)}, plan.notes)
    assert "conv1        kernels: 5 x ... ### ###, 1 x ... #.# ###" in plan.picture()
    assert NoPruning().plan(network()).picture() == "nothing is pruned"


def test_masked_layers_look_as_torch_prunes_them() -> None:
    built = network()
    original = built[1].weight.detach().clone()
    mask_layers(built, {"1": pattern_mask("000111111", built[1].weight)})
    assert torch.equal(built[1].weight_orig, original)
    assert not built[1].weight[:, :, 0].any()
    assert torch.equal(built[1].weight[:, :, 1:], original[:, :, 1:])
    assert all(hasattr(layer, "weight_mask") for layer in built)


def test_a_mask_for_an_unknown_layer_is_refused() -> None:
    with pytest.raises(PruningError, match="a mask for 9: must name a layer with weights: 0, 1"):
        mask_layers(network(), {"9": torch.ones(1)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "patern"}, "Did you mean 'pattern'?"),
        ({"name": "none", "options": {"keep": ["000111111"]}}, "It has none"),
        ({"name": "pairs", "options": {"rank": 1}}, "It has dimension, layers, entries, windows"),
        ({"name": "pairs", "options": {"dimension": "row"}}, "Known: kernel, channel, layer"),
    ],
)
def test_a_wrong_method_is_explained(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PruningError) as caught:
        pruning_method(**arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (GivenPatterns(layers=("7",)), "layer '7': must name a convolution of the network"),
        (GivenPatterns(layers=("3",)), "a 1x1 kernel needs 1 digits"),
        (GivenPatterns(keep=("0001",)), "a 3x3 kernel needs 9 digits"),
    ],
)
def test_a_layer_that_cannot_take_the_pattern_is_explained(method: GivenPatterns, message: str) -> None:
    with pytest.raises(PruningError) as caught:
        method.plan(network())
    assert message in str(caught.value)


def test_a_network_without_a_layer_to_prune_is_refused() -> None:
    with pytest.raises(PruningError, match="without stride-1 3x3 convolutions"):
        GivenPatterns().plan(nn.Sequential(nn.Linear(2, 2)))


def test_the_registry_holds_the_documented_methods_and_cannot_be_changed() -> None:
    assert list(METHODS) == [
        "none", "pattern", "pairs", "patdnn", "random", "pconv", "garos", "row-efficient", "row", "magnitude", "filter",
        "channel", "column", "n-m", "pim-prune", "crossbar", "ou-row", "tiny-adc", "bit-slice", "forms", "prap",
    ]  # fmt: skip
    assert method_options("pattern") == {"dimension": "layer", "layers": (), "keep": ()}
    with pytest.raises(TypeError):
        METHODS["other"] = METHODS["none"]  # type: ignore[index]


class Installed:
    """An entry point with the class of the documentation's example."""

    name = "keep-centre"

    def load(self) -> object:
        page = (Path(__file__).parents[3] / "docs" / "pruning.md").read_text(encoding="utf-8")
        code = next(block for block in re.findall("```python\n(.*?)```", page, re.DOTALL) if "KeepCentre" in block)
        # Defined in a module of its own, where dataclasses look their annotations up.
        module = types.ModuleType("keep_centre_example")
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
        return module.__dict__["KeepCentre"]


def test_the_method_of_the_documentation_can_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: [Installed()] if group == "pimsim.pruning" else [])
    plan = pruning_method("keep-centre", {"layers": ["1", "6"]}).plan(network())
    assert plan.keep == (("1", "000010000"), ("6", "0" * 12 + "1" + "0" * 12))
    with pytest.raises(PruningError, match="Did you mean 'keep-centre'"):
        pruning_method("keep-center")
