"""Quantization inside training: any network's layers see quantized inputs and weights.

Nothing in the network is rewritten. Every convolution and linear layer gets the mask of
``torch.nn.utils.prune`` (all ones where nothing is pruned) and, behind it, a hook that
quantizes the layer's input and its masked weight. The step sizes are learned.

Esser et al. 2020, Learned Step Size Quantization, https://arxiv.org/abs/1902.08153;
Zhou et al. 2016, DoReFa-Net, https://arxiv.org/abs/1606.06160
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pimsim.errors import NetworkError, QuantizationError
from pimsim.network.quantizers import (
    LayerQuantization,
    activation_range,
    activation_scale,
    dorefa_codes,
    dorefa_scale,
    symmetric_scale,
    weight_range,
)
from pimsim.pruning.learned_step import LearnedStep

WeightLayer = nn.Conv2d | nn.Linear

# No step may reach zero or turn negative while it is learned.
_SMALLEST_STEP = 1e-6
# Steps learn at a tenth of the paper's pace: its learning rate (0.01) is for fine-tuning.
_STEP_PACE = 0.1
# The clipping level of a channel stays between this share of its largest weight and all
# of it. Behind a batch norm the loss hardly feels a step, which then drifts without limit.
_NARROWEST_CLIP = 0.3
# From so many bits on the rounding error is too small to learn from: nothing is clipped.
_UNCLIPPED_BITS = 6


@dataclass(frozen=True)
class QuantizationOptions:
    """Which quantizers a network is trained with; the first and last layer have own bits."""

    weight_quantizer: str = "symmetric"
    weight_bits: int = 4
    activation_bits: int = 4
    first_last_bits: int = 8

    def __post_init__(self) -> None:
        for bits in (self.weight_bits, self.first_last_bits):
            weight_range(self.weight_quantizer, bits)
        for bits in (self.activation_bits, self.first_last_bits):
            activation_range(bits, signed=False)


class LayerQuantizer(nn.Module):
    """The learned steps of one layer; ``enabled`` is False while training in float."""

    signed: Tensor
    enabled: Tensor

    def __init__(self, layer: WeightLayer, quantizer: str, bits: tuple[int, int]) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.weight_bits, self.activation_bits = bits
        channels = [layer.weight.shape[0]] + [1] * (layer.weight.dim() - 1)
        self.weight_step = nn.Parameter(torch.ones(channels))
        self.activation_step = nn.Parameter(torch.ones(()))
        self.register_buffer("signed", torch.tensor(False))
        self.register_buffer("enabled", torch.tensor(False))
        # Python copies: reading a tensor's truth on every forward pass is slow.
        self.is_enabled = self.is_signed = False
        self.has_fixed_step = False

    def fix_weight_step(self, bits: int) -> None:
        """One step for the whole weight, of these bits, which is set from outside and not learned."""
        self.weight_bits, self.has_fixed_step = bits, True
        self.weight_step = nn.Parameter(torch.ones([1] * self.weight_step.dim()), requires_grad=False)

    def calibrate(self, weight: Tensor, mask: Tensor, samples: Tensor) -> None:
        """Start the steps at the least squared error over a weight and sampled inputs."""
        self._switch_on(bool((samples < 0).any()))
        start = activation_scale(samples, self.activation_bits, self.is_signed)
        if self._fixed_activation_step:
            start = 1 / (2**self.activation_bits - 1)
        self._set_steps(start, symmetric_scale(weight * mask, self.weight_bits) if self._learns_weight_step else ())

    def restore(self, record: LayerQuantization) -> None:
        """Go on from the steps of an earlier training; raises :class:`QuantizationError`."""
        own = (self.quantizer, self.weight_bits, self.activation_bits)
        given = (record.weight_quantizer, record.weight_bits, record.activation_bits)
        if self.has_fixed_step:
            own, given = (*own[:1], 0, *own[2:]), (own[0], 0, *given[2:])
        if own != given:
            raise QuantizationError(
                given=f"a checkpoint with (quantizer, weight bits, activation bits) {given}",
                rule=f"fine-tuning with {own} must start from the same ones or from float weights",
            )
        self._switch_on(record.activation_signed)
        self._set_steps(record.activation_scale, record.weight_scale)

    def refresh(self) -> None:
        """Take over ``signed`` and ``enabled`` after a state dict was loaded."""
        self.is_signed, self.is_enabled = bool(self.signed), bool(self.enabled)
        self.weight_step.requires_grad_(self._learns_weight_step)
        self.activation_step.requires_grad_(not self._fixed_activation_step)

    def fake_weight(self, weight: Tensor, mask: Tensor) -> Tensor:
        """The weight as the integer network will see it; masked weights are exactly zero."""
        if not self.is_enabled:
            return weight
        if self.quantizer == "dorefa":
            return _fake_dorefa(weight, mask, self.weight_bits)
        bounds = weight_range("symmetric", self.weight_bits)
        step_weight = _STEP_PACE * (weight[0].numel() * bounds[1]) ** -0.5
        quantized: Tensor = LearnedStep.apply(  # type: ignore[no-untyped-call]
            weight, self.weight_step, *bounds, step_weight
        )
        return quantized * mask

    def fake_activation(self, activation: Tensor) -> Tensor:
        """The layer's input as the integer network will see it."""
        if not self.is_enabled:
            return activation
        bounds = activation_range(self.activation_bits, self.is_signed)
        step_weight = _STEP_PACE * (activation.numel() * bounds[1]) ** -0.5
        quantized: Tensor = LearnedStep.apply(  # type: ignore[no-untyped-call]
            activation, self.activation_step, *bounds, step_weight
        )
        return quantized

    def record(self, weight: Tensor, mask: Tensor) -> LayerQuantization:
        """The frozen integers' side of this layer: the steps as they stand now."""
        scales = tuple(float(step) for step in self.weight_step.detach().flatten())
        if self.quantizer == "dorefa":
            scales = (dorefa_scale(weight.detach(), self.weight_bits, mask),)
        return LayerQuantization(
            self.quantizer, self.weight_bits, self.activation_bits, self.is_signed,
            float(self.activation_step.detach()), scales,
        )  # fmt: skip

    @torch.no_grad()
    def hold(self, weight: Tensor, mask: Tensor) -> None:
        """Keep the learned steps in a sensible range; called after every optimizer step."""
        self.activation_step.clamp_(min=_SMALLEST_STEP)
        if not (self._learns_weight_step and self.is_enabled):
            return
        channels = (weight * mask).flatten(1).abs().amax(1).reshape(self.weight_step.shape)
        widest = (channels / weight_range("symmetric", self.weight_bits)[1]).clamp_min(_SMALLEST_STEP)
        narrowest = widest if self.weight_bits >= _UNCLIPPED_BITS else _NARROWEST_CLIP * widest
        self.weight_step.copy_(self.weight_step.clamp(narrowest, widest))

    @property
    def _fixed_activation_step(self) -> bool:
        # DoReFa clips to [0, 1]; it has no rule for signed inputs, whose step is learned.
        return self.quantizer == "dorefa" and not self.is_signed

    @property
    def _learns_weight_step(self) -> bool:
        # DoReFa's scale follows from the weights themselves, a fixed one from elsewhere.
        return self.quantizer == "symmetric" and not self.has_fixed_step

    def _switch_on(self, signed: bool) -> None:
        self.signed.fill_(signed)
        self.enabled.fill_(True)
        self.refresh()

    @torch.no_grad()
    def _set_steps(self, activation: float, weight: tuple[float, ...]) -> None:
        self.activation_step.fill_(activation)
        if self._learns_weight_step:
            self.weight_step.copy_(torch.tensor(weight).reshape(-1, *[1] * (self.weight_step.dim() - 1)))


