"""Integer codes and scales of weights and activations.

The convention of the whole project: quantization happens at the *input* of every
convolution and linear layer. With codes ``x_int`` and ``w_int`` of this module

    acc = conv(x_int, w_int)                    exact integers
    y   = acc * (s_x * s_w[oc]) + bias          float32, on the digital side

The weight codes are those of the layer's own weight: a batch norm behind the layer is
folded into the digital scale and bias, never into the weight, because training
(:mod:`pimsim.pruning`) quantizes the weight before the batch norm.

Two weight quantizers exist. ``symmetric`` has the codes -(2^(b-1)-1) .. 2^(b-1)-1: zero
is a code, so a pruned weight costs nothing and every code fits b bits. ``dorefa`` has
the 2^b odd codes 2k-(2^b-1) and no zero: the mask is multiplied after quantization, and
a masked 4-bit network then needs the 31 levels -15 .. 15, which are 5-bit codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pimsim.errors import QuantizationError

WEIGHT_QUANTIZERS = ("symmetric", "dorefa")
ScaleMethod = Literal["max", "percentile", "mse"]

# The calibration percentile: the top 0.01 % of the activations may saturate.
_PERCENTILE = 0.9999
# Fractions of the largest value that the squared-error search tries as clipping point.
_SEARCH_POINTS = 100
# torch.quantile and the search stay fast on at most this many values.
_MAX_SAMPLES = 1 << 18
# A channel of a large weight is searched on at least this many of its values.
_MIN_ROW_SAMPLES = 512


@dataclass(frozen=True)
class LayerQuantization:
    """How one convolution or linear layer is turned into integers.

    ``weight_scale`` holds one scale for the whole weight or one per output channel;
    ``activation_scale`` is s_x. Both are positive floats, code times scale is the value.
    Raises :class:`QuantizationError` when a field is out of range.
    """

    weight_quantizer: str
    weight_bits: int
    activation_bits: int
    activation_signed: bool
    activation_scale: float
    weight_scale: tuple[float, ...]

    def __post_init__(self) -> None:
        weight_range(self.weight_quantizer, self.weight_bits)
        activation_range(self.activation_bits, self.activation_signed)
        _check_scales("activation_scale", (self.activation_scale,))
        _check_scales("weight_scale", self.weight_scale)

    @property
    def code_bits(self) -> int:
        """Bits of a two's complement word that holds every weight code, zero included."""
        return self.weight_bits + (self.weight_quantizer == "dorefa")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the inverse."""
        return {**asdict(self), "weight_scale": list(self.weight_scale)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LayerQuantization:
        """The record that :meth:`to_dict` wrote; raises :class:`QuantizationError`."""
        expected = set(cls.__dataclass_fields__)
        if set(values) != expected:
            raise QuantizationError(
                given=f"a layer quantization with the fields {sorted(values)}",
                rule=f"the fields must be {sorted(expected)}",
            )
        scales = tuple(float(scale) for scale in values["weight_scale"])
        return cls(**{**values, "weight_scale": scales})


def weight_range(quantizer: str, bits: int) -> tuple[int, int]:
    """Smallest and largest weight code; raises :class:`QuantizationError`."""
    if quantizer not in WEIGHT_QUANTIZERS:
        raise QuantizationError(
            given=f"weight quantizer {quantizer!r}",
            rule=f"must be one of {', '.join(WEIGHT_QUANTIZERS)}",
        )
    # One symmetric bit would leave the single code 0.
    lowest = 1 if quantizer == "dorefa" else 2
    if not lowest <= bits <= 16:
        raise QuantizationError(given=f"weight_bits={bits}", rule=f"{quantizer} weights have {lowest} to 16 bits")
    top = 2**bits - 1 if quantizer == "dorefa" else 2 ** (bits - 1) - 1
    return -top, top


def activation_range(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest activation code; raises :class:`QuantizationError`."""
    if not 1 <= bits <= 16:
        raise QuantizationError(given=f"activation_bits={bits}", rule="activations have 1 to 16 bits")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def quantize_weight(weight: Tensor, record: LayerQuantization, mask: Tensor | None = None) -> Tensor:
    """Integer codes (int64, shape of ``weight``) of a float weight (OC first).

    ``mask`` (1 keeps, 0 prunes) is applied after quantization: a pruned weight is exactly
    zero. The result is the same for ``weight`` and for ``weight * mask``.
    """
    _check_finite(weight)
    bits = record.weight_bits
    if record.weight_quantizer == "dorefa":
        codes = dorefa_codes(weight, bits, mask)
    else:
        codes = round_to_codes(weight, broadcast_scale(record.weight_scale, weight), *weight_range("symmetric", bits))
    return (codes if mask is None else codes * (mask != 0)).to(torch.int64)


def quantize_activation(activation: Tensor, record: LayerQuantization) -> Tensor:
    """Integer codes (int64, shape of ``activation``) at the input of a layer."""
    bounds = activation_range(record.activation_bits, record.activation_signed)
    scale = torch.tensor(record.activation_scale, dtype=torch.float32)
    return round_to_codes(activation.float(), scale, *bounds).to(torch.int64)


def round_to_codes(values: Tensor, scale: Tensor, lowest: int, highest: int) -> Tensor:
    """clamp(round(values / scale)), half to even, as a float tensor of whole numbers."""
    return torch.round(values / scale).clamp_(lowest, highest)


