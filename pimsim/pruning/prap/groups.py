"""Weight patterns: how a weight is cut into channel groups, one pattern of each output channel in each group."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.errors import PruningError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Weights of a pattern: rows of an operation unit.
OU_ROWS = 8


@dataclass(frozen=True)
class PatternGrid:
    """A weight cut into channel groups of ``group`` consecutive input channels.

    Channels of a last group that is not full are left alone: they stay dense.

    Attributes:
        shape: of the weight, (OC, IC, K_h, K_w) or (OC, IC).
        group: G, input channels of a group.

    Raises:
        PruningError: a weight of another dimension, or a group that is not positive.
    """

    shape: tuple[int, ...]
    group: int

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 4):
            raise PruningError(f"a weight of shape {self.shape}", "weight patterns need (OC, IC, K_h, K_w) or (OC, IC)")
        if self.group < 1:
            raise PruningError(f"group={self.group}", "a channel group has at least one channel")

    @property
    def groups(self) -> int:
        """Full channel groups."""
        return self.shape[1] // self.group

    @property
    def positions(self) -> int:
        """Kernel positions, K_h K_w."""
        return int(np.prod(self.shape[2:], dtype=np.int64))

    @property
    def outputs(self) -> int:
        """OC: patterns of each group."""
        return self.shape[0]

    @property
    def patterns(self) -> float:
        """(IC / G) OC, where a group that is not full counts for its share."""
        return self.shape[1] / self.group * self.outputs

    def split(self, weight: NDArray[Any]) -> NDArray[Any]:
        """The patterns of the full groups, (groups, OC, G, K_h K_w)."""
        self.check(weight)
        full = weight[:, : self.groups * self.group]
        cut = full.reshape(self.outputs, self.groups, self.group, self.positions)
        return np.ascontiguousarray(np.moveaxis(cut, 0, 1))

    def join(self, patterns: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
        """``weight`` with the patterns of its full groups replaced."""
        self.check(weight)
        full = np.moveaxis(patterns, 1, 0).reshape(self.outputs, self.groups * self.group, *self.shape[2:])
        return np.concatenate([full.astype(weight.dtype), weight[:, self.groups * self.group :]], axis=1)

    def check(self, weight: NDArray[Any]) -> None:
        """Raises `PruningError` for a weight of another shape."""
        if weight.shape != self.shape:
            raise PruningError(f"a weight of shape {weight.shape}", f"the patterns are those of a weight {self.shape}")


def group_of(kept: float, positions: int, where: str | None = None) -> int:
    """G, the channels of a group whose patterns keep ``kept`` positions of each: G kept = 8.

    Args:
        kept: p. Less than 1 for a 1x1 or linear layer that keeps 8 of 16 (1/2) or of 32 (1/4) inputs.
        positions: K_h K_w of the layer.
        where: name of the layer, for the message.

    Raises:
        PruningError: no whole number of channels, more positions than the kernel has, or a share of larger kernels.
    """
    share = Fraction(kept).limit_denominator(64)
    if share <= 0 or (OU_ROWS / share).denominator != 1 or abs(float(share) - kept) > 1e-9:
        raise PruningError(
            f"{kept:g} kept positions",
            f"with the channels of a group they fill the {OU_ROWS} rows of an operation unit",
            where,
            "Use 8, 4, 2 or 1; for a 1x1 or linear layer 1, 0.5 or 0.25",
        )
    if share > positions or (share < 1 and positions > 1):
        rule = f"of a kernel of {positions} positions 1 to {positions} are kept"
        raise PruningError(
            f"{kept:g} kept positions", rule if positions > 1 else "a 1x1 or linear layer has one", where
        )
    return int(OU_ROWS / share)
