"""The plan of a whole network whose layers work at the same time: their plans, joined by what they read."""

from __future__ import annotations

from collections.abc import Sequence

from pimsim.errors import SimulationError
from pimsim.hardware.records import Chip
from pimsim.network.layers import Network
from pimsim.simulation.building import build_plan
from pimsim.simulation.dependencies import Cover, joined, needs_and_freed, with_capacities
from pimsim.simulation.flows import Flow, flows
from pimsim.simulation.plan import Dependency, NetworkPlan
from pimsim.simulation.work import LayerWork


def build_network_plan(
    network: Network, works: Sequence[LayerWork], chip: Chip, images: int = 1, line_buffer: int | None = None
) -> NetworkPlan:
    """The plan of all layers that hold a weight; layers that are pruned to nothing are there from the start.

    Args:
        network: gives what feeds each layer.
        works: its layers on the chip, all of their arrays resident.
        chip: the accelerator.
        images: images that flow through one after another.
        line_buffer: output rows of a layer that each buffer between layers holds; None: as many as needed, and one
            row of windows more.

    Raises:
        SimulationError: no images, or no rows.
    """
    for name, value in (("batch", images), ("line_buffer", line_buffer)):
        if value is not None and value < 1:
            raise SimulationError(f"{name}={value}", "at least 1 is needed", name)
    present = [work for work in works if work.placement.tiles]
    place = {work.layer.name: i for i, work in enumerate(present)}
    covers = [Cover.of(work.placement.mapping, work.replication) for work in present]
    dependencies = [
        _dependency(place[flow.edge.producer], place[flow.edge.consumer], flow, present, covers)
        for flow in flows(network)
        if flow.edge.producer in place and flow.edge.consumer in place
    ]
    return NetworkPlan(
        network.name,
        tuple(build_plan(work, chip) for work in present),
        with_capacities(dependencies, covers, line_buffer),
        images,
    )


def _dependency(
    producer: int, consumer: int, flow: Flow, works: Sequence[LayerWork], covers: Sequence[Cover]
) -> Dependency:
    """A dependency without its buffer's room."""
    if flow.joins:
        needs, freed = joined(covers[consumer], covers[producer], flow.edge)
    else:
        mapping = works[consumer].placement.mapping
        needs, freed = needs_and_freed(mapping, covers[producer], flow.edge, works[consumer].replication)
    return Dependency(producer, consumer, needs, freed, 0, flow.joins)
