"""How the result of a digital operation sees each of its operands: where every position comes from.

A rule looks at one operand of one call and gives the operand's positions that a position of the
result needs (`Area`) and how the result is laid out, or None where that cannot be said, which
stands for all of them. Only ATen operations that are listed have a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from pimsim.network.dataflow import Area, Reach

#: What of a value is its map: the last two axes of an ``image``, the last one of a ``line`` (a map of height 1), all
#: but the last of ``tokens`` (a map of width 1), as `pimsim.network.program.to_images` lays them out.
Layout = Literal["image", "line", "tokens"]

_SAME = Reach()
_IN_PLACE = Area()


@dataclass(frozen=True)
class View:
    """How a result sees an operand: the result's layout, and the operand's area behind each of its positions."""

    layout: Layout
    area: Area = _IN_PLACE


@dataclass(frozen=True, eq=False)
class Call:
    """One operation as it ran: its arguments by name, and its result (the first tensor of several)."""

    arguments: Mapping[str, Any]
    result: Tensor

    def axes(self, name: str, operand: Tensor) -> tuple[int, ...]:
        """The axes of an argument, counted from the end of ``operand`` (-1 is the last); all where it names none."""
        given, count = self.arguments.get(name), operand.dim()
        axes = [given] if isinstance(given, int) else given or range(count)
        return tuple(axis if axis < 0 else axis - count for axis in axes)


Rule = Callable[[Call, Tensor, Layout], View | None]
#: Windows by axis, counted from the end; axes that are left out keep their positions.
Windows = Mapping[int, Reach]


def rule(name: str) -> Rule | None:
    """The rule of an ATen operation, named without overload and without the underscore of its in-place form."""
    return _RULES.get(name)


def _windowed(windows: Callable[[Call, Tensor], Windows | None]) -> Rule:
    """A rule for operations that keep the axes in place: a window in each, channels and images included."""

    def see(call: Call, operand: Tensor, layout: Layout) -> View | None:
        found = windows(call, operand)
        if found is None or operand.dim() != call.result.dim():
            return None
        if layout == "tokens":
            moved = any(reach != _SAME for axis, reach in found.items() if axis < -1)
            return None if moved else View(layout)
        rows = found.get(-2, _SAME) if layout == "image" else _SAME
        return View(layout, Area(rows, found.get(-1, _SAME)))

    return see


def _mixed(name: str) -> Rule:
    """A rule for operations that mix or reorder the positions along the axes that an argument names."""
    return _windowed(lambda call, operand: dict.fromkeys(call.axes(name, operand), Reach.WHOLE))


def _spread(call: Call, operand: Tensor) -> Windows:
    """Element by element; an axis of size 1 may serve every position."""
    sizes = zip(reversed(operand.shape), reversed(call.result.shape), strict=False)
    return {-axis: Reach.WHOLE for axis, (one, other) in enumerate(sizes, 1) if one != other}


def _batch_norm(call: Call, operand: Tensor) -> Windows | None:
    return None if call.arguments["training"] else _spread(call, operand)


def _layer_norm(call: Call, operand: Tensor) -> Windows:
    return {-axis: Reach.WHOLE for axis in range(1, len(call.arguments["normalized_shape"]) + 1)}


def _pool(dimensions: int) -> Rule:
    """Pooling of the last axes; ``ceil_mode`` only adds windows that start inside the map."""

    def windows(call: Call, operand: Tensor) -> Windows:
        kernel, stride = (call.arguments[name] for name in ("kernel_size", "stride"))
        padding, dilation = (call.arguments.get(name) for name in ("padding", "dilation"))
        given = ((kernel, 1), (stride or kernel, 1), (padding, 0), (dilation, 1))
        parts = (_per_axis(value, dimensions, default) for value, default in given)
        return _last_axes(Reach.window(*sizes) for sizes in zip(*parts, strict=True))

    return _windowed(windows)


def _adaptive_pool(dimensions: int) -> Rule:
    def windows(call: Call, operand: Tensor) -> Windows:
        sizes = zip(operand.shape[-dimensions:], call.result.shape[-dimensions:], strict=True)
        return _last_axes(_adapted(size, count) for size, count in sizes)

    return _windowed(windows)


def _adapted(size: int, count: int) -> Reach:
    ratio, rest = divmod(size, count)
    return Reach.WHOLE if rest or not ratio else Reach.window(ratio, ratio)


def _unshuffle(call: Call, operand: Tensor) -> Windows:
    factor = call.arguments["downscale_factor"]
    return _last_axes([Reach.window(factor, factor)] * 2)


def _pad(call: Call, operand: Tensor) -> Windows | None:
    """Constant and replicated borders; one that reflects or wraps around may need any position."""
    amounts = call.arguments["pad"]
    if call.arguments.get("mode", "constant") not in ("constant", "replicate"):
        return None
    return {-axis: Reach(1, -front, -front) for axis, front in enumerate(amounts[::2], 1)}


def _slice(call: Call, operand: Tensor) -> Windows:
    (axis,) = call.axes("dim", operand)
    size, start = operand.shape[axis], call.arguments.get("start") or 0
    first = min(max(start + size if start < 0 else start, 0), size)
    return {axis: Reach(call.arguments.get("step", 1), first, first)}


def _reduce(call: Call, operand: Tensor, layout: Layout) -> View | None:
    """A sum, mean or extreme over axes, which stay with size 1 or go; over a whole image it leaves one position."""
    axes = call.axes("dim", operand)
    if call.arguments.get("keepdim"):
        return _windowed(_reduced)(call, operand, layout)
    if layout == "image" and operand.dim() == 4 and sorted(axes) == [-2, -1]:
        rows, columns = (Reach.window(size, size) for size in operand.shape[-2:])
        return View("tokens", Area(rows, columns))
    return _drop(call, operand, layout)


def _reduced(call: Call, operand: Tensor) -> Windows:
    sizes = zip(reversed(operand.shape), reversed(call.result.shape), strict=True)
    return {-axis: Reach.window(one, one) for axis, (one, other) in enumerate(sizes, 1) if one != other}


def _drop(call: Call, operand: Tensor, layout: Layout) -> View | None:
    """Axes that go, such as a channel that is selected."""
    return View(layout) if max(call.axes("dim", operand), default=0) < _first_axis(layout) else None


def _stack(call: Call, operand: Tensor, layout: Layout) -> View | None:
    (axis,) = call.axes("dim", call.result)
    return View(layout) if axis < _first_axis(layout) else None


def _reshape(call: Call, operand: Tensor, layout: Layout) -> View | None:
    """Axes merged, split, added or removed: what stays at the end stays where it is."""
    before, after = tuple(operand.shape), tuple(call.result.shape)
    if layout == "image" and before[-2:] == (1, 1) and after == before[:-2]:
        return View("tokens") if len(after) == 2 else None
    if before[-1:] != after[-1:]:
        return None
    if layout != "image":
        is_image = layout == "line" and len(after) == 4 and after[-2] == 1
        return View("image" if is_image else layout)
    if len(after) > 2 and before[-2] == after[-2]:
        return View("image")
    return View("line") if before[-2] == 1 else None


def _permute(call: Call, operand: Tensor, layout: Layout) -> View | None:
    """Axes in another order; ``dims`` of a permutation, or two that change places."""
    count = operand.dim()
    if "dims" in call.arguments:
        order = [axis % count for axis in call.arguments["dims"]]
    else:
        order = list(range(count))
        one, other = call.arguments.get("dim0", 0), call.arguments.get("dim1", 1)
        order[one], order[other] = order[other], order[one]
    kept = {"image": 2, "line": 1, "tokens": count}[layout]
    return View(layout) if order[-kept:] == list(range(count))[-kept:] else None


def _first_axis(layout: Layout) -> int:
    """The first axis of the map, counted from the end; tokens may have any number."""
    return {"image": -2, "line": -1, "tokens": -(10**6)}[layout]


def _last_axes(reaches: Iterable[Reach]) -> Windows:
    listed = list(reaches)
    return {index - len(listed): reach for index, reach in enumerate(listed)}


def _per_axis(value: int | Sequence[int] | None, count: int, default: int) -> list[int]:
    """One number for each axis of an argument that is a number, a list of one or a list of all."""
    listed = [default if value is None else value] if isinstance(value, int | None) else list(value)
    return listed * count if len(listed) == 1 else listed


_ELEMENTWISE = (
    "abs", "add", "addcdiv", "addcmul", "alias", "bitwise_and", "bitwise_not", "bitwise_or", "ceil", "celu", "clamp",
    "clamp_max", "clamp_min", "clip", "clone", "contiguous", "copy", "cos", "detach", "div", "divide", "dropout", "elu",
    "eq", "erf", "exp", "expand", "expand_as", "expm1", "floor", "floor_divide", "fmod", "ge", "gelu", "gt",
    "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "le", "leaky_relu", "lerp", "lift_fresh_copy", "log", "log1p",
    "log_sigmoid", "logical_and", "logical_not", "logical_or", "lt", "masked_fill", "maximum", "minimum", "mish", "mul",
    "multiply", "nan_to_num", "ne", "neg", "pow", "prelu", "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt",
    "rsub", "selu", "sigmoid", "sign", "silu", "sin", "softplus", "softshrink", "sqrt", "square", "sub", "subtract",
    "tanh", "threshold", "to", "_to_copy", "true_divide", "trunc", "type_as", "where",
)  # fmt: skip
_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_ELEMENTWISE, _windowed(_spread)),
        **dict.fromkeys(("max_pool1d", "max_pool1d_with_indices", "avg_pool1d"), _pool(1)),
        **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices", "avg_pool2d"), _pool(2)),
        **dict.fromkeys(("adaptive_max_pool1d", "adaptive_avg_pool1d"), _adaptive_pool(1)),
        **dict.fromkeys(("adaptive_max_pool2d", "adaptive_avg_pool2d"), _adaptive_pool(2)),
        **dict.fromkeys(("mean", "sum", "amax", "amin"), _reduce),
        **dict.fromkeys(("cat", "concat", "concatenate"), _mixed("dim")),
        **dict.fromkeys(("chunk", "split", "split_with_sizes", "index_select"), _mixed("dim")),
        **dict.fromkeys(("softmax", "log_softmax", "cumsum", "glu"), _mixed("dim")),
        **dict.fromkeys(("flip", "roll"), _mixed("dims")),
        **dict.fromkeys(("select", "unbind"), _drop),
        **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshape),
        **dict.fromkeys(("permute", "transpose", "t"), _permute),
        **dict.fromkeys(("pad", "constant_pad_nd"), _windowed(_pad)),
        "batch_norm": _windowed(_batch_norm),
        "channel_shuffle": _windowed(lambda call, operand: {1 - operand.dim(): Reach.WHOLE}),
        "layer_norm": _windowed(_layer_norm),
        "pixel_unshuffle": _windowed(_unshuffle),
        **dict.fromkeys(("slice", "narrow"), _windowed(_slice)),
        "stack": _stack,
    }
)
