"""The pruning methods by name: what each keeps of every layer's kernels.

A method is a frozen record of options with a ``plan``: a pure function from the weights
to a :class:`PruningPlan`. Outside packages add one with the entry point group
``pimsim.pruning``, whose object takes ``keep`` and ``layers`` and gives such a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import ClassVar, Protocol

from torch import Tensor, nn

from pimsim.errors import PruningError, nearest
from pimsim.pruning.fake_quantization import WeightLayer, weight_layers
from pimsim.pruning.masks import pattern_mask
from pimsim.pruning.patterns import border_patterns, parse_pattern, strongest_pattern

ENTRY_POINT_GROUP = "pimsim.pruning"
#: Methods that change the layers themselves: `pimsim.pruning.structured`, by way of `pimsim.api.pruning`.
STRUCTURAL_METHODS = ("vwc-sdk", "low-rank")


@dataclass(frozen=True)
class PruningPlan:
    """The keep pattern of every pruned layer, as (layer name, pattern) in network order."""

    heading: ClassVar[str] = "Kept kernel positions"
    method: str
    keep: tuple[tuple[str, str], ...] = ()

    def masks(self, network: nn.Module) -> dict[str, Tensor]:
        """The mask of every pruned layer of ``network``, shaped like its weight."""
        layers = weight_layers(network)
        return {name: pattern_mask(keep, layers[name].weight) for name, keep in self.keep}

    def picture(self) -> str:
        """One line a layer, its kernel rows side by side: ``#`` kept, ``.`` pruned."""
        width = max((len(name) for name, _ in self.keep), default=0)
        drawn = (f"{name:<{width}}  {_kernel_rows(keep)}" for name, keep in self.keep)
        return "\n".join(drawn) or "nothing is pruned"


class PruningMethod(Protocol):
    """What the registry holds an instance of for every method."""

    def plan(self, network: nn.Module) -> PruningPlan:
        """What to keep of ``network``, whose weights are read and not changed."""
        ...  # pragma: no cover


@dataclass(frozen=True)
class NoPruning:
    """Keep every weight: quantization-aware training only."""

    def plan(self, network: nn.Module) -> PruningPlan:
        """An empty plan."""
        return PruningPlan("none")


@dataclass(frozen=True)
class PatternPruning:
    """One keep pattern for all kernels of a layer, the candidate that keeps most energy.

    ``layers`` empty means the stride-1 3x3 convolutions with as many input as output
    channels. Rhe, Jeon, Ko 2023 (PAIRS), array-wise dimension.
    """

    candidates: tuple[str, ...] = border_patterns()
    layers: tuple[str, ...] = ()

    def plan(self, network: nn.Module) -> PruningPlan:
        """The strongest candidate of each layer; raises :class:`PruningError`."""
        chosen = self._layers(weight_layers(network))
        return PruningPlan(
            "pattern",
            tuple(
                (name, strongest_pattern(_tap_energy(layer), self._checked(layer))) for name, layer in chosen.items()
            ),
        )

    def _layers(self, layers: Mapping[str, WeightLayer]) -> dict[str, nn.Conv2d]:
        convolutions = {n: m for n, m in layers.items() if isinstance(m, nn.Conv2d)}
        if not self.layers:
            found = {name: layer for name, layer in convolutions.items() if is_eligible(layer)}
            if found:
                return found
            raise PruningError(
                given="a network without stride-1 3x3 convolutions of equal width",
                rule="pattern pruning needs at least one layer",
                fix="Name the layers to prune",
            )
        for name in self.layers:
            if name not in convolutions:
                raise PruningError(
                    given=f"layer {name!r}",
                    rule="must name a convolution of the network",
                    fix=nearest(name, convolutions),
                )
        return {name: convolutions[name] for name in self.layers}

    def _checked(self, layer: nn.Conv2d) -> tuple[str, ...]:
        height, width = layer.kernel_size
        for keep in self.candidates:
            parse_pattern(keep, (height, width))
        return self.candidates


MethodFactory = Callable[[Sequence[str], Sequence[str]], PruningMethod]


def is_eligible(layer: nn.Conv2d) -> bool:
    """Whether pattern pruning takes a layer by default: 3x3, stride 1, IC = OC, one group."""
    return (
        layer.kernel_size == (3, 3)
        and layer.stride == (1, 1)
        and layer.groups == 1
        and layer.in_channels == layer.out_channels
    )


def pruning_method(name: str, keep: Sequence[str] = (), layers: Sequence[str] = ()) -> PruningMethod:
    """The method ``name`` with candidate patterns and layers; empty means its defaults.

    Raises :class:`PruningError` for an unknown name or options the method does not take.
    """
    if name in METHODS:
        return METHODS[name](keep, layers)
    installed = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in installed:
        raise PruningError(
            given=f"pruning method {name!r}",
            rule="must be a known method",
            fix=nearest(name, [*METHODS, *STRUCTURAL_METHODS, *installed]),
        )
    method: PruningMethod = installed[name].load()(keep, layers)
    return method


def _no_pruning(keep: Sequence[str], layers: Sequence[str]) -> PruningMethod:
    if keep or layers:
        raise PruningError(
            given="keep patterns or layers with the method 'none'",
            rule="'none' prunes nothing",
            fix="Use the method 'pattern'",
        )
    return NoPruning()


def _pattern_pruning(keep: Sequence[str], layers: Sequence[str]) -> PruningMethod:
    return PatternPruning(tuple(keep) or border_patterns(), tuple(layers))


def _tap_energy(layer: nn.Conv2d) -> list[float]:
    squares = layer.weight.detach().double().square().sum(dim=(0, 1))
    return [float(value) for value in squares.flatten()]


def _kernel_rows(keep: str) -> str:
    # Patterns are square in every method so far; another shape is shown as one row.
    side = round(len(keep) ** 0.5)
    side = side if side * side == len(keep) else len(keep)
    shown = keep.replace("1", "#").replace("0", ".")
    return " ".join(shown[start : start + side] for start in range(0, len(shown), side))


METHODS: Mapping[str, MethodFactory] = MappingProxyType({"none": _no_pruning, "pattern": _pattern_pruning})
