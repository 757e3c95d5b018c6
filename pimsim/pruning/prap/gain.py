"""The logical improvement: how much less there is to compute and to store, by counting operation units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pimsim.errors import PruningError

#: Fields of a record of `logical_gain`, in the order of a plain tuple, with the short names that are read too.
FIELDS: tuple[tuple[str, ...], ...] = (
    ("ic",),
    ("oc",),
    ("kernel",),
    ("output_side", "output"),
    ("kept_positions", "kept"),
    ("keep_ratio", "keep"),
)


class LogicalGain(NamedTuple):
    """Operation units of the dense network over those of the pruned one.

    Attributes:
        compute: over all outputs, sum (IC K^2 / 8) OC O^2 / sum (IC p / 8) (OC keep) O^2.
        weights: over the weights, the same without O^2.
    """

    compute: float
    weights: float

    @property
    def compute_cut(self) -> float:
        """Share of the computation that is cut, 1 - 1 / compute."""
        return 1 - 1 / self.compute

    @property
    def weights_cut(self) -> float:
        """Share of the weights that is cut, 1 - 1 / weights."""
        return 1 - 1 / self.weights


def logical_gain(layers: Iterable[Any]) -> LogicalGain:
    """The logical improvement of a network whose layers keep p positions and a share of their patterns.

    Args:
        layers: one record a layer, as a mapping, an object with attributes, or a tuple in this order: ``ic`` and
            ``oc`` channels, ``kernel`` side K (1 for a linear layer), ``output_side`` O (1 for a linear layer),
            ``kept_positions`` p of K^2 for each input channel (a fraction where 1x1 layers keep 8 of 16 or 32 inputs)
            and ``keep_ratio``, 1 minus the reuse ratio. ``output``, ``kept`` and ``keep`` are read as well.

    Raises:
        PruningError: no layers, a record without one of these, or a value that cannot be.

    Reference:
        `pruning-blocks.md` 3.7.
    """
    dense = Totals()
    pruned = Totals()
    for number, layer in enumerate(layers):
        ic, oc, kernel, side, kept, keep = _values(layer, number)
        dense = dense.with_layer(ic * kernel * kernel * oc, side)
        pruned = pruned.with_layer(ic * kept * oc * keep, side)
    if not dense.weights:
        raise PruningError("no layers", "an improvement needs at least one layer")
    if not pruned.weights:
        raise PruningError("layers that keep no pattern at all", "an improvement without end is none")
    return LogicalGain(dense.compute / pruned.compute, dense.weights / pruned.weights)


class Totals(NamedTuple):
    """Weights of a network, and how often they are used."""

    compute: float = 0.0
    weights: float = 0.0

    def with_layer(self, weights: float, side: float) -> Totals:
        """One layer more, which computes side x side outputs."""
        return Totals(self.compute + weights * side * side, self.weights + weights)


def _values(layer: Any, number: int) -> tuple[float, ...]:
    values = tuple(float(_field(layer, index, number)) for index in range(len(FIELDS)))
    ic, oc, kernel, side, kept, keep = values
    rules = (
        ("every value is a finite number", all(map(math.isfinite, values))),
        ("channels, kernel and output side are at least 1", min(ic, oc, kernel, side) >= 1),
        ("of the kernel positions more than none and at most all are kept", 0 < kept <= kernel * kernel),
        ("the keep ratio is 0 to 1", 0 <= keep <= 1),
    )
    for rule, holds in rules:
        if not holds:
            given = ", ".join(f"{names[0]}={value:g}" for names, value in zip(FIELDS, values, strict=True))
            raise PruningError(given, rule, f"layer {number + 1}")
    return values


def _field(layer: Any, index: int, number: int) -> Any:
    names = FIELDS[index]
    if isinstance(layer, Mapping):
        found = [layer[name] for name in names if name in layer]
    elif isinstance(layer, Sequence) and not isinstance(layer, str):
        found = [layer[index]] if len(layer) == len(FIELDS) else []
    else:
        found = [getattr(layer, name) for name in names if hasattr(layer, name)]
    if not found:
        known = ", ".join(names[0] for names in FIELDS)
        raise PruningError(f"{layer!r}", f"a record has {known}", f"layer {number + 1}", f"Give its {names[0]}")
    return found[0]
