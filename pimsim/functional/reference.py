"""The integer reference: what every layer should compute, written for clarity and not for speed."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import NetworkError, QuantizationError
from pimsim.network.layers import Geometry, Layer, Pair, Precision

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
    outputs = np.zeros((len(inputs), geometry.out_channels, *geometry.output_size), dtype=np.int64)
    n_h, n_w = geometry.phases
    for number, (a, b) in enumerate(product(range(n_h), range(n_w))):
        patches = unfold(geometry, inputs.astype(np.int64), (a, b))
        outputs[:, :, a::n_h, b::n_w] = _one_kernel(geometry, patches, weight[number :: n_h * n_w])
    return outputs


def _one_kernel(geometry: Geometry, patches: NDArray[np.int64], kernels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Patches (N, IC, K_h, K_w, H, W) times the kernel (IC / groups, K_h, K_w) of each of OC outputs."""
    ic, oc = geometry.group_channels
    parts = [
        np.einsum("ncyxhw,ocyx->nohw", patches[:, group * ic : (group + 1) * ic], kernels[group * oc :][:oc])
        for group in range(geometry.groups)
    ]
    return np.concatenate(parts, axis=1)


def unfold(geometry: Geometry, inputs: NDArray[np.int64], phase: Pair = (0, 0)) -> NDArray[np.int64]:
    """The input under every kernel position for the H x W outputs of one phase: (N, IC, K_h, K_w, H, W).

    There is an integer zero outside of the input. Without phases the outputs are all of them.
    """
    top, bottom, left, right = geometry.padding
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
    places = [_kernel_places(geometry, d, phase[d]) for d in (0, 1)]
    # Anchored kernels of the last outputs may reach over the padded input.
    over = [
        max(0, places[d].max(initial=0) + (geometry.kernel[d] - 1) * geometry.dilation[d] + 1 - padded.shape[2 + d])
        for d in (0, 1)
    ]
    padded = np.pad(padded, ((0, 0), (0, 0), (0, over[0]), (0, over[1])))
    patches = np.empty((*inputs.shape[:2], *geometry.kernel, len(places[0]), len(places[1])), dtype=np.int64)
    for k_y, k_x in product(range(geometry.kernel[0]), range(geometry.kernel[1])):
        y, x = places[0] + k_y * geometry.dilation[0], places[1] + k_x * geometry.dilation[1]
        patches[:, :, k_y, k_x] = padded[:, :, y[:, None], x[None, :]]
    return patches


def _kernel_places(geometry: Geometry, d: int, phase: int) -> NDArray[np.int64]:
    """First padded pixel under the kernel of each output of a phase, in one dimension."""
    outputs = np.arange(phase, geometry.output_size[d], geometry.phases[d])
    first = outputs - phase if geometry.anchored else outputs
    return np.asarray(first * geometry.stride[d], dtype=np.int64)


def layer_weight(layer: Layer) -> NDArray[np.int64]:
    """The integer weight of a layer, of `Geometry.weight_shape`.

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
