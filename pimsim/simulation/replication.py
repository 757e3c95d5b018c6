"""How many copies of each layer: given, in proportion to the work (ISAAC), or as fast as an array budget allows."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pimsim.errors import SimulationError, nearest
from pimsim.hardware.records import Chip
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Layer
from pimsim.simulation.closed_form import closed_form
from pimsim.simulation.work import layer_work

#: Rules that find the copies of every layer.
RULES = ("balance", "auto")
#: Copies of every layer, of some by name, or a rule.
Replication = int | str | Mapping[str, int]


@dataclass(frozen=True)
class LayerLoad:
    """What one copy of a layer needs: arrays, and time between two windows times its windows."""

    name: str
    arrays: int
    windows: int
    window_fs: int

    @property
    def work_fs(self) -> int:
        """Stage time of the layer with one copy: N * II (`hardware.md` 4.6)."""
        return self.windows * self.window_fs


def copies_of(
    replication: Replication, layers: Sequence[Layer], placements: Sequence[Placement], chip: Chip, budget: int | None
) -> tuple[int, ...]:
    """Copies of each layer.

    Args:
        replication: a number for all layers, of which those with fewer windows have one copy a window; numbers by layer
            name, 1 for the others; or a rule of `RULES`.
        layers, placements: of the network, in execution order.
        chip: gives interval and, without a budget, the number of arrays.
        budget: arrays that all copies together may take, for the rules.

    Raises:
        SimulationError: an unknown rule or layer, a number below 1, or a budget that does not hold one copy of each.
    """
    if isinstance(replication, str):
        if replication not in RULES:
            rule = "replication is a number, a rule, or numbers by layer"
            raise SimulationError(f"replication '{replication}'", rule, "replication", nearest(replication, RULES))
        loads = [_load(layer, placement, chip) for layer, placement in zip(layers, placements, strict=True)]
        return _by_rule(replication, loads, chip.arrays if budget is None else budget)
    if budget is not None:
        rule = "an array budget limits what the rules 'balance' and 'auto' choose"
        raise SimulationError(f"array_budget={budget} with replication={replication}", rule, "array_budget")
    if isinstance(replication, int):
        copies = _checked("replication", replication)
        return tuple(min(copies, placement.mapping.windows) for placement in placements)
    names = [layer.name for layer in layers]
    for name in replication:
        if name not in names:
            raise SimulationError(
                f"replication of layer '{name}'", "the network has no such layer", "replication", nearest(name, names)
            )
    return tuple(_checked(f"replication of {name}", replication.get(name, 1)) for name in names)


def _checked(given: str, copies: int) -> int:
    if copies < 1:
        raise SimulationError(f"{given}={copies}", "at least 1 is needed", "replication")
    return copies


def _load(layer: Layer, placement: Placement, chip: Chip) -> LayerLoad:
    work = layer_work(layer, placement, chip)
    interval = closed_form(work, chip).interval_fs if placement.tiles else 0
    return LayerLoad(layer.name, len(placement.tiles), work.windows, interval)


def _by_rule(rule: str, loads: Sequence[LayerLoad], budget: int) -> tuple[int, ...]:
    needed = sum(load.arrays for load in loads)
    if needed > budget:
        raise SimulationError(
            f"a budget of {budget} arrays",
            f"one copy of every layer takes {needed}",
            "array_budget",
            "Give a larger budget or a chip with more tiles, or leave replication out",
        )
    return balance(loads, budget) if rule == "balance" else fastest(loads, budget)


def balance(loads: Sequence[LayerLoad], budget: int) -> tuple[int, ...]:
    """ISAAC's rule: copies in proportion to the work of a layer, four times as many before each 2x2 pooling.

    The last layer with more than one window has one copy; if that is too much for the budget, all are scaled
    down alike (ISAAC, ISCA 2016, section 3; `hardware.md` 4.6).

    Args:
        loads: of one copy of each layer.
        budget: arrays for all copies together; holds one copy of each.
    """
    busy = [load for load in loads if load.windows > 1 and load.arrays]
    if not busy:
        return (1,) * len(loads)
    reference = busy[-1].work_fs
    wanted = [_at_least_one(load, round(load.work_fs / reference)) for load in loads]
    if _arrays(loads, wanted) <= budget:
        return tuple(wanted)
    # The scale is the largest of those at which some layer changes; arrays grow with it.
    scales = sorted({count / most for most in set(wanted) for count in range(1, most + 1)})
    low, high = 0, len(scales)
    while high - low > 1:
        middle = (low + high) // 2
        fits = _arrays(loads, _scaled(loads, wanted, scales[middle])) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return tuple(_scaled(loads, wanted, scales[low]))


def _scaled(loads: Sequence[LayerLoad], wanted: Sequence[int], scale: float) -> list[int]:
    # Products of a count and its own quotient must not fall below the whole number that they are.
    return [_at_least_one(load, int(count * scale + 1e-9)) for load, count in zip(loads, wanted, strict=True)]


def _at_least_one(load: LayerLoad, copies: int) -> int:
    """No more copies than windows, and one of a layer that needs no array."""
    return max(1, min(copies, load.windows)) if load.arrays else 1


def _arrays(loads: Sequence[LayerLoad], copies: Sequence[int]) -> int:
    return sum(load.arrays * count for load, count in zip(loads, copies, strict=True))


def fastest(loads: Sequence[LayerLoad], budget: int) -> tuple[int, ...]:
    """The copies that make the slowest layer as fast as the budget allows: it gets another one while there is room.

    Args:
        loads: of one copy of each layer.
        budget: arrays for all copies together; holds one copy of each.
    """
    copies = [1] * len(loads)
    left = budget - _arrays(loads, copies)
    queue = [(-load.work_fs, i) for i, load in enumerate(loads) if load.arrays]
    heapq.heapify(queue)
    while queue:
        _, slowest = heapq.heappop(queue)
        load = loads[slowest]
        if load.arrays > left or copies[slowest] >= load.windows:
            break  # nothing else makes the network faster
        left -= load.arrays
        copies[slowest] += 1
        slots = -(-load.windows // copies[slowest])
        heapq.heappush(queue, (-slots * load.window_fs, slowest))
    return tuple(copies)
