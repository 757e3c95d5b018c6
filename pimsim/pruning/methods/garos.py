"""``garos``: an exact number of rows, most entries pruned where they matter least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pimsim.errors import PruningError, nearest
from pimsim.pruning.channel_program import ChannelProgram
from pimsim.pruning.methods.row_budget import LayerBudget, RowBudgetMethod
from pimsim.pruning.projections import strongest_patterns
from pimsim.pruning.selection import kernel_size

RANKINGS = ("ascending", "descending", "random")
# Share of the channels that one family may have, up to two rows a channel and above: ResNet-20 in the paper.
_FEW_ROWS, _NARROW, _WIDE = 2, 0.2, 0.4


@dataclass(frozen=True)
class Garos(RowBudgetMethod):
    """GAROS with an exact integer program: each channel keeps a pattern of its own number of entries.

    A family is the patterns of some entries that free most rows; where some of them keep the centre, only those. How
    many channels go to which family follows from the rows alone (`ChannelProgram`); the weakest channels get the
    fewest entries, and each channel the pattern of its family that keeps most of it.

    Attributes:
        families: entries that a pruned channel may keep.
        concentration: share of the channels that one family may have at most; None means the published rule for
            ResNet-20, 0.2 for up to two rows a channel and 0.4 above. 1 lets the program prune fewest weights.
        ranking: channels by the sum of their magnitudes: ``ascending`` prunes the weakest hardest, ``descending`` the
            strongest (the authors' reverse mode), ``random`` any (their ablation).
        seed: of the random ranking; the one of the training run.

    Reference:
        `pruning-sdk.md` 8. The genetic search of the paper is replaced by the optimum over its constraints.
    """

    name: ClassVar[str] = "garos"
    families: tuple[int, ...] = (1, 2, 4, 6, 8)
    concentration: float | None = None
    ranking: str = "ascending"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ranking not in RANKINGS:
            raise PruningError(f"ranking {self.ranking!r}", "unknown ranking", fix=nearest(self.ranking, RANKINGS))
        if self.concentration is not None and not 0 < self.concentration <= 1:
            raise PruningError(f"concentration={self.concentration}", "a share of the channels is above 0 and up to 1")

    def layer_mask(self, weight: Tensor, budget: LayerBudget) -> Tensor:
        """Each channel's strongest pattern of its family."""
        counts = self.program(budget).solve()
        mask = torch.ones_like(weight)
        start, order = 0, self._order(weight)
        for entries in sorted(counts):
            chosen = order[start : start + counts[entries]]
            start += counts[entries]
            if entries < weight[0, 0].numel():
                mask[:, chosen] = strongest_patterns(weight[:, chosen], family(budget, entries), "channel")
        return mask

    def program(self, budget: LayerBudget) -> ChannelProgram:
        """The integer program of one layer. Raises `PruningError` for families that the kernel does not have."""
        channels, (height, width) = budget.layer.in_channels, kernel_size(budget.layer)
        gains = {entries: budget.gain(family(budget, entries)[0]) for entries in self.families}
        share = self.concentration
        if share is None:
            share = _NARROW if budget.target <= _FEW_ROWS * channels else _WIDE
        return ChannelProgram(channels, budget.target, gains, height * width, int(share * channels))

    def _order(self, weight: Tensor) -> Tensor:
        """Numbers of the channels, first the one that is pruned hardest; of equal ones the first comes first."""
        if self.ranking == "random":
            return torch.from_numpy(np.random.default_rng(self.seed).permutation(weight.shape[1]))
        magnitude = weight.detach().double().abs().sum(dim=(0, 2, 3))
        return torch.sort(magnitude, descending=self.ranking == "descending", stable=True).indices


def family(budget: LayerBudget, entries: int) -> Sequence[str]:
    """The patterns of a family: those that free most rows, with the centre where some of them have it."""
    height, width = kernel_size(budget.layer)
    patterns = budget.patterns(entries)
    centre = height // 2 * width + width // 2
    return [keep for keep in patterns if keep[centre] == "1"] or patterns
