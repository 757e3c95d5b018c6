"""ResNet-20 as most benchmarks use it: shapes, random 8-bit weights, and the ISAAC-like chip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimsim.api.mapping import array_of_chip
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Layer, Network
from pimsim.network.shapes import load_shapes

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def chip() -> Chip:
    return load_chip("isaac-like-8b")


@pytest.fixture(scope="session")
def network() -> Network:
    """ResNet-20 with random integer weights of 8 bits."""
    generator = np.random.default_rng(0)
    shapes = load_shapes(HERE / "resnet20.yaml")
    layers = [
        Layer(layer.geometry, layer.precision, generator.integers(-127, 128, layer.geometry.weight_shape))
        for layer in shapes.layers
    ]
    return Network("resnet20", tuple(layers), edges=shapes.edges)


@pytest.fixture(scope="session")
def placements(network: Network, chip: Chip) -> list[Placement]:
    return [
        place(map_layer(layer.geometry, array_of_chip(chip, 8), "im2col"), layer.weight, "row")
        for layer in network.layers
    ]
