"""Training for PRAP-PIM: two regularisers, and hard projections now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.pruning.admm import apply_masks
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.hooks import TrainingHook
from pimsim.pruning.prap.groups import PatternGrid
from pimsim.pruning.prap.layers import LayerPatterns
from pimsim.pruning.prap.reuse import Reuse
from pimsim.pruning.prap.scales import FRACTION_BITS, fine_codes
from pimsim.pruning.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

# In the reuse penalty a pattern that is mapped to zero counts with this factor.
_ZERO_FACTOR = 1 / (1 << FRACTION_BITS)


@dataclass(frozen=True)
class PrapSchedule:
    """When weights are projected, and how strongly they are drawn in between.

    Attributes:
        project: epochs, counted from 1, after which weights are projected; the last is added.
        epochs: epochs of the run.
        mask_penalty, reuse_penalty: lambda 1 and lambda 2.

    Raises:
        PruningError: an epoch that the run does not have.
    """

    project: tuple[int, ...]
    epochs: int
    mask_penalty: float
    reuse_penalty: float

    def __post_init__(self) -> None:
        for epoch in self.project:
            if not 1 <= epoch <= self.epochs:
                raise PruningError(f"project {epoch}", f"weights are projected after an epoch from 1 to {self.epochs}")

    def projects(self, epoch: int) -> bool:
        """Whether weights are projected after an epoch, counted from 0."""
        return epoch + 1 == self.epochs or epoch + 1 in self.project


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The patterns of one layer: which weights stay, and which pattern stands for which."""

    mask: NDArray[np.bool_]
    reuse: Reuse | None


