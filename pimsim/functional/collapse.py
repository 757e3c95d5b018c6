"""The exact collapse: columns that no input can overflow, computed as one integer product.

If for every row group and slice the sum of a column's cells times the greatest driver code is at most
2**A - 1, every conversion of the column is exact, and the shift-add over steps and slices is the product of
the inputs with the weights decoded from the cells. Array tiles that add up to the same outputs join.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.functional.conversion import Conversion
from pimsim.functional.packed import compiled_kernels
from pimsim.functional.parts import over_cores, pieces
from pimsim.functional.programming import ProgrammedRows
from pimsim.functional.windows import WindowPort
from pimsim.hardware.encodings import InputStep
from pimsim.mapping.arrays import Columns, Rows
from pimsim.mapping.layout import Mapping
from pimsim.network.layers import Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from threadpoolctl import ThreadpoolController

#: Inputs gathered for one product: they stay in the second cache.
BLOCK_BYTES = 2**19


@cache
def blas() -> ThreadpoolController:
    """Sets the threads of the BLAS under numpy; finding it takes some milliseconds, once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def split_columns(
    arrays: tuple[ProgrammedRows, ...], steps: tuple[InputStep, ...], adc: Conversion
) -> tuple[tuple[ProgrammedRows, ...], tuple[ProgrammedRows, ...]]:
    """The weight columns that cannot overflow their ADC, and those that can.

    Decided on the stored cells of each weight column: all its slices in all row groups must be safe.
    An ADC whose unit is stretched (`Conversion.stretched`) rounds every sum, so nothing is safe.
    """
    safe: list[ProgrammedRows] = []
    unsafe: list[ProgrammedRows] = []
    drive = max((1 << step.bits) - 1 for step in steps)
    for programmed in arrays:
        overflow: NDArray[np.bool_] = np.any(programmed.cell_sums * drive > adc.limit, axis=(0, 1))
        fits = np.logical_and(~overflow, not adc.stretched)
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

    def add(self, padded: NDArray[np.integer], outputs: NDArray[np.int64]) -> None:
        """Add the product over padded images (N, pixels) to outputs (N, OC * O_h * O_w)."""
        kernels = compiled_kernels()
        if kernels is None:
            self.add_plainly(padded, outputs)
            return
        # BLAS's own threads would fight with ours over the cores.
        with blas().limit(limits=1, user_api="blas"):
            over_cores(
                lambda first, last: self._add_compiled(kernels, padded, (first, last), outputs),
                len(padded) * self.port.mapping.windows,
            )

    def add_plainly(self, padded: NDArray[np.integer], outputs: NDArray[np.int64]) -> None:
        """The same in numpy, for where numba does not work."""
        for part in pieces(len(padded), 1):
            values = np.matmul(self.port.read(padded[part]).astype(self.kind), self._matrix.T)
            self.port.add(values.astype(np.int64), outputs[part])

    def _add_compiled(
        self, kernels: ModuleType, padded: NDArray[np.integer], span: tuple[int, int], outputs: NDArray[np.int64]
    ) -> None:
        """A span of windows block by block through one buffer, which stays in cache."""
        first, last = span
        rows, columns = self.weights.shape
        size = max(1, min(last - first, BLOCK_BYTES // (max(rows, columns) * self.kind.itemsize)))
        buffers = [np.empty(count * size, dtype=self.kind) for count in (rows, columns)]
        for part in pieces(last - first, size):
            windows = part.stop - part.start
            gathered, values = (b[: len(b) // size * windows].reshape(-1, windows) for b in buffers)
            kernels.gather(self.port.compiled, padded, first + part.start, gathered)
            np.matmul(self._matrix, gathered, out=values)
            kernels.scatter(self.port.compiled, values, first + part.start, outputs)

    @cached_property
    def _matrix(self) -> NDArray[Any]:
        """The weights as the product takes them, (C, R)."""
        return np.ascontiguousarray(self.weights.T.astype(self.kind))


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
    places = np.concatenate([mapping.output_numbers(p.columns) for p in parts])
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


def _exact_kind(weights: NDArray[np.int64], precision: Precision) -> np.dtype[Any]:
    """The fastest type in which no partial sum of inputs times weights can round."""
    greatest = 2 ** (precision.activation_bits - (1 if precision.activation_signed else 0))
    bound = greatest * int(np.abs(weights).sum(axis=0).max(initial=0))
    if bound < 2**24:
        return np.dtype(np.float32)
    return np.dtype(np.float64) if bound < 2**53 else np.dtype(np.int64)
