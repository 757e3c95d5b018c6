"""A plan that cannot go on is explained, in the same words by both engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from random_plans import alone
from small_chip import chip

from pimsim.errors import SimulationError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.dataflow import Edge
from pimsim.network.layers import Geometry, Layer, Network, Precision
from pimsim.simulation import compiled, event
from pimsim.simulation.network import Options, simulate
from pimsim.simulation.plan import Jobs, LayerPlan, Phase, Slots, Stage
from pimsim.simulation.playing import Played

engines = pytest.mark.parametrize("play", [event.play, compiled.play], ids=["event", "compiled"])


def same(name: str, kernel: int) -> Layer:
    """A convolution on 6x6 pixels that keeps their number."""
    return Layer(Geometry(name, 2, 2, (kernel, kernel), (6, 6), padding=(kernel // 2,) * 4), Precision(4, 2))


@pytest.mark.parametrize("engine", ["event", "compiled"])
def test_a_line_buffer_that_is_too_small(engine: str) -> None:
    """Two rows of 6 windows: the last tap of the first window of a 5x5 kernel is in the third row, window 14."""
    network = Network("pair", (same("a", 1), same("b", 5)))
    placements = [place(map_layer(x.geometry, ArrayShape(128, 128, 2), "im2col"), None) for x in network.layers]
    with pytest.raises(SimulationError) as stuck:
        simulate(network, placements, chip(), Options(layers="pipelined", line_buffer=2, engine=engine))
    assert str(stuck.value) == (
        "pair: the layers of pair wait for one another: the buffer between a and b is full with 12 windows of a, and "
        "b cannot read its window 0 of image 0 before 15 windows of the image are there from every layer that it "
        "reads. Give the buffers between layers more rows with --line-buffer, or leave it out."
    )


@pytest.mark.parametrize("engine", ["event", "compiled"])
def test_a_short_cut_that_is_too_small(engine: str) -> None:
    """a -> b -> c and a -> c with one row: b waits for two rows of a, which is added to its own outputs on the way."""
    network = Network(
        "skip",
        (same("a", 1), same("b", 3), same("c", 1)),
        edges=(Edge("a", "b"), Edge("b", "c"), Edge("a", "c")),
    )
    placements = [place(map_layer(x.geometry, ArrayShape(128, 128, 2), "im2col"), None) for x in network.layers]
    with pytest.raises(SimulationError, match="the buffer between a and b is full with 6 windows of a, and b cannot"):
        simulate(network, placements, chip(), Options(layers="pipelined", line_buffer=1, engine=engine))


@engines
def test_a_buffer_within_a_layer(play: Callable[..., Played]) -> None:
    """The only token is never given back: stages, windows and the buffer are named."""
    one = (Jobs(1, (1,), (1,)),)
    stages = (Stage("bus", 0, (), one), Stage("array", 1, (0,), one))
    slots = (Slots("pair", 1, 0, "start", (), "leave", True),)
    stuck = LayerPlan("stuck", (Phase(3, 1),), ("a", "b"), stages, slots, (1,))
    with pytest.raises(SimulationError) as found:
        play(alone(stuck))
    assert str(found.value) == (
        "stuck: only 1 of 3 windows left the layer: the plan must not deadlock; waiting: bus[0] at window 1 for pair, "
        "array[1] at window 1. Give the buffers between these stages more slots."
    )
