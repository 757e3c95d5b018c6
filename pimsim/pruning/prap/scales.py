"""Powers of two between patterns, and the integer grids that they live on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import PruningError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Binary digits of a scale behind the point: the smallest scale is 2**-8.
FRACTION_BITS = 8
#: Names of the bins of `scale_statistics`; the published ones, and scales above 1, which the method allows too.
SCALE_BINS = ("0", "1", "[1/4, 1)", "[1/16, 1/4)", "(0, 1/16)", "> 1")


def power_of_two_scale(ratio: float) -> float:
    """The scale between two patterns whose L1 norms have this ratio: ceil(2^8 2^round(log2 ratio)) / 2^8.

    Halves round to even; the thresholds stand at odd powers of sqrt 2, so that 0.7072 gives 1 and 0.7071 gives 1/2.
    Never less than 1/256, and without an upper bound.

    Raises:
        PruningError: a ratio that is not positive and finite.

    Reference:
        `pruning-blocks.md` 3.3, step 3.
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise PruningError(f"ratio={ratio}", "a scale needs the positive finite ratio of two L1 norms")
    return float(scales_of(np.array([ratio], dtype=np.float64))[0])


def scales_of(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """`power_of_two_scale` of each positive ratio."""
    unit = float(1 << FRACTION_BITS)
    return np.asarray(np.ceil(unit * np.exp2(np.rint(np.log2(ratios)))) / unit, dtype=np.float64)


def fine_codes(
    weight: NDArray[np.floating], weight_bits: int = 8, fraction_bits: int = FRACTION_BITS
) -> tuple[NDArray[np.int64], float]:
    """A weight on the grid of step max|w| / ((2^(b-1) - 1) 2^f): codes like ``weight``, and the step.

    With 8 bits and 8 fraction bits that is max|w| / (127 256): multiples of 256 are true 8-bit weights. A weight of
    zeros has the step 1.

    Reference:
        `pruning-blocks.md` 3.3, step 1.
    """
    largest = float(np.abs(weight).max(initial=0.0))
    step = largest / (((1 << (weight_bits - 1)) - 1) << fraction_bits) or 1.0
    return codes_on(weight, step), step


def codes_on(weight: NDArray[np.floating], step: float) -> NDArray[np.int64]:
    """A weight in whole steps, half to even."""
    return np.rint(np.asarray(weight, dtype=np.float64) / step).astype(np.int64)


def scale_statistics(scales: NDArray[np.float64]) -> dict[str, int]:
    """How many scales fall in each of `SCALE_BINS`; 0 is a pattern that is mapped to zero, 1 also a kept one."""
    s = np.asarray(scales, dtype=np.float64)
    members = (s == 0, s == 1, (s >= 1 / 4) & (s < 1), (s >= 1 / 16) & (s < 1 / 4), (s > 0) & (s < 1 / 16), s > 1)
    return {name: int(np.count_nonzero(member)) for name, member in zip(SCALE_BINS, members, strict=True)}
