"""``crossbar``: whole arrays of the unrolled matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pimsim.errors import PruningError
from pimsim.pruning.methods.matrix import MatrixMethod, Share, keep_strongest, share_kept
from pimsim.pruning.pim_prune import Crossbar, crossbar_of, kept_segments

if TYPE_CHECKING:
    from pimsim.pruning.methods.matrix import Mask, Matrix


@dataclass(frozen=True)
class CrossbarPruning(MatrixMethod):
    """Crossbar-grain pruning: the blocks of R x C cells with the largest L2 norm stay, a share of each layer.

    A block that is gone is an array less (`pimsim run --skip array`); inside an array nothing changes, so that no index
    of rows or columns is needed. At least one block of a layer stays.

    Attributes:
        array: rows and columns of an array, ``RxC``.
        columns_per_weight: columns of a weight.
        keep: share of the blocks that stays, rounded to the nearest number.

    Reference:
        `pruning-blocks.md` 4: Liang et al. 2018; Lin et al., ASP-DAC 2019 (without its column clustering).
    """

    name: ClassVar[str] = "crossbar"
    array: str = "128x128"
    columns_per_weight: int = 1
    keep: Share = 0.5

    def __post_init__(self) -> None:
        self.crossbar  # noqa: B018  refuses what is no array
        if share_kept(self.keep) == 0:
            raise PruningError("keep=0", "a layer needs a weight", fix="Keep more than 0")

    @property
    def crossbar(self) -> Crossbar:
        """The array. Raises `PruningError` for another text."""
        return crossbar_of(self.array, self.columns_per_weight)

    def matrix_masks(self, matrices: Mapping[str, Sequence[Matrix]]) -> Mapping[str, Sequence[Mask]]:
        """The strongest blocks of each layer."""
        return {name: self._layer(parts) for name, parts in matrices.items()}

    def _layer(self, parts: Sequence[Matrix]) -> list[Mask]:
        array, masks = self.crossbar, []
        energies = [_block_energies(part, array) for part in parts]
        together = np.concatenate([energy.reshape(-1) for energy in energies])
        kept = keep_strongest(together, kept_segments(share_kept(self.keep), len(together)))
        first = 0
        for part, energy in zip(parts, energies, strict=True):
            blocks = kept[first : first + energy.size].reshape(energy.shape)
            rows = np.repeat(blocks, array.rows, axis=0)[: part.shape[0]]
            masks.append(np.repeat(rows, array.weights, axis=1)[:, : part.shape[1]])
            first += energy.size
        return masks


def _block_energies(matrix: Matrix, array: Crossbar) -> Matrix:
    """Sum of squares of every block, (row panels, column panels)."""
    rows = np.add.reduceat(matrix * matrix, np.arange(0, matrix.shape[0], array.rows), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, matrix.shape[1], array.weights), axis=1))
