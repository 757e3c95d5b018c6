"""The methods that the PRAP-PIM experiment sets side by side."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from pimsim.errors import PruningError, nearest


@dataclass(frozen=True)
class Mode:
    """One method of the experiment.

    Attributes:
        name: what options and tables call it.
        parts: what it is made of: ``structure``, ``orc`` or ``shape`` prune, ``identical`` or ``similar`` reuse.
        stands_for: the likely name in the paper ([INF]).
    """

    name: str
    parts: tuple[str, ...]
    stands_for: str

    @property
    def pruning(self) -> str:
        """The part that sets weights to zero, or nothing."""
        return next((part for part in self.parts if part in ("structure", "orc", "shape")), "")

    @property
    def reuse(self) -> str:
        """The part that repeats patterns, or nothing."""
        return next((part for part in self.parts if part in ("identical", "similar")), "")


MODES: MappingProxyType[str, Mode] = MappingProxyType(
    {
        mode.name: mode
        for mode in (
            Mode("naive", (), "ISAAC-like baseline in operation units"),
            Mode("structure", ("structure",), "structured pruning"),
            Mode("orc", ("orc",), "SRE, operation-unit row compression"),
            Mode("identical", ("identical",), "PattPIM"),
            Mode("structure+identical", ("structure", "identical"), "structured pruning and PattPIM"),
            Mode("shape", ("shape",), "PRAP-PIM without reuse"),
            Mode("similar", ("similar",), "PRAP-PIM without shapes"),
            Mode("shape+similar", ("shape", "similar"), "PRAP-PIM"),
        )
    }
)


def prap_mode(name: str) -> Mode:
    """The mode of that name. Raises `PruningError` for an unknown one."""
    if name not in MODES:
        raise PruningError(f"mode '{name}'", "unknown mode", fix=nearest(name, MODES))
    return MODES[name]
