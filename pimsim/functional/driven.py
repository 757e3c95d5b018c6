"""Which rows of a layer's arrays carry a bit, step by step, for real inputs: what input skipping is decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimsim.functional.reference import check_inputs, check_range
from pimsim.hardware.encodings import input_steps
from pimsim.hardware.records import RowDriver
from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.driven import DrivenRows
from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def driven_rows(layer: Layer, placement: Placement, inputs: NDArray[np.integer], row_driver: RowDriver) -> DrivenRows:
    """Rows with a driver code other than zero, for each array, window, input step and column group.

    Args:
        layer: gives the activation bits.
        placement: its arrays.
        inputs: integer inputs of one image, (1, IC, H, W).
        row_driver: gives the bits of an input step.

    Raises:
        NetworkError: inputs of another shape.
        QuantizationError: an input that its bits cannot hold.
    """
    precision, mapping = layer.precision, placement.mapping
    check_inputs(layer.geometry, inputs.shape)
    check_range(inputs, precision, layer.name)
    padded = mapping.pad_input(inputs.astype(np.int64))[0]
    steps = input_steps(precision.activation_bits, row_driver.bits, precision.activation_signed)
    codes = np.stack([(padded >> step.shift) & ((1 << step.bits) - 1) != 0 for step in steps])
    shared: dict[int, NDArray[np.int32]] = {}
    return DrivenRows(
        *(tuple(_counted(mapping, tile, codes, shared) for tile in tiles) for tiles in (placement.tiles, mapping.tiles))
    )


def _counted(
    mapping: Mapping, tile: ArrayTile, codes: NDArray[np.bool_], shared: dict[int, NDArray[np.int32]]
) -> NDArray[np.int32]:
    """The counts of one array; the same object for arrays that drive the same rows in all column groups."""
    if tile.kept is not None:
        return _count(mapping, tile, codes, tile.kept.marks)
    if id(tile.rows) not in shared:
        shared[id(tile.rows)] = _count(mapping, tile, codes, np.ones((len(tile.rows), 1), dtype=np.bool_))
    return shared[id(tile.rows)]


def _count(mapping: Mapping, tile: ArrayTile, codes: NDArray[np.bool_], marks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Rows of each column group that are driven, (windows, steps, G); sums of ones are exact in float32."""
    pixels = mapping.window_pixels(tile.rows)
    of_step = [code[pixels].astype(np.float32) @ marks.astype(np.float32) for code in codes]
    return np.stack(of_step, axis=1).astype(np.int32)
