"""The fast bit-serial engine: driven bits packed into table indices, columns side by side, all cores.

With v-bit drivers a column sum is the sum over the v bits a of 2**a times the sum of the cells in rows whose bit a
is set; `pimsim.functional.lookup` sums cells. Windows of all images go through in blocks of bounded memory. Groups
without a driven bit cost nothing, as their column sums are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pimsim.compiling import why_not
from pimsim.errors import SimulationError
from pimsim.functional.conversion import Conversion
from pimsim.functional.parts import over_cores
from pimsim.functional.programming import ProgrammedRows
from pimsim.functional.scratch import (
    CACHE_BYTES,
    LANES,
    MOST_WINDOWS,
    Kinds,
    Sizes,
    input_kind,
    scratch,
    smallest_kind,
    unsigned,
)
from pimsim.functional.windows import WindowPort
from pimsim.hardware.encodings import InputStep
from pimsim.mapping.layout import Mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Most rows of a chunk: an index is a byte.
MOST_CHUNK = 8
#: Entries of the table of stretched codes; greater sums are computed.
MOST_CODES = 2**16


@cache
def compiled_kernels() -> ModuleType | None:
    """`pimsim.functional.kernels`, or None where numba does not work; `pimsim.compiling.why_not` has the reason.

    The values are the same without it, only slower; `ReadOut.engine_used` says which engine runs.
    """
    if why_not() is not None:
        return None
    from pimsim.functional import kernels

    return kernels


class Arrays(NamedTuple):
    """Arrays of equal driven rows as kernels take them; R rows in G groups, C weight columns of q slices.

    Attributes:
        starts: first row of each group, int64 (G + 1,).
        cells: stored codes, uint16 (R, q * C).
        gain: (G, q * C), of the type of merged codes.
        correction: (G, C), of that type.
        steps: shift, bits and factor of each input step, int64 (steps, 3).
        adc: limit, full scale, stretched, limit that the type of sums holds, greatest sum, int64 (5,).
        codes: the codes of sums from 0 on, int64; used where they are stretched.
    """

    starts: NDArray[np.int64]
    cells: NDArray[np.uint16]
    gain: NDArray[Any]
    correction: NDArray[Any]
    steps: NDArray[np.int64]
    adc: NDArray[np.int64]
    codes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PackedArrays:
    """Arrays of equal driven rows, ready for `kernels.read_windows`."""

    port: WindowPort
    programmed: ProgrammedRows
    steps: tuple[InputStep, ...]
    conversion: Conversion

    @cached_property
    def greatest_sum(self) -> int:
        """A bound on every column sum."""
        return int(self.programmed.cell_sums.max(initial=0)) * max((1 << step.bits) - 1 for step in self.steps)

    @property
    def planes(self) -> int:
        """Bits of an input."""
        return max(step.shift + step.bits for step in self.steps)

    @cached_property
    def kinds(self) -> Kinds:
        """Integer types that no value nor any part of it leaves, the smallest for what is many."""
        programmed, code = self.programmed, min(self.greatest_sum, self.conversion.limit)
        least, most = (code * sum(s.factor for s in self.steps if s.factor * sign > 0) for sign in (-1, 1))
        codes = (most - least) * int(np.abs(programmed.gain).sum(axis=(0, 1)).max(initial=0))
        rows = np.diff(programmed.starts)
        fixed = (int((np.abs(programmed.correction).T @ rows).max(initial=0)) + int(rows.max())) << self.planes
        return Kinds(
            input_kind(self.planes, any(step.factor < 0 for step in self.steps)),
            # Few types, because kernels are compiled for each combination.
            smallest_kind(0, self.greatest_sum, ("uint8", "uint16", "int64")),
            smallest_kind(least, most, ("uint16", "int32", "int64")),
            smallest_kind(-codes - fixed, codes + fixed, ("int32", "int64")),
        )

    @cached_property
    def arrays(self) -> Arrays:
        """As kernels take them."""
        programmed, adc, kind = self.programmed, self.conversion, self.kinds.merged
        # No sum is above the greatest one, so a limit that its type could not hold may as well be that one.
        clip = self.greatest_sum if adc.stretched else min(adc.limit, self.greatest_sum)
        sums = np.arange(min(self.greatest_sum + 1, MOST_CODES) if adc.stretched else 0)
        return Arrays(
            programmed.starts,
            programmed.cells.reshape(len(programmed.rows), -1),
            programmed.gain.reshape(programmed.groups, -1).astype(kind),
            programmed.correction.astype(kind),
            np.array([(s.shift, s.bits, s.factor) for s in self.steps], dtype=np.int64),
            np.array([adc.limit, adc.full_scale, adc.stretched, clip, self.greatest_sum], dtype=np.int64),
            adc.codes(sums),
        )

    def sizes(self, windows: int) -> Sizes:
        """What working memory depends on, for that many windows in a row."""
        rows = np.diff(self.programmed.starts)
        chunk = best_chunk(int(rows.max()), min(windows, MOST_WINDOWS) * self.planes, self.kinds.sums.itemsize)
        return Sizes(int(rows.sum()), len(self.programmed.columns), self.planes, tuple(rows.tolist()), chunk)

    def read(
        self, kernels: ModuleType, padded: NDArray[Any], span: tuple[int, int], codes: NDArray[Any], fixed: NDArray[Any]
    ) -> tuple[int, int]:
        """A span of windows of padded images, see `kernels.read_windows`."""
        first, last = span
        sizes = self.sizes(last - first)
        memory = scratch(sizes, self.kinds, last - first)
        images, span_of = padded.view(unsigned(padded.dtype)), (first, last, sizes.chunk)
        seen: tuple[int, int] = kernels.read_windows(
            self.port.compiled, self.arrays, memory, images, span_of, codes, fixed
        )
        return seen


def best_chunk(rows: int, reads: int, itemsize: int) -> int:
    """Rows of a chunk that make the fewest steps: lines built, and lines added in every read of the group.

    Only those whose table stays in the second cache, if any does.
    """

    def cost(chunk: int) -> tuple[bool, int]:
        chunks, lines = -(-rows // chunk), 1 << chunk
        return chunks * lines * LANES * itemsize > CACHE_BYTES and chunk > 1, chunks * (reads + lines)

    return min(range(1, MOST_CHUNK + 1), key=cost)


@dataclass(frozen=True, eq=False)
class PackedEngine:
    """The bit-serial crossbar by tables of partial sums.

    Raises:
        SimulationError: numba does not work here.
    """

    mapping: Mapping
    arrays: tuple[ProgrammedRows, ...]
    steps: tuple[InputStep, ...]
    conversion: Conversion

    @cached_property
    def _packed(self) -> tuple[PackedArrays, ...]:
        return tuple(
            PackedArrays(WindowPort(self.mapping, p.rows, p.columns), p, self.steps, self.conversion)
            for p in self.arrays
        )

    def add(self, padded: NDArray[np.integer], outputs: NDArray[np.int64]) -> tuple[int, int]:
        """See `pimsim.functional.engines.SerialEngine.add`."""
        kernels = compiled_kernels()
        if kernels is None:
            raise SimulationError(
                "engine 'packed'", str(why_not()), fix="Install a working numba, or use engine 'plain'"
            )
        # Codes in units of one merge with the digital terms at once; stretched codes are scaled at the end.
        codes = np.zeros_like(outputs) if self.conversion.stretched else outputs

        def read(first: int, last: int) -> list[tuple[int, int]]:
            # No two windows write one output, so spans of windows need no lock.
            return [packed.read(kernels, padded, (first, last), codes, outputs) for packed in self._packed]

        seen = [counts for span in over_cores(read, len(padded) * self.mapping.windows) for counts in span]
        if self.conversion.stretched:
            outputs += self.conversion.values(codes)
        return sum(clipped for clipped, _ in seen), max((largest for _, largest in seen), default=0)