def weight_layers(network: nn.Module) -> dict[str, WeightLayer]:
    """Every convolution and linear layer by its dotted name; raises :class:`NetworkError`."""
    found = {name: module for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    if not found:
        raise NetworkError(
            given=f"a network of type {type(network).__name__} without Conv2d or Linear",
            rule="training needs at least one layer with weights",
        )
    return found


def trained_layers(network: nn.Module) -> dict[str, Any]:
    """The weight layers of a network with masks and quantizers attached.

    Any, because ``weight_orig``, ``weight_mask`` and ``quantizer`` are no declared
    attributes of a torch layer.
    """
    return dict(weight_layers(network))


def attach_quantizers(network: nn.Module, options: QuantizationOptions) -> dict[str, LayerQuantizer]:
    """Quantizers hooked into every weight layer; every layer must carry a prune mask.

    The quantizer becomes the submodule ``quantizer`` of its layer, so that state dicts
    and optimizers find the steps. First and last are meant in definition order.
    """
    layers = weight_layers(network)
    names = list(layers)
    inner = (options.weight_bits, options.activation_bits)
    outer = (options.first_last_bits, options.first_last_bits)
    attached = {}
    for name, layer in layers.items():
        bits = outer if name in (names[0], names[-1]) else inner
        attached[name] = LayerQuantizer(layer, options.weight_quantizer, bits)
        layer.add_module("quantizer", attached[name])
        # Registered after the prune hook, which has just renewed ``layer.weight``.
        layer.register_forward_pre_hook(_quantize_layer)
    return attached


@torch.no_grad()
def calibrate_quantizers(network: nn.Module, images: Tensor, only_new: bool = False) -> None:
    """Start every step from the inputs that ``images`` (N, C, H, W) cause; then enable.

    With ``only_new`` the layers that are enabled already stay as they are. Raises
    :class:`NetworkError` for a layer that the forward pass never reaches.
    """
    samples = _layer_inputs(network, images)
    for name, layer in trained_layers(network).items():
        if only_new and layer.quantizer.is_enabled:
            continue
        if name not in samples:
            raise NetworkError(
                given=f"layer {name} was not reached by the forward pass",
                rule="every convolution and linear layer must be used",
                where=name,
            )
        layer.quantizer.calibrate(layer.weight_orig, layer.weight_mask, samples[name])


def restore_quantizers(network: nn.Module, records: Mapping[str, LayerQuantization], partly: bool = False) -> None:
    """Start every step where an earlier training left it; then enable.

    A trained quantized network is not the float network with rounding on top: clipping
    and dead channels are part of it, so calibrating it anew would ruin it. Raises
    :class:`QuantizationError` for a layer with other bits, or without a record unless ``partly``.
    """
    for name, layer in trained_layers(network).items():
        if name not in records and partly:
            continue
        if name not in records:
            raise QuantizationError(
                given=f"a quantized checkpoint without the scales of layer {name}",
                rule="every layer with weights needs a quantization record",
                where=name,
            )
        layer.quantizer.restore(records[name])


def hold_steps(network: nn.Module) -> None:
    """Keep every learned step in a sensible range; called after every optimizer step."""
    for layer in trained_layers(network).values():
        layer.quantizer.hold(layer.weight_orig, layer.weight_mask)


def _layer_inputs(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    samples: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        return lambda layer, inputs: samples.__setitem__(name, inputs[0].detach())

    handles = [
        layer.register_forward_pre_hook(watch(name), prepend=True) for name, layer in weight_layers(network).items()
    ]
    was_training = network.training
    network.eval()(images)
    network.train(was_training)
    for handle in handles:
        handle.remove()
    return samples


def _quantize_layer(layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    quantizer: LayerQuantizer = layer.quantizer
    # The prune hook's product is replaced: DoReFa needs the mask behind the quantizer.
    if quantizer.is_enabled:
        layer.weight = quantizer.fake_weight(layer.weight_orig, layer.weight_mask)
    return (quantizer.fake_activation(inputs[0]), *inputs[1:])


def _fake_dorefa(weight: Tensor, mask: Tensor, bits: int) -> Tensor:
    detached = weight.detach()
    scale = dorefa_scale(detached, bits, mask)
    squashed = torch.tanh(weight)
    peak = (squashed * mask).abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
    # Straight through the rounding only: the gradient still passes tanh and the peak.
    smooth = squashed / peak * (scale * (2**bits - 1))
    rounded = dorefa_codes(detached, bits, mask) * scale
    quantized: Tensor = (smooth + (rounded - smooth).detach()) * mask
    return quantized
