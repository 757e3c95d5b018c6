"""Ways through the mesh of routers: first along the row, then along the column (XY), shared as far as possible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pimsim.hardware.records import Chip


@dataclass(frozen=True)
class Link:
    """One directed link of a way: from a router to its neighbour, behind the link of index ``after`` (-1: the source).

    ``name`` is that of the link in the whole mesh, so that layers that use it share it; ``arrives`` tells whether
    a message is taken out at its end.
    """

    name: str
    after: int
    arrives: bool


def router_of(chip: Chip, tile: int) -> int:
    """The router that serves a tile."""
    return tile // chip.router.tiles


def mesh_side(chip: Chip) -> int:
    """Routers in a row of the square mesh that holds them all."""
    routers = -(-chip.tiles // chip.router.tiles)
    return next(n for n in range(1, routers + 1) if n * n >= routers)


def route(chip: Chip, source: int, destinations: Iterable[int]) -> tuple[Link, ...]:
    """The links from the router of one tile to those of others, each once: XY ways from one source form a tree.

    Args:
        chip: gives the mesh.
        source: a tile.
        destinations: tiles.
    """
    side = mesh_side(chip)
    start = router_of(chip, source)
    goals = sorted({router_of(chip, tile) for tile in destinations} - {start})
    reached = {start: -1}
    links: list[tuple[int, int, int]] = []
    for goal in goals:
        here = start
        for there in _steps(start, goal, side):
            if there not in reached:
                reached[there] = len(links)
                links.append((here, there, reached[here]))
            here = there
    return tuple(Link(f"link {here}-{there}", after, there in goals) for here, there, after in links)


def _steps(start: int, goal: int, side: int) -> list[int]:
    """The routers on the XY way, without the first."""
    (y, x), (to_y, to_x) = divmod(start, side), divmod(goal, side)
    steps = []
    while x != to_x:
        x += 1 if to_x > x else -1
        steps.append(y * side + x)
    while y != to_y:
        y += 1 if to_y > y else -1
        steps.append(y * side + x)
    return steps
