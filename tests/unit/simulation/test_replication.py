"""How many copies the rules give, and what copies change: time, and nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chip import chip

from pimsim.errors import SimulationError
from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.loading import load_chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Network, Precision
from pimsim.network.shapes import load_shapes
from pimsim.simulation.network import Options, simulate, simulate_layer
from pimsim.simulation.replication import LayerLoad, balance, copies_of, fastest
from pimsim.simulation.work import layer_work


@st.composite
def loads(draw: st.DrawFn, most: int = 4) -> list[LayerLoad]:
    """Layers of all sizes; some have one window, some are pruned to nothing."""
    return [
        LayerLoad(f"l{i}", draw(st.integers(0, 4)), draw(st.sampled_from([1, 2, 5, 16, 60])), draw(st.integers(1, 9)))
        for i in range(draw(st.integers(1, most)))
    ]


def arrays(found: list[LayerLoad], copies: tuple[int, ...]) -> int:
    return sum(load.arrays * count for load, count in zip(found, copies, strict=True))


def stage_fs(load: LayerLoad, copies: int) -> int:
    """Time of a layer whose copies share its windows; nothing for a layer without arrays."""
    return -(-load.windows // copies) * load.window_fs if load.arrays else 0


#: VGG-16's convolutions by block: output positions relative to those of the last block.
VGG16_COPIES = [256] * 2 + [64] * 2 + [16] * 3 + [4] * 3 + [1] * 3


def vgg16(repository: Path) -> tuple[list[Layer], list[Placement]]:
    """The convolutions on arrays of ISAAC's size with 4 columns a weight."""
    machine = load_chip("isaac-like-8b")
    per_weight = columns_per_weight(machine.crossbar.encoding, 8, machine.crossbar.cell_bits)
    shape = ArrayShape(machine.crossbar.rows, machine.crossbar.columns, per_weight)
    table = load_shapes(repository / "workloads/shapes/vgg16.yaml", Precision(8, 8))
    layers = [layer for layer in table.layers if layer.geometry.kind == "conv"]
    return layers, [place(map_layer(layer.geometry, shape, "im2col"), None) for layer in layers]


