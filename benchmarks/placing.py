"""Where the shape tables are, and networks laid on a chip."""

from __future__ import annotations

from pathlib import Path

from pimsim.api.mapping import array_of_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Network

SHAPES = Path(__file__).parent.parent / "workloads" / "shapes"


def placed(network: Network, chip: Chip, method: str) -> list[Placement]:
    """The layers on the chip's arrays, nothing skipped."""
    array = array_of_chip(chip, 8)
    return [place(map_layer(layer.geometry, array, method), None) for layer in network.layers]