def broadcast_scale(scale: tuple[float, ...], weight: Tensor) -> Tensor:
    """Scales as float32, shaped (1 or OC, 1, ...) so that they divide ``weight``."""
    if len(scale) not in (1, weight.shape[0]):
        raise QuantizationError(
            given=f"{len(scale)} weight scales for a weight of shape {tuple(weight.shape)}",
            rule=f"one scale, or one for each of the {weight.shape[0]} output channels",
        )
    return torch.tensor(scale, dtype=torch.float32).reshape(-1, *[1] * (weight.dim() - 1))


def dorefa_codes(weight: Tensor, bits: int, mask: Tensor | None = None) -> Tensor:
    """The odd codes 2k-(2^b-1) as a float tensor, before the mask is applied.

    k = round((tanh(W) / (2 max|tanh(W)|) + 1/2) (2^b - 1)); the maximum is taken over the
    kept weights. Zhou et al. 2016, https://arxiv.org/abs/1606.06160
    """
    levels = 2**bits - 1
    squashed = torch.tanh(weight)
    kept = squashed if mask is None else squashed * mask
    peak = kept.abs().max().clamp_min(torch.finfo(squashed.dtype).tiny)
    # Pruned weights may lie outside the kept range; their code is masked away later.
    unit = (squashed / (2 * peak) + 0.5).clamp(0, 1)
    codes: Tensor = 2 * torch.round(unit * levels) - levels
    return codes


def dorefa_scale(weight: Tensor, bits: int, mask: Tensor | None = None) -> float:
    """E / (2^b - 1), where E is the mean magnitude of the kept weights."""
    magnitude = weight.abs() if mask is None else weight.abs()[mask != 0]
    mean = float(magnitude.mean()) if magnitude.numel() else 0.0
    return (mean or 1.0) / float(2**bits - 1)


def symmetric_scale(
    weight: Tensor, bits: int, per_channel: bool = True, method: ScaleMethod = "mse"
) -> tuple[float, ...]:
    """Scales of the symmetric quantizer, one or one per output channel.

    ``max`` maps the largest magnitude to the largest code; ``mse`` searches the scale of
    least squared error. A channel of zeros gets the scale 1.
    """
    _check_finite(weight)
    rows = weight.detach().float().flatten(1) if per_channel else weight.detach().float().reshape(1, -1)
    bounds = weight_range("symmetric", bits)
    largest = rows.abs().amax(1) / bounds[1]
    thinned = rows[:, :: -(-rows.shape[1] // max(_MAX_SAMPLES // len(rows), _MIN_ROW_SAMPLES))]
    scales = largest if method == "max" else _least_error(thinned, largest, *bounds)
    return tuple(float(scale) for scale in torch.where(scales > 0, scales, 1.0))


def activation_scale(samples: Tensor, bits: int, signed: bool, method: ScaleMethod = "mse") -> float:
    """s_x for activations like ``samples`` (any shape), by maximum, percentile or error."""
    _check_finite(samples)
    values = _thinned(samples.detach().float().flatten())
    bounds = activation_range(bits, signed)
    magnitude = values.abs() if signed else values.clamp_min(0)
    top = float(magnitude.quantile(_PERCENTILE) if method == "percentile" else magnitude.max())
    largest = torch.tensor([top / max(bounds[1], 1)])
    if method == "mse":
        largest = _least_error(values.reshape(1, -1), largest, *bounds)
    return float(largest) or 1.0


def calibrate_layer(
    weight: Tensor,
    samples: Tensor,
    weight_bits: int,
    activation_bits: int,
    weight_quantizer: str = "symmetric",
    per_channel: bool = True,
    method: ScaleMethod = "mse",
    mask: Tensor | None = None,
) -> LayerQuantization:
    """Post-training quantization of one layer from its weight and sampled inputs.

    Activations are signed when any sample is negative.
    """
    signed = bool((samples < 0).any())
    kept = weight if mask is None else weight * mask
    if weight_quantizer == "dorefa":
        scales: tuple[float, ...] = (dorefa_scale(weight, weight_bits, mask),)
    else:
        scales = symmetric_scale(kept, weight_bits, per_channel, method)
    return LayerQuantization(
        weight_quantizer,
        weight_bits,
        activation_bits,
        signed,
        activation_scale(samples, activation_bits, signed, method),
        scales,
    )


def _least_error(rows: Tensor, largest: Tensor, lowest: int, highest: int) -> Tensor:
    """Per row the scale, among fractions of ``largest``, of least squared error.

    In numpy: hundreds of small passes are faster without a thread pool's barriers.
    """
    values, tops = rows.numpy(), largest.numpy()
    best, least = tops.copy(), np.full(tops.shape, math.inf)
    for step in range(_SEARCH_POINTS, 0, -1):
        scale = tops * np.float32(step / _SEARCH_POINTS)
        divisor = np.where(scale > 0, scale, np.float32(1))[:, None]
        codes = values / divisor
        np.clip(np.rint(codes, out=codes), lowest, highest, out=codes)
        codes *= divisor
        codes -= values
        error = np.einsum("rn,rn->r", codes, codes)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return torch.from_numpy(best)


def _thinned(values: Tensor) -> Tensor:
    """At most ``_MAX_SAMPLES`` values, evenly spaced so that the choice is reproducible."""
    stride = -(-values.numel() // _MAX_SAMPLES)
    return values[:: max(stride, 1)]


def _check_scales(name: str, scales: tuple[float, ...]) -> None:
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise QuantizationError(given=f"{name}={scales[:4]}", rule="every scale must be a positive finite number")


def _check_finite(values: Tensor) -> None:
    if values.numel() == 0 or not bool(torch.isfinite(values).all()):
        raise QuantizationError(
            given=f"a tensor of shape {tuple(values.shape)} that is empty or holds NaN or infinity",
            rule="only finite numbers can be quantized",
        )
