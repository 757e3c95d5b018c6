"""A network that runs: crossbar layers on integers, everything between them in float32.

At every crossbar layer

    x_int = quantize_activation(x)                 int32 (N, IC, H, W)
    acc   = multiply(layer, x_int)                 int64 (N, OC, H', W')
    y     = acc * (s_x * s_w[oc]) + bias[oc]       float32

``multiply`` is the only thing that differs between the fast integer product, the slow
reference and the crossbar model, so the same digital side serves all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pimsim.errors import NetworkError
from pimsim.network.layers import Geometry, Layer
from pimsim.network.phases import convolve_phases
from pimsim.network.quantizers import LayerQuantization, activation_range
from pimsim.network.steps import CrossbarOp, Step, StepGraph, Value, is_in_place, references

#: (layer, int32 (N, IC, H, W)) to int64 accumulators (N, OC, H', W'); padding is the layer's own.
Multiply = Callable[[Layer, Tensor], Tensor]
#: (layer, inputs, accumulators) of one crossbar layer, for a batch.
Observe = Callable[[Layer, Tensor, Tensor], None]
#: One crossbar operation on its float input in the network's own layout.
RunCrossbar = Callable[[CrossbarOp, Tensor, int], Tensor]
ObserveStep = Callable[[Step, Any, Mapping[str, Any]], None]


@dataclass(frozen=True, eq=False)
class Program:
    """The steps of a network and, once it is quantized, its integer layers.

    Attributes:
        graph: steps in execution order.
        input_shape: (C, H, W) of one image.
        batched: whether the steps take any number of images; otherwise they run image by image.
        layers: integer layer of each crossbar step, by name; empty before quantization.
        records: quantization of each layer, by name.
    """

    graph: StepGraph
    input_shape: tuple[int, int, int]
    batched: bool = True
    layers: Mapping[str, Layer] = field(default_factory=dict)
    records: Mapping[str, LayerQuantization] = field(default_factory=dict)

    def run(self, images: Tensor, multiply: Multiply, observe: Observe | None = None) -> Tensor:
        """The network's output for float images (N, C, H, W), its layers computed by ``multiply``.

        Args:
            images: normalized as in training.
            multiply: exact or not; gets int32 inputs without padding and gives int64 accumulators.
            observe: called at every crossbar layer with what ``multiply`` got and gave.

        Raises:
            NetworkError: images of another shape, or the program was never quantized.
        """
        if not self.layers:
            raise NetworkError("a program without integer layers", "quantize the network before running it on arrays")

        def crossbar(op: CrossbarOp, values: Tensor, count: int) -> Tensor:
            layer = self.layers[op.name]
            inputs = _quantized(to_images(op, values, count), self.records[op.name])
            accumulators = multiply(layer, inputs)
            if observe is not None:
                observe(layer, inputs, accumulators)
            return from_images(op, rescale(layer, accumulators), values)

        return self.play(images, crossbar)

    def run_float(self, images: Tensor) -> Tensor:
        """The network's output for float images (N, C, H, W) as the original network computes it."""
        return self.play(images, run_float_crossbar)

    def play(self, images: Tensor, crossbar: RunCrossbar, observe: ObserveStep | None = None) -> Tensor:
        """The output, with every crossbar layer computed by ``crossbar`` (op, float input, number of images)."""
        if tuple(images.shape[1:]) != self.input_shape:
            raise NetworkError(
                f"images of shape {tuple(images.shape)}",
                f"the network was imported for (N, {', '.join(map(str, self.input_shape))})",
            )
        with torch.no_grad():
            if self.batched:
                return _play(self.graph, images, crossbar, observe)
            return torch.cat([_play(self.graph, image, crossbar, observe) for image in torch.split(images, 1)])

    @property
    def crossbar_steps(self) -> tuple[Step, ...]:
        """The steps that are crossbar layers, in execution order."""
        return tuple(step for step in self.graph.steps if step.crossbar is not None)


def geometry(op: CrossbarOp, input_size: tuple[int, int]) -> Geometry:
    """The layer's shape for an input of that height and width."""
    kernels, group_channels, height, width = op.weight.shape
    return Geometry(
        op.name, group_channels * op.groups, kernels // (op.phases[0] * op.phases[1]), (height, width), input_size,
        op.stride, op.padding, op.dilation, op.groups, "linear" if op.form == "linear" else "conv",
        op.phases, op.anchored,
    )  # fmt: skip


