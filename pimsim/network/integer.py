"""Integer convolutions at the speed of float ones, exact because nothing can round.

Products and partial sums of integers are exact in a float format as long as the sum of
their magnitudes stays within its mantissa: 2^24 in float32, 2^53 in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pimsim.errors import NetworkError
from pimsim.network.layers import Layer
from pimsim.network.phases import convolve_phases
from pimsim.network.quantizers import activation_range

_EXACT = ((2**24, torch.float32), (2**53, torch.float64))


def integer_multiply(layer: Layer, inputs: Tensor) -> Tensor:
    """Exact accumulators (int64, (N, OC, H', W')) of integer inputs (N, IC, H, W); see `Program.run`.

    Raises:
        NetworkError: a layer without weights, or one whose sums could pass 2^53.
    """
    weight = integer_weight(layer)
    kind = exact_dtype(layer)
    shape = layer.geometry
    if shape.kernels > 1:
        return convolve_phases(shape, inputs.to(kind), weight.to(kind)).round_().to(torch.int64)
    top, bottom, left, right = shape.padding
    symmetric = (top, left) == (bottom, right)
    values = inputs.to(kind)
    if not symmetric:
        values = functional.pad(values, (left, right, top, bottom))
    outputs = functional.conv2d(
        values, weight.to(kind), None, shape.stride, (top, left) if symmetric else 0, shape.dilation, shape.groups
    )
    return outputs.round_().to(torch.int64)


def integer_weight(layer: Layer) -> Tensor:
    """The integer weight (int64) of a layer; raises `NetworkError` when it has none."""
    if layer.weight is None:
        raise NetworkError("a layer without weights", "it can be timed but not run", layer.name)
    return torch.from_numpy(layer.weight)


def largest_accumulator(layer: Layer) -> int:
    """A bound on every partial sum: the largest input magnitude times the largest sum of weight magnitudes."""
    low, high = activation_range(layer.precision.activation_bits, layer.precision.activation_signed)
    sums = integer_weight(layer).abs().flatten(1).sum(1)
    return max(-low, high) * int(sums.max())


def exact_dtype(layer: Layer) -> torch.dtype:
    """The fastest float format in which no sum of the layer can round."""
    bound = largest_accumulator(layer)
    for limit, kind in _EXACT:
        if bound <= limit:
            return kind
    raise NetworkError(f"sums of up to {bound}", "an exact product needs sums below 2^53", layer.name, "Use fewer bits")
