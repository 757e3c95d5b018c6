"""Bit-serial engines by name: ``packed`` (compiled tables) and ``plain`` (numpy), equal by test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pimsim.errors import SimulationError, nearest
from pimsim.functional.conversion import Conversion
from pimsim.functional.packed import PackedEngine
from pimsim.functional.programming import ProgrammedRows
from pimsim.functional.serial import read_serially
from pimsim.functional.windows import WindowPort
from pimsim.hardware.encodings import InputStep
from pimsim.mapping.layout import Mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: (windows x steps x physical columns) of one numpy pass: bounds its memory to some 100 MB.
PLAIN_ELEMENTS = 2**22


class SerialEngine(Protocol):
    """Computes programmed arrays bit-serially."""

    def add(self, padded: NDArray[np.integer], outputs: NDArray[np.int64]) -> tuple[int, int]:
        """Add what the arrays compute to outputs (N, OC * O_h * O_w): (clipped conversions, largest sum)."""
        ...


@dataclass(frozen=True, eq=False)
class PlainEngine:
    """The bit-serial crossbar in numpy, image by image."""

    mapping: Mapping
    arrays: tuple[ProgrammedRows, ...]
    steps: tuple[InputStep, ...]
    conversion: Conversion

    @cached_property
    def _ports(self) -> tuple[WindowPort, ...]:
        return tuple(WindowPort(self.mapping, p.rows, p.columns) for p in self.arrays)

    def add(self, padded: NDArray[np.integer], outputs: NDArray[np.int64]) -> tuple[int, int]:
        """See `SerialEngine.add`."""
        codes = np.zeros_like(outputs)
        clipped = largest = 0
        for programmed, port in zip(self.arrays, self._ports, strict=True):
            size = max(1, PLAIN_ELEMENTS // (self.mapping.windows * programmed.gain[0].size))
            for first in range(0, len(padded), size):
                part = slice(first, first + size)
                result = read_serially(programmed, port.read(padded[part]), self.steps, self.conversion)
                port.add(result.codes, codes[part])
                port.add(result.digital, outputs[part])
                clipped, largest = clipped + result.clipped, max(largest, result.largest_sum)
        outputs += self.conversion.values(codes)
        return clipped, largest


Build = Callable[[Mapping, tuple[ProgrammedRows, ...], tuple[InputStep, ...], Conversion], SerialEngine]


ENGINES: MappingProxyType[str, Build] = MappingProxyType({"packed": PackedEngine, "plain": PlainEngine})


def serial_engine(name: str) -> Build:
    """The engine of that name.

    Raises:
        SimulationError: an unknown name.
    """
    if name not in ENGINES:
        raise SimulationError(f"engine '{name}'", "unknown bit-serial engine", None, nearest(name, ENGINES))
    return ENGINES[name]
