"""The measurement window never enters an answer: intervals and latencies are the same for any number of images."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from random_networks import Case, cases
from small_chip import chip

from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Network, Precision
from pimsim.network.shapes import load_shapes
from pimsim.simulation import compiled
from pimsim.simulation.assigning import assign
from pimsim.simulation.network import Options, simulate
from pimsim.simulation.pipeline import build_network_plan
from pimsim.simulation.plan import NetworkPlan
from pimsim.simulation.playing import Repeat
from pimsim.simulation.results import SimulationResult

BATCHES = (10, 100, 1000)
Run = tuple[Network, list[Placement], Chip]


def small() -> Run:
    """Three convolutions with a stride and a pooling between them."""
    shapes = [
        Geometry("a", 2, 4, (3, 3), (8, 8), padding=(1, 1, 1, 1)),
        Geometry("b", 4, 6, (3, 3), (8, 8), stride=(2, 2), padding=(1, 1, 1, 1)),
        Geometry("c", 6, 3, (2, 2), (2, 2)),
    ]
    network = Network("small", tuple(Layer(shape, Precision(4, 4)) for shape in shapes))
    machine = chip(rows=32, columns=32, read_fs=20_000, stage_fs=0)
    return network, [place(map_layer(shape, ArrayShape(32, 32, 2), "im2col"), None) for shape in shapes], machine


def resnet20(repository: Path) -> Run:
    """ResNet-20 on `isaac-like-8b`, its layers as the shape table lists them."""
    machine = load_chip("isaac-like-8b")
    network = load_shapes(repository / "workloads/shapes/resnet20.yaml", Precision(8, 8))
    per_weight = columns_per_weight(machine.crossbar.encoding, 8, machine.crossbar.cell_bits)
    shape = ArrayShape(machine.crossbar.rows, machine.crossbar.columns, per_weight)
    return network, [place(map_layer(x.geometry, shape, "im2col"), None) for x in network.layers], machine


def answers(result: SimulationResult) -> dict[str, object]:
    """All that a run says of one image; stalls are those of the whole run."""
    layers = tuple(replace(layer, stall_fs={}) for layer in result.layers)
    return {
        "interval": result.interval_fs,
        "latency": result.latency_fs,
        "first output": result.first_output_fs,
        "energy": result.dynamic_energy_j,
        # The last image of a batch may be a little faster: nothing comes behind it and shares a port with it.
        "first images": result.image_done_fs[: min(BATCHES) - 1],
        "layers": layers,
    }


@pytest.mark.parametrize("name", ["small", "resnet20"])
def test_answers_are_the_same_for_10_100_and_1000_images(name: str, repository: Path) -> None:
    network, placements, machine = small() if name == "small" else resnet20(repository)
    found = [
        answers(simulate(network, placements, machine, Options(layers="pipelined", batch=batch))) for batch in BATCHES
    ]
    assert found[0] == found[1] == found[2]
    assert found[0]["interval"]


@pytest.mark.parametrize("name", ["small", "resnet20"])
def test_the_interval_is_that_of_images_played_one_by_one(name: str, repository: Path) -> None:
    """Completions deep inside a batch that is played without a jump."""
    network, placements, machine = small() if name == "small" else resnet20(repository)
    interval = simulate(network, placements, machine, Options(layers="pipelined")).interval_fs
    plan = build_network_plan(network, assign(network, placements, machine, resident=True).works, machine, 24)
    done = compiled.play(plan, marks=[()] * len(plan.layers), jump=False).image_done_fs
    assert {later - earlier for earlier, later in pairwise(done[12:-1])} == {interval}


#: The steady state may begin as late as this.
PROOF_IMAGES = 200


def proven(plan: NetworkPlan) -> Repeat | None:
    """The steady state of a plan whose images never end."""
    return compiled.play(replace(plan, images=PROOF_IMAGES), marks=[()] * len(plan.layers), stop_at_repeat=True).repeat


@given(cases())
@settings(max_examples=40, deadline=None)
def test_what_is_proven_to_repeat_repeats(case: Case) -> None:
    """Random networks: behind the images that the proof took, an image comes one period after that a period before."""
    plan = replace(case, line_buffer=None).plan()
    repeat = proven(plan)
    assume(repeat is not None)
    assert repeat is not None
    images = PROOF_IMAGES + 10 + 7 * repeat.units
    played = compiled.play(replace(plan, images=images), jump=False)
    done = played.image_done_fs
    for image in range(PROOF_IMAGES, PROOF_IMAGES + 5 * repeat.units):
        assert done[image + repeat.units] - done[image] == repeat.period_fs
    assert compiled.play(replace(plan, images=images)) == played


@pytest.mark.parametrize(("windows", "bits"), [((4, 4), 4), ((7, 3), 8), ((1, 1), 4)])
def test_the_bottleneck_sets_the_interval(windows: tuple[int, int], bits: int) -> None:
    """Windows of the slowest layer x steps x 100 ns, the interval of ISAAC's arrays (`hardware.md` 4.6)."""
    machine = chip()
    shapes = [Geometry("slow", 16, 16, (1, 1), windows), Geometry("fast", 16, 16, windows, windows)]
    network = Network("two", tuple(Layer(shape, Precision(4, bits)) for shape in shapes))
    placements = [place(map_layer(shape, ArrayShape(128, 128, 2), "im2col"), None) for shape in shapes]
    result = simulate(network, placements, machine, Options(layers="pipelined", batch=3))
    assert result.interval_fs == windows[0] * windows[1] * bits * machine.crossbar.read_latency_fs


def test_the_jump_jumps() -> None:
    """What the other tests compare is not the same code twice: nearly all of a long batch is jumped over."""
    network, placements, machine = small()
    plan = build_network_plan(network, assign(network, placements, machine, resident=True).works, machine, 1000)
    assert compiled.play(plan).skipped > 500
    assert compiled.play(plan, jump=False).skipped == 0
