"""Thinned calibration samples keep the extremes, which decide signedness."""

from __future__ import annotations

import torch
from torch import nn

from pimsim.network.importer import import_network


def test_one_negative_input_among_many_makes_the_layer_signed() -> None:
    """90,000 values are thinned to every third; the only negative one is not among those."""
    images = torch.rand(1, 1, 300, 300)
    images[0, 0, 0, 1] = -0.5
    (layer,) = import_network(nn.Conv2d(1, 1, 3), None, (1, 300, 300), 8, 8, images).layers
    assert layer.precision.activation_signed


def test_without_it_the_layer_is_unsigned() -> None:
    (layer,) = import_network(nn.Conv2d(1, 1, 3), None, (1, 300, 300), 8, 8, torch.rand(1, 1, 300, 300)).layers
    assert not layer.precision.activation_signed
