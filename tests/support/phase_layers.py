"""Small random layers with output phases, and their outputs written as one sum after another."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from pimsim.network.layers import Geometry


@st.composite
def phase_geometries(draw: st.DrawFn, stride: tuple[int, int] | None = None) -> Geometry:
    """Sliding and anchored kernels, rectangular blocks, maps that are no multiple of a block, any padding."""
    size, groups = st.integers(1, 3), draw(st.integers(1, 2))
    phases = draw(st.tuples(size, size).filter(lambda n: n != (1, 1)))
    stride = stride or draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    anchored = draw(st.booleans())
    spread = [(n - 1) * s if anchored else 0 for n, s in zip(phases, stride, strict=True)]
    kernel = tuple(-(-more // d) + draw(size) for more, d in zip(spread, dilation, strict=True))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    least = [
        max(1, d * (k - 1) + 1 - more - padding[2 * i] - padding[2 * i + 1])
        for i, (d, k, more) in enumerate(zip(dilation, kernel, spread, strict=True))
    ]
    inputs = tuple(low + draw(st.integers(0, 6)) for low in least)
    ic, oc = (groups * draw(st.integers(1, 3)) for _ in range(2))
    return Geometry(
        "layer", ic, oc, kernel, inputs, stride, padding, dilation, groups, phases=phases, anchored=anchored
    )  # fmt: skip


def convolve_by_phase(geometry: Geometry, images: NDArray[np.int64], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every output as the sum over the pixels under its own kernel."""
    (n_h, n_w), (ic, oc) = geometry.phases, geometry.group_channels
    outputs = np.zeros((len(images), geometry.out_channels, *geometry.output_size), dtype=np.int64)
    for o, y, x in product(*map(range, outputs.shape[1:])):
        kernel = weight[(o * n_h + y % n_h) * n_w + x % n_w]
        first = (y - y % n_h, x - x % n_w) if geometry.anchored else (y, x)
        for c, i, j in product(range(ic), *map(range, geometry.kernel)):
            row = first[0] * geometry.stride[0] + i * geometry.dilation[0] - geometry.padding[0]
            column = first[1] * geometry.stride[1] + j * geometry.dilation[1] - geometry.padding[2]
            if 0 <= row < images.shape[2] and 0 <= column < images.shape[3]:
                outputs[:, o, y, x] += images[:, o // oc * ic + c, row, column] * kernel[c, i, j]
    return outputs


def strided(geometry: Geometry) -> Geometry:
    """The ordinary convolution that computes all phases of an anchored layer at once, one channel for each kernel.

    The padding at the bottom and right is what its last blocks read.
    """
    padding = list(geometry.padding)
    for d in (0, 1):
        blocks = -(-geometry.output_size[d] // geometry.phases[d])
        extent = geometry.dilation[d] * (geometry.kernel[d] - 1) + 1
        needed = (blocks - 1) * geometry.place_stride[d] + extent
        padding[2 * d + 1] = max(0, needed - geometry.padding[2 * d] - geometry.input_size[d])
    return Geometry(
        "strided", geometry.in_channels, geometry.out_channels * geometry.kernels, geometry.kernel,
        geometry.input_size, geometry.place_stride, tuple(padding), geometry.dilation, geometry.groups,
    )  # fmt: skip
