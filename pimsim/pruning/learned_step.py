"""Rounding to a grid whose step is learned.

Esser et al. 2020, Learned Step Size Quantization, https://arxiv.org/abs/1902.08153
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pimsim.pruning.rounding_kernels import can_fuse, round_to_step, step_gradients


class LearnedStep(torch.autograd.Function):
    """clamp(round(x / step)) * step with the straight-through gradient and LSQ's step gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, lowest: int, highest: int, step_weight: float) -> Tensor:
        """``values`` on the grid of ``step`` (broadcastable); both gradients are defined."""
        ctx.fused = can_fuse(values, step)
        if ctx.fused:
            ctx.save_for_backward(values, step)
            ctx.bounds, ctx.step_weight = (lowest, highest), step_weight
            return round_to_step(values, float(step), lowest, highest)
        scaled = values / step
        codes = torch.round(scaled).clamp_(lowest, highest)
        ctx.save_for_backward(scaled, codes)
        ctx.step_shape, ctx.bounds, ctx.step_weight = step.shape, (lowest, highest), step_weight
        return codes * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Zero for clipped values; the step sees its rounding error, or the clip level."""
        (gradient,) = gradients
        if ctx.fused:
            values, step = ctx.saved_tensors
            passed, fused_slope = step_gradients(gradient, values, float(step), *ctx.bounds)
            return passed, torch.full_like(step, fused_slope * ctx.step_weight), None, None, None
        scaled, codes = ctx.saved_tensors
        lowest, highest = ctx.bounds
        passed = gradient * (scaled.clamp(lowest, highest) == scaled)
        slope = _summed_product(gradient, codes, ctx.step_shape) - _summed_product(passed, scaled, ctx.step_shape)
        return passed, slope * ctx.step_weight, None, None, None


def _summed_product(left: Tensor, right: Tensor, shape: torch.Size) -> Tensor:
    """(left * right) summed down to ``shape``; one pass where that is a single number."""
    if shape:
        return (left * right).sum_to_size(shape)
    # A strided order that both share makes the flat views free of copies.
    if left.dim() == 4:
        left, right = left.permute(0, 2, 3, 1), right.permute(0, 2, 3, 1)
    return torch.dot(left.reshape(-1), right.reshape(-1))
