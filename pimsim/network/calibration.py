"""Quantization records of an imported network: read from its checkpoint, or found from sampled inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import mode
from typing import Any, TypeVar

import torch
from torch import Tensor

from pimsim.errors import PimsimError, QuantizationError, nearest
from pimsim.network.program import Program, run_float_crossbar, to_images
from pimsim.network.quantizers import (
    LayerQuantization,
    ScaleMethod,
    activation_range,
    calibrate_layer,
    weight_range,
)
from pimsim.network.steps import CrossbarOp
from pimsim.network.threads import one_thread

Records = dict[str, LayerQuantization]
Choice = TypeVar("Choice")

# Kept values of each layer's inputs over the whole calibration; the search stays fast on them.
_KEPT_VALUES = 1 << 16
_BATCH = 32


@dataclass(frozen=True)
class QuantizationRequest:
    """What the user asked for; None takes what the checkpoint records, or 8 bits and ``symmetric``."""

    weight_bits: int | None = None
    activation_bits: int | None = None
    quantizer: str | None = None
    per_channel: bool = True
    method: ScaleMethod = "mse"

    def __post_init__(self) -> None:
        weight_range(self.quantizer or "symmetric", 8 if self.weight_bits is None else self.weight_bits)
        activation_range(8 if self.activation_bits is None else self.activation_bits, signed=False)


def matches(request: QuantizationRequest, records: Mapping[str, LayerQuantization]) -> bool:
    """Whether recorded quantization is what was asked for; first and last layers may have their own bits."""
    return bool(records) and _asked(complete(request, records)) == _asked(complete(QuantizationRequest(), records))


def complete(request: QuantizationRequest, records: Mapping[str, LayerQuantization]) -> QuantizationRequest:
    """The request with what was left open taken from the records, or 8 bits and ``symmetric``."""
    kept = list(records.values())
    return replace(
        request,
        weight_bits=_first(request.weight_bits, [record.weight_bits for record in kept], 8),
        activation_bits=_first(request.activation_bits, [record.activation_bits for record in kept], 8),
        quantizer=_first(request.quantizer, [record.weight_quantizer for record in kept], "symmetric"),
    )


def _asked(request: QuantizationRequest) -> tuple[int | None, int | None, str | None]:
    # How scales are found matters only where they are not recorded.
    return request.weight_bits, request.activation_bits, request.quantizer


def _first(asked: Choice | None, recorded: list[Choice], default: Choice) -> Choice:
    if asked is not None:
        return asked
    return mode(recorded) if recorded else default


def read_records(values: Mapping[str, Any], where: str | None = None) -> Records:
    """Layer name to record, from the metadata of a checkpoint; raises `QuantizationError`."""
    records = {}
    for name, fields in values.items():
        try:
            records[name] = LayerQuantization.from_dict(fields)
        except PimsimError as error:
            raise QuantizationError(error.given, error.rule, f"{where or 'checkpoint'}: layer {name}") from None
    return records


def assign_records(program: Program, recorded: Mapping[str, LayerQuantization]) -> Records:
    """The checkpoint's record for every crossbar layer; a layer used twice has the one of its module.

    Raises:
        QuantizationError: a crossbar layer without a record.
    """
    assigned = {}
    for op in crossbar_ops(program):
        name = op.name.partition("@")[0]
        if name not in recorded:
            raise QuantizationError(
                f"layer '{op.name}' without quantization in the checkpoint",
                "a quantized checkpoint records every crossbar layer",
                None,
                f"Ask for bits to quantize after training, or check the layer's name. {nearest(name, recorded)}",
            )
        assigned[op.name] = recorded[name]
    return assigned


def calibrate(program: Program, images: Tensor, request: QuantizationRequest) -> Records:
    """Post-training quantization of every crossbar layer from float images (N, C, H, W).

    Args:
        program: the float network.
        images: calibration images, normalized as in training; signedness and scales come from them.
        request: bits, quantizer and how scales are found.

    Raises:
        QuantizationError: no images.
    """
    if len(images) == 0:
        raise QuantizationError("no calibration images", "scales of activations are found on at least one image")
    samples = sample_inputs(program, images)
    with one_thread():
        return {op.name: _calibrate_one(op, samples[op.name], request) for op in crossbar_ops(program)}


def crossbar_ops(program: Program) -> tuple[CrossbarOp, ...]:
    """The crossbar layers of a program in execution order, in float."""
    return tuple(step.crossbar for step in program.crossbar_steps if step.crossbar is not None)


def sample_inputs(program: Program, images: Tensor) -> dict[str, Tensor]:
    """Evenly spaced input values of every crossbar layer with its smallest and largest one, by layer name."""
    batches = torch.split(images, _BATCH)
    kept = max(_KEPT_VALUES // len(batches), 64)
    samples: dict[str, list[Tensor]] = {op.name: [] for op in crossbar_ops(program)}

    def watch(op: CrossbarOp, values: Tensor, count: int) -> Tensor:
        samples[op.name].append(_thin(to_images(op, values, count), kept))
        return run_float_crossbar(op, values, count)

    for batch in batches:
        program.play(batch, watch)
    return {name: torch.cat(parts) for name, parts in samples.items()}


def keep_mask(op: CrossbarOp) -> Tensor | None:
    """1 where a weight is kept and 0 where it is exactly zero, as a mask leaves it; None when all are kept.

    Shaped like `CrossbarOp.channel_weight`.
    """
    pruned = op.channel_weight == 0
    return (~pruned).to(op.weight.dtype) if bool(pruned.any()) else None


def _calibrate_one(op: CrossbarOp, samples: Tensor, request: QuantizationRequest) -> LayerQuantization:
    try:
        return calibrate_layer(
            op.channel_weight,
            samples,
            8 if request.weight_bits is None else request.weight_bits,
            8 if request.activation_bits is None else request.activation_bits,
            request.quantizer or "symmetric",
            request.per_channel,
            request.method,
            keep_mask(op),
        )
    except QuantizationError as error:
        raise QuantizationError(error.given, error.rule, error.where or op.name, error.fix) from None


def _thin(values: Tensor, kept: int) -> Tensor:
    # An odd stride does not lock onto the even sizes of images and channels.
    flat = values.detach().float().flatten()
    stride = max(-(-flat.numel() // kept), 1) | 1
    return torch.cat([flat[::stride], flat.amin().reshape(1), flat.amax().reshape(1)])
