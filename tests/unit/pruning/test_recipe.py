"""The learning rate over time and the options that are refused."""

from __future__ import annotations

import pytest

from pimsim.errors import PruningError
from pimsim.pruning.recipe import Recipe


def test_the_rate_rises_to_its_top_and_falls_to_zero() -> None:
    recipe = Recipe(epochs=10, lr=0.2, warmup_epochs=2)
    rates = [recipe.learning_rate(epoch / 4) for epoch in range(41)]
    assert rates[0] == 0
    assert max(rates) == rates[8] == 0.2
    assert recipe.learning_rate(6) == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[8:] == sorted(rates[8:], reverse=True)


def test_without_warm_up_the_first_rate_is_the_top() -> None:
    assert Recipe(epochs=1, lr=0.3, warmup_epochs=0).learning_rate(0) == 0.3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("float_epochs", 4), ("float_epochs", -1), ("lr", 0.0), ("batch", 0), ("momentum", 1.0),
        ("weight_decay", -1e-4), ("warmup_epochs", 4.0), ("label_smoothing", 1.0), ("crop_padding", -1),
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(PruningError) as caught:
        Recipe(**{"epochs": 4, name: value})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{name}={value}: {name} must ")