def to_images(op: CrossbarOp, values: Tensor, count: int) -> Tensor:
    """A layer's input as (N, C, H, W): N x 1 pixels for the tokens of a linear layer, height 1 in one dimension."""
    if op.form == "conv2d":
        return values
    if op.form == "conv1d":
        return values.unsqueeze(2)
    return values.reshape(count, -1, values.shape[-1]).transpose(1, 2).unsqueeze(3)


def from_images(op: CrossbarOp, outputs: Tensor, values: Tensor) -> Tensor:
    """A layer's output (N, OC, H, W) in the layout of its input ``values``."""
    if op.form == "conv2d":
        return outputs
    if op.form == "conv1d":
        return outputs.squeeze(2)
    return outputs.squeeze(3).transpose(1, 2).reshape(*values.shape[:-1], outputs.shape[1])


def rescale(layer: Layer, accumulators: Tensor) -> Tensor:
    """float32 ``acc * (s_x * s_w[oc]) + bias[oc]`` of accumulators (N, OC, H, W)."""
    assert layer.weight_scale is not None
    scale = torch.from_numpy(layer.weight_scale * layer.activation_scale).float().reshape(1, -1, 1, 1)
    outputs = accumulators.float().mul_(scale)
    if layer.bias is None:
        return outputs
    return outputs.add_(torch.from_numpy(layer.bias).float().reshape(1, -1, 1, 1))


def run_float_crossbar(op: CrossbarOp, values: Tensor, count: int) -> Tensor:
    """The layer in float32, batch norm included."""
    outputs = _convolve(op, to_images(op, values, count))
    if op.gain is not None and op.shift is not None:
        gain, shift = (line.float().reshape(1, -1, 1, 1) for line in (op.gain, op.shift))
        outputs = outputs * gain + shift
    return from_images(op, outputs, values)


def _convolve(op: CrossbarOp, images: Tensor) -> Tensor:
    top, bottom, left, right = op.padding
    if op.phases == (1, 1):
        padded = functional.pad(images, (left, right, top, bottom))
        return functional.conv2d(padded, op.weight, op.bias, op.stride, 0, op.dilation, op.groups)
    return convolve_phases(geometry(op, (images.shape[2], images.shape[3])), images, op.weight, op.bias)


def _quantized(values: Tensor, record: LayerQuantization) -> Tensor:
    """`quantize_activation` in int32, which holds every code of 16 bits and is faster than int64."""
    low, high = activation_range(record.activation_bits, record.activation_signed)
    scale = torch.tensor(record.activation_scale, dtype=torch.float32)
    return (values.float() / scale).round_().clamp_(low, high).to(torch.int32)


def _play(graph: StepGraph, images: Tensor, crossbar: RunCrossbar, observe: ObserveStep | None) -> Tensor:
    values: dict[str, Any] = _fresh_constants(graph)
    values[graph.input] = images.clone() if any(is_in_place(step.call) for step in graph.steps) else images
    for step, unused in zip(graph.steps, _last_uses(graph), strict=True):
        if step.crossbar is None:
            result = step.call(*look_up(step.args, values), **look_up(step.kwargs, values))
        else:
            result = crossbar(step.crossbar, look_up(step.args[0], values), len(images))
        if observe is not None:
            observe(step, result, values)
        values[step.output] = result
        for name in unused:
            del values[name]
    output = values[graph.output]
    assert isinstance(output, Tensor)
    return output


def look_up(tree: Any, values: Mapping[str, Any]) -> Any:
    """Nested arguments with every reference replaced by its value."""
    if isinstance(tree, Value):
        return values[tree.name]
    if isinstance(tree, (list, tuple)):
        return type(tree)(look_up(item, values) for item in tree)
    return {key: look_up(item, values) for key, item in tree.items()} if isinstance(tree, dict) else tree


def _fresh_constants(graph: StepGraph) -> dict[str, Any]:
    """The constants; copies of them where a step writes into one (deepcopy keeps views together)."""
    written = {name for step in graph.steps if is_in_place(step.call) for name in references(step.args[:1])}
    return copy.deepcopy(graph.constants) if written & set(graph.constants) else dict(graph.constants)


def _last_uses(graph: StepGraph) -> list[list[str]]:
    """For each step the values that no later step reads, so that memory stays bounded."""
    seen, uses = {graph.output}, []
    for step in reversed(graph.steps):
        names = {step.output, *references(step.args), *references(step.kwargs)} - seen
        seen |= names
        uses.append(sorted(names))
    return uses[::-1]
