"""Small random layers and arrays, their convolution by torch, and the arrays played one by one."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Geometry


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Small layers with rectangular everything; the input is as large as the kernel needs, or larger."""
    size = st.integers(1, 3)
    groups = draw(st.integers(1, 3))
    kernel, stride, dilation = (draw(st.tuples(size, size)) for _ in range(3))
    top, bottom, left, right = padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    reach = (dilation[0] * (kernel[0] - 1) + 1 - top - bottom, dilation[1] * (kernel[1] - 1) + 1 - left - right)
    inputs = max(1, reach[0]) + draw(st.integers(0, 6)), max(1, reach[1]) + draw(st.integers(0, 6))
    ic, oc = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    return Geometry("layer", ic, oc, kernel, inputs, stride, padding, dilation, groups)


arrays = st.builds(ArrayShape, st.integers(1, 200), st.integers(2, 120), st.integers(1, 2))


def weights(geometry: Geometry, seed: int) -> NDArray[np.int64]:
    """Small integers; whole kernel positions, output channels and single weights are pruned away."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-3, 4, geometry.weight_shape)
    shapes = (1, 1, *geometry.kernel), (len(weight), 1, 1, 1), geometry.weight_shape
    for shape, kept in zip(shapes, rng.choice([0.5, 0.8, 1.0], 3), strict=True):
        weight = weight * (rng.random(shape) < kept)
    return weight


def convolve(geometry: Geometry, images: NDArray[np.int64], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """torch's convolution in float64, exact for these small integers."""
    top, bottom, left, right = geometry.padding
    padded = torch.nn.functional.pad(torch.tensor(images, dtype=torch.float64), (left, right, top, bottom))
    outputs = torch.nn.functional.conv2d(
        padded,
        torch.tensor(weight, dtype=torch.float64),
        stride=geometry.stride,
        dilation=geometry.dilation,
        groups=geometry.groups,
    )
    return outputs.numpy().astype(np.int64)


def compute(placement: Placement, images: NDArray[np.int64], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every window on every array left, partial sums added where they belong."""
    mapping = placement.mapping
    geometry = mapping.geometry
    inputs = mapping.pad_input(images)
    outputs = np.zeros((len(images), geometry.out_channels * np.prod(geometry.output_size) + 1), dtype=np.int64)
    for tile in placement.tiles:
        products = inputs[:, mapping.window_pixels(tile.rows)] @ mapping.cell_weights(tile, weight)
        for image, sums in enumerate(products):
            np.add.at(outputs[image], mapping.output_index(tile.columns), sums)
    return outputs[:, :-1].reshape(len(images), geometry.out_channels, *geometry.output_size)
