"""What the methods have in common that are told how many crossbar rows to skip."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.pruning.mapped_rows import mapped_rows, rows_freed
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.methods.pairs import pattern_set
from pimsim.pruning.plans import Masks, Projection, Weights
from pimsim.pruning.selection import chosen_layers, kernel_size
from pimsim.pruning.windows import Window, Windows

if TYPE_CHECKING:
    from pimsim.pruning.mapped_rows import Touches


@dataclass(frozen=True)
class LayerBudget:
    """One layer and the rows that it shall skip.

    Attributes:
        layer: the convolution.
        window: its parallel window (P_h, P_w).
        target: rows to skip.
    """

    layer: nn.Conv2d
    window: Window
    target: int

    @property
    def steps(self) -> tuple[Window, Window]:
        """Stride and dilation of the layer."""
        return (self.layer.stride[0], self.layer.stride[1]), (self.layer.dilation[0], self.layer.dilation[1])

    @property
    def touches(self) -> Touches:
        """Which kernel position meets which row: `mapped_rows`."""
        return mapped_rows(kernel_size(self.layer), self.window, *self.steps)

    def gain(self, keep: str) -> int:
        """Rows that one channel skips with a pattern."""
        height, width = kernel_size(self.layer)
        return rows_freed(torch.tensor([int(digit) for digit in keep]).reshape(1, 1, height, width), self.touches)

    def patterns(self, entries: int) -> tuple[str, ...]:
        """The patterns of some entries that free most rows."""
        return pattern_set(self.layer, entries, self.window)


@dataclass(frozen=True)
class RowBudgetMethod(MaskMethod):
    """A method that skips a given number of rows in each layer; a subclass says which.

    Attributes:
        entries: each layer skips as many rows as PAIRS with this many entries; where ``rows`` is not given.
        rows: budget for one layer of each width together, shared out in proportion to the input channels: a layer
            of a network with 16, 32 and 64 channels gets floor(rows / 7), floor(2 rows / 7) or floor(4 rows / 7).
        windows: parallel windows of the layers, from a mapper.
        layers: names of the layers; empty means the stride-1 3x3 convolutions with as many inputs as outputs.

    Reference:
        `pruning-sdk.md` 8, step 2: the fixed and the variable targets of GAROS.
    """

    entries: int = 6
    rows: int | None = None
    windows: Windows | None = None
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 0:
            raise PruningError(f"rows={self.rows}", "the number of rows to skip is 0 or more")

    @abstractmethod
    def layer_mask(self, weight: Tensor, budget: LayerBudget) -> Tensor:
        """The mask of one layer. Raises `PruningError` for a target that cannot be met."""

    def budgets(self, network: nn.Module) -> dict[str, LayerBudget]:
        """The rows that every layer shall skip.

        Raises:
            PruningError: no windows, or layers that are none.
        """
        if self.windows is None:
            rule = "how many rows a weight occupies follows from the parallel window"
            raise PruningError(f"the method '{self.name}' without an array", rule, fix="Give --array 512x256")
        chosen = chosen_layers(network, self.layers)
        targets = self._shares(chosen)
        return {name: self._budget(name, layer, targets.get(name)) for name, layer in chosen.items()}

    def projection(self, network: nn.Module) -> Projection:
        """The masks of the weights at hand; the budgets stay those of the network."""
        return partial(self._masks, self.budgets(network))

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """The rows of each layer."""
        return tuple(
            f"{name}: {rows_freed(masks[name], b.touches)} of {len(b.touches) * b.layer.in_channels} rows skipped "
            f"in windows of {b.window[0]}x{b.window[1]}, {b.target} asked for"
            for name, b in self.budgets(network).items()
        )

    def _masks(self, budgets: Mapping[str, LayerBudget], weights: Weights) -> Masks:
        return {name: self.layer_mask(weights[name], budget) for name, budget in budgets.items()}

    def _shares(self, layers: Mapping[str, nn.Conv2d]) -> dict[str, int]:
        if self.rows is None:
            return {}
        total = sum({layer.in_channels for layer in layers.values()})
        return {name: self.rows * layer.in_channels // total for name, layer in layers.items()}

    def _budget(self, name: str, layer: nn.Conv2d, target: int | None) -> LayerBudget:
        assert self.windows is not None
        budget = LayerBudget(layer, self.windows.of(name), 0)
        if target is None:
            target = layer.in_channels * budget.gain(budget.patterns(self.entries)[0])
        if target > layer.in_channels * len(budget.touches):
            rule = f"the layer has {layer.in_channels * len(budget.touches)} rows"
            raise PruningError(f"{target} rows to skip", rule, name)
        return LayerBudget(layer, budget.window, target)


def channel_mask(kept: Tensor, weight: Tensor) -> Tensor:
    """The mask of a weight (OC, IC, K_h, K_w) in which all kernels of an input channel keep ``kept`` (IC, K_h K_w)."""
    shape = (1, *weight.shape[1:])
    return torch.as_tensor(kept, dtype=weight.dtype, device=weight.device).reshape(shape).expand_as(weight).clone()
