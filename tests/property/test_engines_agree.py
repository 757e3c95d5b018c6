"""The compiled engine equals the event engine: every span, every completion, stall and count, or the same deadlock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import Case, cases
from random_plans import alone, layer_plans, network_plans

from pimsim.errors import SimulationError
from pimsim.simulation import compiled, event
from pimsim.simulation.plan import LayerPlan, NetworkPlan
from pimsim.simulation.playing import EVERYTHING, Played, Watch
from pimsim.simulation.results import Span

Outcome = tuple[Played, Counter[Span]] | str


def outcome(play: Callable[..., Played], plan: NetworkPlan, watch: Watch = EVERYTHING) -> Outcome:
    """What an engine reports and the spans it shows, or why it cannot."""
    spans: Counter[Span] = Counter()
    try:
        return play(plan, lambda span: spans.update((span,)), 0, watch), spans
    except SimulationError as error:
        return message(error)


def message(error: SimulationError) -> str:
    """Why an engine cannot go on; which stages of one layer wait in a window that is played as a whole may differ."""
    return str(error).partition("waiting:")[0]


def check_agreement(plan: NetworkPlan, watch: Watch = EVERYTHING) -> Played | None:
    """Both engines, with all spans, with some, and with the jump allowed and not; gives the last (None: deadlock)."""
    expected = outcome(event.play, plan)
    assert outcome(compiled.play, plan) == expected
    if isinstance(expected, str):
        for jump in (True, False):
            with pytest.raises(SimulationError) as stuck:
                compiled.play(plan, jump=jump)
            assert message(stuck.value) == expected
        return None
    played, spans = expected
    assert compiled.play(plan, jump=False) == played
    seen = Counter({span: n for span, n in spans.items() if watch.takes(span.layer, span.image, span.window)})
    assert outcome(compiled.play, plan, watch) == (played, seen)
    jumped = compiled.play(plan)
    assert jumped == played
    return jumped


@st.composite
def watches(draw: st.DrawFn) -> Watch:
    """Some windows of one image or of all, of one layer or of all."""
    first = draw(st.integers(0, 6))
    last = draw(st.sampled_from([None, first, first + 3]))
    return Watch(draw(st.sampled_from([None, "l0", "random"])), first, last, draw(st.sampled_from([None, 0, 2])))


@given(layer_plans(phases=3), st.integers(1, 3), watches())
@settings(max_examples=70, deadline=None)
def test_one_layer(layer: LayerPlan, images: int, watch: Watch) -> None:
    """Every kind of stage, buffer and shared resource, with ties, zero-time stages and idle phases."""
    check_agreement(alone(layer, images), watch)


@given(layer_plans(windows=4, steps=12), watches())
@settings(max_examples=40, deadline=None)
def test_windows_of_many_steps(layer: LayerPlan, watch: Watch) -> None:
    """More steps than the buffers of a group hold, so that its windows can be evaluated as a whole."""
    check_agreement(alone(layer), watch)


@given(layer_plans(windows=250, least=60, steps=4), watches())
@settings(max_examples=12, deadline=None)
def test_many_windows(layer: LayerPlan, watch: Watch) -> None:
    """Phases long enough for a steady state."""
    check_agreement(alone(layer), watch)


@given(layer_plans(windows=1, steps=5, phases=12))
@settings(max_examples=25, deadline=None)
def test_steps_that_differ_from_window_to_window(layer: LayerPlan) -> None:
    """Data-dependent step counts: every window is a phase of its own."""
    check_agreement(alone(layer))


@given(network_plans(images=6), watches())
@settings(max_examples=50, deadline=None)
def test_layers_that_read_one_another(plan: NetworkPlan, watch: Watch) -> None:
    """Random needs, buffers of the least capacity, larger and too small, and several images."""
    check_agreement(plan, watch)


@given(network_plans(layers=2, images=3, windows=60, phases=1, least=25), watches())
@settings(max_examples=15, deadline=None)
def test_images_of_many_windows(plan: NetworkPlan, watch: Watch) -> None:
    """Layers that settle within an image."""
    check_agreement(plan, watch)


@given(cases())
@settings(max_examples=50, deadline=None)
def test_networks_on_chips(case: Case) -> None:
    """Networks, mappings, skipped rows, copies and images on random chips, planned as `pimsim run` does."""
    check_agreement(case.plan())
