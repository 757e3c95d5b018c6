"""The crossbar model: layers computed as their arrays compute them.

Weights are sliced over cells, inputs drive rows in bit-serial steps, every column sum of every row group
passes an ADC, and the digital side shifts, adds, corrects the encoding and merges array tiles. Columns that
no input can overflow are computed as one integer product of the mapped cells (`collapse`).
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.errors import SimulationError, nearest
from pimsim.functional.collapse import DenseProduct, dense_products, split_columns
from pimsim.functional.conversion import Conversion, conversion
from pimsim.functional.engines import SerialEngine, serial_engine
from pimsim.functional.observations import Observations
from pimsim.functional.packed import compiled_kernels
from pimsim.functional.parts import pieces
from pimsim.functional.programming import ProgrammedRows
from pimsim.functional.reference import check_inputs, check_range, layer_weight
from pimsim.functional.repeating import program_arrays, program_copies
from pimsim.functional.scratch import input_kind
from pimsim.hardware.encodings import InputStep, columns_per_weight, input_steps
from pimsim.hardware.records import Adc, Crossbar, RowDriver
from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

#: ``auto`` collapses what cannot overflow; ``bit-serial`` never does.
EXACT = ("auto", "bit-serial")
#: Padded inputs that are held at once: with them, what is computed at once is bounded whatever the images.
PADDED_BYTES = 2**23


@dataclass(frozen=True)
class ReadOut:
    """The converters and drivers around an array, and how to compute them.

    Attributes:
        crossbar: the array.
        row_driver: gives the bits of an input step.
        adc: the converter; its bits and overflow count.
        exact: one of `EXACT`.
        engine: bit-serial engine, ``auto`` or one of `pimsim.functional.engines.ENGINES`.

    Raises:
        SimulationError: an unknown ``exact`` or ``engine``.
    """

    crossbar: Crossbar
    row_driver: RowDriver
    adc: Adc
    exact: str = "auto"
    engine: str = "auto"

    def __post_init__(self) -> None:
        if self.exact not in EXACT:
            raise SimulationError(f"exact '{self.exact}'", "unknown way to compute", None, nearest(self.exact, EXACT))
        serial_engine(self.engine_used)

    @property
    def engine_used(self) -> str:
        """The engine that ``auto`` stands for here: ``packed``, or ``plain`` where numba does not work."""
        if self.engine != "auto":
            return self.engine
        return "plain" if compiled_kernels() is None else "packed"

    @property
    def conversion(self) -> Conversion:
        """The ADC in front of this crossbar's columns."""
        return conversion(self.crossbar, self.row_driver, self.adc)


