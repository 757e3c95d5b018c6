"""What a program computes for one image: geometries of its layers, what feeds them, its digital operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pimsim.network.dataflow import Edge
from pimsim.network.exporting import TRACED_IMAGES
from pimsim.network.layers import DigitalOp, Geometry
from pimsim.network.program import Program, geometry, run_float_crossbar, to_images
from pimsim.network.reaches import Tracker
from pimsim.network.steps import CrossbarOp, Step, Value, operation, references

#: Digital kind of each ATen operation, without the underscore of its in-place form.
KINDS = {
    **dict.fromkeys(("relu", "relu6", "hardtanh", "leaky_relu", "prelu", "threshold", "clamp_min"), "activation"),
    "add": "add",
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), "concat"),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "amax"), "max_pool"),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), "max_pool"),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"), "average_pool"),
    **dict.fromkeys(("flatten", "view", "reshape", "unflatten", "permute", "transpose", "t", "numpy_T"), "reshape"),
    **dict.fromkeys(("squeeze", "unsqueeze", "expand", "expand_as", "contiguous", "clone", "alias"), "reshape"),
    **dict.fromkeys(("slice", "select", "chunk", "split", "split_with_sizes", "unbind", "narrow"), "reshape"),
    **dict.fromkeys(("pad", "constant_pad_nd", "detach", "lift_fresh_copy", "channel_shuffle", "roll"), "reshape"),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle", "movedim", "swapaxes", "flip", "index_select"), "reshape"),
}
# Not an operation of its own: they only name a part of an earlier result.
_FREE = ("getitem", "sym_size")


@dataclass(frozen=True, eq=False)
class Structure:
    """Geometry of each crossbar layer by name, digital operations in order, notes for the user, and dataflow.

    ``edges`` are ordered by consumer, then by producer, both in execution order.
    """

    geometries: dict[str, Geometry]
    digital: tuple[DigitalOp, ...]
    notes: tuple[str, ...]
    edges: tuple[Edge, ...]


def trace_structure(program: Program) -> Structure:
    """The structure of a program, found by running it once on zeros."""
    tracer = _Tracer()
    count = TRACED_IMAGES if program.batched else 1
    images = torch.zeros(count, *program.input_shape)
    tracer.count = count
    tracer.seen[program.graph.input] = ""
    program.play(images, tracer.crossbar, tracer.observe)
    order = list(tracer.geometries)
    edges = sorted(tracer.tracker.edges, key=lambda edge: (order.index(edge.consumer), order.index(edge.producer)))
    return Structure(tracer.geometries, tuple(tracer.digital), _float_note(tracer.digital), tuple(edges))


def digital_kind(step: Step) -> str | None:
    """The `DigitalOp` kind of a step; None where it costs nothing."""
    name = operation(step).rstrip("_")
    if name in _FREE:
        return None
    # Adding a constant or a number is no residual addition.
    if name == "add" and len(references(step.args)) < 2:
        return "float"
    if name == "mean" and _is_spatial(step.args[1] if len(step.args) > 1 else None):
        return "average_pool"
    return KINDS.get(name, "float")


@dataclass
class _Tracer:
    """Collects shapes while a program runs; one per run."""

    count: int = 1
    geometries: dict[str, Geometry] = field(default_factory=dict)
    digital: list[DigitalOp] = field(default_factory=list)
    # Name of each value that depends on the image to the last crossbar layer behind it.
    seen: dict[str, str] = field(default_factory=dict)
    tracker: Tracker = field(default_factory=Tracker)

    def crossbar(self, op: CrossbarOp, values: Tensor, count: int) -> Tensor:
        height, width = to_images(op, values, count).shape[2:]
        self.geometries[op.name] = geometry(op, (height, width))
        return run_float_crossbar(op, values, count)

    def observe(self, step: Step, result: Any, values: Mapping[str, Any]) -> None:
        self.tracker.observe(step, result, values)
        sources = [name for name in references(step.args) + references(step.kwargs) if name in self.seen]
        if step.crossbar is not None:
            self.seen[step.output] = step.crossbar.name
            return
        after = self._latest(sources)
        self.seen[step.output] = after
        kind = digital_kind(step)
        outputs = _elements(result)
        if kind is None or not outputs or _is_no_op(kind, result, step, values):
            return
        inputs = sum(_elements(values[name]) for name in sources)
        self.digital.append(DigitalOp(step.output, kind, outputs // self.count, inputs // self.count, after))

    def _latest(self, sources: list[str]) -> str:
        order = ["", *self.geometries]
        return max((self.seen[name] for name in sources), key=order.index, default="")


def _is_no_op(kind: str, result: Any, step: Step, values: Mapping[str, Any]) -> bool:
    """Whether a reshape leaves everything where it was, as the full slices of ``x[:, :, ::2]`` do."""
    source = values.get(step.args[0].name) if step.args and isinstance(step.args[0], Value) else None
    if kind != "reshape" or not isinstance(source, Tensor) or not isinstance(result, Tensor):
        return False
    layouts = ((value.shape, value.stride(), value.data_ptr()) for value in (source, result))
    return next(layouts) == next(layouts)


def _elements(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    return sum(_elements(item) for item in value) if isinstance(value, (list, tuple)) else 0


def _is_spatial(dims: Any) -> bool:
    return isinstance(dims, (list, tuple)) and {d % 4 for d in dims if isinstance(d, int)} == {2, 3}


def _float_note(digital: list[DigitalOp]) -> tuple[str, ...]:
    names = [op.name for op in digital if op.kind == "float"]
    return (f"computed in float on the digital side: {', '.join(names)}",) if names else ()
