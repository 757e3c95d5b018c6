"""What a pruning method decides: a mask for each pruned layer, with a picture of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

#: Layer name to weight, shaped (OC, IC / groups, K_h, K_w) or (OC, IC).
Weights = Mapping[str, Tensor]
#: Layer name to mask, shaped like the weight: 1 keeps, 0 prunes.
Masks = Mapping[str, Tensor]
#: From the weights of a network, what to keep of them: the nearest pruned network. ADMM asks again every epoch.
Projection = Callable[[Weights], Masks]

# How many different kernels the picture of one layer shows.
_SHOWN = 4


@dataclass(frozen=True, eq=False, repr=False)
class PruningPlan:
    """The masks of the pruned layers.

    Attributes:
        method: its name.
        masks: layer name to mask (1 keeps), in network order.
        notes: lines for the card, such as the pattern set or the rows that a layer saves.
    """

    heading: ClassVar[str] = "Kept kernel positions"
    method: str
    masks: Masks = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    @property
    def keep(self) -> tuple[tuple[str, str], ...]:
        """(layer, pattern) where all kernels of a layer keep the same positions; row-major, 1 kept."""
        kernels = {name: kernel_counts(mask) for name, mask in self.masks.items() if mask.dim() == 4}
        return tuple((name, next(iter(counts))) for name, counts in kernels.items() if len(counts) == 1)

    def picture(self) -> str:
        """One line a layer, its kernel rows side by side: ``#`` kept, ``.`` pruned; then the notes."""
        width = max(map(len, self.masks), default=0)
        drawn = [f"{name:<{width}}  {_layer_picture(mask)}" for name, mask in self.masks.items()]
        return "\n".join([*drawn, *self.notes]) or "nothing is pruned"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, PruningPlan):
            return NotImplemented
        names = [field.name for field in fields(self) if field.name != "masks"]
        if list(self.masks) != list(other.masks) or any(getattr(self, n) != getattr(other, n) for n in names):
            return False
        return all(torch.equal(mask, other.masks[name]) for name, mask in self.masks.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        weights = sum(mask.numel() for mask in self.masks.values())
        pruned = weights - sum(int(mask.count_nonzero()) for mask in self.masks.values())
        share = f", {pruned / weights:.1%} of their weights pruned" if weights else ""
        return f"{type(self).__name__}('{self.method}', {len(self.masks)} layers{share})"


def kernel_counts(mask: Tensor) -> dict[str, int]:
    """The different kernels of a mask (OC, IC, K_h, K_w) as patterns with how many there are, most frequent first."""
    kernels = (mask.flatten(2).flatten(0, 1) != 0).to(torch.uint8)
    counts = Counter("".join(map(str, kernel)) for kernel in kernels.tolist())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _layer_picture(mask: Tensor) -> str:
    if mask.dim() != 4:
        return f"{int(mask.count_nonzero())} of {mask.numel()} weights"
    # A pattern that all kernels of an input channel share is counted once for the channel.
    by_channel = bool((mask == mask[:1]).all())
    counts = kernel_counts(mask[:1] if by_channel else mask)
    drawn = [(number, kernel_rows(keep, mask.shape[3])) for keep, number in counts.items()]
    if len(drawn) == 1:
        return drawn[0][1]
    shown = [f"{number} x {picture}" for number, picture in drawn[:_SHOWN]]
    more = [f"{len(drawn) - _SHOWN} more patterns"] if len(drawn) > _SHOWN else []
    return f"{'channels' if by_channel else 'kernels'}: {', '.join(shown + more)}"


def kernel_rows(keep: str, width: int) -> str:
    """A pattern with its kernel rows side by side: ``... ### ###``."""
    shown = keep.replace("1", "#").replace("0", ".")
    return " ".join(shown[start : start + width] for start in range(0, len(shown), width))
