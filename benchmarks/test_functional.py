"""Speed of the values: the crossbar part of ResNet-20, one image of ResNet-18, and the reference beside them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from pimsim.api.mapping import array_of_chip
from pimsim.functional.crossbar import CrossbarMultiplier, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.hardware.records import Chip
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.importer import import_network
from pimsim.network.layers import Network

pytestmark = pytest.mark.benchmark(group="functional")
IMAGES = 32
RESNET18 = Path(__file__).parent.parent / "models" / "resnet18.py"


def read_out(chip: Chip, exact: str, adc_bits: int) -> ReadOut:
    """The chip's converters with an ADC of other bits."""
    return ReadOut(chip.crossbar, chip.macro.row_driver, replace(chip.macro.adc, bits=adc_bits), exact)


def time_images(benchmark: BenchmarkFixture, run: Callable[[], object], images: int, rounds: int = 5) -> None:
    """The best of some rounds after one that programs, and compiles, everything."""
    run()
    benchmark.pedantic(run, rounds=rounds)
    benchmark.extra_info["images_per_s"] = round(images / benchmark.stats.stats.min, 1)


@pytest.mark.parametrize(
    ("exact", "adc_bits"),
    [("auto", 8), ("bit-serial", 8), ("bit-serial", 6)],
    ids=["collapsed", "bit-serial", "bit-serial-clipping"],
)
def test_crossbar_resnet20(
    benchmark: BenchmarkFixture, network: Network, placements: list[Placement], chip: Chip, exact: str, adc_bits: int
) -> None:
    """All layers on random inputs of 8 bits; an ADC of 6 bits clips half of all conversions."""
    names = [layer.name for layer in network.layers]
    crossbar = CrossbarMultiplier(dict(zip(names, placements, strict=True)), read_out(chip, exact, adc_bits))
    inputs = random_inputs(network)
    time_images(
        benchmark, lambda: [crossbar(layer, x) for layer, x in zip(network.layers, inputs, strict=True)], IMAGES
    )
    seen = crossbar.observations.values()
    assert {layer.path for layer in seen} == {"collapsed" if exact == "auto" else "bit-serial"}
    assert (sum(layer.clipped for layer in seen) > 0) == (adc_bits == 6)


@pytest.mark.parametrize("adc_bits", [8, 6], ids=["", "clipping"])
def test_bit_serial_resnet18(benchmark: BenchmarkFixture, chip: Chip, adc_bits: int) -> None:
    """One image of 224x224 through the whole network with random weights, the digital side included."""
    network = resnet18()
    assert network.program is not None
    placements = {
        layer.name: place(map_layer(layer.geometry, array_of_chip(chip, 8), "im2col"), layer.weight, "row")
        for layer in network.layers
    }
    crossbar = CrossbarMultiplier(placements, read_out(chip, "bit-serial", adc_bits))
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    program = network.program
    time_images(benchmark, lambda: program.run(image, crossbar), 1, rounds=3)


def test_reference_resnet20(benchmark: BenchmarkFixture, network: Network) -> None:
    inputs = [x.numpy() for x in random_inputs(network)]
    run = lambda: [reference_convolution(layer, x) for layer, x in zip(network.layers, inputs, strict=True)]  # noqa: E731
    time_images(benchmark, run, IMAGES, rounds=2)


def random_inputs(network: Network) -> list[Tensor]:
    """Uniform integers of 8 bits for each layer: no zeros to skip, so the slowest inputs there are."""
    generator = np.random.default_rng(1)
    return [
        torch.from_numpy(
            generator.integers(0, 256, (IMAGES, layer.geometry.in_channels, *layer.geometry.input_size), dtype=np.int32)
        )
        for layer in network.layers
    ]


def resnet18() -> Network:
    """ResNet-18 of models/resnet18.py, 8-bit weights and activations calibrated on two random images."""
    spec = spec_from_file_location("resnet18", RESNET18)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["resnet18"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    built: nn.Module = module.resnet18()
    calibration = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    return import_network(lambda: built, None, (3, 224, 224), 8, 8, calibration, None)
