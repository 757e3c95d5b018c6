"""``bit-slice``: bit slices of fragments without a programmed cell, whose sums need no conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.pruning.bit_slices import SliceGrid
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.hooks import TrainingHook
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.methods.matrix import Share, share_kept, unroll
from pimsim.pruning.pim_prune import crossbar_of
from pimsim.pruning.plans import Masks, Projection, Weights
from pimsim.pruning.selection import chosen_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pimsim.pruning.recipe import Recipe


@dataclass(frozen=True)
class BitSlice(MaskMethod):
    """A share of the bit slices of fragments stays; all weights are rounded to the nearest codes without the others.

    A fragment is some neighbouring rows of one column of the unrolled matrix, what an operation unit of so many rows
    reads of it. Where zero is an empty cell (encoding ``differential``), `skip: slice` converts no empty slice. No
    weight is masked: small ones lose their lowest slice, fragments of small weights their highest ones.

    Attributes:
        keep: share of the (fragment, slice) pairs of each layer that may hold a bit.
        fragment: rows of a fragment: those of an operation unit.
        cell_bits: bits of a slice: those of a cell.
        array: rows and columns of an array, ``RxC``; only its rows matter, at which fragments start anew.
        exempt, layers: as for `pimsim.pruning.methods.matrix.MatrixMethod`.

    Reference:
        `pruning-blocks.md` 4, bit-level sparsity; the projection is ours ([INF]): the least squared error for a number
        of slices, where arXiv 1909.08496 draws slices to zero with an l1 penalty.
    """

    name: ClassVar[str] = "bit-slice"
    keep: Share = 0.5
    fragment: int = 8
    cell_bits: int = 2
    array: str = "128x128"
    exempt: str = "none"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        share_kept(self.keep)
        self.grid(2)

    @property
    def is_mask(self) -> bool:
        """No: weights change their values."""
        return False

    def grid(self, weight_bits: int) -> SliceGrid:
        """The slices and fragments of weights of so many bits. Raises `PruningError`."""
        return SliceGrid(weight_bits, self.cell_bits, self.fragment, crossbar_of(self.array).rows)

    def projection(self, network: nn.Module) -> Projection:
        """No masks. Raises `PruningError` for layers that the network does not have."""
        chosen_weights(network, self.layers, self.exempt)
        return _no_masks

    def training_hook(self, network: nn.Module, recipe: Recipe) -> TrainingHook:
        """Rounding to the slices that stay, after every epoch."""
        return BitSliceHook(self, tuple(chosen_weights(network, self.layers, self.exempt)))

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """What was kept, in words."""
        shown = (
            f"{share_kept(self.keep):.1%} of the slices of {self.cell_bits} bits in fragments of {self.fragment} rows"
        )
        return (f"at most {shown} hold a bit, in {', '.join(chosen_weights(network, self.layers, self.exempt))}",)


class BitSliceHook(TrainingHook):
    """Weights become, after every epoch, the nearest codes of which enough slices are empty.

    Args:
        method: says how many, and which cells.
        layers: names of the layers.
    """

    def __init__(self, method: BitSlice, layers: tuple[str, ...]) -> None:
        self._method, self._layers = method, layers

    def attached(self, network: nn.Module) -> None:
        """Refuses a quantizer whose codes have no zero, and bits that take too many slices."""
        for name in self._layers:
            quantizer = trained_layers(network)[name].quantizer
            self._method.grid(quantizer.weight_bits)
            if quantizer.quantizer != "symmetric":
                raise PruningError(
                    f"the quantizer '{quantizer.quantizer}' with the method 'bit-slice'",
                    "an empty slice needs codes with a zero",
                    fix="Use --weight-quantizer symmetric",
                )

    def changes_weights(self, epoch: int) -> bool:
        """After every epoch."""
        return True

    @torch.no_grad()
    def after_epoch(self, network: nn.Module, epoch: int) -> None:
        """The weights of every layer on the codes that stay."""
        for name in self._layers:
            layer = trained_layers(network)[name]
            grid, codes, steps = self._method.grid(layer.quantizer.weight_bits), _codes(layer), _steps(layer)
            # A column holds the same rows whatever its group, so that groups make no difference here.
            (matrix,) = unroll(codes)
            projected = grid.project(matrix.astype(np.int64), steps, share_kept(self._method.keep))
            kept = torch.from_numpy(projected.T.copy()).reshape(codes.shape).to(codes)
            layer.weight_orig.copy_(kept * layer.quantizer.weight_step)


def _codes(layer: Any) -> Tensor:
    """The integer weights as the quantizer rounds them."""
    top = 2 ** (layer.quantizer.weight_bits - 1) - 1
    codes: Tensor = torch.round(layer.weight_orig / layer.quantizer.weight_step).clamp(-top, top) * layer.weight_mask
    return codes


def _steps(layer: Any) -> NDArray[np.float64]:
    steps = layer.quantizer.weight_step.detach().double().flatten().cpu().numpy()
    return np.asarray(np.broadcast_to(steps, len(layer.weight_orig)))


def _no_masks(_: Weights) -> Mapping[str, Tensor]:
    return {}
