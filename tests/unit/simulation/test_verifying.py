"""Two engines that differ are told apart, whatever they differ in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from random_plans import alone

from pimsim.errors import SimulationError
from pimsim.simulation import event
from pimsim.simulation.plan import Jobs, LayerPlan, Phase, Stage
from pimsim.simulation.playing import EVERYTHING, Played
from pimsim.simulation.verifying import verify

PLAN = alone(LayerPlan("pair", (Phase(2, 1),), ("a",), (Stage("bus", 0, (), (Jobs(1, (3,), (5,)),)),), (), (0,)))


def late(plan: Any, probe: Any, start_fs: int, watch: Any) -> Played:
    """The first image a femtosecond later."""
    played = event.play(plan, probe, start_fs, watch)
    return replace(played, image_done_fs=(played.image_done_fs[0] + 1,))


def shifted(plan: Any, probe: Any, start_fs: int, watch: Any) -> Played:
    """The same report, and every span a femtosecond later."""
    return event.play(plan, probe, start_fs + 1, watch)


@pytest.mark.parametrize(("other", "says"), [(late, "image_done_fs"), (shifted, "span Span")])
def test_a_difference_is_an_error_that_says_where(other: Callable[..., Played], says: str) -> None:
    with pytest.raises(SimulationError, match=says):
        verify(PLAN, event.play, other, EVERYTHING)


def test_agreement_counts_what_was_compared() -> None:
    found = verify(PLAN, event.play, event.play, EVERYTHING)
    assert (found.jobs, found.windows, found.spans) == (2, 2, 2)
