"""Training sees exactly the values that the integer network computes with."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pimsim.errors import NetworkError, QuantizationError
from pimsim.network.quantizers import quantize_activation, quantize_weight
from pimsim.pruning.checkpoint_writer import layer_records
from pimsim.pruning.fake_quantization import (
    LearnedStep,
    QuantizationOptions,
    attach_quantizers,
    calibrate_quantizers,
    hold_steps,
    restore_quantizers,
)
from pimsim.pruning.masks import mask_layers, pattern_mask
from pimsim.pruning.training import quantizers


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5),
    )  # fmt: skip


def prepared(seed: int = 0, quantizer: str = "symmetric", keep: str = "000111111") -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(seed)
    built, images = network(), torch.randn(6, 2, 9, 9)
    mask_layers(built, {"2": pattern_mask(keep, built[2].weight)})
    attach_quantizers(built, QuantizationOptions(weight_quantizer=quantizer))
    calibrate_quantizers(built, images)
    return built.eval(), images


def integer_layer(layer: nn.Module, name: str, inputs: Tensor, built: nn.Module) -> Tensor:
    """y = acc (s_x s_w) + bias, the accumulator exact in float64."""
    record = layer_records(built)[name]
    x_int = quantize_activation(inputs, record).double()
    w_int = quantize_weight(layer.weight_orig.detach(), record, layer.weight_mask).double()
    scale = (torch.tensor(record.weight_scale) * record.activation_scale).double()
    if isinstance(layer, nn.Linear):
        return functional.linear(x_int, w_int) * scale + layer.bias
    assert isinstance(layer, nn.Conv2d)
    accumulated = functional.conv2d(x_int, w_int, stride=layer.stride, groups=layer.groups)
    return accumulated * scale.reshape(-1, 1, 1) + layer.bias.reshape(-1, 1, 1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["symmetric", "dorefa"]), st.sampled_from(["000111111", "011011011"]))
def test_every_layer_computes_what_the_integers_compute(seed: int, quantizer: str, keep: str) -> None:
    built, values = prepared(seed, quantizer, keep)
    with torch.no_grad():
        for name, layer in built.named_children():
            outputs = layer(values)
            if hasattr(layer, "weight_orig"):
                expected = integer_layer(layer, name, values, built)
                assert torch.allclose(outputs.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
            values = outputs


def test_first_and_last_layer_have_their_own_bits() -> None:
    records = layer_records(prepared()[0])
    assert {name: (r.weight_bits, r.activation_bits) for name, r in records.items()} == {
        "0": (8, 8), "2": (4, 4), "5": (4, 4), "8": (8, 8),
    }  # fmt: skip


def test_signed_inputs_are_found_by_calibration() -> None:
    records = layer_records(prepared()[0])
    assert {name: r.activation_signed for name, r in records.items()} == {"0": True, "2": False, "5": False, "8": False}


def test_dorefa_activations_have_the_fixed_step() -> None:
    records = layer_records(prepared(quantizer="dorefa")[0])
    assert records["2"].activation_scale == pytest.approx(1 / 15)
    assert not prepared(quantizer="dorefa")[0][2].quantizer.activation_step.requires_grad


@pytest.mark.parametrize("quantizer", ["symmetric", "dorefa"])
def test_pruned_weights_are_zero_in_the_forward_pass_and_get_no_gradient(quantizer: str) -> None:
    built, images = prepared(quantizer=quantizer)
    built.train()(images).square().sum().backward()
    assert not built[2].weight[:, :, 0].any()
    assert not built[2].weight_orig.grad[:, :, 0].any()
    assert built[2].weight_orig.grad[:, :, 1:].any()


def test_switched_off_quantizers_change_nothing() -> None:
    torch.manual_seed(0)
    built, images = network().eval(), torch.randn(2, 2, 9, 9)
    before = built(images)
    mask_layers(built, {})
    attach_quantizers(built, QuantizationOptions())
    assert torch.equal(built(images), before)


def slow_gradients(values: Tensor, step: float, lowest: int, highest: int, passed: Tensor) -> tuple[list[float], float]:
    """Esser et al. 2020, equations 3 and 5, value by value."""
    gradients, step_gradient = [], 0.0
    for value, gradient in zip(values.tolist(), passed.tolist(), strict=True):
        ratio = value / step
        clipped = lowest if ratio < lowest else highest if ratio > highest else None
        gradients.append(0.0 if clipped is not None else gradient)
        step_gradient += gradient * (clipped if clipped is not None else round(ratio) - ratio)
    return gradients, step_gradient


@settings(deadline=None)
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=12), st.floats(0.1, 2), st.integers(0, 99))
def test_the_gradients_are_those_of_the_paper(numbers: list[float], size: float, seed: int) -> None:
    values = torch.tensor(numbers, dtype=torch.float64, requires_grad=True)
    step = torch.tensor(size, dtype=torch.float64, requires_grad=True)
    passed = torch.randn(len(numbers), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    LearnedStep.apply(values, step, -7, 7, 0.5).backward(passed)
    expected, step_gradient = slow_gradients(values.detach(), size, -7, 7, passed)
    assert values.grad.tolist() == pytest.approx(expected)
    assert float(step.grad) == pytest.approx(0.5 * step_gradient, abs=1e-9)


@pytest.mark.parametrize(("escaped", "share"), [(-1.0, 0.3), (0.0, 0.3), (1e9, 1.0)])
def test_an_escaped_step_comes_back_to_the_weights_of_its_channel(escaped: float, share: float) -> None:
    built, _ = prepared()
    with torch.no_grad():
        for quantizer in quantizers(built):
            quantizer.weight_step.fill_(escaped)
            quantizer.activation_step.fill_(escaped)
    hold_steps(built)
    largest = (built[2].weight_orig * built[2].weight_mask).abs().flatten(1).amax(1)
    assert torch.allclose(built[2].quantizer.weight_step.flatten(), share * largest / 7)
    assert all(quantizer.activation_step > 0 for quantizer in quantizers(built))


def test_eight_bit_weights_are_never_clipped() -> None:
    built, _ = prepared()
    hold_steps(built)
    largest = built[0].weight_orig.abs().flatten(1).amax(1)
    assert torch.allclose(built[0].quantizer.weight_step.flatten(), largest / 127)


def test_a_step_within_its_range_is_left_alone() -> None:
    built, _ = prepared()
    before = built[2].quantizer.weight_step.detach().clone()
    hold_steps(built)
    assert torch.equal(built[2].quantizer.weight_step, before)


@pytest.mark.parametrize("quantizer", ["symmetric", "dorefa"])
def test_restored_steps_give_the_same_network(quantizer: str) -> None:
    built, images = prepared(quantizer=quantizer)
    other, _ = prepared(seed=1, quantizer=quantizer)
    restore_quantizers(other, layer_records(built))
    with torch.no_grad():
        for mine, theirs in zip(built, other, strict=True):
            if hasattr(mine, "weight_orig"):
                theirs.weight_orig.copy_(mine.weight_orig)
                theirs.bias.copy_(mine.bias)
        assert torch.equal(other(images), built(images))


def test_steps_of_other_bits_are_refused() -> None:
    records = layer_records(prepared()[0])
    built = network()
    mask_layers(built, {})
    attach_quantizers(built, QuantizationOptions(weight_bits=3))
    with pytest.raises(QuantizationError, match=r"\('symmetric', 4, 4\).*fine-tuning with \('symmetric', 3, 4\)"):
        restore_quantizers(built, records)
    with pytest.raises(QuantizationError, match="without the scales of layer 0"):
        restore_quantizers(built, {})


def test_a_layer_that_is_never_used_is_named() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Conv2d(1, 1, 1), nn.Linear(1, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.used(images)

    built = Unused()
    mask_layers(built, {})
    attach_quantizers(built, QuantizationOptions())
    with pytest.raises(NetworkError, match="layer spare was not reached"):
        calibrate_quantizers(built, torch.ones(1, 1, 2, 2))


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(NetworkError, match="without Conv2d or Linear"):
        attach_quantizers(nn.Sequential(nn.ReLU()), QuantizationOptions())
