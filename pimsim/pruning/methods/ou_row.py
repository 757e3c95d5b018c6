"""``ou-row``: rows of each group of columns, as operation units can leave them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pimsim.errors import PruningError
from pimsim.pruning.methods.matrix import MatrixMethod, Share, keep_strongest, share_kept
from pimsim.pruning.pim_prune import kept_segments

if TYPE_CHECKING:
    from pimsim.pruning.methods.matrix import Mask, Matrix


@dataclass(frozen=True)
class OuRowPruning(MatrixMethod):
    """OU-row compression: every group of neighbouring output channels keeps rows of its own, those of largest L2 norm.

    A group as wide as an operation unit drives only the rows that it keeps. With one channel a group each filter keeps
    its own weights (ORC as PRAP-PIM's authors compare it). At least one row of a group stays.

    Attributes:
        keep: share of the rows that each group keeps, rounded to the nearest number.
        column_group: output channels of a group: the columns of an operation unit / the columns of a weight.

    Reference:
        `pruning-blocks.md` 3.8 and 4: T.-H. Yang et al., "Sparse ReRAM Engine", ISCA 2019, doi 10.1145/3307650.3322271.
    """

    name: ClassVar[str] = "ou-row"
    keep: Share = 0.5
    column_group: int = 8

    def __post_init__(self) -> None:
        if self.column_group < 1:
            raise PruningError(f"column_group={self.column_group}", "a group has at least one output channel")
        if share_kept(self.keep) == 0:
            raise PruningError("keep=0", "a group needs a row", fix="Keep more than 0")

    def matrix_masks(self, matrices: Mapping[str, Sequence[Matrix]]) -> Mapping[str, Sequence[Mask]]:
        """The strongest rows of each group of columns."""
        return {name: [self._mask(part) for part in parts] for name, parts in matrices.items()}

    def _mask(self, matrix: Matrix) -> Mask:
        height, width = matrix.shape
        energies = np.add.reduceat(matrix * matrix, np.arange(0, width, self.column_group), axis=1)
        kept = keep_strongest(energies.T, kept_segments(share_kept(self.keep), height))
        return np.asarray(np.repeat(kept, self.column_group, axis=0)[:width].T)
