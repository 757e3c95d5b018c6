"""``forms``: one sign in every fragment of a column, so that cells hold magnitudes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import nn

from pimsim.errors import PruningError
from pimsim.pruning.forms_training import FormsHook
from pimsim.pruning.methods.matrix import MatrixMethod, unroll
from pimsim.pruning.pim_prune import crossbar_of
from pimsim.pruning.plans import Masks
from pimsim.pruning.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pimsim.pruning.methods.matrix import Mask, Matrix

#: Share of a layer's largest weight up to which DoReFa, which has no zero, may round a weight to the other sign.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Forms(MatrixMethod):
    """The weights of a fragment, some rows of one column in an array, that have the sign of their sum stay.

    A fragment is what an operation unit of as many rows reads: with the encoding ``polarised`` its weights need the
    columns of their magnitudes, and the digital side adds or subtracts its sum. Weights of the other sign become
    zero, and may grow again with the sign of their fragment until training ends (`FormsHook`).

    Attributes:
        fragment: rows of a fragment, h; the last of an array may have fewer.
        array: rows and columns of an array, ``RxC``; only its rows matter. No fragment lies in two arrays.

    Reference:
        `pruning-blocks.md` 4, FORMS: G. Yuan et al., ISCA 2021. Its ADMM is not here: weights are projected.
    """

    name: ClassVar[str] = "forms"
    fragment: int = 8
    array: str = "128x128"

    def __post_init__(self) -> None:
        if self.fragment < 1:
            raise PruningError(f"fragment={self.fragment}", "a fragment has at least one row")
        if self.fragment > self._rows:
            given = f"fragment={self.fragment} with arrays of {self._rows} rows"
            raise PruningError(given, "a fragment lies in one array", fix=f"Use --fragment {self._rows} or less")

    def matrix_masks(self, matrices: Mapping[str, Sequence[Matrix]]) -> Mapping[str, Sequence[Mask]]:
        """The weights with the sign of their fragment; one that is zero, or negligible, has none and does not stay."""
        least = {
            name: NEGLIGIBLE * max(np.abs(part).max(initial=0) for part in parts) for name, parts in matrices.items()
        }
        return {name: [self._mask(part, least[name]) for part in parts] for name, parts in matrices.items()}

    def training_hook(self, network: nn.Module, recipe: Recipe) -> FormsHook:
        """Projections of the weights themselves, at the start and after every epoch."""
        return FormsHook(self.projection(network), recipe.epochs)

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """The signs that are kept beside the arrays."""
        signs = sum(
            len(self._starts(len(matrix))) * matrix.shape[1]
            for name, mask in masks.items()
            for matrix in unroll(mask, getattr(network.get_submodule(name), "groups", 1))
        )
        return (
            f"fragments of {self.fragment} rows in arrays of {self._rows}: an operation unit of as many rows and the "
            "encoding polarised need columns for magnitudes only",
            f"{signs} signs are kept beside the arrays, a bit each",
        )

    @property
    def _rows(self) -> int:
        return crossbar_of(self.array).rows

    def _starts(self, rows: int) -> NDArray[np.int64]:
        """First row of each fragment of a matrix, counted anew in every array."""
        row = np.arange(rows)
        return np.flatnonzero(row % self._rows % self.fragment == 0)

    def _mask(self, matrix: Matrix, least: float) -> Mask:
        starts = self._starts(len(matrix))
        positive = np.add.reduceat(matrix, starts, axis=0) >= 0
        sizes = np.diff(np.append(starts, len(matrix)))
        return np.where(np.repeat(positive, sizes, axis=0), matrix > least, matrix < -least)
