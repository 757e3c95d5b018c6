"""What real inputs decide: read energy of cells (`read_energy: data-dependent`), and which rows carry a bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pimsim.api.preparing import Prepared
from pimsim.errors import SimulationError
from pimsim.functional.activity import activity
from pimsim.functional.driven import driven_rows
from pimsim.hardware.laws import read_energy
from pimsim.mapping.driven import DrivenRows
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


def measured_inputs(prepared: Prepared) -> dict[str, DrivenRows]:
    """The rows that carry a bit in every window and input step of the first image, by layer.

    The integer network runs on the image, so that every layer sees the inputs that it really has.

    Raises:
        SimulationError: a shape table, which has no inputs.
    """
    if prepared.images is None:
        rule = "they are measured on real inputs, and a shape table has none"
        raise SimulationError("skipped inputs", rule, "skip_inputs", "Leave skip_inputs out, or give a network")
    placements = dict(zip((layer.name for layer in prepared.network.layers), prepared.placements, strict=True))
    found: dict[str, DrivenRows] = {}

    def measure(layer: Layer, inputs: Tensor, _: Tensor) -> None:
        found[layer.name] = driven_rows(layer, placements[layer.name], inputs.numpy(), prepared.chip.macro.row_driver)

    images, _ = next(iter(prepared.images.batches(1)))
    prepared.network.program.run(images, integer_multiply, measure)
    return found
