"""Gives every layer of a network its arrays, its copies and its way to the layers that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pimsim.errors import SimulationError, nearest
from pimsim.hardware.records import Chip
from pimsim.mapping.driven import DrivenRows
from pimsim.mapping.placement import Placement
from pimsim.network.layers import DigitalOp, Network
from pimsim.simulation.flows import flows
from pimsim.simulation.replication import Replication, copies_of
from pimsim.simulation.routing import route
from pimsim.simulation.work import LayerWork, layer_work

#: ``packed``: a layer begins where the one before it ends; ``tile``: with a tile of its own.
TILE_PLACEMENTS = ("packed", "tile")


@dataclass(frozen=True)
class Assignment:
    """The layers on the chip, and what the user should know about it."""

    works: tuple[LayerWork, ...]
    notes: tuple[str, ...] = ()


def assign(
    network: Network,
    placements: Sequence[Placement],
    chip: Chip,
    *,
    arrays: int | None = None,
    replication: Replication = 1,
    array_budget: int | None = None,
    tile_placement: str = "packed",
    resident: bool = False,
    driven: Mapping[str, DrivenRows] | None = None,
) -> Assignment:
    """Place the layers of a network side by side while they fit, else one after another on the same arrays.

    Args:
        network: the layers, in execution order, and what feeds them.
        placements: one for each layer.
        chip: the accelerator.
        arrays: arrays that a layer can use at a time.
        replication, array_budget: see `pimsim.simulation.replication.copies_of`.
        tile_placement: one of `TILE_PLACEMENTS`.
        resident: whether all layers must be on the chip at the same time (they work at the same time).
        driven: measured inputs by layer, whose zero bits are skipped.

    Raises:
        SimulationError: names or numbers that cannot be, or resident layers that do not fit.
    """
    _check(placements, network, arrays, tile_placement)
    copies = copies_of(replication, network.layers, placements, chip, array_budget)
    sizes = [len(placement.tiles) for placement in placements]
    firsts, needed = _side_by_side(sizes, copies, chip, tile_placement)
    limit, notes = arrays, list(_not_costed(network))
    if resident:
        _check_resident(arrays, needed, chip)
    elif arrays is None and needed > chip.arrays:
        limit = max(1, chip.arrays // max(copies))
        notes.insert(0, _turns_note(needed, chip))
    if limit is not None:
        firsts = [0] * len(sizes)
    works = tuple(
        layer_work(
            layer,
            placement,
            chip,
            first_array=first,
            arrays=limit,
            replication=count,
            digital=_after(network, layer.name),
            driven=(driven or {}).get(layer.name),
        )
        for layer, placement, first, count in zip(network.layers, placements, firsts, copies, strict=True)
    )
    return Assignment(_routed(network, works, chip), tuple(notes))


def _check(placements: Sequence[Placement], network: Network, arrays: int | None, tile_placement: str) -> None:
    if len(placements) != len(network.layers):
        raise SimulationError(
            f"{len(placements)} placements for {len(network.layers)} layers", "every layer needs one placement"
        )
    if arrays is not None and arrays < 1:
        raise SimulationError(f"arrays={arrays}", "at least 1 is needed", "arrays")
    if tile_placement not in TILE_PLACEMENTS:
        fix = nearest(tile_placement, TILE_PLACEMENTS)
        raise SimulationError(f"tile_placement '{tile_placement}'", "no such placement", "tile_placement", fix)


def _check_resident(arrays: int | None, needed: int, chip: Chip) -> None:
    if arrays is not None:
        rule = "layers that work at the same time cannot be programmed in turns"
        raise SimulationError(f"arrays={arrays} with pipelined layers", rule, "arrays", "Leave arrays out")
    if needed > chip.arrays:
        raise SimulationError(
            f"pipelined layers that take {needed:,} arrays",
            f"all of them must be on the chip at the same time, and it has {chip.arrays:,}",
            "layers",
            f"Use a chip with more tiles (--set tiles={-(-needed // (chip.tile.macros * chip.macro.arrays))}), "
            "less replication, or --layers sequential",
        )


def _turns_note(needed: int, chip: Chip) -> str:
    return (
        f"{needed} arrays are needed and the chip has {chip.arrays}: layers take turns on them; "
        "programming time and energy are reported apart"
    )


def _side_by_side(
    sizes: Sequence[int], copies: Sequence[int], chip: Chip, tile_placement: str
) -> tuple[list[int], int]:
    """The first array of each layer, and the arrays from the first to the last; converters are not shared by layers."""
    grain = chip.macro.adc.arrays
    if tile_placement == "tile":
        grain = chip.tile.macros * chip.macro.arrays
    firsts, end = [], 0
    for size, count in zip(sizes, copies, strict=True):
        first = -(-end // grain) * grain if size else end
        firsts.append(first)
        end = first + size * count
    return firsts, end


def _not_costed(network: Network) -> tuple[str, ...]:
    floating = [op.name for op in network.digital if op.kind == "float"]
    return (f"not costed, computed in float on the digital side: {', '.join(floating)}",) if floating else ()


def _after(network: Network, name: str) -> tuple[DigitalOp, ...]:
    return tuple(operation for operation in network.digital if operation.after == name)


def _routed(network: Network, works: Sequence[LayerWork], chip: Chip) -> tuple[LayerWork, ...]:
    """Every layer with its way from its first tile to all tiles of the layers that read it, and the first of others."""
    tiles = {work.layer.name: work.tiles for work in works}
    goals: dict[str, list[int]] = {name: [] for name in tiles}
    for flow in flows(network):
        there = tiles[flow.edge.consumer]
        goals[flow.edge.producer] += there[:1] if flow.joins else there
    return tuple(
        replace(work, route=route(chip, work.tiles[0], goals[work.layer.name])) if work.tiles else work
        for work in works
    )
