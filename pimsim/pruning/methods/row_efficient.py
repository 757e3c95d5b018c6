"""``row-efficient``: crossbar rows chosen one by one with the mapping in mind; a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pimsim.errors import PruningError
from pimsim.pruning.methods.row_budget import LayerBudget, RowBudgetMethod, channel_mask


@dataclass(frozen=True)
class RowEfficient(RowBudgetMethod):
    """Row-efficient pruning as its abstract describes it: rows of the mapped matrix go one by one, the least first.

    A reconstruction: there is no public code. A mapped row (channel, pixel) counts for the sum of |W|^p over its
    cells, that is over the kernel positions that meet it and all output channels. The row that counts least is
    freed: its positions are pruned in every window, so that the layer stays a convolution, and the rows that share
    them count for less from then on. This goes on until the rows that were asked for are skipped; one step can free
    several rows at once, so there may be a few more.

    Attributes:
        power: p.

    Reference:
        Row-efficient pruning, ISOCC 2024, abstract; `pruning-sdk.md` 10.
    """

    name: ClassVar[str] = "row-efficient"
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power <= 0:
            raise PruningError(f"power={self.power}", "the power of the magnitudes is positive")

    def layer_mask(self, weight: Tensor, budget: LayerBudget) -> Tensor:
        """Rows freed one by one up to the target."""
        left = weight.detach().double().abs().pow(self.power).sum(dim=0).flatten(1).cpu().numpy().copy()
        kept, touches = np.ones(left.shape, dtype=bool), budget.touches
        needed = kept @ touches.T
        while int((~needed).sum()) < budget.target:
            count = np.where(needed, left @ touches.T, np.inf)
            channel, row = np.unravel_index(count.argmin(), count.shape)
            left[channel, touches[row]], kept[channel, touches[row]] = 0, False
            needed[channel] = kept[channel] @ touches.T
        if not kept.any():
            rule = "the layer would lose all its weights"
            raise PruningError(f"{budget.target} rows to skip", rule, fix="Ask for fewer rows")
        return channel_mask(torch.from_numpy(kept), weight)
