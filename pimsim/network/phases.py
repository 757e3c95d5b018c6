"""Convolutions whose kernel depends on the output phase, as one strided convolution and a pixel shuffle."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from pimsim.network.layers import Geometry, Pair


def anchored_kernels(kernels: Tensor, phases: Pair, stride: Pair, dilation: Pair) -> Tensor:
    """Sliding kernels written over all pixels that a block of outputs reads.

    Args:
        kernels: (OC n_h n_w, IC / groups, K_h, K_w), phases in the order of a pixel shuffle.
        phases: outputs (n_h, n_w) of a block.
        stride, dilation: in pixels, of the sliding kernels.

    Returns:
        (OC n_h n_w, IC / groups, P_h, P_w) with P = D (K - 1) + 1 + (n - 1) S, zero where a kernel has no tap.
    """
    height, width = kernels.shape[2:]
    sides = [
        d * (k - 1) + 1 + (n - 1) * s
        for d, k, n, s in zip(dilation, (height, width), phases, stride, strict=True)
    ]  # fmt: skip
    spread = kernels.new_zeros(*kernels.shape[:2], *sides)
    count = phases[0] * phases[1]
    for number, (a, b) in enumerate(product(range(phases[0]), range(phases[1]))):
        y, x = a * stride[0], b * stride[1]
        rows = slice(y, y + dilation[0] * (height - 1) + 1, dilation[0])
        columns = slice(x, x + dilation[1] * (width - 1) + 1, dilation[1])
        spread[number::count, :, rows, columns] = kernels[number::count]
    return spread


def sliding_kernels(kernels: Tensor, phases: Pair, stride: Pair) -> Tensor | None:
    """The inverse of `anchored_kernels` at dilation 1; None where a weight lies beside the sliding kernels."""
    taps = [side - (n - 1) * s for side, n, s in zip(kernels.shape[2:], phases, stride, strict=True)]
    count, shape = phases[0] * phases[1], (*kernels.shape[:2], *taps)
    if min(taps) < 1:
        return None
    small = kernels.new_zeros(shape)
    for number, (a, b) in enumerate(product(range(phases[0]), range(phases[1]))):
        y, x = a * stride[0], b * stride[1]
        small[number::count] = kernels[number::count, :, y : y + taps[0], x : x + taps[1]]
    return small if torch.equal(anchored_kernels(small, phases, stride, (1, 1)), kernels) else None


def shuffle(blocks: Tensor, phases: Pair) -> Tensor:
    """A map (N, OC n_h n_w, H, W) with the phases of each channel as neighbouring outputs, (N, OC, H n_h, W n_w).

    ``torch.nn.functional.pixel_shuffle``, for blocks that need not be square.
    """
    if phases[0] == phases[1]:
        return functional.pixel_shuffle(blocks, phases[0])
    count, channels, height, width = blocks.shape
    split = blocks.reshape(count, channels // (phases[0] * phases[1]), *phases, height, width)
    return split.permute(0, 1, 4, 2, 5, 3).reshape(count, -1, height * phases[0], width * phases[1])


def convolve_blocks(
    images: Tensor, kernels: Tensor, bias: Tensor | None, phases: Pair, step: Pair, size: Pair,
    padding: tuple[int, int, int, int], dilation: Pair = (1, 1), groups: int = 1,
) -> Tensor:  # fmt: skip
    """The convolution with anchored kernels: strided, shuffled and cropped to the output map.

    Args:
        images: (N, IC, H, W).
        kernels: (OC n_h n_w, IC / groups, P_h, P_w).
        bias: (OC,).
        phases: outputs (n_h, n_w) of a block.
        step: pixels from one block to the next.
        size: the output map (O_h, O_w); the last blocks may overrun it.
        padding: zeros (top, bottom, left, right); where the last blocks read beyond them there are zeros, too.
        dilation, groups: of the kernels.

    Returns:
        (N, OC, O_h, O_w).
    """
    top, _, left, _ = padding
    needed = [
        (-(-o // n) - 1) * s + d * (p - 1) + 1
        for o, n, s, d, p in zip(size, phases, step, dilation, kernels.shape[2:], strict=True)
    ]
    # What no block reads is cut off by a negative padding.
    bottom, right = needed[0] - top - images.shape[2], needed[1] - left - images.shape[3]
    padded = functional.pad(images, (left, right, top, bottom))
    biases = None if bias is None else bias.repeat_interleave(phases[0] * phases[1])
    blocks = functional.conv2d(padded, kernels, biases, step, 0, dilation, groups)
    return _cropped(shuffle(blocks, phases), size)


def _cropped(images: Tensor, size: Pair) -> Tensor:
    """The first rows and columns of a map (N, C, H, W)."""
    if images.shape[2:] == size:
        return images
    if torch.compiler.is_exporting():
        # What the importer recognises.
        return images[:, :, : size[0], : size[1]]
    # A slice has gaps in memory, which make the layers behind it, and their gradients, half as fast.
    return functional.pad(images, (0, size[1] - images.shape[3], 0, size[0] - images.shape[2]))


def convolve_phases(geometry: Geometry, images: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """A layer with phases on images (N, IC, H, W), with the bias (OC,): (N, OC, O_h, O_w) in the type of all."""
    (s_h, s_w), (n_h, n_w), dilation = geometry.stride, geometry.phases, geometry.dilation
    if not geometry.anchored:
        kernels, dilation = anchored_kernels(kernels, geometry.phases, geometry.stride, dilation), (1, 1)
    return convolve_blocks(
        images, kernels, bias, geometry.phases, (n_h * s_h, n_w * s_w), geometry.output_size, geometry.padding,
        dilation, geometry.groups,
    )  # fmt: skip
