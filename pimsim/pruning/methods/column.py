"""``column``: parts of a column that lie in one array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from pimsim.errors import PruningError
from pimsim.pruning.methods.share import ShareMethod


@dataclass(frozen=True)
class ColumnPruning(ShareMethod):
    """Column segments of smallest L2 norm: the weights of one output channel in one array of the im2col matrix.

    Finer than a filter by the number of arrays that a column runs through.

    Attributes:
        segment: rows of an array.

    Reference:
        `pruning-blocks.md` 1: block-column segments (i, c).
    """

    name: ClassVar[str] = "column"
    segment: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segment < 1:
            raise PruningError(f"segment={self.segment}", "a column segment has at least one row")

    def energies(self, weight: Tensor) -> Tensor:
        """One group for each output channel and array, (OC, arrays); the last array may be partly filled."""
        rows = weight.square().flatten(1)
        padded = functional.pad(rows, (0, -rows.shape[1] % self.segment))
        return padded.reshape(len(padded), -1, self.segment).sum(dim=2)

    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:
        """The same for all weights of a segment."""
        rows = kept.repeat_interleave(self.segment, dim=1)[:, : weight[0].numel()]
        return rows.reshape(weight.shape)
