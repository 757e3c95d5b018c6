"""The bit-serial crossbar, step by step in plain numpy: the slow witness of `packed`, and its stand-in.

For every input step and row group the driver codes multiply the stored cells, the ADC digitises each
column sum, and the digital side shifts, adds and corrects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.functional.conversion import Conversion
from pimsim.functional.programming import ProgrammedRows
from pimsim.hardware.encodings import InputStep

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SerialResult:
    """What arrays of equal rows computed.

    Attributes:
        codes: shifted and added ADC codes, int64 (..., C); `Conversion.values` turns merged codes into sums.
        digital: the correction of the encoding, int64 (..., C).
        clipped: conversions above the ADC's greatest code.
        largest_sum: greatest column sum.
    """

    codes: NDArray[np.int64]
    digital: NDArray[np.int64]
    clipped: int
    largest_sum: int


def read_serially(
    programmed: ProgrammedRows, inputs: NDArray[np.int64], steps: tuple[InputStep, ...], adc: Conversion
) -> SerialResult:
    """The outputs of arrays with equal driven rows, bit by bit.

    Args:
        programmed: the arrays.
        inputs: integers of the driven rows, (..., R).
        steps: the input steps of these integers.
        adc: the converter.
    """
    shape = (*inputs.shape[:-1], len(programmed.columns))
    codes, digital = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    clipped = largest = 0
    for group in range(programmed.groups):
        driven = slice(*programmed.starts[group : group + 2])
        cells, gain = programmed.cells[driven].astype(np.float64), programmed.gain[group]
        digital += inputs[..., driven].sum(axis=-1, keepdims=True) * programmed.correction[group]
        for step in steps:
            drive = (inputs[..., driven] >> step.shift) & ((1 << step.bits) - 1)
            # Sums of integers below 2**53 are exact in float64, where numpy multiplies fast.
            sums = np.tensordot(drive.astype(np.float64), cells, axes=1).astype(np.int64)
            clipped += 0 if adc.stretched else int(np.count_nonzero(sums > adc.limit))
            largest = max(largest, int(sums.max(initial=0)))
            codes += step.factor * (adc.codes(sums) * gain).sum(axis=-2)
    return SerialResult(codes, digital, clipped, largest)