class PrapHook(TrainingHook):
    """Loss + lambda_1 / 2 sum ||w - m w||^2 + lambda_2 sum ||(1/s)(w - w')||^2, and w = w', w = m w at some epochs.

    w' is s times the current kept pattern, rounded to its bits, renewed every epoch; masks m and scales s are chosen
    once. A pattern that is mapped to zero counts with the factor 1/256. A layer with reuse sees its weights on
    the fine grid of 8 fraction bits, so that the projected weights are exactly what is trained and stored.

    Args:
        layers: what to do with each layer.
        schedule: when, and how strongly.
        recipe: gives the largest learning rate, for a penalty that would diverge is refused.

    Reference:
        `pruning-blocks.md` 3.5.
    """

    def __init__(self, layers: Mapping[str, LayerPatterns], schedule: PrapSchedule, recipe: Recipe) -> None:
        self._layers, self._schedule, self._recipe = layers, schedule, recipe
        self._rate_checked = False
        self._chosen: dict[str, _Chosen] = {}
        self._targets: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    @property
    def phase(self) -> str:
        """Epochs with patterns."""
        return "prap" if self._chosen else ""

    def attached(self, network: nn.Module) -> None:
        """Layers whose patterns are reused get one step for all weights, which is not learned."""
        for name, layer in self._layers.items():
            if layer.has_reuse:
                own = trained_layers(network)[name]
                if own.quantizer.quantizer != "symmetric":
                    raise PruningError(
                        f"the quantizer '{own.quantizer.quantizer}' with the mode '{layer.mode.name}'",
                        "shifted copies need a grid with a zero", fix="Use --weight-quantizer symmetric",
                    )  # fmt: skip
                fraction = FRACTION_BITS if layer.mode.reuse == "similar" else 0
                own.quantizer.fix_weight_step(layer.weight_bits + fraction)
                self._set_step(own, fine_codes(_numbers(own), layer.weight_bits, fraction)[1])

    def before_epoch(self, network: nn.Module, epoch: int) -> None:
        """Patterns are chosen once; targets follow the weights every epoch."""
        layers = trained_layers(network)
        if epoch == 0:
            self._chosen = {name: _choose(layer, _numbers(layers[name])) for name, layer in self._layers.items()}
        self._targets = {name: self._target(layers[name], chosen) for name, chosen in self._chosen.items()}

    def penalty(self, network: nn.Module) -> Tensor | None:
        """Both regularisers. Raises `PruningError` for a learning rate with which they diverge."""
        if not self._rate_checked:
            self._check_rate()
            self._rate_checked = True
        layers = trained_layers(network)
        terms = []
        for name, (gone, target, factor) in self._targets.items():
            weight = layers[name].weight_orig
            terms.append(self._schedule.mask_penalty / 2 * (gone * weight).square().sum())
            if self._chosen[name].reuse is not None:
                terms.append(self._schedule.reuse_penalty * (factor * (weight - target)).square().sum())
        return torch.stack(terms).sum() if terms else None

    def changes_weights(self, epoch: int) -> bool:
        """Whether this is an epoch of a projection."""
        return self._schedule.projects(epoch)

    @torch.no_grad()
    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """A projection where one is due; after the last the masks stay on the layers."""
        if not self._schedule.projects(epoch):
            return
        layers = trained_layers(network)
        for name, chosen in self._chosen.items():
            weight = layers[name].weight_orig
            if chosen.reuse is not None:
                step = self._renew_step(layers[name], chosen.reuse)
                weight.copy_(torch.from_numpy(chosen.reuse.project(_numbers(layers[name]), step)).to(weight))
            weight.mul_(_like(chosen.mask, weight))
        if epoch + 1 == self._schedule.epochs:
            apply_masks(network, {n: _like(c.mask, layers[n].weight_orig) for n, c in self._chosen.items()})

    def state(self) -> dict[str, Any]:
        """The patterns that were chosen."""
        return {name: _state(chosen) for name, chosen in self._chosen.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self._chosen = {name: _loaded(values, self._layers[name]) for name, values in state.items()}

    def _target(self, layer: Any, chosen: _Chosen) -> tuple[Tensor, Tensor, Tensor]:
        """What is pruned, the projected weight, and the factor of the distance from it; all like the weight."""
        weight = layer.weight_orig
        gone = _like(~chosen.mask, weight)
        if chosen.reuse is None:
            return gone, weight, weight
        step = self._renew_step(layer, chosen.reuse)
        factors = np.where(chosen.reuse.scale > 0, 1 / np.maximum(chosen.reuse.scale, _ZERO_FACTOR), _ZERO_FACTOR)
        grid = chosen.reuse.grid
        shape = grid.split(chosen.mask).shape
        factor = grid.join(np.broadcast_to(factors[:, :, None, None], shape), np.ones(grid.shape))
        return gone, _like(chosen.reuse.project(_numbers(layer), step), weight), _like(factor, weight)

    def _renew_step(self, layer: Any, reuse: Reuse) -> float:
        return self._set_step(layer, fine_codes(_numbers(layer), reuse.weight_bits, reuse.fraction_bits)[1])

    def _set_step(self, layer: Any, step: float) -> float:
        """The step of a layer in single precision, as it is trained and stored."""
        with torch.no_grad():
            layer.quantizer.weight_step.fill_(step)
        return float(layer.quantizer.weight_step)

    def _check_rate(self) -> None:
        """Raises `PruningError` where momentum SGD on the reuse penalty diverges: lr 2 lambda / s^2 > 2 (1 + m)."""
        scales = [chosen.reuse.scale for chosen in self._chosen.values() if chosen.reuse is not None]
        least = min((float(s[s > 0].min(initial=1.0)) for s in scales), default=1.0)
        curvature = 2 * self._schedule.reuse_penalty / least**2
        bound = 2 * (1 + self._recipe.momentum) / curvature if curvature else np.inf
        if self._recipe.optimizer == "sgd" and self._recipe.lr > bound:
            raise PruningError(
                f"a learning rate of {self._recipe.lr:g} with reuse_penalty={self._schedule.reuse_penalty:g}",
                f"a pattern of scale 1/{1 / least:g} is drawn too fast: training would diverge",
                fix=f"Use --lr {bound:.2g} or less, or a smaller --reuse-penalty",
            )


def _choose(layer: LayerPatterns, weight: NDArray[np.float64]) -> _Chosen:
    mask = layer.pruned(weight)
    reuse = layer.reuse(weight, mask)
    return _Chosen(mask if reuse is None else reuse.mask, reuse)


def _numbers(layer: Any) -> NDArray[np.float64]:
    values: NDArray[np.float64] = layer.weight_orig.detach().double().cpu().numpy()
    return values


def _like(values: NDArray[Any], weight: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(weight)


def _state(chosen: _Chosen) -> dict[str, Any]:
    state: dict[str, Any] = {"mask": torch.from_numpy(chosen.mask.copy())}
    if chosen.reuse is not None:
        reuse = chosen.reuse
        state |= {"source": torch.from_numpy(reuse.source), "scale": torch.from_numpy(reuse.scale)}
        state |= {"group": reuse.grid.group, "fraction_bits": reuse.fraction_bits}
    return state


def _loaded(values: dict[str, Any], layer: LayerPatterns) -> _Chosen:
    mask = values["mask"].cpu().numpy().astype(np.bool_)
    if "source" not in values:
        return _Chosen(mask, None)
    grid = PatternGrid(mask.shape, values["group"])
    source, scale = (values[name].cpu().numpy() for name in ("source", "scale"))
    return _Chosen(mask, Reuse(grid, source, scale, mask, values["fraction_bits"], layer.weight_bits))
