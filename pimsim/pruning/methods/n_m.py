"""``n-m``: of every M channels N stay, at positions that all output channels, or groups of them, share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pimsim.errors import PruningError
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.plans import Masks, Projection, Weights
from pimsim.pruning.selection import chosen_layers


@dataclass(frozen=True)
class SharedNOfM(MaskMethod):
    """N:M sparsity that an analogue array can use: rows go, the same ones for all its columns.

    The weights at one kernel position form groups of M consecutive input channels; of each group the N of largest L2
    norm over all output channels stay. A last group with fewer than M channels keeps up to N. With ``column_group``
    every so many neighbouring output channels have positions of their own: finer, but only arrays (or operation
    units) that are no wider than the group have a row less.

    Attributes:
        n_of_m: ``N:M``.
        column_group: output channels that share positions; None: all of them.
        layers: names of the layers; empty means the stride-1 3x3 convolutions with as many inputs as outputs.

    Reference:
        `pruning-blocks.md`, N:M sparsity: shared positions, for inputs are shared by all columns.
    """

    name: ClassVar[str] = "n-m"
    n_of_m: str = "2:4"
    column_group: int | None = None
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.numbers  # noqa: B018  refuses a wrong text
        if self.column_group is not None and self.column_group < 1:
            raise PruningError(f"column_group={self.column_group}", "a group has at least one output channel")

    @property
    def numbers(self) -> tuple[int, int]:
        """N and M. Raises `PruningError` for another text."""
        parts = self.n_of_m.split(":")
        if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
            kept, group = int(parts[0]), int(parts[1])
            if 1 <= kept <= group:
                return kept, group
        raise PruningError(f"n-of-m '{self.n_of_m}'", "of M channels 1 to M stay", fix="Write it like 2:4")

    def projection(self, network: nn.Module) -> Projection:
        """The strongest channels of each group of the weights at hand."""
        return partial(self._masks, chosen_layers(network, self.layers))

    def _masks(self, layers: Mapping[str, nn.Conv2d], weights: Weights) -> Masks:
        return {name: self._mask(weights[name]) for name in layers}

    def _mask(self, weight: Tensor) -> Tensor:
        return torch.cat([self._shared(part) for part in torch.split(weight, self.column_group or len(weight))])

    def _shared(self, weight: Tensor) -> Tensor:
        """The mask of output channels that share positions."""
        kept, group = self.numbers
        channels = weight.shape[1]
        energies = weight.detach().double().square().sum(dim=0).flatten(1).T
        # Channels that do not exist are weaker than any.
        padded = functional.pad(energies, (0, -channels % group), value=-1.0).reshape(len(energies), -1, group)
        order = torch.sort(padded, dim=2, descending=True, stable=True).indices
        mask = torch.zeros_like(padded).scatter(2, order[:, :, :kept], 1.0)
        rows = mask.flatten(1)[:, :channels].T.reshape(1, *weight.shape[1:])
        return rows.to(weight).expand_as(weight).clone()
