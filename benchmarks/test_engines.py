"""Speed of mapping, of planning, and of both engines on the same plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from placing import SHAPES, placed
from pytest_benchmark.fixture import BenchmarkFixture

from pimsim.api.mapping import array_of_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.network.layers import Network
from pimsim.network.shapes import load_shapes
from pimsim.simulation import compiled
from pimsim.simulation.assigning import assign
from pimsim.simulation.building import build_plan
from pimsim.simulation.network import ENGINES, Options, simulate
from pimsim.simulation.pipeline import build_network_plan
from pimsim.simulation.plan import NetworkPlan
from pimsim.simulation.work import layer_work


@pytest.fixture(scope="module")
def resnet18() -> Network:
    """ResNet-18 at 224x224, shapes of torchvision's layout."""
    return load_shapes(SHAPES / "resnet18.yaml")


def pipelined(network: Network, chip: Chip, method: str, images: int = 1) -> NetworkPlan:
    """The plan of a network whose layers work at the same time."""
    works = assign(network, placed(network, chip, method), chip, resident=True).works
    return build_network_plan(network, works, chip, images)


def steps_of(plan: NetworkPlan) -> int:
    """Array activations of a plan, over all arrays and images."""
    return plan.images * sum(
        phase.windows * jobs.steps * jobs.units
        for layer in plan.layers
        for stage in layer.named("array")
        for phase, jobs in zip(layer.phases, stage.jobs, strict=True)
    )


def time_plan(benchmark: BenchmarkFixture, play: Callable[..., Any], plan: NetworkPlan, rounds: int) -> None:
    """The best of some rounds; one more before them compiles. Keeps array steps a second."""
    marks = [()] * len(plan.layers)
    warm = 0 if rounds == 1 else 1
    benchmark.pedantic(play, (plan,), {"marks": marks}, rounds=rounds, warmup_rounds=warm)
    benchmark.extra_info["array_steps_per_s"] = round(steps_of(plan) / benchmark.stats.stats.min)


@pytest.mark.benchmark(group="mapping")
@pytest.mark.parametrize("method", ["im2col", "sdk", "vw-sdk"])
def test_map_resnet20(benchmark: BenchmarkFixture, network: Network, method: str) -> None:
    array = ArrayShape(512, 512)
    benchmark(lambda: [map_layer(layer.geometry, array, method) for layer in network.layers])


@pytest.mark.benchmark(group="mapping")
@pytest.mark.parametrize("method", ["im2col", "vw-sdk"])
def test_map_resnet18(benchmark: BenchmarkFixture, resnet18: Network, chip: Chip, method: str) -> None:
    array = array_of_chip(chip, 8)
    benchmark(lambda: [map_layer(layer.geometry, array, method) for layer in resnet18.layers])


@pytest.mark.benchmark(group="plan")
def test_plan_resnet20(benchmark: BenchmarkFixture, network: Network, placements: list[Placement], chip: Chip) -> None:
    pairs = list(zip(network.layers, placements, strict=True))
    benchmark(lambda: [build_plan(layer_work(layer, placement, chip), chip) for layer, placement in pairs])


@pytest.mark.benchmark(group="plan")
@pytest.mark.parametrize("method", ["im2col", "vw-sdk"])
def test_plan_resnet18_pipelined(benchmark: BenchmarkFixture, resnet18: Network, chip: Chip, method: str) -> None:
    placements = placed(resnet18, chip, method)

    def build() -> NetworkPlan:
        return build_network_plan(resnet18, assign(resnet18, placements, chip, resident=True).works, chip)

    benchmark(build)


@pytest.mark.parametrize("engine", [pytest.param(n, marks=pytest.mark.benchmark(group=f"{n} engine")) for n in ENGINES])
def test_one_layer(
    benchmark: BenchmarkFixture, network: Network, placements: list[Placement], chip: Chip, engine: str
) -> None:
    """A layer of one array group, 1024 windows x 8 steps."""
    plan = build_plan(layer_work(network.layers[1], placements[1], chip), chip)
    time_plan(benchmark, ENGINES[engine], NetworkPlan(plan.name, (plan,)), rounds=5)


@pytest.mark.parametrize("engine", [pytest.param(n, marks=pytest.mark.benchmark(group=f"{n} engine")) for n in ENGINES])
def test_resnet20_sequential(
    benchmark: BenchmarkFixture, network: Network, placements: list[Placement], chip: Chip, engine: str
) -> None:
    """Everything that `simulate` does: assignment, plans, playing, counts, energy."""
    options = Options(engine=engine)
    result = benchmark.pedantic(simulate, (network, placements, chip, options), rounds=3, warmup_rounds=1)
    steps = sum(layer.array_steps for layer in result.layers)
    benchmark.extra_info["array_steps_per_s"] = round(steps / benchmark.stats.stats.min)


@pytest.mark.parametrize("method", ["im2col", "vw-sdk"])
@pytest.mark.parametrize("engine", [pytest.param(n, marks=pytest.mark.benchmark(group=f"{n} engine")) for n in ENGINES])
def test_resnet18_pipelined(
    benchmark: BenchmarkFixture, resnet18: Network, chip: Chip, engine: str, method: str
) -> None:
    """The same plan by both engines: one image, all layers at the same time."""
    time_plan(benchmark, ENGINES[engine], pipelined(resnet18, chip, method), rounds=1 if engine == "event" else 5)


@pytest.mark.benchmark(group="compiled engine")
def test_resnet18_pipelined_without_jump(benchmark: BenchmarkFixture, resnet18: Network, chip: Chip) -> None:
    """Every window played."""
    plan = pipelined(resnet18, chip, "im2col")
    time_plan(benchmark, lambda plan, marks: compiled.play(plan, marks=marks, jump=False), plan, rounds=3)


@pytest.mark.benchmark(group="compiled engine")
@pytest.mark.parametrize("images", [10, 1000])
def test_resnet18_images(benchmark: BenchmarkFixture, resnet18: Network, chip: Chip, images: int) -> None:
    """Images in flight; the interval is proven on the way."""
    time_plan(benchmark, compiled.play, replace(pipelined(resnet18, chip, "im2col"), images=images), rounds=3)


@pytest.mark.benchmark(group="compiled engine")
def test_resnet18_interval(benchmark: BenchmarkFixture, resnet18: Network, chip: Chip) -> None:
    """The steady state alone, as every pipelined run proves it."""
    plan = pipelined(resnet18, chip, "im2col", images=512)
    time_plan(benchmark, lambda plan, marks: compiled.play(plan, marks=marks, stop_at_repeat=True), plan, rounds=3)


def test_array_shape_is_the_chips(chip: Chip) -> None:
    """Not a benchmark: the fixture maps on the array that the simulations use."""
    assert array_of_chip(chip, 8) == ArrayShape(128, 128, 4)
