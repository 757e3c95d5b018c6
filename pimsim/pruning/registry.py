"""The pruning methods by name, and which options each of them has.

A method that sets weights to zero is a frozen dataclass (`pimsim.pruning.methods.base.MaskMethod`) whose fields are
its options. Outside packages add one with the entry point group ``pimsim.pruning``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from pimsim.errors import PruningError, nearest
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.methods.bit_slice import BitSlice
from pimsim.pruning.methods.channel import ChannelPruning
from pimsim.pruning.methods.column import ColumnPruning
from pimsim.pruning.methods.crossbar import CrossbarPruning
from pimsim.pruning.methods.filters import FilterPruning
from pimsim.pruning.methods.forms import Forms
from pimsim.pruning.methods.garos import Garos
from pimsim.pruning.methods.kerntrol import KERNTROL_METHODS
from pimsim.pruning.methods.magnitude import MagnitudePruning
from pimsim.pruning.methods.n_m import SharedNOfM
from pimsim.pruning.methods.none import NoPruning
from pimsim.pruning.methods.ou_row import OuRowPruning
from pimsim.pruning.methods.pairs import Pairs
from pimsim.pruning.methods.patdnn import PatDnn
from pimsim.pruning.methods.pattern import GivenPatterns
from pimsim.pruning.methods.pconv import PConv
from pimsim.pruning.methods.pim_prune import PimPrune
from pimsim.pruning.methods.prap import Prap
from pimsim.pruning.methods.random_patterns import RandomPatterns
from pimsim.pruning.methods.row import RowPruning
from pimsim.pruning.methods.row_efficient import RowEfficient
from pimsim.pruning.methods.tiny_adc import TinyAdc

ENTRY_POINT_GROUP = "pimsim.pruning"
#: Methods that change the layers themselves: `pimsim.pruning.structured`, by way of `pimsim.api.pruning`.
STRUCTURAL_METHODS = ("vwc-sdk", "low-rank", *KERNTROL_METHODS)

_METHODS: tuple[type[MaskMethod], ...] = (
    NoPruning, GivenPatterns, Pairs, PatDnn, RandomPatterns, PConv, Garos, RowEfficient, RowPruning,
    MagnitudePruning, FilterPruning, ChannelPruning, ColumnPruning, SharedNOfM,
    PimPrune, CrossbarPruning, OuRowPruning, TinyAdc, BitSlice, Forms, Prap,
)  # fmt: skip
METHODS: Mapping[str, type[MaskMethod]] = MappingProxyType({method.name: method for method in _METHODS})
#: Options that a method takes from the training run.
SHARED_OPTIONS = ("seed", "weight_bits")


def method_class(name: str) -> type[MaskMethod]:
    """The class of a mask method, one of `METHODS` or an installed one. Raises `PruningError` for an unknown name."""
    if name in METHODS:
        return METHODS[name]
    installed = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in installed:
        raise PruningError(
            given=f"pruning method {name!r}",
            rule="must be a known method",
            fix=nearest(name, [*METHODS, *STRUCTURAL_METHODS, *installed]),
        )
    method: type[MaskMethod] = installed[name].load()
    return method


def method_options(name: str) -> dict[str, Any]:
    """The options of a mask method with what they are when not given. Raises `PruningError` for an unknown name."""
    return {
        field.name: None if field.default is MISSING else field.default
        for field in fields(method_class(name))  # type: ignore[arg-type]
    }


def pruning_method(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> MaskMethod:
    """The method ``name`` with some options, defaults for the others; lists become tuples.

    Raises:
        PruningError: an unknown name, or an option that the method does not have or cannot take.
    """
    known = method_options(name)
    for option in options:
        if option not in known:
            raise PruningError(
                f"option '{option}' with the method '{name}'", "the method has no such option", fix=_listed(known)
            )
    return method_class(name)(**{option: _frozen(value) for option, value in options.items()})


def recorded_options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a method but its windows, as plain values for the records of a run."""
    settings = {option: value for option, value in {**method_options(name), **given}.items() if option != "windows"}
    return {option: list(value) if isinstance(value, tuple) else value for option, value in settings.items()}


def _listed(names: Iterable[str]) -> str:
    return f"It has {', '.join(names) or 'none'}"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
