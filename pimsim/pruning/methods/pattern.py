"""``pattern``: candidate patterns given by the user; and what all pattern methods share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.patterns import border_patterns, parse_pattern
from pimsim.pruning.plans import Masks, Projection, kernel_rows
from pimsim.pruning.projections import PatternProjection, check_dimension
from pimsim.pruning.selection import chosen_layers, kernel_size

Layers = Mapping[str, nn.Conv2d]
Sets = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class PatternMethod(MaskMethod):
    """Kernels keep the positions of one pattern out of a set; a subclass says which set.

    Attributes:
        dimension: what shares one pattern: ``kernel``, ``channel`` (all kernels of an input channel) or ``layer``.
            Rows are skipped only for the last two.
        layers: names of the layers; empty means the stride-1 3x3 convolutions with as many inputs as outputs.
    """

    dimension: str = "layer"
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_dimension(self.dimension)

    @abstractmethod
    def sets(self, layers: Layers) -> Sets:
        """The candidates of each layer, of which the first wins a tie. Raises `PruningError`."""

    def projection(self, network: nn.Module) -> Projection:
        """The candidate of largest L2 norm for each kernel, channel or layer."""
        return PatternProjection(self.sets(chosen_layers(network, self.layers)), self.dimension)

    def notes(self, network: nn.Module, masks: Masks) -> tuple[str, ...]:
        """The sets, each once."""
        layers = chosen_layers(network, self.layers)
        widths = {patterns: kernel_size(layers[name])[1] for name, patterns in self.sets(layers).items()}
        return tuple(_set_note(patterns, width) for patterns, width in widths.items())


@dataclass(frozen=True)
class GivenPatterns(PatternMethod):
    """Candidates as the user writes them.

    Attributes:
        keep: patterns, kernel positions row-major, 1 kept; empty means the four that drop one border line.
    """

    name: ClassVar[str] = "pattern"
    keep: tuple[str, ...] = ()

    def sets(self, layers: Layers) -> Sets:
        """The same candidates everywhere. Raises `PruningError` for one that a kernel cannot have."""
        candidates = self.keep or border_patterns()
        for layer in layers.values():
            for keep in candidates:
                parse_pattern(keep, kernel_size(layer))
        return dict.fromkeys(layers, candidates)


def _set_note(patterns: tuple[str, ...], width: int) -> str:
    if len(patterns) > 16:
        return f"chosen from {len(patterns)} patterns of {patterns[0].count('1')} entries"
    return "chosen from " + ", ".join(kernel_rows(keep, width) for keep in patterns)
