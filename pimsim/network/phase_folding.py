"""Recognising a layer with output phases: a strided convolution, a pixel shuffle and a crop become one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from pimsim.network.layers import Pair
from pimsim.network.phases import sliding_kernels
from pimsim.network.steps import CrossbarOp

_aten = torch.ops.aten
_RESHAPE = (_aten.reshape.default, _aten.view.default)


def shuffle_chain(node: fx.Node) -> tuple[tuple[fx.Node, ...], Pair | None]:
    """The nodes of a pixel shuffle that ends with ``node``, and its factors; the node alone and None for no shuffle.

    Besides ``pixel_shuffle`` this is the reshape, permutation and reshape of `pimsim.network.phases.shuffle`.
    """
    if node.target is _aten.pixel_shuffle.default:
        return (node,), (int(node.args[1]), int(node.args[1]))  # type: ignore[arg-type]
    permuted: Any = node.args[0] if node.target in _RESHAPE else None
    split: Any = permuted.args[0] if getattr(permuted, "target", None) is _aten.permute.default else None
    if getattr(split, "target", None) not in _RESHAPE or list(permuted.args[1]) != [0, 1, 4, 2, 5, 3]:
        return (node,), None
    source, shape, after = (tuple(each.meta["val"].shape) for each in (split.args[0], split, node))
    _, channels, n_h, n_w, height, width = shape
    splits = len(source) == 4 and source[1:] == (channels * n_h * n_w, height, width)
    joins = after[1:] == (channels, height * n_h, width * n_w)
    return ((split, permuted, node), (n_h, n_w)) if splits and joins else ((node,), None)


def with_phases(op: CrossbarOp, phases: Pair, blocks: Sequence[int], padded: Pair) -> CrossbarOp | None:
    """A convolution whose output channels a pixel shuffle lays beside each other, as a layer with phases.

    Kernels slide where no weight lies beside the taps that an ordinary convolution would have in each phase; what was
    no weight then stays an idle cell. Otherwise they are anchored.

    Args:
        op: the strided convolution; its kernels are those of all phases.
        phases: the factors of the shuffle.
        blocks: output size (H, W) of the convolution.
        padded: size of the padded input.

    Returns:
        None where the steps between outputs are no whole pixels (upsampling), or a phase has a bias of its own.
    """
    if op.phases != (1, 1) or any(s % n for s, n in zip(op.stride, phases, strict=True)):
        return None
    stride = op.stride[0] // phases[0], op.stride[1] // phases[1]
    extents = [d * (k - 1) + 1 for d, k in zip(op.dilation, op.weight.shape[2:], strict=True)]
    if not _phases_agree(op.bias, phases) or any(
        extent <= (n - 1) * s for extent, n, s in zip(extents, phases, stride, strict=True)
    ):
        return None
    unread = [
        size - (count - 1) * step - extent
        for size, count, step, extent in zip(padded, blocks, op.stride, extents, strict=True)
    ]
    bias = None if op.bias is None else op.bias[:: phases[0] * phases[1]].clone()
    found = replace(op, phases=phases, anchored=True, stride=stride, bias=bias)
    sliding = sliding_kernels(op.weight, phases, stride) if op.dilation == (1, 1) else None
    if sliding is not None:
        found = replace(found, weight=sliding, anchored=False)
    return _without_border(found, (unread[0], unread[1]))


def cropped(
    op: CrossbarOp, before: Sequence[Any], after: Sequence[Any], axis: int = 0, start: int | None = None,
    end: int | None = None, step: int = 1,
) -> CrossbarOp | None:  # fmt: skip
    """A layer with phases whose last outputs are cut off by a slice; None for any other slice.

    The blocks stay as they are: fewer rows and columns at the end are less padding there.

    Args:
        op: the layer.
        before, after: shapes of its output and of the slice, (N, OC, H, W).
        axis, start, end, step: of the slice, as in ``aten.slice``.
    """
    if op.phases == (1, 1) or start or step != 1 or str(before[:2]) != str(after[:2]):
        return None
    cut = before[2] - after[2], before[3] - after[3]
    if any(c >= n for c, n in zip(cut, op.phases, strict=True)):
        return None
    return _without_border(op, (cut[0] * op.stride[0], cut[1] * op.stride[1]))


def _without_border(op: CrossbarOp, pixels: Pair) -> CrossbarOp | None:
    """The layer with less padding at the bottom and right; None where there is less of it."""
    top, bottom, left, right = op.padding
    bottom, right = bottom - pixels[0], right - pixels[1]
    return replace(op, padding=(top, bottom, left, right)) if min(bottom, right) >= 0 else None


def _phases_agree(bias: Tensor | None, phases: Pair) -> bool:
    """Whether a bias is the same in all phases of each channel."""
    if bias is None:
        return True
    rows = bias.reshape(-1, phases[0] * phases[1])
    return bool((rows == rows[:, :1]).all())
