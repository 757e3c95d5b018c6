"""ADMM: the penalty, the updates, the pruning in the end."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from pimsim.pruning.admm import Admm, AdmmOptions
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.masks import mask_layers
from pimsim.pruning.methods.patdnn import PatDnn


def first_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keeps the output channels before the middle."""
    mask = torch.ones_like(weights["0"])
    mask[len(mask) // 2 :] = 0
    return {"0": mask}


def largest(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keeps the largest weight."""
    return {"0": (weights["0"].abs() == weights["0"].abs().max()).float()}


def network(values: list[float]) -> nn.Sequential:
    built = nn.Sequential(nn.Conv2d(1, len(values), 1), nn.ReLU())
    with torch.no_grad():
        built[0].weight.copy_(torch.tensor(values).reshape(-1, 1, 1, 1))
    mask_layers(built, {})
    return built


def set_weight(built: nn.Module, values: list[float]) -> None:
    with torch.no_grad():
        trained_layers(built)["0"].weight_orig.copy_(torch.tensor(values).reshape(-1, 1, 1, 1))


def penalty(hook: Admm, built: nn.Module) -> float:
    value = hook.penalty(built)
    assert value is not None
    return float(value.detach())


def duals(hook: Admm) -> list[float]:
    values: list[float] = hook.state()["duals"][0]["0"].flatten().tolist()
    return values


def test_updates_follow_the_published_order() -> None:
    built, hook = network([3.0, 2.0]), Admm([largest], largest, AdmmOptions(3, 1, 2.0))
    hook.before_epoch(built, 0)
    # Z = (3, 0), U = 0: rho/2 (0 + 2^2)
    assert penalty(hook, built) == pytest.approx(4.0)
    set_weight(built, [1.0, 2.0])
    hook.after_epoch(built, 0)
    # Warm-up: Z = (0, 2), U stays 0: rho/2 (1^2 + 0)
    assert duals(hook) == [0.0, 0.0]
    assert penalty(hook, built) == pytest.approx(1.0)
    hook.before_epoch(built, 1)
    hook.after_epoch(built, 1)
    assert duals(hook) == [1.0, 0.0]
    hook.before_epoch(built, 2)
    hook.after_epoch(built, 2)
    # W + U = (2, 2): both are largest, Z = (2, 2), U = U + W - Z
    assert duals(hook) == [0.0, 0.0]


def test_nothing_is_pruned_before_the_end_and_then_by_the_weights_alone() -> None:
    built, hook = network([3.0, 2.0]), Admm([largest], largest, AdmmOptions(1))
    hook.before_epoch(built, 0)
    assert trained_layers(built)["0"].weight_mask.all()
    set_weight(built, [1.0, 2.0])
    hook.after_epoch(built, 0)
    hook.before_epoch(built, 1)
    assert trained_layers(built)["0"].weight_mask.flatten().tolist() == [0.0, 1.0]
    assert hook.penalty(built) is None
    state = hook.state()
    hook.after_epoch(built, 1)
    assert hook.state() == state


def test_constraints_have_their_own_targets() -> None:
    built, hook = network([3.0, 4.0]), Admm([first_half, largest], first_half, AdmmOptions(1, 0, 1.0))
    hook.before_epoch(built, 0)
    # (3, 0) and (0, 4): 1/2 (16 + 9)
    assert penalty(hook, built) == pytest.approx(12.5)


def test_plain_norms_are_not_squared() -> None:
    built, hook = network([3.0, 4.0]), Admm([first_half, largest], first_half, AdmmOptions(1, 0, 2.0, "plain"))
    hook.before_epoch(built, 0)
    assert penalty(hook, built) == pytest.approx(4.0 + 3.0)
    hook.penalty(built).backward()  # type: ignore[union-attr]
    assert trained_layers(built)["0"].weight_orig.grad.flatten().tolist() == pytest.approx([1.0, 1.0])


def test_a_weight_on_its_target_has_a_finite_slope() -> None:
    built, hook = network([3.0, 0.0]), Admm([first_half], first_half, AdmmOptions(1, 0, 1.0, "plain"))
    hook.before_epoch(built, 0)
    hook.penalty(built).backward()  # type: ignore[union-attr]
    assert torch.isfinite(trained_layers(built)["0"].weight_orig.grad).all()


def test_a_state_is_taken_over() -> None:
    built, hook = network([3.0, 2.0]), Admm([largest], largest, AdmmOptions(4, 0, 1.0))
    for epoch in range(2):
        hook.before_epoch(built, epoch)
        set_weight(built, [2.0 - epoch, 2.0])
        hook.after_epoch(built, epoch)
    other = Admm([largest], largest, AdmmOptions(4, 0, 1.0))
    other.load(hook.state())
    other.before_epoch(built, 2)
    hook.before_epoch(built, 2)
    assert torch.equal(other.penalty(built), hook.penalty(built))  # type: ignore[arg-type]


def test_patdnn_has_two_constraints_where_kernels_go() -> None:
    built = nn.Sequential(nn.Conv2d(4, 4, 3))
    assert len(PatDnn().constraints(built)) == 1
    patterns, kernels = PatDnn(connectivity=4.0, entries=4, dimension="kernel").constraints(built)
    weights = {"0": built[0].weight.detach()}
    assert set(patterns(weights)["0"].flatten(2).sum(2).unique().tolist()) == {4}
    assert sorted(kernels(weights)["0"].flatten(2).sum(2).flatten().tolist()) == [0] * 12 + [9] * 4
