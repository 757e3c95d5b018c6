"""Any ``nn.Module`` as a flat graph of ATen operations, by ``torch.export``.

The batch is dynamic where the network allows it. Where it does not, the graph is made for
one image, and the program walks through a batch image by image.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pimsim.errors import NetworkError

ImageShape = tuple[int, int, int]
# torch.export takes sizes 0 and 1 for constants, so the dynamic batch is traced with two images.
TRACED_IMAGES = 2


@dataclass(frozen=True, eq=False)
class ExportedGraph:
    """A network as operations on values.

    Attributes:
        graph: nodes in execution order.
        owner: holds the sub-graphs of control flow operations.
        constants: value of every placeholder that is a parameter, buffer or constant.
        parameters: the network's own name of each constant.
        input: name of the placeholder for the images.
        output: name of the node whose value is the network's output.
        batched: whether it takes any number of images; otherwise exactly one.
        notes: what the user should know.
    """

    graph: fx.Graph
    owner: nn.Module
    constants: dict[str, Any]
    parameters: dict[str, str]
    input: str
    output: str
    batched: bool
    notes: tuple[str, ...] = ()


def check_input_shape(shape: tuple[int, ...]) -> ImageShape:
    """``shape`` as (C, H, W); raises `NetworkError` unless it is three positive sizes."""
    if len(shape) != 3 or min(shape) < 1:
        raise NetworkError(
            f"input shape {','.join(map(str, shape))}",
            "an input is channels, height and width, each at least 1",
            None,
            "For example 3,32,32",
        )
    return shape[0], shape[1], shape[2]


def export_network(module: nn.Module, input_shape: ImageShape, batched: bool = True) -> ExportedGraph:
    """The graph of ``module`` in evaluation mode for images of ``input_shape`` (C, H, W).

    With ``batched`` it takes any number of images if the network allows it, otherwise exactly one.

    Raises:
        NetworkError: torch.export cannot trace the network.
    """
    with torch.no_grad(), _traceable(module):
        if batched:
            program = _export(module, torch.zeros(TRACED_IMAGES, *input_shape), dynamic=True)
            if not isinstance(program, Exception) and _has_dynamic_batch(program):
                return _flatten(program, True)
        program = _export(module, torch.zeros(1, *input_shape), dynamic=False)
    if isinstance(program, Exception):
        raise _not_exportable(module, program)
    return _flatten(program, False)


def run_one_by_one(module: nn.Module, images: Tensor) -> list[Any]:
    """What ``module`` itself gives for each of the float images (N, C, H, W).

    Raises:
        NetworkError: it cannot take an image of that shape.
    """
    try:
        with torch.no_grad():
            return [module.eval()(image) for image in torch.split(images, 1)]
    except Exception as error:
        shape = ",".join(map(str, images.shape[1:]))
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise NetworkError(
            f"input shape {shape}",
            f"the network cannot take it ({reason[0].rstrip('.')})",
            type(module).__name__,
            "Give the shape (C,H,W) of the images that the network was written for",
        ) from error


@contextmanager
def _traceable(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and attention as plain operations instead of one fused native call."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    module.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _export(module: nn.Module, images: Tensor, dynamic: bool) -> torch.export.ExportedProgram | Exception:
    shapes = ({0: torch.export.Dim.AUTO},) if dynamic else None
    try:
        return torch.export.export(module, (images,), dynamic_shapes=shapes)
    except Exception as error:  # torch.export raises many kinds, and the reason is in the text
        return error


def _has_dynamic_batch(program: torch.export.ExportedProgram) -> bool:
    (name,) = program.graph_signature.user_inputs
    node = next(node for node in program.graph.nodes if node.name == name)
    return not isinstance(node.meta["val"].shape[0], int)


def _not_exportable(module: nn.Module, error: Exception) -> NetworkError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return NetworkError(
        f"network {type(module).__name__} that torch.export cannot trace ({lines[0].rstrip('.')})",
        "the operations of a network must not depend on the values of the images",
        None,
        "Replace such control flow, for example `if x.sum() > 0`, by torch.where or torch.cond",
    )


def _flatten(program: torch.export.ExportedProgram, batched: bool) -> ExportedGraph:
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    lifted = signature.inputs_to_lifted_tensor_constants
    constants = {key: _stored(program, name).detach() for key, name in {**names, **lifted}.items()}
    outputs = [name for name in signature.user_outputs if isinstance(name, str)]
    if not outputs:
        raise NetworkError("a network without a tensor output", "forward must return a tensor")
    notes = [] if batched else ["the network fixes its batch size: images are run one by one"]
    if len(outputs) > 1:
        notes.append(f"the network has {len(outputs)} outputs; the first is taken for its result")
    return ExportedGraph(
        program.graph, program.graph_module, constants, dict(names),
        str(signature.user_inputs[0]), outputs[0], batched, tuple(notes),
    )  # fmt: skip


def _stored(program: torch.export.ExportedProgram, name: str) -> Tensor:
    # Buffers that are not persistent are kept with the constants.
    value = program.state_dict[name] if name in program.state_dict else program.constants[name]
    assert isinstance(value, Tensor)
    return value
