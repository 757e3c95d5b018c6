"""A program in motion: memory, inputs left alone, exact products, and what an observer sees."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from pimsim.errors import NetworkError
from pimsim.network.importer import import_float, import_network
from pimsim.network.integer import exact_dtype, integer_multiply, largest_accumulator
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.network.program import run_float_crossbar
from pimsim.network.quantizers import quantize_activation
from pimsim.network.steps import Step


def slow_product(layer: Layer, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The definition of a convolution, one window at a time, in integers."""
    g = layer.geometry
    top, bottom, left, right = g.padding
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
    outputs = np.zeros((len(inputs), g.out_channels, *g.output_size), dtype=np.int64)
    ic, oc = g.group_channels
    assert layer.weight is not None
    for n, o, y, x in np.ndindex(*outputs.shape):
        for c, i, j in np.ndindex(ic, *g.kernel):
            row, column = y * g.stride[0] + i * g.dilation[0], x * g.stride[1] + j * g.dilation[1]
            outputs[n, o, y, x] += padded[n, o // oc * ic + c, row, column] * layer.weight[o, c, i, j]
    return outputs


@st.composite
def layers(draw: st.DrawFn) -> tuple[Layer, NDArray[np.int64]]:
    def small(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    groups = small(1, 2)
    geometry = Geometry(
        "layer", groups * small(1, 2), groups * small(1, 2), (small(1, 3), small(1, 3)), (small(5, 6), small(5, 6)),
        (small(1, 2), small(1, 2)), (small(0, 2), small(0, 2), small(0, 2), small(0, 2)), (small(1, 2), small(1, 2)),
        groups,
    )  # fmt: skip
    bits, signed = draw(st.sampled_from([2, 8, 16])), draw(st.booleans())
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    weight = random.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), geometry.weight_shape)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    inputs = random.integers(low, high, (2, geometry.in_channels, *geometry.input_size))
    return Layer(geometry, Precision(bits, bits, signed), weight), inputs


@settings(max_examples=60, deadline=None)
@given(layers())
def test_the_fast_product_equals_the_definition(case: tuple[Layer, NDArray[np.int64]]) -> None:
    layer, inputs = case
    outputs = integer_multiply(layer, torch.from_numpy(inputs))
    assert outputs.dtype == torch.int64
    assert np.array_equal(outputs.numpy(), slow_product(layer, inputs))


def extreme(bits: int, channels: int, weight: int) -> Layer:
    geometry = Geometry("layer", channels, 1, kind="linear")
    return Layer(geometry, Precision(bits, bits, False), np.full(geometry.weight_shape, weight))


def test_the_format_follows_from_the_largest_possible_sum() -> None:
    layer = extreme(8, 257, 256)
    assert largest_accumulator(layer) == 257 * 256 * 255 == 2**24 - 256
    assert exact_dtype(layer) == torch.float32
    assert exact_dtype(extreme(8, 258, 256)) == torch.float64
    full = torch.full((1, 258, 1, 1), 255)
    assert int(integer_multiply(extreme(8, 258, 257), full)) == 258 * 257 * 255


def test_sums_that_no_float_holds_are_refused() -> None:
    with pytest.raises(NetworkError) as caught:
        exact_dtype(extreme(16, 4, 2**40))
    assert str(caught.value) == (
        f"layer: sums of up to {4 * 2**40 * 65535}: an exact product needs sums below 2^53. Use fewer bits."
    )


def test_a_layer_without_weights_cannot_run() -> None:
    with pytest.raises(NetworkError) as caught:
        integer_multiply(Layer(Geometry("conv1", 1, 1)), torch.zeros(1, 1, 1, 1))
    assert str(caught.value) == "conv1: a layer without weights: it can be timed but not run."


def chain(length: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Conv2d(2, 2, 1) for _ in range(length)))


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 2, 5, 5, generator=torch.Generator().manual_seed(0))


def test_values_are_freed_after_their_last_use() -> None:
    program, _ = import_float(chain(6), (2, 5, 5))
    produced: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def watch(step: Step, result: Any, values: Mapping[str, Any]) -> None:
        produced.append(weakref.ref(result))
        alive.append(sum(reference() is not None for reference in produced))

    program.play(images(), run_float_crossbar, watch)
    assert alive == [1, 2, 2, 2, 2, 2]


class InPlace(nn.Module):
    """Writes into its input and into a buffer, as careless networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.register_buffer("table", torch.ones(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        table = self.table.clone()
        table[0] += 1
        return self.conv(x.relu_()) * table


def test_inputs_and_constants_are_left_alone() -> None:
    torch.manual_seed(0)
    program, _ = import_float(InPlace(), (2, 5, 5))
    given_images, before = images(), images()
    first, second = program.run_float(given_images), program.run_float(given_images)
    assert torch.equal(given_images, before)
    assert torch.equal(first, second)
    assert torch.allclose(first, InPlace.forward(_loaded(program), before.clone()))


def _loaded(program: Any) -> InPlace:
    torch.manual_seed(0)
    return InPlace().eval().requires_grad_(False)


def test_inputs_are_the_codes_of_the_quantizer() -> None:
    network = import_network(chain(1), calibration=images(), weight_bits=5, activation_bits=3)
    seen: list[Tensor] = []

    def observe(layer: Layer, inputs: Tensor, accumulators: Tensor) -> None:
        seen.append(inputs)

    network.program.run(images() * 3, integer_multiply, observe)
    record = network.program.records["0"]
    assert torch.equal(seen[0].long(), quantize_activation(images() * 3, record))
    assert (int(seen[0].min()), int(seen[0].max())) == (-4, 3)


def test_an_observer_does_not_change_the_output() -> None:
    network = import_network(chain(3), calibration=images())
    watched = network.program.run(images(), integer_multiply, lambda *_: None)
    assert torch.equal(watched, network.program.run(images(), integer_multiply))


def test_another_product_changes_the_output_of_its_layer_only_by_its_error() -> None:
    network = import_network(chain(1), calibration=images())
    layer = network.layers[0]
    assert layer.weight_scale is not None
    shifted = network.program.run(images(), lambda one, x: integer_multiply(one, x) + 10)
    step = torch.from_numpy(10 * layer.activation_scale * layer.weight_scale).float().reshape(1, -1, 1, 1)
    assert torch.allclose(shifted, network.program.run(images(), integer_multiply) + step, atol=1e-5)


def test_a_float_program_has_no_integers() -> None:
    program, _ = import_float(chain(1), (2, 5, 5))
    with pytest.raises(NetworkError) as caught:
        program.run(images(), integer_multiply)
    assert str(caught.value) == ("a program without integer layers: quantize the network before running it on arrays.")
