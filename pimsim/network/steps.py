"""The records of a program: operations on named values, and which of them are crossbar layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Value:
    """A reference to the output of another step, to the input or to a constant."""

    name: str


@dataclass(frozen=True, eq=False)
class CrossbarOp:
    """A layer whose weights go into arrays, in float.

    The output is ``(conv(x, weight) + bias) * gain + shift``; gain and shift are the folded batch norm.

    Attributes:
        form: ``conv2d``, ``conv1d`` or ``linear``: how the input is brought to (N, C, H, W).
        weight: float32 (OC, IC / groups, K_h, K_w); with phases as `Geometry.weight_shape`.
        stride: pixels from one output to the next.
        padding: (top, bottom, left, right).
        gain, shift: (OC,), from a batch norm.
        phases, anchored: as those of `Geometry`.
    """

    name: str
    form: str
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    gain: Tensor | None = None
    shift: Tensor | None = None
    phases: tuple[int, int] = (1, 1)
    anchored: bool = False

    @property
    def channel_weight(self) -> Tensor:
        """The weight with the kernels of all phases of an output channel together: (OC, n_h n_w IC / groups, K_h, K_w).

        A channel has one scale, whatever the phase.
        """
        kernels = self.phases[0] * self.phases[1]
        return self.weight.reshape(len(self.weight) // kernels, -1, *self.weight.shape[2:])

    @property
    def output_shift(self) -> Tensor | None:
        """What is added to the scaled product: ``bias * gain + shift``; None for nothing."""
        if self.gain is None:
            return self.bias
        assert self.shift is not None
        return self.shift if self.bias is None else self.bias * self.gain + self.shift


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: a call on values, or a crossbar layer on one value.

    ``output`` names the value that it writes; ``args`` and ``kwargs`` hold `Value` references.
    """

    output: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    crossbar: CrossbarOp | None = None


@dataclass(frozen=True, eq=False)
class StepGraph:
    """Steps in execution order; ``constants`` are the values that no step computes."""

    steps: tuple[Step, ...]
    constants: dict[str, Any]
    input: str
    output: str


def references(tree: Any) -> list[str]:
    """Names of the values inside nested arguments."""
    if isinstance(tree, Value):
        return [tree.name]
    if isinstance(tree, (list, tuple)):
        return [name for item in tree for name in references(item)]
    return references(list(tree.values())) if isinstance(tree, dict) else []


def operation(step: Step) -> str:
    """Name of a step's operation, such as ``relu`` or ``softmax``."""
    schema = getattr(step.call, "_schema", None)
    if schema is None:
        return str(getattr(step.call, "__name__", step.call))
    return str(schema.name).rpartition("::")[2]


def is_in_place(target: Any) -> bool:
    """Whether an operation writes into one of its arguments."""
    return bool(getattr(getattr(target, "_schema", None), "is_mutable", False))
