"""The exact collapse: columns that no input can overflow, computed as one integer product.

If for every row group and slice the sum of a column's cells times the greatest driver code is at most
2**A - 1, every conversion of the column is exact, and the shift-add over steps and slices is the product of
the inputs with the weights decoded from the cells. Array tiles that add up to the same outputs join.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.functional.conversion import Conversion
from pimsim.functional.packed import compiled_kernels, over_images
from pimsim.functional.programming import ProgrammedRows
from pimsim.functional.windows import WindowPort
from pimsim.hardware.encodings import InputStep
from pimsim.mapping.layout import Columns, Mapping, Rows
from pimsim.network.layers import Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Elements of the gathered inputs of one product: 8 MB in float32, so that it stays in cache.
GATHERED_ELEMENTS = 2**21


def split_columns(
    arrays: tuple[ProgrammedRows, ...], steps: tuple[InputStep, ...], adc: Conversion
) -> tuple[tuple[ProgrammedRows, ...], tuple[ProgrammedRows, ...]]:
    """The weight columns that cannot overflow their ADC, and those that can.

    Decided on the stored cells of each weight column: all its slices in all row groups must be safe.
    An ADC whose unit is stretched (`Conversion.stretched`) rounds every sum, so nothing is safe.
    """
    safe, unsafe = [], []
    drive = max((1 << step.bits) - 1 for step in steps)
    for programmed in arrays:
        fits = (programmed.cell_sums * drive <= adc.limit).all(axis=(0, 1)) & (not adc.stretched)
        for chosen, parts in ((fits, safe), (~fits, unsafe)):
            if chosen.any():
                parts.append(programmed if chosen.all() else programmed.take(chosen))
    return tuple(safe), tuple(unsafe)


@dataclass(frozen=True, eq=False)
class DenseProduct:
    """One integer product over the windows of a layer.

    Attributes:
        port: the rows it reads and the weight columns it writes.
        weights: the weights decoded from the cells, int64 (R, C).
        kind: numpy type in which no partial sum can round.
    """

    port: WindowPort
    weights: NDArray[np.int64]
    kind: np.dtype[Any]

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Output of each column and window, (C, windows)."""
        return np.ascontiguousarray(self.port.outputs.T)

    def add(self, padded: NDArray[np.int32], outputs: NDArray[np.int64]) -> None:
        """Add the product over padded images (N, pixels) to outputs (N, OC * O_h * O_w)."""
        images = max(1, GATHERED_ELEMENTS // max(1, len(self.port.rows) * len(self.port.origins)))
        weights = np.ascontiguousarray(self.weights.T.astype(self.kind))
        for first in range(0, len(padded), images):
            part = slice(first, first + images)
            self._add_part(padded[part], outputs[part], weights)

    def _add_part(self, padded: NDArray[np.int32], outputs: NDArray[np.int64], weights: NDArray[Any]) -> None:
        kernels = compiled_kernels()
        if kernels is None or self.kind == np.int64:
            values = np.matmul(self.port.read(padded).astype(self.kind), weights.T)
            self.port.add(values.astype(np.int64), outputs)
            return
        import torch

        gathered = np.empty((len(padded), len(self.port.rows), len(self.port.origins)), dtype=self.kind)
        port, width = self.port, self.port.mapping.grid[1]

        def gather(image: int) -> None:
            kernels.gather_image(padded[image], port.offsets, port.origins, width, gathered[image])

        def scatter(image: int) -> None:
            kernels.scatter_image(values[image], self._places, outputs[image])

        over_images(gather, len(padded))
        values = torch.matmul(torch.from_numpy(weights), torch.from_numpy(gathered)).numpy()
        over_images(scatter, len(padded))


def dense_products(
    mapping: Mapping, arrays: tuple[ProgrammedRows, ...], precision: Precision
) -> tuple[DenseProduct, ...]:
    """One product for each block of the mapping, over the union of the rows of its safe columns."""
    blocks: dict[int, list[ProgrammedRows]] = {}
    for programmed in arrays:
        blocks.setdefault(programmed.block, []).append(programmed)
    return tuple(_product(mapping, parts, precision) for parts in blocks.values())


def _product(mapping: Mapping, parts: list[ProgrammedRows], precision: Precision) -> DenseProduct:
    """The arrays of one block as one product."""
    offsets = np.concatenate([mapping.row_offsets(p.rows) for p in parts])
    _, first, row = np.unique(offsets, return_index=True, return_inverse=True)
    rows = Rows(*(np.concatenate([getattr(p.rows, axis) for p in parts])[first] for axis in ("channel", "y", "x")))
    places = np.concatenate([_places(mapping, p.columns) for p in parts])
    _, first, column = np.unique(places, return_index=True, return_inverse=True)
    columns = Columns(
        *(np.concatenate([getattr(p.columns, axis) for p in parts])[first] for axis in ("output", "a", "b"))
    )
    weights = np.zeros((len(rows), len(columns)), dtype=np.int64)
    rows_done = columns_done = 0
    for part in parts:
        r, c = len(part.rows), len(part.columns)
        here = np.ix_(row[rows_done : rows_done + r], column[columns_done : columns_done + c])
        weights[here] += part.weights
        rows_done, columns_done = rows_done + r, columns_done + c
    return DenseProduct(WindowPort(mapping, rows, columns), weights, _exact_kind(weights, precision))


def _places(mapping: Mapping, columns: Columns) -> NDArray[np.int64]:
    """A number for each (output channel, position in the window)."""
    height, width = mapping.outputs
    return (columns.output.astype(np.int64) * height + columns.a) * width + columns.b


def _exact_kind(weights: NDArray[np.int64], precision: Precision) -> np.dtype[Any]:
    """The fastest type in which no partial sum of inputs times weights can round."""
    greatest = 2 ** (precision.activation_bits - (1 if precision.activation_signed else 0))
    bound = greatest * int(np.abs(weights).sum(axis=0).max(initial=0))
    if bound < 2**24:
        return np.dtype(np.float32)
    return np.dtype(np.float64) if bound < 2**53 else np.dtype(np.int64)
