"""The reference against a loop over every index, and against torch in float64."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pimsim.functional.reference import reference_convolution
from pimsim.network.layers import Geometry, Layer, Precision


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    size = tuple(d * (k - 1) + 1 + draw(st.integers(0, 3)) for d, k in zip(dilation, kernel, strict=True))
    geometry = Geometry(
        "layer",
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        kernel,
        size,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.tuples(*[st.integers(0, 2)] * 4)),
        dilation,
        groups,
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Layer(geometry, Precision(), rng.integers(-128, 128, geometry.weight_shape))


def by_hand(layer: Layer, inputs: np.ndarray) -> np.ndarray:
    g, weight = layer.geometry, layer.weight
    assert weight is not None
    outputs = np.zeros((len(inputs), g.out_channels, *g.output_size), dtype=object)
    ic, oc = g.group_channels
    for n, o, y, x in np.ndindex(*outputs.shape):
        for i, k_y, k_x in np.ndindex(*weight.shape[1:]):
            at_y = y * g.stride[0] + k_y * g.dilation[0] - g.padding[0]
            at_x = x * g.stride[1] + k_x * g.dilation[1] - g.padding[2]
            if 0 <= at_y < g.input_size[0] and 0 <= at_x < g.input_size[1]:
                pixel = inputs[n, (o // oc) * ic + i, at_y, at_x]
                outputs[n, o, y, x] += int(weight[o, i, k_y, k_x]) * int(pixel)
    return outputs.astype(np.int64)


@settings(deadline=None, max_examples=40)
@given(layer=layers(), seed=st.integers(0, 2**32 - 1))
def test_reference_is_the_sum_over_every_index(layer: Layer, seed: int) -> None:
    shape = (2, layer.geometry.in_channels, *layer.geometry.input_size)
    inputs = np.random.default_rng(seed).integers(-128, 256, shape)
    np.testing.assert_array_equal(reference_convolution(layer, inputs), by_hand(layer, inputs))


def test_reference_equals_torch_on_a_real_shape() -> None:
    import torch

    rng = np.random.default_rng(0)
    geometry = Geometry("conv", 16, 32, (3, 3), (32, 32), (2, 2), (1, 1, 1, 1))
    layer = Layer(geometry, Precision(), rng.integers(-128, 128, geometry.weight_shape))
    inputs = rng.integers(0, 256, (2, 16, 32, 32))
    wanted = torch.nn.functional.conv2d(torch.tensor(inputs).double(), torch.tensor(layer.weight).double(), None, 2, 1)
    np.testing.assert_array_equal(reference_convolution(layer, inputs), wanted.numpy().astype(np.int64))


def test_sums_beyond_float64_stay_exact() -> None:
    """2**52 * 3 + 1 has no float64; int64 holds it."""
    weight = np.array([2**26, 1]).reshape(1, 2, 1, 1)
    layer = Layer(Geometry("fc", 2, 1), Precision(32, 32), weight)
    inputs = np.array([3 * 2**27, 1]).reshape(1, 2, 1, 1)
    assert reference_convolution(layer, inputs).item() == 3 * 2**53 + 1
