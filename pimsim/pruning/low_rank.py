"""Low-rank factors of convolutions: the ``low-rank`` method, and its arithmetic on one weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from pimsim.errors import PruningError, nearest
from pimsim.network.phase_conv import PhaseConv2d
from pimsim.network.rewrites import EXPAND, REDUCE, low_rank_record
from pimsim.pruning.trained import Round, TrainedNetwork

#: Share of the singular values that goes to the second factor: half balances the ranges of both for quantization.
_BALANCE = 0.5


@dataclass(frozen=True)
class Factors:
    """A weight W (OC, IC, K_h, K_w) as two convolutions one after the other.

    Attributes:
        reduce: (groups * rank, IC / groups, K_h, K_w), a convolution with ``groups`` groups.
        expand: (OC, groups * rank, 1, 1).
        error: Frobenius norm of W minus the product of the factors.
    """

    reduce: Tensor
    expand: Tensor
    error: float


def factorise(weight: Tensor, rank: int, groups: int = 1) -> Factors:
    """The best factors of rank ``rank`` for each of ``groups`` blocks of input channels, by truncated SVD in float64.

    W is unrolled to OC x (IC K_h K_w), row-major over input channel and kernel position, and split by columns:
    W = [W_1 ... W_g], W_i ~ L_i R_i. The R_i are the groups of the first convolution, [L_1 ... L_g] is the second.

    Raises:
        PruningError: groups that do not divide the input channels, or a rank larger than that of a block.

    Reference:
        K. E. Jeon, J. Rhe, J. H. Ko, "Low-Rank Compression for IMC Arrays", DATE 2025, arXiv 2502.07820;
        Eckart and Young 1936: the error is sqrt(sum of the squared singular values left out).
    """
    channels, inputs, *kernel = weight.shape
    _check_blocks(rank, groups, (channels, inputs, kernel[0] * kernel[1]))
    blocks = weight.detach().double().reshape(channels, groups, -1).transpose(0, 1)
    left, values, right = torch.linalg.svd(blocks, full_matrices=False)
    kept = values[:, :rank]
    # (g, OC, k) and (g, k, columns of a block)
    lefts, rights = left[:, :, :rank] * kept[:, None] ** _BALANCE, right[:, :rank] * kept[:, :, None] ** (1 - _BALANCE)
    return Factors(
        rights.reshape(groups * rank, inputs // groups, *kernel).to(weight.dtype).contiguous(),
        lefts.transpose(0, 1).reshape(channels, groups * rank, 1, 1).to(weight.dtype).contiguous(),
        float(values[:, rank:].square().sum().sqrt()),
    )


def parse_rank(text: str, channels: int) -> int:
    """The rank as a number, at least 1: itself, or a fraction of the output channels rounded down.

    Raises:
        PruningError: neither a whole number of at least 1 nor a fraction above 0 and up to 1.
    """
    above, slash, below = str(text).partition("/")
    if all(part.isascii() and part.isdigit() and int(part) for part in ((above, below) if slash else (above,))):
        if not slash:
            return int(above)
        if (share := Fraction(int(above), int(below))) <= 1:
            return max(1, int(share * channels))
    raise PruningError(
        f"rank {text!r}",
        "a rank is a whole number of at least 1, or a fraction of the output channels",
        fix="Write it like 16 or 1/4",
    )


@dataclass(frozen=True)
class LowRankMethod:
    """The method ``low-rank``: chosen convolutions become two, all at once.

    Attributes:
        rank: rank of each group's factors, ``16`` or a fraction of the layer's output channels, ``1/4``.
        groups: blocks of input channels that are factorised apart.
        layers: convolutions to factorise; empty means all with a kernel larger than 1x1 but the first.

    Raises:
        PruningError: a rank or number of groups that no layer can have.
    """

    rank: str = "1/4"
    groups: int = 1
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parse_rank(self.rank, 1)
        if self.groups < 1:
            raise PruningError(f"groups={self.groups}", "at least one group is needed")

    def next_round(self, build: Callable[[], nn.Module], trained: TrainedNetwork) -> Round | None:
        """The factorised network, from the weights as the integers see them; None when that was done already.

        Raises:
            PruningError: a layer that cannot be factorised as asked.
        """
        chosen = self._chosen(trained.rebuild(build))
        if not chosen:
            return None
        ranks = {name: parse_rank(self.rank, layer.out_channels) for name, layer in chosen.items()}
        factors = {name: self._factors(name, trained, rank) for name, rank in ranks.items()}
        state = {
            key: value for key, value in trained.state.items()
            if key.rpartition(".")[0] not in chosen
        }  # fmt: skip
        for name, pair in factors.items():
            state |= _pair_state(name, pair, trained.state.get(f"{name}.bias"))
        result = replace(
            trained.without(chosen),
            state=state,
            structure=(*trained.structure, low_rank_record(ranks, self.groups)),
        )
        lines = [_line(name, chosen[name], ranks[name], self.groups, factors[name].error, trained) for name in chosen]
        return Round(result, tuple(lines), final=True)

    def _chosen(self, network: nn.Module) -> dict[str, nn.Conv2d]:
        convolutions = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
        if self.layers:
            return {name: _named(name, convolutions) for name in self.layers}
        inner = dict(list(convolutions.items())[1:])
        chosen = {name: layer for name, layer in inner.items() if _is_eligible(name, layer)}
        if not chosen:
            raise PruningError(
                "a network without a convolution to factorise",
                "by default those with a kernel larger than 1x1 and one group are taken, but for the first layer",
                fix="Name the layers to factorise",
            )
        return chosen

    def _factors(self, name: str, trained: TrainedNetwork, rank: int) -> Factors:
        try:
            return factorise(trained.effective_weight(name), rank, self.groups)
        except PruningError as error:
            raise PruningError(error.given, error.rule, name, error.fix) from None


def _check_blocks(rank: int, groups: int, shape: tuple[int, int, int]) -> None:
    channels, inputs, positions = shape
    if inputs % groups:
        possible = ", ".join(str(n) for n in range(1, inputs + 1) if inputs % n == 0)
        raise PruningError(
            f"groups={groups} with {inputs} input channels",
            "groups must divide the input channels",
            fix=f"Use one of {possible}",
        )
    columns = inputs // groups * positions
    if rank > (most := min(channels, columns)):
        block = "matrix of each group" if groups > 1 else "matrix"
        rule = f"the {channels}x{columns} {block} has a rank of at most {most}"
        raise PruningError(f"rank={rank}", rule, fix=f"Use a rank from 1 to {most}")


def _named(name: str, convolutions: dict[str, nn.Conv2d]) -> nn.Conv2d:
    if name not in convolutions:
        raise PruningError(f"layer '{name}'", "must name a convolution of the network", fix=nearest(name, convolutions))
    if isinstance(convolutions[name], PhaseConv2d):
        raise PruningError(f"layer '{name}' with output phases", "only a convolution with one kernel is factorised")
    if convolutions[name].groups != 1:
        given = f"layer '{name}' with {convolutions[name].groups} groups"
        raise PruningError(given, "only a convolution without groups is factorised")
    return convolutions[name]


def _is_eligible(name: str, layer: nn.Conv2d) -> bool:
    plain = layer.groups == 1 and not isinstance(layer, PhaseConv2d)
    return plain and max(layer.kernel_size) > 1 and name.rpartition(".")[2] not in (REDUCE, EXPAND)


def _pair_state(name: str, pair: Factors, bias: Tensor | None) -> dict[str, Tensor]:
    state = {f"{name}.{REDUCE}.weight": pair.reduce, f"{name}.{EXPAND}.weight": pair.expand}
    return state if bias is None else {**state, f"{name}.{EXPAND}.bias": bias}


def _line(name: str, layer: nn.Conv2d, rank: int, groups: int, error: float, trained: TrainedNetwork) -> str:
    size = float(trained.effective_weight(name).double().norm())
    before = layer.weight.numel()
    after = rank * (layer.weight[0].numel() + groups * layer.out_channels)
    return (
        f"{name}: rank {rank} in {groups} group{'s' * (groups > 1)}, {before:,} -> {after:,} weights, "
        f"relative error {error / size if size else 0.0:.3f}"
    )
