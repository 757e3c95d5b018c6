"""Read energy of the cells from the input bits and weights that really occur (`read_energy: data-dependent`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pimsim.api.preparing import Prepared
from pimsim.errors import SimulationError
from pimsim.functional.activity import activity
from pimsim.hardware.laws import read_energy
from pimsim.network.integer import integer_multiply

if TYPE_CHECKING:
    from torch import Tensor

    from pimsim.network.layers import Layer

#: Images that the mean energy of one image is taken over.
MEASURED_IMAGES = 4


def measured_read_energy(prepared: Prepared) -> dict[str, float]:
    """Joules of one image by layer: sum over cell levels of V**2 G t x reads, the mean over the first images.

    Reference:
        `hardware.md` 3.4.

    Raises:
        SimulationError: a shape table, which has no bits to measure.
    """
    crossbar, driver = prepared.chip.crossbar, prepared.chip.macro.row_driver
    device = crossbar.device
    if prepared.images is None or device is None:
        rule = "it is measured on real weights and inputs, and a shape table has none"
        raise SimulationError("read_energy 'data-dependent'", rule, prepared.chip.name, "Use read_energy: fixed")
    placements = dict(zip((layer.name for layer in prepared.network.layers), prepared.placements, strict=True))
    levels = [read_energy(device, crossbar.cell_bits, level) for level in range(1 << crossbar.cell_bits)]
    full_drive = ((1 << driver.bits) - 1) ** 2
    energies: dict[str, float] = {}

    def measure(layer: Layer, inputs: Tensor, _: Tensor) -> None:
        seen = activity(layer, placements[layer.name], inputs.numpy(), crossbar, driver)
        reads = seen.level_reads.tolist() or [0] * len(levels)
        joules = sum(energy * count / full_drive for energy, count in zip(levels, reads, strict=True))
        energies[layer.name] = joules / seen.images

    images, _ = next(iter(prepared.images.batches(MEASURED_IMAGES)))
    prepared.network.program.run(images, integer_multiply, measure)
    return energies
