"""Who hands what to whom: residual sums are made where their last part is computed, and read from there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pimsim.network.dataflow import Area, Edge, Reach
from pimsim.network.layers import Geometry, Network

#: The parts of a sum: which positions of each layer's outputs belong to a position of the last part's.
Parts = Mapping[str, Area]


@dataclass(frozen=True)
class Flow:
    """One layer's outputs on their way to another.

    ``edge.consumer`` reads them as its input; or it adds them, position by position, to its own outputs before it
    hands those on (``joins``: rows and columns then lead from its outputs to the producer's).
    """

    edge: Edge
    joins: bool = False


def flows(network: Network) -> tuple[Flow, ...]:
    """The dataflow of a network with each residual sum made once.

    The edges of a network name every part of a sum. A layer that reads a sum (its last part has all the channels that
    the layer reads, which no part of a concatenation has) reads it from the part that is computed last, which
    the others join; a part that is a sum itself joins as such. Everything else is read part by part.

    Returns:
        Flows by consumer in execution order, each pair of layers at most once for reading and once for joining.
    """
    order = {layer.name: i for i, layer in enumerate(network.layers)}
    shapes = {layer.name: layer.geometry for layer in network.layers}
    read: dict[str, list[Edge]] = defaultdict(list)
    for edge in sorted(network.dataflow, key=lambda edge: order[edge.producer]):
        read[edge.consumer].append(edge)
    sums = {name: _sum(edges, shapes) for name, edges in read.items()}
    stored: dict[str, Parts] = {}
    for parts in sums.values():
        if len(parts) > 1 and len(parts) > len(stored.get(list(parts)[-1], ())):
            stored[list(parts)[-1]] = parts
    found = [flow for last, parts in stored.items() for flow in _joins(last, parts, stored)]
    for name, edges in read.items():
        is_stored = len(sums[name]) > 1 and stored[edges[-1].producer] == sums[name]
        found += [Flow(edge) for edge in (edges[-1:] if is_stored else edges)]
    return tuple(sorted(found, key=lambda flow: (order[flow.edge.consumer], order[flow.edge.producer], flow.joins)))


def _sum(edges: Sequence[Edge], shapes: Mapping[str, Geometry]) -> Parts:
    """The parts of the sum that a layer reads, in execution order; empty when it reads anything else."""
    last = edges[-1]
    if shapes[last.producer].out_channels != shapes[last.consumer].in_channels:
        return {}
    parts = {}
    for edge in edges:
        rows, columns = _before(edge.rows, last.rows), _before(edge.columns, last.columns)
        if rows is None or columns is None:
            return {}
        parts[edge.producer] = Area(rows, columns)
    return parts


def _before(whole: Reach, behind: Reach) -> Reach | None:
    """The reach through which ``behind`` gives ``whole``; None where there is none."""
    if behind.step == 0:
        return Reach() if whole == behind else None
    step, rest = divmod(whole.step, behind.step)
    first, last = whole.first - behind.first * step, whole.last - behind.last * step
    return Reach(step, first, last) if step and not rest and first <= last else None


def _joins(last: str, parts: Parts, stored: Mapping[str, Parts]) -> list[Flow]:
    """What joins the last part of a sum: the rest of it where that is a stored sum, else part by part."""
    rest = {name: area for name, area in parts.items() if name != last}
    latest = list(rest)[-1]
    through = {name: area.through(rest[latest]) for name, area in stored.get(latest, {}).items()}
    if through == rest:
        rest = {latest: rest[latest]}
    return [Flow(Edge(part, last, area.rows, area.columns), joins=True) for part, area in rest.items()]
