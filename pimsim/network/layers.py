"""Layers and networks as frozen values; nothing here needs torch.

A `Geometry` is what a mapper needs, a `Layer` adds integer weights and scales, and a
`Network` is the list of crossbar layers in execution order together with the program
(`pimsim.network.importer`) that runs the digital operations between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.errors import NetworkError
from pimsim.network.dataflow import Edge, chain, check_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """The shape of one convolution or linear layer.

    A linear layer is a 1x1 convolution over a 1x1 map (or N x 1 for N tokens). All pairs are
    (height, width); ``padding`` is (top, bottom, left, right). ``input_size`` excludes padding.

    A layer with ``phases`` (n_h, n_w) has a kernel of its own for each of n_h x n_w output phases: output (y, x) uses
    the kernel of phase (y mod n_h, x mod n_w). The kernels slide by the stride as in any convolution, or they are
    ``anchored``: the n_h x n_w outputs of a block read the same K_h x K_w pixels, whose place moves by n strides from
    block to block (KERNTROL, `pruning-sdk.md` 9). Blocks may overrun the output map at the bottom and right.

    Raises:
        NetworkError: a size that is not positive, groups that do not divide the channels, a kernel larger than the
            padded input, or one that is anchored and smaller than the block of outputs that reads it.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: Pair = (1, 1)
    input_size: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    kind: str = "conv"
    phases: Pair = (1, 1)
    anchored: bool = False

    def __post_init__(self) -> None:
        self._check_positive()
        if min(self._reach) < 1:
            raise NetworkError(
                f"anchored kernels of {self.kernel[0]}x{self.kernel[1]} for {self.phases[0]}x{self.phases[1]} outputs",
                "the outputs of a block lie over the pixels that they read: D(K-1) + 1 > (n-1)S",
                self.name,
            )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise NetworkError(
                f"groups={self.groups} with ic={self.in_channels}, oc={self.out_channels}",
                "groups must divide both channel counts",
                self.name,
            )
        if min(self.output_size) < 1:
            raise NetworkError(
                f"kernel {self.kernel[0]}x{self.kernel[1]}, dilation {self.dilation} on a padded input of "
                f"{self.padded_size[0]}x{self.padded_size[1]}",
                "the kernel must fit in the padded input",
                self.name,
            )

    def _check_positive(self) -> None:
        sizes = (self.in_channels, self.out_channels, self.groups, *self.kernel, *self.input_size, *self.phases)
        if min(*sizes, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise NetworkError(
                f"{self.kind} with ic={self.in_channels}, oc={self.out_channels}, kernel={self.kernel}, "
                f"input={self.input_size}, stride={self.stride}, dilation={self.dilation}, "
                f"padding={self.padding}, groups={self.groups}, phases={self.phases}",
                "sizes must be positive and padding must not be negative",
                self.name,
            )

    @property
    def padded_size(self) -> Pair:
        """Input height and width with padding."""
        top, bottom, left, right = self.padding
        return self.input_size[0] + top + bottom, self.input_size[1] + left + right

    @property
    def output_size(self) -> Pair:
        """Output height and width: floor((I + P - D(K-1) - 1) / S) + 1 (`mapping.md` 1.8).

        An anchored kernel counts without the (n-1) S pixels over which the outputs of its block are spread.
        """
        height, width = (
            (i - reach) // s + 1 for i, reach, s in zip(self.padded_size, self._reach, self.stride, strict=True)
        )
        return height, width

    @property
    def _reach(self) -> Pair:
        """Pixels from the first to the last tap, without those over which the outputs of one place are spread."""
        height, width = (
            d * (k - 1) + 1 - (n - 1) * s
            for d, k, n, s in zip(self.dilation, self.kernel, self.place_outputs, self.stride, strict=True)
        )
        return height, width

    @property
    def place_outputs(self) -> Pair:
        """Outputs that read the same kernel place: all phases where kernels are anchored, otherwise one."""
        return self.phases if self.anchored else (1, 1)

    @property
    def place_stride(self) -> Pair:
        """Pixels from one kernel place to the next."""
        (n_h, n_w), (s_h, s_w) = self.place_outputs, self.stride
        return n_h * s_h, n_w * s_w

    @property
    def kernels(self) -> int:
        """Kernels of one output channel: one for each phase."""
        return self.phases[0] * self.phases[1]

    @property
    def group_channels(self) -> Pair:
        """Input and output channels of one group."""
        return self.in_channels // self.groups, self.out_channels // self.groups

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates for one image, pruned ones included."""
        ic, oc = self.group_channels
        return self.output_size[0] * self.output_size[1] * self.kernel[0] * self.kernel[1] * ic * oc * self.groups

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight tensor: (OC, IC / groups, K_h, K_w), as in PyTorch.

        With phases (OC n_h n_w, IC / groups, K_h, K_w); the kernel of output channel o for phase (a, b) is number
        (o n_h + a) n_w + b, the order of ``torch.nn.functional.pixel_shuffle``.
        """
        return self.out_channels * self.kernels, self.in_channels // self.groups, *self.kernel


@dataclass(frozen=True)
class Precision:
    """Bits of one layer as the arrays see it.

    ``weight_bits`` holds every integer weight in two's complement (a magnitude of at most
    2**(weight_bits - 1) - 1, or the full negative range); inputs are ``activation_bits`` wide.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    activation_signed: bool = False


@dataclass(frozen=True, eq=False)
class Layer:
    """One crossbar layer: geometry, precision and, when it has any, integer weights and scales.

    Attributes:
        geometry: shape.
        precision: bits and signedness.
        weight: int64 of `Geometry.weight_shape`, pruned weights exactly zero; None for shape tables.
        weight_scale: float64 (OC,), real value of one weight unit for each output channel.
        activation_scale: real value of one input unit.
        bias: float64 (OC,), batch-norm folded; None when there is none.
    """

    geometry: Geometry
    precision: Precision = field(default_factory=Precision)
    weight: NDArray[np.int64] | None = None
    weight_scale: NDArray[np.float64] | None = None
    activation_scale: float = 1.0
    bias: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and self.weight.shape != self.geometry.weight_shape:
            raise NetworkError(
                f"weight of shape {self.weight.shape}",
                f"the layer needs {self.geometry.weight_shape}",
                self.name,
            )

    @property
    def name(self) -> str:
        """Name of the module in the network."""
        return self.geometry.name

    @property
    def weight_sparsity(self) -> float:
        """Share of weights that are exactly zero; 0.0 when the layer has no weights."""
        return 0.0 if self.weight is None else float(np.mean(self.weight == 0))


@dataclass(frozen=True)
class DigitalOp:
    """A digital operation between crossbar layers, as counted by the simulator.

    Attributes:
        name: node name in the network.
        kind: ``activation``, ``add``, ``concat``, ``max_pool``, ``average_pool``, ``reshape`` or ``float``
            (anything else: it runs in float on the digital side and is listed as such).
        outputs: elements written for one image.
        inputs: elements read for one image.
        after: name of the last crossbar layer that it depends on, or "" for the network input.
    """

    name: str
    kind: str
    outputs: int
    inputs: int
    after: str = ""


@dataclass(frozen=True, eq=False)
class Network:
    """Crossbar layers in execution order, and the digital operations between them.

    ``program`` runs the network on images (`pimsim.network.importer.Program`); it is None for
    networks without weights, which can be timed but not run. ``edges`` says which layers feed which;
    None is a chain (`dataflow`).

    Raises:
        NetworkError: two layers of the same name, or edges that do not fit the layers.
    """

    name: str
    layers: tuple[Layer, ...]
    digital: tuple[DigitalOp, ...] = ()
    input_shape: tuple[int, int, int] | None = None
    program: Any = None
    notes: tuple[str, ...] = ()
    edges: tuple[Edge, ...] | None = None

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise NetworkError(f"layers {', '.join(twice)}", "layer names must be unique", self.name)
        check_edges(self.edges or (), names, self.name)

    @property
    def dataflow(self) -> tuple[Edge, ...]:
        """Which layers feed which: ``edges``, or every layer fed by the one before it. Others read the images."""
        return chain(self.layers) if self.edges is None else self.edges

    def layer(self, name: str) -> Layer:
        """The crossbar layer of that name."""
        return next(layer for layer in self.layers if layer.name == name)
