"""The dataflow of a program found with numbers: one output pixel of a layer is moved, and changed inputs are seen."""

from __future__ import annotations

import torch
from torch import Tensor

from pimsim.network.dataflow import Edge, Reach
from pimsim.network.program import Program, from_images, run_float_crossbar, to_images
from pimsim.network.steps import CrossbarOp

#: Added to all channels of one pixel: the largest of every window, and far from rounding.
MOVE = 1000.0

#: Consumer to bool (rows, columns of the consumer's input, rows, columns of the producer's output).
Witnessed = dict[str, Tensor]


def witness(program: Program, producer: str) -> Witnessed:
    """Which input positions of every other layer change with which output positions of ``producer``.

    All other layers keep their outputs, so that only digital operations carry the change.
    """
    image = torch.randn(1, *program.input_shape, generator=torch.Generator().manual_seed(1))
    inputs, outputs = _record(program, image)
    height, width = outputs[producer].shape[2:]
    pixels = [(row, column) for row in range(height) for column in range(width)]
    changed = [_changed(program, image, inputs, _moved(outputs, producer, pixel)) for pixel in pixels]
    return {
        name: torch.stack([each[name] for each in changed]).unflatten(0, (height, width)).permute(2, 3, 0, 1)
        for name in inputs
        if name != producer
    }


def check_sound(witnessed: Witnessed, producer: str, edges: dict[tuple[str, str], Edge]) -> None:
    """Raises `AssertionError` unless every change lies within the reach of its edge."""
    for consumer, changed in witnessed.items():
        edge = edges.get((producer, consumer))
        if edge is None:
            assert not changed.any(), f"{producer} -> {consumer} is missing"
            continue
        outside = changed & ~_reached(edge, changed.shape)
        assert not outside.any(), f"{edge} misses {outside.nonzero()[0].tolist()}"


def check_tight(changed: Tensor, edge: Edge) -> None:
    """Raises `AssertionError` where the border of a reach that lies within the map does not change anything."""
    for axis, reach in enumerate((edge.rows, edge.columns)):
        lines = changed.any(dim=1 - axis).any(dim=2 - axis)
        inner = [(p, *_span(reach, p)) for p in range(lines.shape[0]) if _is_within(reach, p, lines.shape[1])]
        assert inner, f"no position of {edge} is far from the border"
        for position, first, last in inner:
            hit = lines[position].nonzero().flatten().tolist()
            assert (hit[0], hit[-1]) == (first, last), f"{edge} axis {axis}, position {position}: {hit}"


def _moved(outputs: dict[str, Tensor], producer: str, pixel: tuple[int, int]) -> dict[str, Tensor]:
    moved = outputs[producer].clone()
    moved[:, :, pixel[0], pixel[1]] += MOVE
    return outputs | {producer: moved}


def _changed(
    program: Program, image: Tensor, inputs: dict[str, Tensor], outputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Where the inputs of the layers differ from ``inputs`` when their outputs are ``outputs``."""
    changed = dict[str, Tensor]()

    def crossbar(op: CrossbarOp, values: Tensor, count: int) -> Tensor:
        changed[op.name] = (to_images(op, values, count) != inputs[op.name]).any(dim=1).squeeze(0)
        return from_images(op, outputs[op.name].clone(), values)

    program.play(image, crossbar)
    return changed


def _record(program: Program, image: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Input and output of every layer as images, by name."""
    inputs, outputs = dict[str, Tensor](), dict[str, Tensor]()

    def crossbar(op: CrossbarOp, values: Tensor, count: int) -> Tensor:
        inputs[op.name] = to_images(op, values, count).clone()
        result = run_float_crossbar(op, values, count)
        outputs[op.name] = to_images(op, result, count).clone()
        return result

    program.play(image, crossbar)
    return inputs, outputs


def _reached(edge: Edge, shape: torch.Size) -> Tensor:
    rows, columns = (
        torch.stack([_line(reach, position, outputs) for position in range(inputs)])
        for reach, inputs, outputs in ((edge.rows, shape[0], shape[2]), (edge.columns, shape[1], shape[3]))
    )
    return rows[:, None, :, None] & columns[None, :, None, :]


def _line(reach: Reach, position: int, size: int) -> Tensor:
    first, last = reach.interval(position, position, size)
    return (torch.arange(size) >= first) & (torch.arange(size) <= last)


def _span(reach: Reach, position: int) -> tuple[int, int]:
    return position * reach.step + reach.first, position * reach.step + reach.last


def _is_within(reach: Reach, position: int, size: int) -> bool:
    first, last = _span(reach, position)
    return first >= 0 and last < size
