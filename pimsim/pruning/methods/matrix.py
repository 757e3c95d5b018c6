"""What the methods have in common that prune the unrolled weight matrix of every layer, as arrays hold it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.pim_prune import share_of
from pimsim.pruning.plans import Masks, Projection, Weights
from pimsim.pruning.selection import chosen_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Mask = NDArray[np.bool_]

#: Share of what is kept, as a number or as the command line gives it.
Share = float | str | tuple[str, ...]


@dataclass(frozen=True)
class MatrixMethod(MaskMethod):
    """A method on the matrix (H, M) of each layer, one for each group of a grouped convolution.

    Attributes:
        exempt: layers that stay dense, one of `pimsim.pruning.selection.EXEMPTIONS`.
        layers: names of the layers; empty means all convolutions and linear layers but the exempt ones.
    """

    exempt: str = "none"
    layers: tuple[str, ...] = ()

    @abstractmethod
    def matrix_masks(self, matrices: Mapping[str, Sequence[Matrix]]) -> Mapping[str, Sequence[Mask]]:
        """Which weights stay in the matrices of each layer, float64 (H, M) to bool (H, M)."""

    def projection(self, network: nn.Module) -> Projection:
        """The masks of the weights at hand."""
        chosen = chosen_weights(network, self.layers, self.exempt)
        return partial(self._masks, {name: getattr(layer, "groups", 1) for name, layer in chosen.items()})

    def _masks(self, groups: Mapping[str, int], weights: Weights) -> Masks:
        masks = self.matrix_masks({name: unroll(weights[name], count) for name, count in groups.items()})
        return {name: roll(parts, weights[name]) for name, parts in masks.items()}


def unroll(weight: Tensor, groups: int = 1) -> list[Matrix]:
    """The matrix (H, M) of each group: rows ic * K_h * K_w + k_y * K_w + k_x, columns output channels."""
    whole = weight.detach().double().cpu().numpy().reshape(groups, len(weight) // groups, -1)
    return [part.T for part in whole]


def roll(masks: Sequence[Mask], weight: Tensor) -> Tensor:
    """The masks (H, M) of all groups as one, shaped like the weight."""
    together = np.concatenate([mask.T for mask in masks]).astype(np.float64)
    return torch.from_numpy(together).reshape(weight.shape).to(weight)


def share_kept(keep: Share) -> float:
    """The share that one value of ``keep`` says. Raises `PruningError` for several or none, or for another text."""
    if not isinstance(keep, tuple):
        return share_of(keep)
    if len(keep) != 1:
        raise PruningError(f"{len(keep)} values of keep", "one share is kept", fix="Give --keep 0.25")
    return share_of(keep[0])


def keep_strongest(energies: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """The ``count`` largest along the last axis; of equal ones the first."""
    order = np.argsort(-energies, axis=-1, kind="stable")
    kept = np.zeros(energies.shape, dtype=np.bool_)
    np.put_along_axis(kept, order[..., :count], True, axis=-1)
    return kept
