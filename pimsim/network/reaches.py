"""Which crossbar layers a value is computed from, and which of their output positions, while a program runs.

A `Tracker` watches every step. It follows the rules of `pimsim.network.views` through the digital
operations and takes the whole map of every layer behind an operation that has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor

from pimsim.network.dataflow import Area, Areas, Edge, unite
from pimsim.network.program import look_up
from pimsim.network.steps import CrossbarOp, Step, is_in_place, operation, references
from pimsim.network.views import Call, Layout, Rule, View, rule

_LAYOUTS: Mapping[str, tuple[Layout, int | None]] = MappingProxyType(
    {"conv2d": ("image", 4), "conv1d": ("line", 3), "linear": ("tokens", None)}
)
_SHAPE_ONLY = frozenset({"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full"})


@dataclass(frozen=True)
class Sources:
    """The layers that a value is computed from, by name, with the area of their outputs behind its positions.

    ``layout`` says which axes the positions are; None where every area is the whole map.
    """

    areas: Areas = field(default_factory=dict)
    layout: Layout | None = None

    def seen(self, view: View) -> Sources:
        """The sources of a value whose positions are a view of this one's."""
        return Sources({name: area.through(view.area) for name, area in self.areas.items()}, view.layout)

    @property
    def whole(self) -> Sources:
        """The same layers, all of them whole."""
        return Sources(dict.fromkeys(self.areas, Area.WHOLE))


@dataclass
class Tracker:
    """Sources of every value, and the edges between crossbar layers; one for one run of a program."""

    edges: list[Edge] = field(default_factory=list)
    known: dict[str, Sources] = field(default_factory=dict)

    def observe(self, step: Step, result: Any, values: Mapping[str, Any]) -> None:
        """Take note of a step that has run; ``values`` are those before it."""
        if step.crossbar is not None:
            self._connect(step.crossbar, step.args[0].name, values)
            self.known[step.output] = Sources({step.crossbar.name: Area()}, _LAYOUTS[step.crossbar.form][0])
            return
        sources = self._sources(step, result, values)
        if sources.areas:
            self.known[step.output] = sources
        if is_in_place(step.call):
            self._write(step, sources, values)

    def _connect(self, op: CrossbarOp, name: str, values: Mapping[str, Any]) -> None:
        sources = self.known.get(name, Sources())
        layout, dimensions = _LAYOUTS[op.form]
        fits = sources.layout == layout and dimensions in (None, values[name].dim())
        for producer, area in (sources if fits else sources.whole).areas.items():
            self.edges.append(Edge(producer, op.name, area.rows, area.columns))

    def _sources(self, step: Step, result: Any, values: Mapping[str, Any]) -> Sources:
        """What the result of a digital operation is computed from."""
        names = [name for name in references(step.args) + references(step.kwargs) if name in self.known]
        results = _tensors(result)
        if not names or not results or operation(step) in _SHAPE_ONLY:
            return Sources()
        if operation(step) == "getitem":
            return self.known[names[0]]
        see = rule(operation(step).rstrip("_")) or _unknown
        call = Call(_arguments(step, values), results[0])
        return _union([_seen(self.known[name], see, call, part) for name in names for part in _tensors(values[name])])

    def _write(self, step: Step, sources: Sources, values: Mapping[str, Any]) -> None:
        """Every value that shares the memory of one that was written into has changed with it."""
        written = values[step.args[0].name]
        for name, value in values.items():
            if not any(_memory(part) == _memory(written) for part in _tensors(value)):
                continue
            same = isinstance(value, Tensor) and _place(value) == _place(written)
            self.known[name] = sources if same else _union([self.known.get(name, Sources()).whole, sources.whole])


def _unknown(call: Call, operand: Tensor, layout: Layout) -> View | None:
    return None


def _seen(sources: Sources, see: Rule, call: Call, operand: Tensor) -> Sources:
    view = see(call, operand, sources.layout) if sources.layout is not None else None
    return sources.whole if view is None else sources.seen(view)


def _union(parts: Iterable[Sources]) -> Sources:
    """The sources of a value that is computed from all of these, position by position."""
    listed = list(parts)
    layouts = {part.layout for part in listed} - {None}
    areas = unite(part.areas for part in listed)
    return Sources(areas, layouts.pop()) if len(layouts) == 1 else Sources(areas).whole


def _arguments(step: Step, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an ATen operation by name, defaults included; none for any other call."""
    schema = getattr(step.call, "_schema", None)
    if schema is None:
        return {}
    given = dict(zip((argument.name for argument in schema.arguments), step.args, strict=False)) | step.kwargs
    defaults = {argument.name: argument.default_value for argument in schema.arguments}
    return defaults | {name: look_up(value, values) for name, value in given.items()}


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [part for item in value for part in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _memory(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


def _place(value: Tensor) -> tuple[Any, ...]:
    return value.data_ptr(), value.shape, value.stride()
