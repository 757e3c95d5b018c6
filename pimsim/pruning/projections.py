"""The nearest weight whose kernels have the positions of one of several patterns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from pimsim.errors import PruningError, nearest
from pimsim.pruning.plans import Masks, Weights

#: What shares one pattern, and the axes of (OC, IC) over which its energy is summed.
DIMENSIONS: Mapping[str, tuple[int, ...]] = MappingProxyType({"kernel": (), "channel": (0,), "layer": (0, 1)})


@dataclass(frozen=True)
class PatternProjection:
    """Each kernel, input channel or layer keeps the pattern of its set that holds most energy.

    Attributes:
        sets: layer name to candidate patterns, the first of equally good ones wins.
        dimension: a key of `DIMENSIONS`.
        connectivity: one in so many kernels stays, those of the largest L2 norm; 1 keeps all.

    Reference:
        `pruning-sdk.md` 4 and 11: Z is the projection of W on the pattern set, Y that on the connectivity.
    """

    sets: Mapping[str, tuple[str, ...]]
    dimension: str = "layer"
    connectivity: float = 1.0

    def __call__(self, weights: Weights) -> Masks:
        """Masks of the layers with a set."""
        return {
            name: strongest_patterns(weights[name], candidates, self.dimension)
            * strongest_kernels(weights[name], self.connectivity)
            for name, candidates in self.sets.items()
        }


@dataclass(frozen=True)
class ConnectivityProjection:
    """The strongest kernels of some layers stay.

    Attributes:
        layers: their names.
        connectivity: one in so many kernels stays.
    """

    layers: tuple[str, ...]
    connectivity: float

    def __call__(self, weights: Weights) -> Masks:
        """Masks of the layers."""
        return {
            name: strongest_kernels(weights[name], self.connectivity).expand_as(weights[name]).clone()
            for name in self.layers
        }


def check_dimension(dimension: str) -> None:
    """Raises `PruningError` for a dimension that does not exist."""
    if dimension not in DIMENSIONS:
        raise PruningError(f"pattern dimension {dimension!r}", "unknown dimension", fix=nearest(dimension, DIMENSIONS))


def strongest_patterns(weight: Tensor, candidates: Sequence[str], dimension: str = "layer") -> Tensor:
    """The mask of a weight (OC, IC, K_h, K_w) whose units keep the candidate of the largest L2 norm.

    A unit is a kernel, all kernels of an input channel, or the whole layer; the first of equal candidates wins.
    """
    energy = weight.detach().double().square().flatten(2).cpu().numpy()
    axes = DIMENSIONS[dimension]
    units = energy.sum(axis=axes, keepdims=True) if axes else energy
    taps = np.array([[int(digit) for digit in keep] for keep in candidates], dtype=np.float64)
    # numpy's argmax is that of the first maximum; torch does not promise it.
    choice = (units @ taps.T).argmax(axis=2)
    mask = np.broadcast_to(taps[choice], energy.shape).reshape(weight.shape)
    return torch.from_numpy(mask.copy()).to(weight)


def strongest_kernels(weight: Tensor, connectivity: float) -> Tensor:
    """The mask (OC, IC, 1, 1) that keeps ceil(OC IC / connectivity) kernels, those of the largest L2 norm.

    Of equal norms the first kernels stay, row-major.
    """
    norms = weight.detach().double().square().sum(dim=(2, 3))
    count = math.ceil(norms.numel() / connectivity)
    order = torch.sort(norms.flatten(), descending=True, stable=True).indices
    mask = torch.zeros(norms.numel(), dtype=weight.dtype, device=weight.device)
    mask[order[:count]] = 1
    return mask.reshape(*norms.shape, 1, 1)
