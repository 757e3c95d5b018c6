"""What a crossbar layer did while it computed, and how far its outputs are from the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Observations:
    """Counts of one layer over all images so far.

    Attributes:
        images: images computed.
        conversions: ADC conversions that the arrays make for them.
        clipped: conversions whose column sum was above the ADC's greatest code (``saturate``).
        largest_sum: greatest column sum seen bit-serially; None when every column was collapsed.
        collapsed_columns: weight columns that no input can overflow and that were computed as one product.
        serial_columns: weight columns computed bit-serially.
    """

    images: int = 0
    conversions: int = 0
    clipped: int = 0
    largest_sum: int | None = None
    collapsed_columns: int = 0
    serial_columns: int = 0

    @property
    def path(self) -> str:
        """``collapsed``, ``bit-serial``, or ``mixed`` when some columns took each."""
        if not self.serial_columns:
            return "collapsed"
        return "mixed" if self.collapsed_columns else "bit-serial"


@dataclass(frozen=True)
class Comparison:
    """Crossbar outputs against the reference.

    Attributes:
        outputs: values compared.
        mismatches: values that differ.
        largest_error: greatest absolute difference.
        snr_db: 10 log10(sum of reference**2 / sum of error**2); infinite when nothing differs.
    """

    outputs: int
    mismatches: int
    largest_error: int
    snr_db: float

    @property
    def exact(self) -> bool:
        """Whether every value is equal."""
        return self.mismatches == 0


def compare(reference: NDArray[np.int64], outputs: NDArray[np.int64]) -> Comparison:
    """How far outputs are from the reference, both integers of one shape.

    Raises:
        ValueError: different shapes.
    """
    if reference.shape != outputs.shape:
        raise ValueError(f"reference of shape {reference.shape} against outputs of shape {outputs.shape}")
    error = outputs.astype(np.int64) - reference.astype(np.int64)
    noise, signal = float((error.astype(float) ** 2).sum()), float((reference.astype(float) ** 2).sum())
    snr = math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise)
    return Comparison(error.size, int(np.count_nonzero(error)), int(np.abs(error).max(initial=0)), snr)
