"""Fake quantization with one step in a single pass over memory, for training on one thread.

The same arithmetic in PyTorch reads and writes each activation a dozen times, a fifth of the time of a training step
on one core. On several threads PyTorch's passes run in parallel, and these do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pimsim.compiling import kernel, why_not

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# Terms that are summed in single precision before they are added in double.
_BLOCK = 4096


def can_fuse(values: Tensor, step: Tensor) -> bool:
    """Whether the kernels take these values (any shape) and this step: one thread, float32, dense, one step, numba."""
    return (
        torch.get_num_threads() == 1
        and values.device.type == "cpu"
        and values.dtype == step.dtype == torch.float32
        and step.numel() == 1
        and memory_order(values) is not None
        and why_not() is None
    )


def memory_order(values: Tensor) -> torch.memory_format | None:
    """In which order a tensor lies in memory without gaps; None when it does not."""
    if values.is_contiguous():
        return torch.contiguous_format
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return None


def round_to_step(values: Tensor, step: float, lowest: int, highest: int) -> Tensor:
    """clamp(round(values / step)) * step, half to even, in the memory order of ``values``."""
    rounded = torch.empty_like(values)
    _round(_flat(values), _flat(rounded), np.float32(step), np.float32(lowest), np.float32(highest))
    return rounded


def step_gradients(gradient: Tensor, values: Tensor, step: float, lowest: int, highest: int) -> tuple[Tensor, float]:
    """The gradient that passes, zero for clipped values, and the slope along the step.

    Args:
        gradient: of the rounded values, in any memory order.
        values: as given to `round_to_step`, with its other arguments.
    """
    order = memory_order(values)
    assert order is not None
    passed = torch.empty_like(values)
    upper = gradient.contiguous(memory_format=order)
    bounds = np.float32(lowest), np.float32(highest)
    return passed, float(_slope(_flat(upper), _flat(values), _flat(passed), np.float32(step), *bounds))


def _flat(values: Tensor) -> Floats:
    """All values in memory order, a view."""
    if not values.is_contiguous():
        values = values.permute(0, 2, 3, 1)
    flat: Floats = values.detach().numpy().reshape(-1)
    return flat


@kernel
def _round(values: Floats, rounded: Floats, step: np.float32, lowest: np.float32, highest: np.float32) -> None:
    for i in range(values.size):
        scaled = values[i] / step
        # Written so that NaN stays NaN.
        scaled = lowest if scaled < lowest else scaled
        scaled = highest if scaled > highest else scaled
        rounded[i] = np.rint(scaled) * step


@kernel
def _slope(
    gradient: Floats, values: Floats, passed: Floats, step: np.float32, lowest: np.float32, highest: np.float32
) -> float:
    total, terms = 0.0, np.empty(_BLOCK, np.float32)
    for start in range(0, values.size, _BLOCK):
        # Indices that count from zero need no check for negative ones.
        block = slice(start, min(start + _BLOCK, values.size))
        total += _block_slope(gradient[block], values[block], passed[block], terms, step, lowest, highest)
    return total


@kernel(inner=True)
def _block_slope(
    gradient: Floats, values: Floats, passed: Floats, terms: Floats,
    step: np.float32, lowest: np.float32, highest: np.float32,
) -> float:  # fmt: skip
    for i in range(values.size):
        scaled = values[i] / step
        held = lowest if scaled < lowest else scaled
        held = highest if held > highest else held
        passes = gradient[i] if held == scaled else np.float32(0)
        passed[i] = passes
        terms[i] = gradient[i] * np.rint(held) - passes * scaled
    return float(_sum(terms[: values.size]))


# Sums in any order keep the vector units busy; everything else must round as PyTorch does.
@kernel(inner=True, fastmath={"reassoc"})
def _sum(terms: Floats) -> np.float32:
    total = np.float32(0)
    for term in terms:
        total += term
    return total
