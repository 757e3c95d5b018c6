"""The exported graph as steps: crossbar layers with their batch norm, and digital operations.

What is computed from parameters alone is evaluated once. A batch norm behind a layer that
feeds nothing else becomes a gain and a shift of that layer's output: the weights that
are quantized stay the layer's own (`pimsim.network.quantizers`). Zero padding in front of
a convolution becomes part of it. A strided convolution whose channels a pixel shuffle lays
beside each other is a layer with output phases (`pimsim.network.phase_folding`).
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from pimsim.network.exporting import ExportedGraph
from pimsim.network.layers import Pair
from pimsim.network.phase_folding import cropped, shuffle_chain, with_phases
from pimsim.network.steps import CrossbarOp, Step, StepGraph, Value, is_in_place, references

_aten = torch.ops.aten
_CONV2D = (_aten.conv2d.default, _aten.conv2d.padding)
_CONV1D = (_aten.conv1d.default, _aten.conv1d.padding)
_MATMUL = (_aten.matmul.default, _aten.mm.default)
_CONV_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_IDENTITY = (_aten.dropout.default, _aten.dropout_.default, _aten.feature_dropout.default, _aten.alpha_dropout.default)


def fold(exported: ExportedGraph) -> StepGraph:
    """The steps of an exported graph, with constants, batch norms and padding folded."""
    return _Folder(exported).fold()


class _Folder:
    """One pass over the nodes; holds what is known so far."""

    def __init__(self, exported: ExportedGraph) -> None:
        self.exported = exported
        self.constants = dict(exported.constants)
        self.steps: dict[str, Step] = {}
        # Identities (dropout) and folded batch norms: their name to the value that replaces it.
        self.alias: dict[str, str] = {}
        self.names: dict[str, int] = {}
        # Of convolutions: height and width of the padded input, and the last node folded into them.
        self.padded: dict[str, Pair] = {}
        self.last: dict[str, str] = {}
        self.users = {node.name: len(node.users) for node in exported.graph.nodes}

    def fold(self) -> StepGraph:
        for node in self.exported.graph.nodes:
            if node.op == "call_function":
                self._add(node)
            elif node.op == "get_attr":
                self.constants[node.name] = operator.attrgetter(str(node.target))(self.exported.owner)
        output = self._resolve(self.exported.output)
        return _prune_unused(StepGraph(tuple(self.steps.values()), self.constants, self.exported.input, output))

    def _add(self, node: fx.Node) -> None:
        args, kwargs = self._convert(node.args), self._convert(dict(node.kwargs))
        if node.target in _IDENTITY:
            self.alias[node.name] = args[0].name
            return
        if self._is_constant(node, args, kwargs):
            self.constants[node.name] = node.target(*self._values(args), **self._values(kwargs))  # type: ignore[operator]
            return
        if self._fold_batch_norm(node, args) or self._fold_phases(node, args):
            return
        step = Step(node.name, node.target, args, kwargs)  # type: ignore[arg-type]
        self.steps[node.name] = self._as_crossbar(node, step) or step

    def _convert(self, tree: Any) -> Any:
        resolve: Any = lambda node: Value(self._resolve(node.name))  # noqa: E731 (map_arg is typed for nodes)
        return fx.map_arg(tree, resolve)

    def _resolve(self, name: str) -> str:
        return self.alias.get(name, name)

    def _values(self, tree: Any) -> Any:
        if isinstance(tree, Value):
            return self.constants[tree.name]
        if isinstance(tree, (list, tuple)):
            return type(tree)(self._values(item) for item in tree)
        return {key: self._values(item) for key, item in tree.items()} if isinstance(tree, dict) else tree

    def _is_constant(self, node: fx.Node, args: Any, kwargs: Any) -> bool:
        names = references(args) + references(kwargs)
        if not names or not all(name in self.constants for name in names):
            return False
        return not (torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) or is_in_place(node.target))

    # Crossbar layers

    def _as_crossbar(self, node: fx.Node, step: Step) -> Step | None:
        op = self._convolution(node, step) or self._linear(node, step)
        if op is None:
            return None
        if op.form == "conv2d":
            self.padded[step.output] = _padded_size(node, op)
        source, op = self._fold_padding(node, step, op)
        unique = self.names[op.name] = self.names.get(op.name, 0) + 1
        name = op.name if unique == 1 else f"{op.name}@{unique}"
        return Step(step.output, step.call, (source,), {}, replace(op, name=name))

    def _constant(self, argument: Any) -> Tensor | None:
        value = self.constants.get(argument.name) if isinstance(argument, Value) else None
        return value if isinstance(value, Tensor) and value.is_floating_point() else None

    def _convolution(self, node: fx.Node, step: Step) -> CrossbarOp | None:
        if node.target not in _CONV2D + _CONV1D:
            return None
        options = dict(zip(_CONV_ARGUMENTS, step.args, strict=False)) | step.kwargs
        weight = self._constant(options["weight"])
        bias = self._constant(options.get("bias"))
        if weight is None or (options.get("bias") is not None and bias is None) or _folds_batch(node):
            return None
        one_d = node.target in _CONV1D
        stride, dilation = (_pair(options.get(key, 1), one_d) for key in ("stride", "dilation"))
        weight = weight.unsqueeze(2) if one_d else weight
        padding = _padding(options.get("padding", 0), one_d, weight, dilation)
        name = self._layer_name(node, options["weight"])
        form = "conv1d" if one_d else "conv2d"
        return CrossbarOp(name, form, weight, bias, stride, padding, dilation, int(options.get("groups", 1)))

    def _linear(self, node: fx.Node, step: Step) -> CrossbarOp | None:
        if node.target is _aten.linear.default:
            source, weight = step.args[0], self._constant(step.args[1])
            bias_argument = step.args[2] if len(step.args) > 2 else step.kwargs.get("bias")
            weight_argument = step.args[1]
        elif node.target in _MATMUL:
            source, weight_argument, bias_argument = step.args[0], step.args[1], None
            weight = self._constant(weight_argument)
            weight = weight.t() if weight is not None and weight.dim() == 2 else None
        else:
            return None
        bias = self._constant(bias_argument)
        if weight is None or not isinstance(source, Value) or source.name in self.constants:
            return None
        if bias_argument is not None and bias is None:
            return None
        return CrossbarOp(self._layer_name(node, weight_argument), "linear", weight[:, :, None, None], bias)

    def _layer_name(self, node: fx.Node, weight: Value) -> str:
        """The module path: of the weight where it is a parameter, otherwise of the call."""
        parameter = self.exported.parameters.get(weight.name, "")
        if parameter:
            return parameter.removesuffix("weight").rstrip("._") or parameter
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]) if stack else ""
        return path or node.name

    def _fold_padding(self, node: fx.Node, step: Step, op: CrossbarOp) -> tuple[Value, CrossbarOp]:
        source = step.args[0] if step.args else step.kwargs["input"]
        pad = self.steps.get(source.name)
        if op.form != "conv2d" or pad is None or pad.call is not _aten.pad.default or self._uses(source.name) > 1:
            return source, op
        border = _zero_border(pad)
        if border is None:
            return source, op
        del self.steps[source.name]
        top, bottom, left, right = (a + b for a, b in zip(op.padding, border, strict=True))
        return pad.args[0], replace(op, padding=(top, bottom, left, right))

    def _uses(self, name: str) -> int:
        return self.users.get(name, 0) + (name == self.exported.output)

    # Batch norm

    def _fold_batch_norm(self, node: fx.Node, args: tuple[Any, ...]) -> bool:
        if node.target is not _aten.batch_norm.default or args[5]:
            return False
        previous = self.steps.get(args[0].name)
        if previous is None or previous.crossbar is None or not self._feeds_only(args[0].name, node):
            return False
        # Behind a linear layer on tokens the batch norm runs over the tokens, not the outputs.
        if previous.crossbar.form == "linear" and node.args[0].meta["val"].dim() != 2:  # type: ignore[union-attr]
            return False
        weight, bias, mean, variance = (self._constant(argument) for argument in args[1:5])
        gain, shift = _batch_norm_line(weight, bias, mean, variance, float(args[7]))
        self.steps[args[0].name] = replace(previous, crossbar=replace(previous.crossbar, gain=gain, shift=shift))
        self.alias[node.name] = args[0].name
        return True

    def _feeds_only(self, name: str, node: fx.Node) -> bool:
        crossbar, last = self.steps[name].crossbar, self.last.get(name, name)
        return self._uses(last) == 1 and crossbar is not None and crossbar.gain is None and node.args[0].name == last  # type: ignore[union-attr]

    # Output phases

    def _fold_phases(self, node: fx.Node, args: tuple[Any, ...]) -> bool:
        """A pixel shuffle behind a strided convolution, or a crop behind that, becomes part of the layer."""
        chain, phases = shuffle_chain(node)
        if phases is None and node.target is not _aten.slice.Tensor:
            return False
        source: Any = chain[0].args[0] if chain[0].args else None
        name = self._resolve(source.name) if isinstance(source, fx.Node) else ""
        if name not in self.padded or not self._feeds_only(name, chain[0]) or any(len(n.users) > 1 for n in chain[:-1]):
            return False
        previous = self.steps[name]
        assert previous.crossbar is not None
        before, after = (tuple(n.meta["val"].shape) for n in (source, node))
        if phases is not None:
            op = with_phases(previous.crossbar, phases, before[2:], self.padded[name])
        else:
            op = cropped(previous.crossbar, before, after, *args[1:])
        if op is None:
            return False
        for folded in chain[:-1]:
            self.steps.pop(folded.name, None)
        self.steps[name] = replace(previous, crossbar=op)
        self.alias[node.name], self.last[name] = name, node.name
        return True


def _batch_norm_line(
    weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Gain and shift of a batch norm in evaluation mode, float64 inside."""
    assert mean is not None and variance is not None  # evaluation mode without statistics is training mode
    gain = (variance.double() + epsilon).rsqrt()
    gain = gain if weight is None else gain * weight.double()
    shift = -mean.double() * gain
    return gain, shift if bias is None else shift + bias.double()


