"""The parallel windows that a mapper gives the layers of a network, for the pruning methods that count rows."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import nn

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.network.importer import import_float
from pimsim.network.structure import trace_structure
from pimsim.pruning.windows import Windows


@dataclass(frozen=True)
class MapperWindows:
    """How windows are found once network and images are known.

    Attributes:
        array: the array, with the columns that one weight takes.
        mapping: name of a mapper.
        options: array and mapper as the command line names them, for the records.
    """

    array: ArrayShape
    mapping: str
    options: Mapping[str, Any]

    def __call__(self, network: nn.Module, input_shape: tuple[int, int, int]) -> Windows:
        """The window of every layer that the mapper can place.

        Raises:
            NetworkError: a network that cannot be traced.
            MappingError: a layer that does not fit the array.
        """
        program, _ = import_float(deepcopy(network).eval(), input_shape)
        geometries = trace_structure(program).geometries
        sizes = {
            name: map_layer(geometry, self.array, self.mapping).window
            for name, geometry in geometries.items()
            if geometry.kind == "conv"
        }
        return Windows(sizes)
