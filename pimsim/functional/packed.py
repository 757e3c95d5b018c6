"""The fast bit-serial engine: rows packed into words, column sums by popcount, all cores.

With v-bit drivers and w-bit cells a column sum is the sum over input bits a and cell bits b of
2**(a + b) popcount(input plane a AND cell plane b), one 64-row word at a time. Inputs of zero cost nothing, as
their column sums are zero.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pimsim.errors import SimulationError
from pimsim.functional.conversion import Conversion
from pimsim.functional.programming import ProgrammedRows
from pimsim.functional.windows import WindowPort
from pimsim.hardware.encodings import InputStep
from pimsim.mapping.layout import Mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")
WORD_BITS = 64


@cache
def compiled_kernels() -> ModuleType | None:
    """`pimsim.functional.kernels`, or None where numba is missing or cannot work.

    The values are the same without it, only slower; `ReadOut.engine_used` says which engine runs.
    """
    try:
        from pimsim.functional import kernels
    except (ImportError, RuntimeError):  # RuntimeError: numba finds no place for its cache
        return None
    return kernels


def over_parts(work: Callable[[slice], T], images: int) -> list[T]:
    """``work`` for consecutive parts of a batch, one for each core; for compiled work that holds no lock."""
    cores = max(1, min(os.cpu_count() or 1, images))
    ends = [images * core // cores for core in range(cores + 1)]
    parts = [slice(first, last) for first, last in pairwise(ends)]
    if cores == 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, parts))


@dataclass(frozen=True, eq=False)
class PackedArrays:
    """Arrays of equal driven rows, as `kernels.read_image` takes them."""

    port: WindowPort
    programmed: ProgrammedRows
    words: NDArray[np.int64]
    cells: NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class PackedEngine:
    """The bit-serial crossbar by popcount.

    Raises:
        SimulationError: numba is missing or cannot compile here.
    """

    mapping: Mapping
    arrays: tuple[ProgrammedRows, ...]
    steps: tuple[InputStep, ...]
    conversion: Conversion

    @cached_property
    def _packed(self) -> tuple[PackedArrays, ...]:
        return tuple(_pack(self.mapping, programmed) for programmed in self.arrays)

    def add(self, padded: NDArray[np.int32], outputs: NDArray[np.int64]) -> tuple[int, int]:
        """See `pimsim.functional.engines.SerialEngine.add`."""
        kernels = compiled_kernels()
        if kernels is None:
            fix = "Install numba, or use engine 'plain'"
            raise SimulationError("engine 'packed'", "numba is missing or cannot work here", fix=fix)
        steps = np.array([(s.shift, s.bits, s.factor) for s in self.steps], dtype=np.int64)
        adc = np.array([self.conversion.limit, self.conversion.full_scale, self.conversion.stretched], dtype=np.int64)
        # Codes in units of one merge with the digital terms at once; stretched codes are scaled at the end.
        codes = np.zeros_like(outputs) if self.conversion.stretched else outputs

        def read(part: slice) -> list[tuple[int, int]]:
            return [
                _read(kernels, packed, pixels, steps, adc, code, output)
                for pixels, code, output in zip(padded[part], codes[part], outputs[part], strict=True)
                for packed in self._packed
            ]

        seen = [counts for part in over_parts(read, len(padded)) for counts in part]
        if self.conversion.stretched:
            outputs += self.conversion.values(codes)
        return sum(clipped for clipped, _ in seen), max((largest for _, largest in seen), default=0)


def _read(
    kernels: ModuleType,
    packed: PackedArrays,
    pixels: NDArray[np.int32],
    steps: NDArray[np.int64],
    adc: NDArray[np.int64],
    codes: NDArray[np.int64],
    digital: NDArray[np.int64],
) -> tuple[int, int]:
    port, programmed = packed.port, packed.programmed
    arrays: tuple[Any, ...] = (programmed.starts, packed.words, packed.cells, programmed.gain, programmed.correction)
    counts: tuple[int, int] = kernels.read_image(
        pixels, port.offsets, port.origins, *arrays, steps, adc, port.outputs, codes, digital
    )
    return counts


def _pack(mapping: Mapping, programmed: ProgrammedRows) -> PackedArrays:
    """Cells as bit planes, every row group starting a new word: uint64 (words, w, q * C)."""
    sizes = np.diff(programmed.starts)
    words = np.concatenate([[0], np.cumsum(-(-sizes // WORD_BITS))]).astype(np.int64)
    codes = programmed.cells.reshape(len(programmed.rows), -1)
    planes = max(1, int(codes.max(initial=0)).bit_length())
    cells = np.zeros((int(words[-1]), planes, codes.shape[1]), dtype=np.uint64)
    in_group = np.arange(len(codes)) - np.repeat(programmed.starts[:-1], sizes)
    word = np.repeat(words[:-1], sizes) + in_group // WORD_BITS
    bit = (in_group % WORD_BITS).astype(np.uint64)
    for plane in range(planes):
        ones = ((codes >> plane) & 1).astype(np.uint64) << bit[:, None]
        np.bitwise_or.at(cells[:, plane], word, ones)
    return PackedArrays(WindowPort(mapping, programmed.rows, programmed.columns), programmed, words, cells)