def _folds_batch(node: fx.Node) -> bool:
    """Whether the first dimension is more than the batch, so that one image is several inputs."""
    value = node.args[0].meta["val"]  # type: ignore[union-attr]
    batch = value.shape[0]
    return not (batch == 1 or (not isinstance(batch, int) and str(batch).isidentifier()))


def _padded_size(node: fx.Node, op: CrossbarOp) -> Pair:
    """Height and width that a convolution sees, its own padding included."""
    height, width = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]
    top, bottom, left, right = op.padding
    return height + top + bottom, width + left + right


def _pair(value: Any, one_d: bool) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    values = values * 2 if len(values) == 1 and not one_d else values
    return (1, int(values[0])) if one_d else (int(values[0]), int(values[1]))


def _padding(value: Any, one_d: bool, weight: Tensor, dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    if value == "valid":
        return 0, 0, 0, 0
    if value == "same":
        # torch puts the odd one at the bottom and right.
        (top, bottom), (left, right) = (
            (total // 2, total - total // 2)
            for total in (d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True))
        )
        return top, bottom, left, right
    height, width = _pair(value, one_d)
    height = 0 if one_d else height
    return height, height, width, width


def _zero_border(pad: Step) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) of a padding step, None unless it only puts zeros around the image."""
    options = dict(zip(("input", "pad", "mode", "value"), pad.args, strict=False)) | pad.kwargs
    amounts = options["pad"]
    if options.get("mode", "constant") != "constant" or options.get("value"):
        return None
    if len(amounts) > 4 or not all(type(amount) is int and amount >= 0 for amount in amounts):
        return None
    left, right, top, bottom = (*amounts, 0, 0)[:4]
    return top, bottom, left, right


def _prune_unused(graph: StepGraph) -> StepGraph:
    """Without the steps that nothing reads, such as the sizes and assertions of the tracer."""
    needed, kept = {graph.output}, []
    for step in reversed(graph.steps):
        if step.output in needed or is_in_place(step.call):
            needed.update(references(step.args) + references(step.kwargs))
            kept.append(step)
    constants = {name: value for name, value in graph.constants.items() if name in needed}
    return replace(graph, steps=tuple(reversed(kept)), constants=constants)
