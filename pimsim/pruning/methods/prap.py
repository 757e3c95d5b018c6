"""``prap``: PRAP-PIM and the methods that it was compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from pimsim.errors import PruningError, nearest
from pimsim.pruning.fake_quantization import WeightLayer, weight_layers
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.plans import Masks, Projection, Weights
from pimsim.pruning.prap.groups import group_of
from pimsim.pruning.prap.layers import LayerPatterns
from pimsim.pruning.prap.modes import prap_mode
from pimsim.pruning.prap.reuse import Reuse
from pimsim.pruning.prap_training import PrapHook, PrapSchedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pimsim.pruning.recipe import Recipe

#: Kept positions of a K x K kernel, keep ratio of similar reuse, threshold of identical reuse when none are given.
_KEPT, _SIMILAR, _IDENTICAL = 4.0, 0.5, 0.6
#: What structured pruning and ORC keep when nothing else is said (`pruning-blocks.md` 3.8).
_SHARES: MappingProxyType[str, float] = MappingProxyType({"structure": 0.65, "orc": 0.2})


@dataclass(frozen=True)
class Prap(MaskMethod):
    """Patterns of at most eight shapes a channel group, most of them shifted copies of others.

    Shapes and reuse are chosen once, from the network as it is given.

    Attributes:
        mode: a name of `pimsim.pruning.prap.MODES`.
        shapes: kept positions p of each kernel, one for all layers or one for each, in their order; empty: 4. With one
            for all, 1x1 and linear layers keep everything; in a list they have 1, 0.5 (8 of 16 inputs) or 0.25.
        targets: share of the patterns that is kept (``similar``) or the threshold (``identical``), one for all layers
            or one for each; 1 leaves a layer alone. Empty: 0.5 and 0.6.
        share: what ``structure`` and ``orc`` keep; None: 0.65 of the channels, 0.2 of the weights.
        project: epochs after which weights are projected, counted from 1; the last always is one of them.
        mask_penalty, reuse_penalty: lambda 1 and lambda 2 of the regularisers.
        layers: names of the layers; empty: convolutions of one group and linear layers, but the first and the last.
        weight_bits: bits of a kept pattern: those of the run.

    Reference:
        `pruning-blocks.md` 3; the defaults are ours ([INF]), the published lists are for VGG-16, ResNet-18 and WRN.
    """

    name: ClassVar[str] = "prap"
    mode: str = "shape+similar"
    shapes: tuple[float, ...] = ()
    targets: tuple[float, ...] = ()
    share: float | None = None
    project: tuple[int, ...] = ()
    mask_penalty: float = 1e-3
    reuse_penalty: float = 1e-3
    layers: tuple[str, ...] = ()
    weight_bits: int = 8

    def __post_init__(self) -> None:
        mode = prap_mode(self.mode)
        self._refuse(self.shapes and mode.pruning != "shape", "shapes", "has no shapes")
        self._refuse(self.targets and not mode.reuse, "targets", "reuses no pattern")
        self._refuse(self.share is not None and mode.pruning not in _SHARES, "share", "prunes no share")
        if self.share is not None and not 0 < self.share <= 1:
            raise PruningError(f"share={self.share}", "the share that is kept is more than 0 and at most 1")
        lowest = 0 if mode.reuse == "identical" else 1e-9
        if not all(lowest <= target <= 1 for target in self.targets):
            raise PruningError(f"targets={self.targets}", "a share of patterns is more than 0 and at most 1")
        if min(self.mask_penalty, self.reuse_penalty) < 0:
            given = f"mask_penalty={self.mask_penalty}, reuse_penalty={self.reuse_penalty}"
            raise PruningError(given, "a penalty is 0 or more")
        if mode.reuse and not 2 <= self.weight_bits <= 8:
            raise PruningError(f"weight_bits={self.weight_bits}", "patterns of 2 to 8 bits can be reused")

    def projection(self, network: nn.Module) -> Projection:
        """The masks of shapes and reuse for the weights at hand."""
        return partial(self._masks, self.chosen(network))

    def training_hook(self, network: nn.Module, recipe: Recipe) -> PrapHook:
        """Both regularisers, and projections. Raises `PruningError` for epochs that the run does not have."""
        schedule = PrapSchedule(self.project, recipe.epochs, self.mask_penalty, self.reuse_penalty)
        return PrapHook(self.chosen(network), schedule, recipe)

    @property
    def is_mask(self) -> bool:
        """Whether no pattern repeats another, for copies take new values."""
        return not prap_mode(self.mode).reuse

    def new_grids(self, network: nn.Module) -> tuple[str, ...]:
        """Layers whose patterns are reused: one grid for all their outputs."""
        return tuple(name for name, layer in self.chosen(network).items() if layer.has_reuse)

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """The patterns of each layer."""
        layers = weight_layers(network)
        return tuple(
            f"{name}: {self._note(layer, _numbers(layers[name]))}" for name, layer in self.chosen(network).items()
        )

    def chosen(self, network: nn.Module) -> dict[str, LayerPatterns]:
        """The layers by name, each with what is asked of it. Raises `PruningError`."""
        mode, layers = prap_mode(self.mode), self._layers(network)
        count = len(layers)
        kept = _each("shapes", self.shapes or (_KEPT,), count)
        targets = _each("targets", self.targets or (_SIMILAR if mode.reuse == "similar" else _IDENTICAL,), count)
        share = self.share if self.share is not None else _SHARES.get(mode.pruning, 1.0)
        found = {}
        for (name, layer), p, target in zip(layers.items(), kept, targets, strict=True):
            positions = layer.weight[0, 0].numel()
            if len(self.shapes) < 2 and positions == 1:
                p = 1.0
            if mode.pruning == "shape":
                group_of(p, positions, name)
            found[name] = LayerPatterns(mode, p, target, share, self.weight_bits)
        return found

    def _layers(self, network: nn.Module) -> dict[str, WeightLayer]:
        layers = weight_layers(network)
        for name in self.layers:
            if name not in layers or getattr(layers[name], "groups", 1) > 1:
                raise PruningError(
                    f"layer {name!r}", "must name a convolution of one group or a linear layer",
                    fix=nearest(name, layers),
                )  # fmt: skip
        inner = [n for n in list(layers)[1:-1] if getattr(layers[n], "groups", 1) == 1]
        wanted = self.layers or inner
        if not wanted:
            raise PruningError(
                f"a network of {len(layers)} layers", "the first and the last are left alone", fix="Name the layers"
            )
        return {name: layer for name, layer in layers.items() if name in wanted}

    def _masks(self, layers: Mapping[str, LayerPatterns], weights: Weights) -> Masks:
        return {name: _mask(layer, weights[name]) for name, layer in layers.items()}

    def _note(self, layer: LayerPatterns, weight: NDArray[np.float64]) -> str:
        mask = layer.pruned(weight)
        words = [f"{layer.mode.name}"]
        if layer.mode.pruning == "shape":
            words.append(f"{layer.kept_positions:g} positions in groups of {layer.group(weight)} channels")
        elif layer.mode.pruning:
            words.append(f"{mask.mean():.1%} of the weights kept")
        reuse = layer.reuse(weight, mask)
        return ", ".join([*words, *([_reuse_note(reuse)] if reuse else [])])

    def _refuse(self, given: object, option: str, why: str) -> None:
        if given:
            raise PruningError(
                f"{option}={getattr(self, option)} with the mode '{self.mode}'", f"that mode {why}",
                fix=f"Leave --{option} out",
            )  # fmt: skip


def _each(option: str, values: tuple[float, ...], count: int) -> tuple[float, ...]:
    if len(values) not in (1, count):
        raise PruningError(
            f"{len(values)} {option} for {count} layers", "one for all layers, or one for each in network order",
            fix="--layers names the layers to prune",
        )  # fmt: skip
    return values * count if len(values) == 1 else values


def _mask(layer: LayerPatterns, weight: Tensor) -> Tensor:
    values = weight.detach().double().cpu().numpy()
    mask = layer.pruned(values)
    reuse = layer.reuse(values, mask)
    return torch.from_numpy(mask if reuse is None else reuse.mask).to(weight)


def _numbers(layer: WeightLayer) -> NDArray[np.float64]:
    values: NDArray[np.float64] = getattr(layer, "weight_orig", layer.weight).detach().double().cpu().numpy()
    return values


def _reuse_note(reuse: Reuse) -> str:
    scales = ", ".join(f"{name}: {count}" for name, count in reuse.statistics.items() if count)
    return f"{reuse.keep_ratio:.4f} of the patterns kept; scales of the others {scales or 'none'}"
