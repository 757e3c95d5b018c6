"""The integer reference: what every layer should compute, written for clarity and not for speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import NetworkError, QuantizationError
from pimsim.network.layers import Geometry, Layer, Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray


def reference_convolution(layer: Layer, inputs: NDArray[np.integer]) -> NDArray[np.int64]:
    """The exact accumulators of a convolution or linear layer.

    Args:
        layer: with integer weights.
        inputs: integers (N, IC, H, W), without padding.

    Returns:
        int64 (N, OC, O_h, O_w), in int64 arithmetic throughout.

    Raises:
        NetworkError: a layer without weights, or inputs of another shape.
    """
    geometry, weight = layer.geometry, layer_weight(layer)
    check_inputs(geometry, inputs.shape)
    patches = unfold(geometry, inputs.astype(np.int64))
    ic, oc = geometry.group_channels
    outputs = []
    for group in range(geometry.groups):
        channels = patches[:, group * ic : (group + 1) * ic]
        kernels = weight[group * oc : (group + 1) * oc]
        outputs.append(np.einsum("ncyxhw,ocyx->nohw", channels, kernels))
    return np.concatenate(outputs, axis=1)


def unfold(geometry: Geometry, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The input under every kernel position: (N, IC, K_h, K_w, O_h, O_w), integer zero in the padding."""
    top, bottom, left, right = geometry.padding
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (out_h, out_w), (step_y, step_x) = geometry.output_size, geometry.stride
    patches = np.empty((*inputs.shape[:2], *geometry.kernel, out_h, out_w), dtype=np.int64)
    for k_y in range(geometry.kernel[0]):
        for k_x in range(geometry.kernel[1]):
            y, x = k_y * geometry.dilation[0], k_x * geometry.dilation[1]
            patches[:, :, k_y, k_x] = padded[:, :, y : y + out_h * step_y : step_y, x : x + out_w * step_x : step_x][
                :, :, :out_h, :out_w
            ]
    return patches


def layer_weight(layer: Layer) -> NDArray[np.int64]:
    """The integer weight of a layer, (OC, IC / groups, K_h, K_w).

    Raises:
        NetworkError: a layer without weights.
    """
    if layer.weight is None:
        raise NetworkError("a layer without weights", "it can be timed but not run", layer.name)
    return layer.weight


def check_inputs(geometry: Geometry, shape: tuple[int, ...]) -> None:
    """Refuse inputs that are not (N, IC, H, W) of the layer.

    Raises:
        NetworkError: any other shape.
    """
    wanted = (geometry.in_channels, *geometry.input_size)
    if len(shape) != 4 or tuple(shape[1:]) != wanted:
        raise NetworkError(
            f"inputs of shape {tuple(shape)}", f"the layer needs (N, {', '.join(map(str, wanted))})", geometry.name
        )


def check_range(inputs: NDArray[np.integer], precision: Precision, name: str) -> None:
    """Refuse inputs that the activation bits cannot hold.

    Raises:
        QuantizationError: the least or greatest input is out of range.
    """
    bits = precision.activation_bits
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if precision.activation_signed else (0, 2**bits - 1)
    if inputs.size and (int(inputs.min()) < low or int(inputs.max()) > high):
        raise QuantizationError(
            f"inputs from {int(inputs.min())} to {int(inputs.max())}",
            f"{bits} {'signed' if precision.activation_signed else 'unsigned'} bits hold {low} to {high}",
            name,
            "Quantize the inputs with the layer's own scale",
        )
