"""A trace selection is a `Watch`; the keeper keeps the earliest spans, whatever the order in which it sees them."""

from __future__ import annotations

import pytest

from pimsim.api.tracing import DEFAULT_WINDOWS, Keeper, parse_selection
from pimsim.errors import SimulationError
from pimsim.simulation.playing import Watch
from pimsim.simulation.results import Span

LAYERS = ("conv1", "conv2")


@pytest.mark.parametrize(
    ("text", "watch"),
    [
        (None, Watch(None, *DEFAULT_WINDOWS, 0)),
        ("none", None),
        ("layer=conv2", Watch("conv2", 0, 64, 0)),
        ("windows=3:9", Watch(None, 3, 9, 0)),
        ("image=2", Watch(None, *DEFAULT_WINDOWS, 2)),
        ("image=1,layer=conv1,windows=0:1", Watch("conv1", 0, 1, 1)),
    ],
)
def test_a_selection_is_a_watch(text: str | None, watch: Watch | None) -> None:
    assert parse_selection(text, LAYERS, images=3) == watch


@pytest.mark.parametrize("text", ["", "colour=red", "windows=4:4", "windows=a:b", "windows=4", "image=-1", "image=3"])
def test_what_is_no_selection_is_refused(text: str) -> None:
    with pytest.raises(SimulationError) as caught:
        parse_selection(text, LAYERS, images=3)
    assert caught.value.where == "--trace"


def test_the_earliest_spans_are_kept_in_their_order() -> None:
    spans = [
        Span("a", "adc", 0, 0, 0, 1, i, 0, start, start + 5) for i, start in enumerate((50, 10, 40, 0, 30, 20, 60))
    ]
    forward, backward = Keeper(most=3), Keeper(most=3)
    for span in spans:
        forward(span)
    for span in reversed(spans):
        backward(span)
    assert [span.start_fs for span in forward.spans] == [0, 10, 20]
    assert forward.spans == backward.spans
    assert forward.notes == backward.notes == ("the trace keeps 3 spans and leaves out 4: choose fewer with --trace",)


def test_nothing_left_out_is_no_note() -> None:
    keeper = Keeper()
    keeper(Span("a", "adc", 0, 0, 0, 1, 0, 0, 0, 1))
    assert keeper.notes == ()