@dataclass(frozen=True, eq=False)
class CrossbarLayer:
    """One layer on its arrays.

    Attributes:
        layer: with integer weights.
        placement: the arrays in use.
        read_out: crossbar, drivers and converters.

    Raises:
        NetworkError: a layer without weights.
        SimulationError: a placement made for another layer or another number of columns per weight.
    """

    layer: Layer
    placement: Placement
    read_out: ReadOut

    def __post_init__(self) -> None:
        layer_weight(self.layer)
        mapping, crossbar = self.placement.mapping, self.read_out.crossbar
        if mapping.geometry != self.layer.geometry:
            raise SimulationError(
                f"a placement of '{mapping.geometry.name}'", "it is of another layer", self.layer.name
            )
        needed = columns_per_weight(crossbar.encoding, self.stored_bits, crossbar.cell_bits)
        if mapping.array.columns_per_weight != needed or mapping.array.rows > crossbar.rows:
            raise SimulationError(
                f"a mapping for {mapping.array}",
                f"the crossbar has {crossbar.rows} rows and a weight takes {needed} of its columns",
                self.layer.name,
                "Map the layer for this crossbar and encoding",
            )

    @cached_property
    def steps(self) -> tuple[InputStep, ...]:
        """Input steps of this layer's activations."""
        precision = self.layer.precision
        return input_steps(precision.activation_bits, self.read_out.row_driver.bits, precision.activation_signed)

    @property
    def stored_bits(self) -> int:
        """Bits of a weight in the cells."""
        return self.placement.stored_bits or self.layer.precision.weight_bits

    @cached_property
    def programmed(self) -> tuple[ProgrammedRows, ...]:
        """All arrays in use as programmed, those with equal driven rows joined."""
        return program_arrays(*self._what)

    @cached_property
    def copied(self) -> tuple[ProgrammedRows, ...]:
        """Operation units whose results other columns take over, with those columns (granularity ``repeat``)."""
        return program_copies(*self._what) if self.placement.skip == "repeat" else ()

    @property
    def _what(self) -> tuple[Mapping, tuple[ArrayTile, ...], NDArray[np.int64], int, Crossbar]:
        placement = self.placement
        weight = layer_weight(self.layer)
        return placement.mapping, placement.tiles, weight, self.stored_bits, self.read_out.crossbar

    @cached_property
    def serial(self) -> tuple[ProgrammedRows, ...]:
        """The columns that are computed bit-serially."""
        return self._split[1]

    @cached_property
    def products(self) -> tuple[DenseProduct, ...]:
        """The columns that cannot overflow, as integer products of the mapped cells."""
        safe = (*self._split[0], *self._split_copies[0])
        return dense_products(self.placement.mapping, safe, self.layer.precision)

    @cached_property
    def _split(self) -> tuple[tuple[ProgrammedRows, ...], tuple[ProgrammedRows, ...]]:
        return self._by_safety(self.programmed)

    @cached_property
    def _split_copies(self) -> tuple[tuple[ProgrammedRows, ...], tuple[ProgrammedRows, ...]]:
        return self._by_safety(self.copied)

    def _by_safety(
        self, arrays: tuple[ProgrammedRows, ...]
    ) -> tuple[tuple[ProgrammedRows, ...], tuple[ProgrammedRows, ...]]:
        """Columns that are computed as integer products, and those that are computed bit-serially."""
        if self.read_out.exact == "bit-serial":
            return (), arrays
        return split_columns(arrays, self.steps, self.read_out.conversion)

    @cached_property
    def _engine(self) -> SerialEngine:
        return self._serial_engine(self.serial)

    @cached_property
    def _copying(self) -> SerialEngine | None:
        """Gives results to the columns that take them over; its conversions are those of the sources."""
        return self._serial_engine(self._split_copies[1]) if self._split_copies[1] else None

    def _serial_engine(self, arrays: tuple[ProgrammedRows, ...]) -> SerialEngine:
        return serial_engine(self.read_out.engine_used)(
            self.placement.mapping, arrays, self.steps, self.read_out.conversion
        )

    @property
    def conversions(self) -> int:
        """ADC conversions of one image: windows x steps x sum over arrays of row groups x physical columns.

        With the granularity ``slice`` columns without a programmed cell in the row group are not converted.
        """
        is_sliced = self.placement.skip == "slice"
        columns = sum(
            int(np.count_nonzero(p.cell_sums)) if is_sliced else p.groups * int(p.gain[0].size) for p in self.programmed
        )
        return self.placement.mapping.windows * len(self.steps) * columns

    def multiply(self, inputs: NDArray[np.integer]) -> tuple[NDArray[np.int64], Observations]:
        """The accumulators of integer inputs (N, IC, H, W), int64 (N, OC, O_h, O_w), and what happened.

        Raises:
            NetworkError: inputs of another shape.
            QuantizationError: an input that its activation bits cannot hold.
        """
        geometry = self.layer.geometry
        check_inputs(geometry, inputs.shape)
        check_range(inputs, self.layer.precision, self.layer.name)
        outputs = np.zeros((len(inputs), geometry.out_channels * int(np.prod(geometry.output_size))), dtype=np.int64)
        counts = [self._add(inputs[part], outputs[part]) for part in pieces(len(inputs), self._images)]
        clipped, largest = sum(clips for clips, _ in counts), max((top for _, top in counts), default=0)
        seen = Observations(
            images=len(inputs),
            conversions=len(inputs) * self.conversions,
            clipped=clipped,
            largest_sum=largest if self.serial else None,
            collapsed_columns=sum(len(p.columns) for p in self._split[0]),
            serial_columns=sum(len(p.columns) for p in self.serial),
        )
        return outputs.reshape(len(inputs), geometry.out_channels, *geometry.output_size), seen

    @property
    def _images(self) -> int:
        """Images whose padded inputs are held at once."""
        kind = input_kind(self.layer.precision.activation_bits, self.layer.precision.activation_signed)
        return PADDED_BYTES // (int(np.prod(self.placement.mapping.gather_shape)) * kind.itemsize)

    def _add(self, inputs: NDArray[np.integer], outputs: NDArray[np.int64]) -> tuple[int, int]:
        """Add what the arrays compute to outputs (N, OC * O_h * O_w): (clipped conversions, largest sum)."""
        precision = self.layer.precision
        kind = input_kind(precision.activation_bits, precision.activation_signed)
        padded: NDArray[Any] = self.placement.mapping.pad_input(inputs.astype(kind))
        counts = self._engine.add(padded, outputs)
        if self._copying is not None:
            self._copying.add(padded, outputs)
        for product in self.products:
            product.add(padded, outputs)
        return counts


@dataclass(eq=False)
class CrossbarMultiplier:
    """The ``multiply`` of `Program.run` that computes every layer on its arrays.

    Attributes:
        placements: arrays in use of each layer, by layer name.
        read_out: crossbar, drivers and converters.
        observations: what happened in each layer so far, by name.
    """

    placements: MappingType[str, Placement]
    read_out: ReadOut
    observations: dict[str, Observations] = field(default_factory=dict)
    _layers: dict[str, CrossbarLayer] = field(default_factory=dict, repr=False)

    def __call__(self, layer: Layer, inputs: Tensor) -> Tensor:
        """Accumulators (int64 (N, OC, O_h, O_w)) of integer inputs (N, IC, H, W).

        Raises:
            SimulationError: no placement of that name, or one of another layer.
            NetworkError: a layer without weights, or inputs of another shape.
            QuantizationError: an input that its activation bits cannot hold.
        """
        import torch

        outputs, seen = self._on_arrays(layer).multiply(inputs.numpy())
        before = self.observations.get(layer.name)
        self.observations[layer.name] = seen if before is None else merge_observations(before, seen)
        return torch.from_numpy(outputs)

    def _on_arrays(self, layer: Layer) -> CrossbarLayer:
        """The layer as programmed; programming happens once."""
        if layer.name not in self.placements:
            raise SimulationError(f"layer '{layer.name}'", "no placement has this name", fix="Map every layer first")
        known = self._layers.get(layer.name)
        if known is None or known.layer is not layer:
            known = self._layers[layer.name] = CrossbarLayer(layer, self.placements[layer.name], self.read_out)
        return known


def merge_observations(first: Observations, second: Observations) -> Observations:
    """Counts of two batches of one layer."""
    sums = [s for s in (first.largest_sum, second.largest_sum) if s is not None]
    return replace(
        second,
        images=first.images + second.images,
        conversions=first.conversions + second.conversions,
        clipped=first.clipped + second.clipped,
        largest_sum=max(sums, default=None),
    )
