"""What windows need of other layers against walking every pixel; room between layers; ways through the mesh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_layers import geometries
from random_networks import METHODS, Case, cases
from small_chip import chip

from pimsim.errors import SimulationError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.layout import Mapping
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.dataflow import Edge, Reach
from pimsim.network.layers import Geometry, Layer, Network, Precision
from pimsim.simulation import compiled
from pimsim.simulation.dependencies import Cover, least_capacities, needs_and_freed
from pimsim.simulation.network import Options, simulate
from pimsim.simulation.plan import NetworkPlan
from pimsim.simulation.routing import mesh_side, route, router_of


def outputs_of(cover: Cover, window: int) -> list[tuple[int, int]]:
    """The output positions of one window, one by one."""
    if cover.strip:
        flat = range(window * cover.columns, min((window + 1) * cover.columns, cover.height * cover.width))
        return [divmod(position, cover.width) for position in flat]
    top, left = divmod(window, -(-cover.width // cover.columns))
    rows = range(top * cover.rows, min((top + 1) * cover.rows, cover.height))
    return [(y, x) for y in rows for x in range(left * cover.columns, (left + 1) * cover.columns) if x < cover.width]


def window_map(cover: Cover) -> dict[tuple[int, int], int]:
    """The window that computes each output, found by listing the outputs of every window."""
    return {output: window for window in range(cover.windows) for output in outputs_of(cover, window)}


def windows_read(consumer: Mapping, producer: Cover, edge: Edge) -> list[set[int]]:
    """Producer windows that each consumer window reads: every output, every tap, every pixel behind it."""
    geometry, computed_by = consumer.geometry, window_map(producer)
    found = []
    for window in range(Cover.of(consumer).windows):
        pixels = {
            (y, x)
            for oy, ox in outputs_of(Cover.of(consumer), window)
            for y in _taps(geometry, 0, oy)
            for x in _taps(geometry, 1, ox)
        }
        found.append(
            {
                computed_by[row, column]
                for y, x in pixels
                for row in _span(edge.rows, y, producer.height)
                for column in _span(edge.columns, x, producer.width)
            }
        )
    return found


def _taps(geometry: Geometry, d: int, output: int) -> list[int]:
    first = output * geometry.stride[d] - geometry.padding[2 * d]
    taps = (first + k * geometry.dilation[d] for k in range(geometry.kernel[d]))
    return [tap for tap in taps if 0 <= tap < geometry.input_size[d]]


def _span(reach: Reach, position: int, size: int) -> range:
    first, last = reach.interval(position, position, size)
    return range(first, last + 1)


def by_walking(read: list[set[int]], producer: Cover, copies: int) -> tuple[list[int], list[int]]:
    """Needs and freed by slots of the consumer, from what each of its windows reads."""
    needs, freed = [], []
    for start in range(0, len(read), copies):
        seen = set().union(*read[: start + copies])
        later = set().union(*read[start + copies :])
        last = max(seen, default=-1)
        needs.append(last // producer.copies)
        kept = min([*later, last + 1])  # what nobody waited for stays until the end
        everything = kept == producer.windows or start + copies >= len(read)
        freed.append(producer.slots if everything else kept // producer.copies)
    return needs, freed


reaches = st.one_of(
    st.just(Reach()),
    st.just(Reach.WHOLE),
    st.builds(Reach.window, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2)),
)
covers = st.builds(
    Cover, st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.integers(1, 3)
)


@given(geometries(), st.sampled_from(METHODS), covers, reaches, reaches, st.integers(1, 4))
@settings(max_examples=250, deadline=None)
def test_needs_and_freed_equal_walking_every_pixel(
    geometry: Geometry, method: str, producer: Cover, rows: Reach, columns: Reach, copies: int
) -> None:
    """Exact where taps leave no gaps; with gaps, and in strips round a corner, never need less and never free more."""
    consumer, edge = map_layer(geometry, ArrayShape(64, 48), method), Edge("a", "b", rows, columns)
    read = windows_read(consumer, producer, edge)
    needs, freed = needs_and_freed(consumer, producer, edge, copies)
    expected_needs, expected_freed = by_walking(read, producer, copies)
    gaps = geometry.dilation != (1, 1) or any(k < s for k, s in zip(geometry.kernel, geometry.stride, strict=True))
    if not gaps and consumer.unfolded is None:
        assert (needs.tolist(), freed.tolist()) == (expected_needs, expected_freed)
    assert (needs >= expected_needs).all()
    kept_until = [min(slot for slot in (*later, producer.slots)) for later in _later(read, producer, copies)]
    assert (freed[:-1] <= kept_until[:-1]).all()
    assert (np.diff(needs) >= 0).all() and (np.diff(freed) >= 0).all() and freed[-1] == producer.slots


def _later(read: list[set[int]], producer: Cover, copies: int) -> list[set[int]]:
    """Producer slots that later slots of the consumer read."""
    starts = range(copies, len(read) + copies, copies)
    return [{window // producer.copies for window in set().union(*read[start:])} for start in starts]


@given(geometries(), st.sampled_from(METHODS))
@settings(max_examples=60, deadline=None)
def test_every_output_belongs_to_one_window(geometry: Geometry, method: str) -> None:
    """The cover of a mapping, its inverse, and its areas."""
    cover = Cover.of(map_layer(geometry, ArrayShape(64, 48), method))
    outputs = [(y, x) for y in range(cover.height) for x in range(cover.width)]
    listed = [output for window in range(cover.windows) for output in outputs_of(cover, window)]
    assert sorted(listed) == outputs
    found = window_map(cover)
    areas = list(zip(*cover.areas(), strict=True))
    for y, x in outputs:
        assert cover.window_of(np.array(y), np.array(x)) == found[y, x]
        top, bottom, left, right = areas[found[y, x]]
        assert top <= y <= bottom and left <= x <= right


def joins_alike(case: Case) -> bool:
    """Whether every layer reads all of its producers in the same way; others are the case of the test that follows."""
    reaches: dict[str, set[tuple[Reach, Reach]]] = {}
    for edge in case.network.dataflow:
        reaches.setdefault(edge.consumer, set()).add((edge.rows, edge.columns))
    return all(len(found) == 1 for found in reaches.values())


def every_window_reads(case: Case) -> bool:
    """Whether no window lies wholly in the padding before or behind the input: for such ones room is kept in vain."""
    geometries = [layer.geometry for layer in case.network.layers]
    extents = [[(k - 1) * d + 1 for k, d in zip(g.kernel, g.dilation, strict=True)] for g in geometries]
    return all(
        max(g.padding[2 * i : 2 * i + 2]) < e[i] for g, e in zip(geometries, extents, strict=True) for i in (0, 1)
    )


def with_room(plan: NetworkPlan, room: list[int]) -> NetworkPlan:
    """The plan with other capacities between layers."""
    dependencies = tuple(replace(one, capacity=n) for one, n in zip(plan.dependencies, room, strict=True))
    return replace(plan, dependencies=dependencies)


@given(cases())
@settings(max_examples=60, deadline=None)
def test_the_least_room_is_enough_and_one_less_is_not(case: Case) -> None:
    """Strides, poolings, joins and copies; the error names both layers of the buffer that is too small."""
    plan = case.plan()
    assume(plan.dependencies and joins_alike(case))
    least = least_capacities(plan.dependencies, len(plan.layers))
    compiled.play(with_room(plan, least))
    for number, (one, room) in enumerate(zip(plan.dependencies, least, strict=True)):
        if room > 1 and every_window_reads(case):
            less = [*least[:number], room - 1, *least[number + 1 :]]
            producer, consumer = plan.layers[one.producer].name, plan.layers[one.consumer].name
            with pytest.raises(SimulationError, match=f"the buffer between {producer} and {consumer} is full"):
                compiled.play(with_room(plan, less))


def test_a_long_way_beside_a_global_short_cut_has_room() -> None:
    """``c`` reads all of ``a`` before its first window, and ``b`` window by window, which must wait somewhere."""
    shapes = [Geometry(name, 2, 2, (1, 1), (12, 12)) for name in "abc"]
    network = Network(
        "gate",
        tuple(Layer(shape, Precision(4, 2)) for shape in shapes),
        edges=(Edge("a", "b"), Edge("b", "c"), Edge("a", "c", Reach.WHOLE, Reach.WHOLE)),
    )
    placements = [place(map_layer(shape, ArrayShape(128, 128, 2), "im2col"), None) for shape in shapes]
    assert simulate(network, placements, chip(), Options(layers="pipelined")).interval_fs


@given(st.integers(1, 30), st.sampled_from([1, 2, 4]), st.data())
@settings(max_examples=120, deadline=None)
def test_ways_form_a_tree_of_shortest_ways(routers: int, tiles: int, data: st.DataObject) -> None:
    """Each link once, behind the one that leads to it; as long as the Manhattan distance for one destination."""
    machine = chip()
    machine = replace(machine, tiles=routers * tiles, router=replace(machine.router, tiles=tiles))
    tile = st.integers(0, machine.tiles - 1)
    source, goals = data.draw(tile), data.draw(st.lists(tile, max_size=5))
    links, side = route(machine, source, goals), mesh_side(machine)
    assert len({link.name for link in links}) == len(links)
    assert all(link.after < number for number, link in enumerate(links))
    alone = [route(machine, source, [goal]) for goal in goals]
    assert {link.name for link in links} == {link.name for way in alone for link in way}
    for goal, way in zip(goals, alone, strict=True):
        (y, x), (to_y, to_x) = (divmod(router_of(machine, t), side) for t in (source, goal))
        assert len(way) == abs(y - to_y) + abs(x - to_x)
        assert [link.arrives for link in way] == [False] * (len(way) - 1) + [True] * bool(way)
    ends = {int(link.name.split("-")[1]) for link in links if link.arrives}
    assert ends == {router_of(machine, goal) for goal in goals} - {router_of(machine, source)}
    for link in links:
        start = int(link.name.removeprefix("link ").split("-")[0])
        assert start == (int(links[link.after].name.split("-")[1]) if link.after >= 0 else router_of(machine, source))


def test_ways_go_along_the_row_first() -> None:
    machine = replace(chip(), tiles=9, router=replace(chip().router, tiles=1))
    assert [link.name for link in route(machine, 0, [8, 5])] == ["link 0-1", "link 1-2", "link 2-5", "link 5-8"]


def test_the_last_window_gives_everything_back() -> None:
    """25 windows for 2 copies are 13 slots; a stride that leaves the last row unread gives it back as well."""
    shape = Geometry("reader", 1, 1, (1, 1), (5, 5), stride=(2, 2))
    reader = map_layer(replace(shape, input_size=(4, 5)), ArrayShape(16, 16), "im2col")
    producer = Cover(5, 5, 1, 1, copies=2)
    assert producer.slots == 13
    _, freed = needs_and_freed(reader, producer, Edge("producer", "reader"))
    assert freed[-1] == 13
