"""``pim-prune``: segments of the unrolled matrix that fit the rows or the columns of an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from pimsim.errors import PruningError, nearest
from pimsim.pruning.methods.matrix import MatrixMethod, Share, share_kept, unroll
from pimsim.pruning.pim_prune import MODES, Crossbar, Pack, crossbar_of, pack, pack_mask, pack_together
from pimsim.pruning.plans import Masks
from pimsim.pruning.selection import chosen_weights

if TYPE_CHECKING:
    from pimsim.pruning.methods.matrix import Mask, Matrix

#: ``layer``: the same share of every layer; ``network``: the weakest segments of all layers, by norm per weight.
SCOPES = ("layer", "network")


@dataclass(frozen=True)
class PimPrune(MatrixMethod):
    """The strongest block-row or block-column segments of every layer, refilled to whole arrays.

    `pimsim run --skip block --pack layer` places exactly the arrays that the card counts, on im2col.

    Attributes:
        array: rows and columns of an array, ``RxC``.
        columns_per_weight: columns of a weight.
        keep: share of the segments that stays.
        mode: one of `pimsim.pruning.pim_prune.MODES`; ``best`` chooses for each layer.
        fill_up: un-prune segments while that costs no array.
        scope: one of `SCOPES`: what segments are ranked with.

    Reference:
        `pruning-blocks.md` 1.2 [INF], a reconstruction of C. Chu et al., DAC 2020.
    """

    name: ClassVar[str] = "pim-prune"
    array: str = "128x128"
    columns_per_weight: int = 1
    keep: Share = 0.5
    mode: str = "best"
    fill_up: bool = True
    scope: str = "layer"

    def __post_init__(self) -> None:
        self.crossbar  # noqa: B018  refuses what is no array
        for kind, value, known in (("mode", self.mode, MODES), ("scope", self.scope, SCOPES)):
            if value not in known:
                raise PruningError(f"{kind} '{value}'", f"unknown {kind}", fix=nearest(value, known))
        if share_kept(self.keep) == 0:
            raise PruningError("keep=0", "a layer needs a weight", fix="Keep more than 0")
        if self.mode == "both" and self.scope == "network":
            raise PruningError("mode 'both' with scope 'network'", "its second phase works on one layer")

    @property
    def crossbar(self) -> Crossbar:
        """The array. Raises `PruningError` for another text."""
        return crossbar_of(self.array, self.columns_per_weight)

    def matrix_masks(self, matrices: Mapping[str, Sequence[Matrix]]) -> Mapping[str, Sequence[Mask]]:
        """The segments that stay."""
        if self.scope == "layer":
            return {name: [one.mask for one in self._layer(parts)] for name, parts in matrices.items()}
        return self._over_the_network(matrices)

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """Arrays and index bits of every layer, and the compression of the network."""
        groups = {
            n: getattr(layer, "groups", 1) for n, layer in chosen_weights(network, self.layers, self.exempt).items()
        }
        lines, dense, used = [], 0, 0
        for name, mask in masks.items():
            packs = self._packs_of([part > 0 for part in unroll(mask, groups[name])])
            arrays, before = sum(p.occupied_arrays for p in packs), sum(p.dense_arrays for p in packs)
            bits = sum(p.index_bits for p in packs)
            lines.append(f"{name}: {arrays} of {before} arrays by {packs[0].mode}s, index of {bits:,} bits")
            dense, used = dense + before, used + arrays
        rate = f"{dense / used:.2f}" if used else "infinite"
        return (*lines, f"{self.array}: {used} of {dense} arrays, crossbar compression {rate}")

    def _layer(self, parts: Sequence[Matrix]) -> tuple[Pack, ...]:
        """The matrices of one layer, ranked together."""
        share = share_kept(self.keep)
        if self.mode == "both":
            array = self.crossbar
            shape, width = (array.rows, array.columns), array.columns_per_weight
            return tuple(
                pack(part, shape, share, "both", columns_per_weight=width, fill_up=self.fill_up) for part in parts
            )
        return _fewest([pack_together(parts, self.crossbar, share, mode, self.fill_up) for mode in self._modes])

    @property
    def _modes(self) -> tuple[str, ...]:
        return ("row", "column") if self.mode == "best" else (self.mode,)

    def _packs_of(self, parts: Sequence[Mask]) -> tuple[Pack, ...]:
        """The arrays of a layer with a mask; of ``both`` those that rows or columns alone leave."""
        modes = ("row", "column") if self.mode == "both" else self._modes
        return _fewest([tuple(pack_mask(part, self.crossbar, mode) for part in parts) for mode in modes])

    def _over_the_network(self, matrices: Mapping[str, Sequence[Matrix]]) -> Mapping[str, Sequence[Mask]]:
        every = [part for parts in matrices.values() for part in parts]
        share = share_kept(self.keep)
        ranked = [
            pack_together(every, self.crossbar, share, mode, self.fill_up, normalise=True) for mode in self._modes
        ]
        masks: dict[str, list[Mask]] = {}
        first = 0
        for name, parts in matrices.items():
            here = slice(first, first + len(parts))
            masks[name] = [one.mask for one in _fewest([packs[here] for packs in ranked])]
            first = here.stop
        return masks


def _fewest(choices: Sequence[tuple[Pack, ...]]) -> tuple[Pack, ...]:
    """The choice for a layer with the fewest arrays, then index bits; the first of equal ones."""
    return min(choices, key=lambda packs: (sum(p.occupied_arrays for p in packs), sum(p.index_bits for p in packs)))
