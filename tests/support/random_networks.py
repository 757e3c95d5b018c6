"""Random chips, and small random networks on them: shapes, joins, mappings, skipped rows, copies, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_chip import chip

from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.dataflow import Edge, Reach
from pimsim.network.layers import DigitalOp, Geometry, Layer, Network, Precision
from pimsim.simulation.assigning import assign
from pimsim.simulation.pipeline import build_network_plan
from pimsim.simulation.plan import NetworkPlan

PER_WEIGHT = 2
DISCIPLINES = ("pipelined", "multiplexed", "serial")
SKIPS = (("none", "tile"), ("row", "tile"), ("array", "tile"), ("column", "layer"))
METHODS = ("im2col", "smd", "sdk", "vw-sdk")


@st.composite
def chips(draw: st.DrawFn, discipline: str | None = None) -> Chip:
    """Small arrays, of which two make a macro and four a tile."""
    rows, columns = draw(st.sampled_from([8, 12, 16])), draw(st.sampled_from([8, 16]))
    active = draw(st.sampled_from([(rows, columns), (4, columns), (rows, 4), (3, 6)]))
    return chip(
        rows=rows,
        columns=columns,
        active=active,
        read_fs=draw(st.sampled_from([5, 40, 100])) * 1000,
        stage_fs=draw(st.sampled_from([0, 100])) * 1000,
        adc_columns=draw(st.sampled_from([columns, columns // 2, 1])),
        adc_arrays=draw(st.sampled_from([1, 2])),
        adc_interval_fs=draw(st.sampled_from([781, 7000])),
        dac_bits=draw(st.sampled_from([1, 2])),
        discipline=discipline or draw(st.sampled_from(DISCIPLINES)),
        depth=draw(st.sampled_from([1, 2])),
        input_slots=draw(st.sampled_from([1, 2, 3])),
        output_slots=draw(st.sampled_from([1, 2])),
        arrays=2,
        macros=2,
    )


@dataclass(frozen=True, eq=False)
class Case:
    """A network with all that a pipelined run of it needs."""

    network: Network
    placements: tuple[Placement, ...]
    chip: Chip
    copies: dict[str, int]
    images: int
    line_buffer: int | None
    tile_placement: str

    def plan(self) -> NetworkPlan:
        """The plan of all layers."""
        works = assign(
            self.network,
            self.placements,
            self.chip,
            replication=self.copies,
            tile_placement=self.tile_placement,
            resident=True,
        ).works
        return build_network_plan(self.network, works, self.chip, self.images, self.line_buffer)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Two to four layers on a chip with fast and with slow ports and links; routers of one tile or of four."""
    machine = _crowded(draw, draw(chips()))
    network = draw(networks())
    array = ArrayShape(machine.crossbar.rows, machine.crossbar.columns, PER_WEIGHT)
    placements = tuple(
        place(
            map_layer(layer.geometry, array, draw(st.sampled_from(METHODS))),
            layer.weight,
            *draw(st.sampled_from(SKIPS)),
        )
        for layer in network.layers
    )
    assume(any(placement.tiles for placement in placements))
    copies = {layer.name: draw(st.sampled_from([1, 1, 2, 3])) for layer in network.layers}
    return Case(
        network,
        placements,
        machine,
        copies,
        draw(st.integers(1, 6)),
        draw(st.sampled_from([None, None, None, 1, 2, 4])),
        draw(st.sampled_from(["packed", "tile"])),
    )


def _crowded(draw: st.DrawFn, machine: Chip) -> Chip:
    """The chip with other ports, links and routers."""
    tile, router = machine.tile, machine.router
    slow = draw(st.sampled_from([1, 1, 20]))
    buffer = replace(
        tile.buffer, interval_fs=slow * tile.buffer.interval_fs // 40, latency_fs=tile.buffer.latency_fs // 40
    )
    router = replace(router, tiles=draw(st.sampled_from([1, 4])), interval_fs=draw(st.sampled_from([10, 833])) * 100)
    return replace(machine, tiles=168, tile=replace(tile, buffer=buffer), router=router)


@st.composite
def networks(draw: st.DrawFn, most: int = 4) -> Network:
    """Layers that read the one before them or an earlier one, through a pooling or not, some with a second input."""
    layers = [draw(_layers("l0", (draw(st.integers(3, 7)), draw(st.integers(3, 7)))))]
    edges: list[Edge] = []
    for number in range(1, draw(st.integers(2, most))):
        producer = layers[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(layers))
        layers.append(draw(_behind(f"l{number}", producer, edges)))
        if draw(st.booleans()) and len(layers) > 2:
            _join(layers, edges)
    digital = draw(st.booleans())
    operations = (DigitalOp("add", "add", 7, 14, "l0"), DigitalOp("pool", "max_pool", 2, 11, "l1")) if digital else ()
    return Network("random", tuple(layers), operations, edges=tuple(edges))


@st.composite
def _layers(draw: st.DrawFn, name: str, size: tuple[int, int]) -> Layer:
    groups = draw(st.sampled_from([1, 1, 2]))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    before = tuple(max(0, k - s) for k, s in zip(kernel, size, strict=True))  # a kernel never exceeds its map
    geometry = Geometry(
        name,
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 4)),
        kernel,
        size,
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        padding=(before[0] + draw(st.integers(0, 1)), draw(st.integers(0, 1)), before[1] + draw(st.integers(0, 1)), 0),
        groups=groups,
    )
    return Layer(geometry, Precision(4, draw(st.integers(1, 3)), draw(st.booleans())), draw(_weights(geometry)))


@st.composite
def _weights(draw: st.DrawFn, geometry: Geometry) -> NDArray[np.int64]:
    """Weights of a random pattern; one layer in eight is pruned to nothing."""
    keep = np.array(draw(st.lists(st.integers(0, 1), min_size=4, max_size=4)))
    if draw(st.integers(0, 7)) == 7:
        keep[:] = 0
    else:
        keep[0] = 1
    columns = np.array([1, *draw(st.lists(st.integers(0, 1), max_size=2))]).reshape(-1, 1, 1, 1)
    return np.resize(keep, geometry.weight_shape) * np.resize(columns, (geometry.out_channels, 1, 1, 1))


@st.composite
def _behind(draw: st.DrawFn, name: str, producer: Layer, edges: list[Edge]) -> Layer:
    """A layer that reads a producer's map as it is, pooled with or without padding, or as a whole."""
    size = producer.geometry.output_size
    kind = draw(st.sampled_from(["same", "same", "pooled", "padded", "whole"]))
    reach, read = Reach(), size
    if kind == "whole":
        reach, read = Reach.WHOLE, (1, 1)
    elif kind == "pooled" and min(size) >= 2:
        reach, read = Reach.window(2, 2), (size[0] // 2, size[1] // 2)
    elif kind == "padded":
        reach, read = Reach.window(3, 2, 1), (-(-size[0] // 2), -(-size[1] // 2))
    edges.append(Edge(producer.geometry.name, name, reach, reach))
    return draw(_layers(name, read))


def _join(layers: Sequence[Layer], edges: list[Edge]) -> None:
    """Let the last layer read a map of the same size too, or all of an earlier one."""
    last = layers[-1]
    known = {edge.producer for edge in edges if edge.consumer == last.name}
    for other in layers[:-1]:
        if other.name not in known:
            same = other.geometry.output_size == last.geometry.input_size
            reach = Reach() if same else Reach.WHOLE
            edges.append(Edge(other.name, last.name, reach, reach))
            return