def test_vgg16_has_four_times_the_copies_before_each_pooling(repository: Path) -> None:
    """ISAAC, section 3: with arrays enough the last block has one copy, and each block before it four times more."""
    layers, placements = vgg16(repository)
    copies = copies_of("balance", layers, placements, load_chip("isaac-like-8b"), 10**6)
    assert list(copies) == VGG16_COPIES


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02])
def test_vgg16_is_scaled_down_alike_to_fit(repository: Path, share: float) -> None:
    """The same ratios rounded down to a smaller scale, and one copy at least; a step more would not fit."""
    layers, placements = vgg16(repository)
    sizes = [len(placement.tiles) for placement in placements]
    full = sum(size * count for size, count in zip(sizes, VGG16_COPIES, strict=True))
    budget = max(sum(sizes), int(full * share))
    copies = copies_of("balance", layers, placements, load_chip("isaac-like-8b"), budget)
    assert sum(size * count for size, count in zip(sizes, copies, strict=True)) <= budget
    scaled = [tuple(max(1, count * part // 256) for count in VGG16_COPIES) for part in range(257)]
    fitting = [s for s in scaled if sum(size * count for size, count in zip(sizes, s, strict=True)) <= budget]
    assert copies == fitting[-1]


@given(loads(), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_the_rules_keep_to_budget_and_windows(found: list[LayerLoad], more: int) -> None:
    budget = arrays(found, (1,) * len(found)) + more
    for rule in (balance, fastest):
        copies = rule(found, budget)
        assert arrays(found, copies) <= budget
        for load, count in zip(found, copies, strict=True):
            assert 1 <= count <= (max(1, load.windows) if load.arrays else 1)


@given(loads(3), st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_auto_is_as_fast_as_any_choice(found: list[LayerLoad], more: int) -> None:
    """The slowest layer against every way to spend the budget."""
    budget = arrays(found, (1,) * len(found)) + more
    choices = itertools.product(*(range(1, min(load.windows, more + 1) + 1) for load in found))
    best = min(
        max(stage_fs(load, count) for load, count in zip(found, choice, strict=True))
        for choice in choices
        if arrays(found, choice) <= budget
    )
    assert max(stage_fs(load, n) for load, n in zip(found, fastest(found, budget), strict=True)) == best


def test_a_budget_below_one_copy_of_each_is_refused(repository: Path) -> None:
    layers, placements = vgg16(repository)
    needed = sum(len(placement.tiles) for placement in placements)
    with pytest.raises(SimulationError) as refused:
        copies_of("auto", layers, placements, load_chip("isaac-like-8b"), needed - 1)
    assert str(refused.value) == (
        f"array_budget: a budget of {needed - 1} arrays: one copy of every layer takes {needed}. "
        "Give a larger budget or a chip with more tiles, or leave replication out."
    )


@pytest.mark.parametrize("copies", [1, 2, 3, 4, 5, 7, 12, 13])
def test_copies_divide_the_time_of_a_layer_within_rounding(copies: int) -> None:
    """Twelve windows of 64 inputs of 4 bits, one buffer access each: whole slots of 4 x 100 ns, and the same energy."""
    machine = chip()
    layer = Layer(Geometry("layer", 64, 64, (1, 1), (12, 1)), Precision(4, 4))
    placement = place(map_layer(layer.geometry, ArrayShape(128, 128, 2), "im2col"), None)
    one, many = (simulate_layer(layer_work(layer, placement, machine, replication=n), machine) for n in (1, copies))
    slots = -(-12 // copies)
    interval = 4 * machine.crossbar.read_latency_fs
    if 12 % copies:  # the last slot is not full: what it loads and writes takes a little less
        assert (slots - 2) * interval < many.latency_fs - many.fill_fs <= (slots - 1) * interval
    else:
        assert many.latency_fs - many.fill_fs == (slots - 1) * interval
    assert one.latency_fs - one.fill_fs == 11 * interval
    assert many.dynamic_energy_j == pytest.approx(one.dynamic_energy_j, rel=1e-12, abs=0)
    assert many.arrays == copies * one.arrays


@pytest.mark.parametrize(("copies", "slots"), [(1, 16), (2, 8), (4, 4), (8, 4)])
def test_copies_of_the_slowest_layer_shorten_the_interval_of_images(copies: int, slots: int) -> None:
    """Sixteen windows, then four: the interval is that of the slower layer, 4 x 100 ns a window slot."""
    machine = chip()
    wide = Layer(Geometry("wide", 16, 16, (1, 1), (4, 4)), Precision(4, 4))
    narrow = Layer(Geometry("narrow", 16, 16, (1, 1), (2, 2)), Precision(4, 4))
    network = Network("two", (wide, narrow))
    placements = [place(map_layer(x.geometry, ArrayShape(128, 128, 2), "im2col"), None) for x in network.layers]
    options = Options(layers="pipelined", replication={"wide": copies})
    result = simulate(network, placements, machine, options)
    assert result.interval_fs == slots * 4 * machine.crossbar.read_latency_fs


def test_copies_without_a_window_do_not_block_later_images() -> None:
    """A layer of one window has more copies than windows; those in a tile of their own have nothing to read."""
    machine = chip(arrays=1, macros=1)
    layer = Layer(Geometry("fc", 16, 16, (1, 1), (1, 1), kind="linear"), Precision(4, 4))
    placement = place(map_layer(layer.geometry, ArrayShape(128, 128, 2), "im2col"), None)
    options = Options(layers="pipelined", batch=5, replication=3)
    result = simulate(Network("fc", (layer,)), [placement], machine, options)
    alone = simulate(Network("fc", (layer,)), [placement], machine, Options(layers="pipelined", batch=5))
    assert result.interval_fs == alone.interval_fs == 4 * machine.crossbar.read_latency_fs


def test_one_number_gives_no_layer_more_copies_than_windows() -> None:
    """A linear layer has one window: further copies would only hold weights."""
    shapes = [Geometry("conv", 2, 2, (1, 1), (3, 3)), Geometry("fc", 2, 2, kind="linear")]
    layers = [Layer(shape, Precision(4, 2)) for shape in shapes]
    placements = [place(map_layer(shape, ArrayShape(128, 128, 2), "im2col"), None) for shape in shapes]
    assert copies_of(40, layers, placements, chip(), None) == (9, 1)
