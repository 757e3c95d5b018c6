"""Read energy of a layer from the cells and inputs that really occur (`hardware.md` 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pimsim.errors import SimulationError
from pimsim.functional.activity import activity
from pimsim.hardware.laws import cell_conductances
from pimsim.hardware.records import Crossbar, RowDriver
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Layer
from pimsim.units import seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_energy_j(
    layer: Layer, placement: Placement, inputs: NDArray[np.integer], crossbar: Crossbar, row_driver: RowDriver
) -> float:
    """Joules of reading a layer's arrays for one image: sum of V^2 G t over cells and input steps.

    Args:
        layer: with integer weights.
        placement: its arrays.
        inputs: integer inputs (N, IC, H, W); the result is the mean over the N images.
        crossbar: with a ``device``.
        row_driver: ``bits`` of an input step; the drive voltage is proportional to its code.

    Raises:
        SimulationError: the crossbar has no device.
    """
    device = crossbar.device
    if device is None:
        raise SimulationError(
            "read_energy 'data-dependent'",
            "the cell's voltage and resistances are needed",
            "tile.macro.crossbar.device",
            "Give the crossbar a device, or use read_energy 'fixed'",
        )
    reads = activity(layer, placement, inputs, crossbar, row_driver).level_reads
    conductance = sum(
        level * int(count) for level, count in zip(cell_conductances(device, crossbar.cell_bits), reads, strict=True)
    )
    full_scale = (2**row_driver.bits - 1) ** 2
    power_time = device.read_voltage_v**2 * seconds(device.read_time_fs)
    return float(power_time * conductance / full_scale / len(inputs))
