"""``row``: rows of the unrolled weight matrix, as a method chooses them that does not know the mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pimsim.errors import PruningError
from pimsim.pruning.mapped_rows import freed_after
from pimsim.pruning.methods.row_budget import LayerBudget, RowBudgetMethod, channel_mask


@dataclass(frozen=True)
class RowPruning(RowBudgetMethod):
    """Row-structured pruning: the weakest rows (input channel, kernel position) of the im2col matrix go first.

    The order is by L2 norm over all output channels and ignores the mapping; only its length is chosen so that the
    mapped layer skips the rows that were asked for. One position can free several rows at once, so there may be a
    few more.
    """

    name: ClassVar[str] = "row"

    def layer_mask(self, weight: Tensor, budget: LayerBudget) -> Tensor:
        """The shortest beginning of the order that frees enough rows."""
        norms = weight.detach().double().square().sum(dim=0).flatten(1)
        order = np.empty(norms.numel(), dtype=np.int64)
        order[torch.sort(norms.flatten(), stable=True).indices.cpu().numpy()] = np.arange(norms.numel())
        steps = order.reshape(norms.shape)
        if budget.target == 0:
            return torch.ones_like(weight)
        last = np.sort(freed_after(steps, budget.touches), axis=None)[budget.target - 1]
        if last == steps.max():
            rule = "the layer would lose all its weights"
            raise PruningError(f"{budget.target} rows to skip", rule, fix="Ask for fewer rows")
        return channel_mask(torch.from_numpy(steps > last), weight)
