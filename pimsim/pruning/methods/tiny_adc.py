"""``tiny-adc``: few weights in every column of an array, so that its sums need few bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import nn

from pimsim.errors import PruningError
from pimsim.pruning.methods.matrix import MatrixMethod, keep_strongest
from pimsim.pruning.pim_prune import crossbar_of
from pimsim.pruning.plans import Masks

if TYPE_CHECKING:
    from pimsim.pruning.methods.matrix import Mask, Matrix


@dataclass(frozen=True)
class TinyAdc(MatrixMethod):
    """The N largest weights of every column of an array stay.

    Where a zero weight is an empty cell (``differential``, ``twos-complement``, ``polarised``) a column sum is at most
    N * (2**cell_bits - 1) * (2**dac_bits - 1), whatever the rows of the array: the ADC needs that many codes
    and no more. Offset encodings store zero as half of full scale, so they gain nothing.

    Attributes:
        nonzeros: weights of a column that stay, N.
        array: rows and columns of an array, ``RxC``; only its rows matter.

    Reference:
        `pruning-blocks.md` 4, TinyADC: G. Yuan et al., DATE 2021.
    """

    name: ClassVar[str] = "tiny-adc"
    nonzeros: int = 16
    array: str = "128x128"

    def __post_init__(self) -> None:
        if self.nonzeros < 1:
            raise PruningError(f"nonzeros={self.nonzeros}", "a column keeps at least one weight")
        crossbar_of(self.array)

    def matrix_masks(self, matrices: Mapping[str, Sequence[Matrix]]) -> Mapping[str, Sequence[Mask]]:
        """The largest weights of each column segment."""
        return {name: [self._mask(part) for part in parts] for name, parts in matrices.items()}

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """The bound, in words."""
        return (
            f"at most {self.nonzeros} weights in the {crossbar_of(self.array).rows} rows of a column: of 1-bit inputs "
            f"and 1-bit cells the sum has {self.nonzeros.bit_length()} bits where a zero weight is an empty cell",
        )

    def _mask(self, matrix: Matrix) -> Mask:
        rows = crossbar_of(self.array).rows
        parts = np.split(np.abs(matrix), np.arange(rows, len(matrix), rows))
        return np.concatenate([keep_strongest(part.T, self.nonzeros).T for part in parts])
