"""Speed of each part, by pytest-benchmark group: ``pytest benchmarks --benchmark-only --benchmark-group-by=group``."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pimsim.api.mapping import array_of_chip
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.layout import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.network.layers import Network
from pimsim.simulation.building import build_plan
from pimsim.simulation.event import play
from pimsim.simulation.network import simulate
from pimsim.simulation.work import layer_work


@pytest.mark.benchmark(group="mapping")
@pytest.mark.parametrize("method", ["im2col", "sdk", "vw-sdk"])
def test_map_resnet20(benchmark: BenchmarkFixture, network: Network, method: str) -> None:
    array = ArrayShape(512, 512)
    benchmark(lambda: [map_layer(layer.geometry, array, method) for layer in network.layers])


@pytest.mark.benchmark(group="plan")
def test_plan_resnet20(benchmark: BenchmarkFixture, network: Network, placements: list[Placement], chip: Chip) -> None:
    pairs = list(zip(network.layers, placements, strict=True))
    benchmark(lambda: [build_plan(layer_work(layer, placement, chip), chip) for layer, placement in pairs])


@pytest.mark.benchmark(group="event engine")
def test_play_one_layer(benchmark: BenchmarkFixture, network: Network, placements: list[Placement], chip: Chip) -> None:
    """A layer of one array group: 1024 windows x 8 steps; extra_info holds array steps a second."""
    plan = build_plan(layer_work(network.layers[1], placements[1], chip), chip)
    benchmark.pedantic(play, (plan,), rounds=5)
    (array,) = plan.named("array")
    steps = plan.windows * array.jobs[0].steps * array.jobs[0].units
    benchmark.extra_info["array_steps_per_s"] = round(steps / benchmark.stats.stats.min)


@pytest.mark.benchmark(group="event engine")
def test_simulate_resnet20(
    benchmark: BenchmarkFixture, network: Network, placements: list[Placement], chip: Chip
) -> None:
    result = benchmark.pedantic(simulate, (network, placements, chip), rounds=3)
    steps = sum(layer.array_steps for layer in result.layers)
    benchmark.extra_info["array_steps_per_s"] = round(steps / benchmark.stats.stats.min)


@pytest.mark.benchmark(group="start")
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["presets"], ["map", "--layer", "k=3x3,ic=64,oc=128,in=28x28", "--mapping", "vw-sdk", "--json"]],
    ids=["help", "presets", "map"],
)
def test_start(benchmark: BenchmarkFixture, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pimsim", *arguments]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=3)


@pytest.mark.benchmark(group="start")
def test_load_chip(benchmark: BenchmarkFixture) -> None:
    benchmark(lambda: load_chip("isaac-like-8b"))


def test_array_shape_is_the_chips(chip: Chip) -> None:
    """Not a benchmark: the fixture maps on the array that the simulations use."""
    assert array_of_chip(chip, 8) == ArrayShape(128, 128, 4)
