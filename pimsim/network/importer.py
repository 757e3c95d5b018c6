"""Import of any ``nn.Module``: the integer network and its program.

`import_network` is the one entry point: load the module, fit the checkpoint, export, fold,
quantize, and describe what runs on arrays and what runs on the digital side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pimsim.errors import NetworkError, QuantizationError
from pimsim.network.calibration import (
    QuantizationRequest,
    Records,
    assign_records,
    calibrate,
    complete,
    crossbar_ops,
    keep_mask,
    matches,
    read_records,
)
from pimsim.network.checkpoints import Checkpoint, load_checkpoint
from pimsim.network.exporting import TRACED_IMAGES, check_input_shape, export_network, run_one_by_one
from pimsim.network.folding import fold
from pimsim.network.layers import Layer, Network, Precision
from pimsim.network.modules import ModuleSource, load_module
from pimsim.network.program import Program
from pimsim.network.quantizers import LayerQuantization, ScaleMethod, quantize_weight
from pimsim.network.rewrites import rebuild
from pimsim.network.state_matching import match
from pimsim.network.steps import CrossbarOp
from pimsim.network.structure import Structure, trace_structure
from pimsim.network.threads import one_thread

# The program must give what the module gives; float32 sums in another order differ by this much.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def import_network(
    source: ModuleSource,
    checkpoint: str | Path | Checkpoint | None = None,
    input_shape: tuple[int, ...] | None = None,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    calibration: Tensor | None = None,
    quantizer: str | None = None,
    per_channel: bool = True,
    method: ScaleMethod = "mse",
    name: str | None = None,
) -> Network:
    """The integer network of a PyTorch module and its checkpoint, with a program that runs it.

    A checkpoint of pimsim's own training records its quantization, which is used when the bits
    asked for are None or the same. Otherwise the network is quantized after training: scales
    of the activations come from ``calibration``.

    Args:
        source: ``"file.py:callable"``, a callable or an ``nn.Module``.
        checkpoint: weights, as a file or as loaded; None keeps those that the module was built with.
        input_shape: (C, H, W); None takes that of the calibration images.
        weight_bits: 2 to 16 (1 for ``dorefa``); None takes the checkpoint's, or 8.
        activation_bits: 1 to 16; None takes the checkpoint's, or 8.
        calibration: float images (N, C, H, W), normalized as in training.
        quantizer: ``symmetric`` or ``dorefa``; None takes the checkpoint's, or ``symmetric``.
        per_channel: one weight scale for each output channel instead of one for the layer.
        method: how scales are found: ``max``, ``percentile`` or ``mse``.
        name: name of the network; None takes the callable's.

    Raises:
        NetworkError: the module cannot be loaded, run on such images, or traced.
        CheckpointError: the checkpoint cannot be read or does not fit.
        QuantizationError: bits out of range, or calibration images needed and not given.
    """
    request = QuantizationRequest(weight_bits, activation_bits, quantizer, per_channel, method)
    shape = check_input_shape(_input_shape(input_shape, calibration))
    module = load_module(source)
    loaded = load_checkpoint(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    if loaded is not None:
        module = rebuild(module, loaded.structure, str(loaded.path))
        module.load_state_dict(match(loaded.state, module, str(loaded.path)).state)
    program, notes = import_float(module, shape)
    recorded = read_records(loaded.quantization, str(loaded.path)) if loaded else {}
    records, more = _records(program, recorded, request, calibration)
    rebuilt = _rebuilt_note(loaded) if loaded else ()
    return quantize(program, records, name or _name(source, module), (*notes, *rebuilt, *more))


def import_float(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[Program, tuple[str, ...]]:
    """The float program of a module, checked against the module, and notes for the user.

    Raises:
        NetworkError: the module cannot run on such images or be traced, or gives other values when traced.
    """
    shape = check_input_shape(input_shape)
    with one_thread():
        images, expected = _witness(module, shape)
        for batched in (True, False):
            exported = export_network(module, shape, batched)
            program = Program(fold(exported), shape, exported.batched)
            if _agrees(program, images, expected):
                return _with_layers(module, program), exported.notes
    raise NetworkError(
        f"network {type(module).__name__} whose traced operations give other values than the module",
        "a network must give the same output for the same image",
        None,
        "Remove random operations that stay active in evaluation mode",
    )


def quantize(program: Program, records: Records, name: str, notes: tuple[str, ...] = ()) -> Network:
    """The integer network of a float program; what is exactly zero stays zero in every quantizer."""
    with one_thread():
        structure = trace_structure(program)
        layers = tuple(integer_layer(op, records[op.name], structure) for op in crossbar_ops(program))
    integer = replace(program, layers={layer.name: layer for layer in layers}, records=records)
    notes = (*notes, *structure.notes)
    return Network(name, layers, structure.digital, program.input_shape, integer, notes, structure.edges)


def integer_layer(op: CrossbarOp, record: LayerQuantization, structure: Structure) -> Layer:
    """One crossbar layer: integer weights, scales with the batch norm folded in, float64 bias."""
    codes = quantize_weight(op.channel_weight, record, keep_mask(op)).reshape(op.weight.shape).numpy()
    channels = op.channel_weight.shape[0]
    scale = np.broadcast_to(np.asarray(record.weight_scale, dtype=np.float64), (channels,)).copy()
    if op.gain is not None:
        scale *= op.gain.double().numpy()
    bias = None if op.output_shift is None else op.output_shift.double().numpy()
    precision = Precision(record.code_bits, record.activation_bits, record.activation_signed)
    return Layer(structure.geometries[op.name], precision, codes, scale, record.activation_scale, bias)


def _input_shape(given: tuple[int, ...] | None, calibration: Tensor | None) -> tuple[int, ...]:
    sampled = None if calibration is None else tuple(calibration.shape[1:])
    if given is not None and sampled not in (None, tuple(given)):
        raise NetworkError(
            f"calibration images of shape {','.join(map(str, sampled or ()))}",
            f"the input shape is {','.join(map(str, given))}",
        )
    shape = sampled if given is None else tuple(given)
    if shape is None:
        fix = "Give it as C,H,W, for example 3,32,32"
        raise NetworkError("no input shape", "tracing a network needs one", None, fix)
    return shape


def _rebuilt_note(loaded: Checkpoint) -> tuple[str, ...]:
    names = [str(entry["rewrite"]) for entry in loaded.structure]
    return (f"network rebuilt as the checkpoint records: {', '.join(names)}",) if names else ()


def _records(
    program: Program, recorded: Records, request: QuantizationRequest, calibration: Tensor | None
) -> tuple[Records, tuple[str, ...]]:
    if matches(request, recorded):
        return assign_records(program, recorded), ("quantization taken from the checkpoint",)
    if calibration is None:
        raise QuantizationError(
            "no calibration images",
            "quantization after training finds the scales of activations on images",
            None,
            "Give calibration images, or a checkpoint that records its quantization",
        )
    full = complete(request, recorded)
    return calibrate(program, calibration, full), (_post_training(full, recorded, len(calibration)),)


def _post_training(request: QuantizationRequest, recorded: Records, images: int) -> str:
    reason = "; the checkpoint records other bits" if recorded else ""
    return (
        f"quantized after training to {request.weight_bits}-bit weights and "
        f"{request.activation_bits}-bit activations on {images} images{reason}"
    )


def _witness(module: nn.Module, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Seeded images and what the module itself gives for each of them."""
    # Not the number that is traced: a loop over the batch is unrolled for exactly that number.
    images = torch.randn(TRACED_IMAGES + 1, *shape, generator=torch.Generator().manual_seed(0))
    return images, torch.cat([_first_output(output) for output in run_one_by_one(module, images)])


def _with_layers(module: nn.Module, program: Program) -> Program:
    if program.crossbar_steps:
        return program
    raise NetworkError(
        f"network {type(module).__name__} without convolution or linear layers",
        "a network needs at least one layer that can be mapped on arrays",
    )


def _agrees(program: Program, images: Tensor, expected: Tensor) -> bool:
    try:
        outputs = program.run_float(images)
    except (RuntimeError, IndexError, ValueError):  # shapes that were fixed while tracing
        return False
    close = outputs.shape == expected.shape
    return close and torch.allclose(outputs, expected, _RELATIVE, _ABSOLUTE * max(float(expected.abs().max()), 1.0))


def _first_output(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output
    items = output.values() if isinstance(output, Mapping) else output
    for item in items:  # type: ignore[attr-defined]
        if isinstance(item, Tensor):
            return item
    raise NetworkError("a network without a tensor output", "forward must return a tensor")


def _name(source: ModuleSource, module: nn.Module) -> str:
    if isinstance(source, (str, Path)):
        return str(source).rpartition(":")[2]
    return getattr(source, "__name__", type(module).__name__)
