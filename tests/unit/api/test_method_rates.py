"""How hard a method prunes, in one cell of a table."""

from __future__ import annotations

import pytest

from pimsim.api.method_masks import rate_of
from pimsim.pruning.registry import method_options


@pytest.mark.parametrize(
    ("method", "recipe", "said"),
    [
        ("pim-prune", {"keep": 0.5}, "keep 0.5"),
        ("prap", {"targets": [0.75, 0.75, 0.5, 0.375, 0.375]}, "targets 0.75 x2 0.5 0.375 x2"),
        ("prap", {"targets": []}, ""),
        ("magnitude", {"sparsity": 0.5, "seed": 3}, "sparsity 0.5"),
    ],
)
def test_the_rate_is_what_a_method_was_asked_for(method, recipe, said):  # type: ignore[no-untyped-def]
    assert rate_of(recipe, method_options(method)) == said
