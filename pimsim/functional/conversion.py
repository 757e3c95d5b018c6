"""What an ADC makes of a column sum, in integers only.

``saturate`` counts in units of one and clips at 2**A - 1. ``rescale`` stretches the unit to full scale
divided by 2**A - 1, rounds half to even, and the digital side multiplies the merged codes by that unit
once, again rounding half to even: rounding every conversion to an integer would add an error that no
ADC makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.hardware.records import Adc, Crossbar, RowDriver

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Conversion:
    """One ADC in front of one kind of column.

    Attributes:
        limit: greatest code, 2**A - 1.
        full_scale: greatest column sum of a full row group, F; half of it where heavy columns are inverted.
        stretched: whether a code stands for more than one unit (``rescale`` with too few bits for F).

    Reference:
        `hardware.md` 2.1.
    """

    limit: int
    full_scale: int
    stretched: bool

    def codes(self, sums: NDArray[np.int64]) -> NDArray[np.int64]:
        """The codes of column sums, any shape."""
        if self.stretched:
            sums = divide_half_even(sums * self.limit, self.full_scale)
        return np.minimum(sums, self.limit)

    def values(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Merged codes in units of the column sum, rounded half to even."""
        return divide_half_even(codes * self.full_scale, self.limit) if self.stretched else codes


def conversion(crossbar: Crossbar, row_driver: RowDriver, adc: Adc) -> Conversion:
    """How this ADC digitises the columns of this crossbar.

    An ADC with bits to spare is not made finer than one unit, so that a lossless one is exact in both modes.
    """
    rows = min(crossbar.rows, crossbar.active_rows)
    full_scale = rows * (2**row_driver.bits - 1) * (2**crossbar.cell_bits - 1)
    if crossbar.encoding == "offset-inverted":
        full_scale //= 2
    limit = 2**adc.bits - 1
    return Conversion(limit, full_scale, adc.overflow == "rescale" and limit < full_scale)


def divide_half_even(numerator: NDArray[np.int64], denominator: int) -> NDArray[np.int64]:
    """numerator / denominator rounded to the nearest integer, halves to the even one; exact."""
    quotient, rest = np.divmod(numerator, denominator)
    up = (2 * rest > denominator) | ((2 * rest == denominator) & (quotient % 2 == 1))
    return np.asarray(quotient + up, dtype=np.int64)
