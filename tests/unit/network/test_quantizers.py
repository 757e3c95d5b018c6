"""Codes and scales against the formulas, value by value."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pimsim.errors import QuantizationError
from pimsim.network.quantizers import (
    LayerQuantization,
    activation_range,
    activation_scale,
    calibrate_layer,
    dorefa_scale,
    quantize_activation,
    quantize_weight,
    symmetric_scale,
    weight_range,
)

finite = st.floats(-4, 4, allow_nan=False, width=32)
weights = st.lists(finite, min_size=4, max_size=24)


def record(**changes: object) -> LayerQuantization:
    values: dict[str, object] = {
        "weight_quantizer": "symmetric", "weight_bits": 4, "activation_bits": 4,
        "activation_signed": False, "activation_scale": 0.25, "weight_scale": (0.5,),
    }  # fmt: skip
    return LayerQuantization(**{**values, **changes})  # type: ignore[arg-type]


def scalar_dorefa(values: list[float], bits: int) -> list[int]:
    """DoReFa's code of each value, with Python's own round-half-even."""
    top = 2**bits - 1
    peak = max(abs(math.tanh(value)) for value in values) or 1.0
    return [2 * round((math.tanh(v) / (2 * peak) + 0.5) * top) - top for v in values]


@settings(deadline=None)
@given(weights, st.integers(1, 8))
def test_dorefa_codes_are_the_odd_numbers_of_the_scalar_formula(values: list[float], bits: int) -> None:
    weight = torch.tensor(values, dtype=torch.float64).reshape(1, -1)
    codes = quantize_weight(weight, record(weight_quantizer="dorefa", weight_bits=bits)).flatten().tolist()
    assert codes == scalar_dorefa(values, bits)
    assert all(code % 2 and abs(code) <= 2**bits - 1 for code in codes)


def test_dorefa_scale_is_the_mean_magnitude_of_the_kept_weights() -> None:
    weight = torch.tensor([[1.0, -3.0, 100.0]])
    assert dorefa_scale(weight, 2, torch.tensor([[1, 1, 0]])) == pytest.approx(2.0 / 3)


@settings(deadline=None)
@given(weights, st.sampled_from(["dorefa", "symmetric"]), st.data())
def test_a_pruned_weight_is_exactly_zero_and_its_value_does_not_matter(
    values: list[float], quantizer: str, data: st.DataObject
) -> None:
    weight = torch.tensor(values).reshape(1, -1)
    bits = data.draw(st.lists(st.integers(0, 1), min_size=len(values), max_size=len(values)))
    mask = torch.tensor(bits).reshape(1, -1)
    layer = record(weight_quantizer=quantizer)
    codes = quantize_weight(weight, layer, mask)
    assert not codes[mask == 0].any()
    assert torch.equal(codes, quantize_weight(weight * mask, layer, mask))


def test_dorefa_without_a_mask_has_no_zero() -> None:
    assert quantize_weight(torch.zeros(1, 3), record(weight_quantizer="dorefa")).all()


@settings(deadline=None)
@given(st.integers(2, 8), st.data())
def test_symmetric_codes_survive_the_way_to_floats_and_back(bits: int, data: st.DataObject) -> None:
    lowest, highest = weight_range("symmetric", bits)
    codes = torch.tensor(data.draw(st.lists(st.integers(lowest, highest), min_size=6, max_size=6))).reshape(3, 2)
    scales = tuple(data.draw(st.lists(st.floats(2**-10, 4, width=32), min_size=3, max_size=3)))
    weight = codes * torch.tensor(scales, dtype=torch.float32).reshape(3, 1)
    assert torch.equal(quantize_weight(weight, record(weight_bits=bits, weight_scale=scales)), codes)


@settings(deadline=None)
@given(st.integers(1, 8), st.booleans(), st.data())
def test_activation_codes_survive_the_way_to_floats_and_back(bits: int, signed: bool, data: st.DataObject) -> None:
    codes = torch.tensor(data.draw(st.lists(st.integers(*activation_range(bits, signed)), min_size=1, max_size=9)))
    layer = record(activation_bits=bits, activation_signed=signed, activation_scale=0.37)
    assert torch.equal(quantize_activation(codes * torch.tensor(0.37), layer), codes)


def test_rounding_is_half_to_even_and_clips_at_both_ends() -> None:
    layer = record(activation_signed=True, activation_scale=1.0)
    values = torch.tensor([-99.0, -2.5, -0.5, 0.5, 1.5, 2.5, 99.0])
    assert quantize_activation(values, layer).tolist() == [-8, -2, 0, 0, 2, 2, 7]


def test_integer_convolution_times_scales_is_the_convolution_of_the_quantized_values() -> None:
    generator = torch.Generator().manual_seed(3)
    weight, images = torch.randn(5, 3, 3, 3, generator=generator), torch.rand(2, 3, 6, 6, generator=generator)
    layer = calibrate_layer(weight, images, weight_bits=4, activation_bits=4)
    x_int, w_int = quantize_activation(images, layer), quantize_weight(weight, layer)
    scale = torch.tensor(layer.weight_scale).double()
    accumulated = functional.conv2d(x_int.double(), w_int.double()) * (
        layer.activation_scale * scale.reshape(1, -1, 1, 1)
    )
    values = functional.conv2d(x_int.double() * layer.activation_scale, w_int * scale.reshape(-1, 1, 1, 1))
    assert torch.allclose(accumulated, values, rtol=1e-12, atol=0)


@settings(deadline=None)
@given(weights, st.integers(2, 8))
def test_the_maximum_scale_never_clips(values: list[float], bits: int) -> None:
    weight = torch.tensor(values).reshape(1, -1)
    scale = symmetric_scale(weight, bits, method="max")
    error = (quantize_weight(weight, record(weight_bits=bits, weight_scale=scale)) * scale[0] - weight).abs().max()
    assert error <= scale[0] / 2 * (1 + 1e-4)


@settings(max_examples=25, deadline=None)
@given(weights, st.integers(2, 6))
def test_the_squared_error_search_is_never_worse_than_the_maximum(values: list[float], bits: int) -> None:
    weight = torch.tensor(values).reshape(1, -1)

    def error(method: str) -> float:
        scale = symmetric_scale(weight, bits, method=method)  # type: ignore[arg-type]
        codes = quantize_weight(weight, record(weight_bits=bits, weight_scale=scale))
        return float((codes * scale[0] - weight).square().sum())

    assert error("mse") <= error("max") * (1 + 1e-4) + 1e-9


def test_scales_per_channel_follow_each_channel() -> None:
    weight = torch.tensor([[7.0, -1.0], [0.7, 0.1], [0.0, 0.0]])
    assert symmetric_scale(weight, 4, method="max") == pytest.approx((1.0, 0.1, 1.0))
    assert symmetric_scale(weight, 4, per_channel=False, method="max") == (1.0,)


def test_activation_scale_by_percentile_ignores_an_outlier() -> None:
    samples = torch.cat([torch.linspace(0, 1, 50_000), torch.tensor([1000.0])])
    assert activation_scale(samples, 8, False, "max") == pytest.approx(1000 / 255)
    assert activation_scale(samples, 8, False, "percentile") == pytest.approx(1 / 255, rel=1e-3)


def test_calibration_finds_out_whether_inputs_are_signed() -> None:
    weight = torch.ones(1, 2)
    assert calibrate_layer(weight, torch.tensor([-0.1, 1.0]), 4, 4).activation_signed
    assert not calibrate_layer(weight, torch.tensor([0.0, 1.0]), 4, 4).activation_signed


def test_a_record_survives_the_way_to_plain_values_and_back() -> None:
    layer = record(weight_scale=(0.1, 0.2))
    assert LayerQuantization.from_dict(layer.to_dict()) == layer
    assert layer.to_dict()["weight_scale"] == [0.1, 0.2]


def test_masked_dorefa_needs_one_bit_more() -> None:
    assert (record().code_bits, record(weight_quantizer="dorefa").code_bits) == (4, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_quantizer": "ternary"}, "weight quantizer 'ternary': must be one of symmetric, dorefa."),
        ({"weight_bits": 1}, "weight_bits=1: symmetric weights have 2 to 16 bits."),
        ({"activation_bits": 0}, "activation_bits=0: activations have 1 to 16 bits."),
        ({"activation_scale": 0.0}, "activation_scale=(0.0,): every scale must be a positive finite number."),
        ({"weight_scale": (1.0, math.nan)}, "weight_scale=(1.0, nan): every scale must be a positive finite number."),
    ],
)  # fmt: skip
def test_a_bad_record_says_which_field_and_rule(changes: dict[str, object], message: str) -> None:
    with pytest.raises(QuantizationError) as caught:
        record(**changes)
    assert str(caught.value) == message


def test_a_scale_per_channel_must_match_the_channels() -> None:
    with pytest.raises(QuantizationError, match=r"2 weight scales for a weight of shape \(3, 1\)"):
        quantize_weight(torch.ones(3, 1), record(weight_scale=(1.0, 2.0)))


def test_nan_weights_are_refused() -> None:
    with pytest.raises(QuantizationError, match="NaN or infinity"):
        quantize_weight(torch.tensor([[math.nan]]), record())


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(QuantizationError, match="the fields must be"):
        LayerQuantization.from_dict({**record().to_dict(), "zero_point": 3})
