"""Which positions of earlier layers a layer needs: reaches, edges and the chain that stands for none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimsim.errors import NetworkError
from pimsim.network.dataflow import Edge, Reach, chain
from pimsim.network.layers import Geometry, Layer, Network

windows = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))


def conv(name: str, read: int | tuple[int, int], stride: int = 1) -> Layer:
    size = (read, read) if isinstance(read, int) else read
    return Layer(Geometry(name, 1, 1, (1, 1), size, (stride, stride)))


def read(window: tuple[int, int, int, int], position: int) -> set[int]:
    """The positions that one output of a sliding window reads, one by one."""
    kernel, stride, padding, dilation = window
    return {position * stride - padding + dilation * tap for tap in range(kernel)}


@given(windows, windows, st.integers(0, 9), st.integers(0, 5), st.integers(1, 30))
def test_two_windows_in_a_row_reach_what_they_read_one_by_one(
    inner: tuple[int, int, int, int], outer: tuple[int, int, int, int], a: int, length: int, size: int
) -> None:
    reach = Reach.window(*inner).through(Reach.window(*outer))
    needed = {p for w in range(a, a + length + 1) for v in read(outer, w) for p in read(inner, v)}
    assert (a * reach.step + reach.first, (a + length) * reach.step + reach.last) == (min(needed), max(needed))
    within = {p for p in needed if 0 <= p < size}
    first, last = reach.interval(a, a + length, size)
    assert 0 <= first <= last < size
    assert all(first <= p <= last for p in within)


@given(windows, windows, st.integers(0, 9), st.integers(1, 30))
def test_a_union_holds_both(
    one: tuple[int, int, int, int], two: tuple[int, int, int, int], position: int, size: int
) -> None:
    reaches = Reach.window(*one), Reach.window(*two)
    both = reaches[0].union(reaches[1]).interval(position, position, size)
    for first, last in (reach.interval(position, position, size) for reach in reaches):
        assert both[0] <= first <= last <= both[1]


def test_a_union_of_equal_steps_is_no_larger_than_it_must_be() -> None:
    assert Reach(2, -1, 1).union(Reach(2, 0, 3)) == Reach(2, -1, 3)
    assert Reach(2, -1, 1).union(Reach(1, 0, 0)) == Reach.WHOLE


@pytest.mark.parametrize("other", [Reach(), Reach(2, -1, 1), Reach.WHOLE])
def test_the_whole_map_stays_whole(other: Reach) -> None:
    assert Reach.WHOLE.through(other) == other.through(Reach.WHOLE) == Reach.WHOLE.union(other) == Reach.WHOLE
    assert Reach.WHOLE.interval(3, 4, 7) == (0, 6)


def test_positions_outside_the_map_are_clipped_to_it() -> None:
    assert Reach.window(3, 2, 1).interval(0, 3, 7) == (0, 6)
    assert Reach.window(2, 2, 4).interval(0, 0, 7) == (0, 0)
    assert Reach.window(2, 2).interval(8, 8, 7) == (6, 6)


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (1, 1, 0), (0, 0, 1)])
def test_reaches_that_mean_nothing_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(NetworkError) as caught:
        Reach(*numbers)
    given = "Reach(step={}, first={}, last={})".format(*numbers)
    rule = "a step is not negative, first is not behind last, and step 0 has no offsets"
    assert str(caught.value) == f"{given}: {rule}."


@pytest.mark.parametrize(
    ("produced", "read", "reach"),
    [
        (8, 8, Reach()),
        (8, 4, Reach(2, 0, 1)),
        (9, 3, Reach(3, 0, 2)),
        (7, 1, Reach(7, 0, 6)),
        (9, 4, Reach.WHOLE),
        (4, 8, Reach.WHOLE),
    ],
)
def test_in_a_chain_the_sizes_decide(produced: int, read: int, reach: Reach) -> None:
    layers = conv("a", (produced, 8)), conv("b", (read, 4))
    assert chain(layers) == (Edge("a", "b", reach, Reach(2, 0, 1)),)


def test_the_dataflow_of_a_network_is_its_edges_or_the_chain() -> None:
    layers = conv("a", 8, 2), conv("b", 4), conv("c", 4)
    assert Network("net", layers).dataflow == (Edge("a", "b"), Edge("b", "c"))
    edges = Edge("a", "b"), Edge("a", "c"), Edge("b", "c")
    assert Network("net", layers, edges=edges).dataflow == edges
    assert Network("net", layers, edges=()).dataflow == ()
    assert Network("net", layers[:1]).dataflow == ()


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((Edge("a", "x"),), "net: edge a -> x: there is no layer 'x'."),
        ((Edge("b", "a"),), "net: edge b -> a: a producer stands before its consumer in execution order."),
        ((Edge("a", "a"),), "net: edge a -> a: a producer stands before its consumer in execution order."),
        (
            (Edge("a", "b"), Edge("a", "b", Reach.WHOLE)),
            "net: edge a -> b twice: two layers have at most one edge.",
        ),
    ],
)
def test_edges_that_do_not_fit_the_layers_are_refused(edges: tuple[Edge, ...], message: str) -> None:
    with pytest.raises(NetworkError) as caught:
        Network("net", (conv("a", 4), conv("b", 4)), edges=edges)
    assert str(caught.value) == message
