"""Shape pruning: at most eight choices of kept positions in every channel group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import PruningError
from pimsim.pruning.prap.groups import OU_ROWS, PatternGrid, group_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Shapes that a channel group may use.
SHAPES = 8


def shape_mask(weight: NDArray[np.floating], kept: float, shapes: int = SHAPES) -> NDArray[np.bool_]:
    """Which weights stay: in each channel group every output channel has one of ``shapes`` sets of positions.

    The shape of an output channel is where the sum of magnitudes over the group's channels is largest; the most
    frequent shapes of a group stay; every output channel gets the one that preserves most of it. A 1x1 or linear
    layer has one shape for all outputs: the eight inputs of a group with the largest sum over the outputs.

    Of equal positions the first stay. Of equally frequent shapes the one with the smaller number comes first, read
    as binary digits, the last position first, of what is kept or, where that is less, of what goes (as in the
    authors' code); of equally good ones the more frequent.

    Args:
        weight: (OC, IC, K_h, K_w) or (OC, IC).
        kept: p, positions that stay in each kernel; for a 1x1 or linear layer the share of inputs.
        shapes: how many a group may use.

    Raises:
        PruningError: positions that do not fill an operation unit; see `group_of`.

    Reference:
        `pruning-blocks.md` 3.2.
    """
    if shapes < 1:
        raise PruningError(f"shapes={shapes}", "a channel group has at least one shape")
    positions = int(np.prod(weight.shape[2:], dtype=np.int64))
    grid = PatternGrid(weight.shape, group_of(kept, positions))
    magnitude = np.abs(grid.split(np.asarray(weight, dtype=np.float64)))
    if positions == 1:
        mask = _strongest(magnitude.sum(axis=1)[:, :, 0], min(OU_ROWS, grid.group))[:, None, :, None]
    else:
        mask = np.stack([_shared(each, int(kept), shapes) for each in magnitude.sum(axis=2)])[:, :, None, :]
    full = np.broadcast_to(mask, magnitude.shape)
    return grid.join(full, np.ones(weight.shape, dtype=np.bool_))


def _shared(importance: NDArray[np.float64], kept: int, shapes: int) -> NDArray[np.bool_]:
    """The shape of each output channel of one group; importance (OC, positions)."""
    natural = _strongest(importance, kept)
    found, counts = np.unique(natural, axis=0, return_counts=True)
    fewer = found if 2 * kept <= found.shape[1] else ~found
    numbers = fewer @ (1 << np.arange(found.shape[1], dtype=np.int64))
    retained = found[np.lexsort((numbers, -counts))[:shapes]]
    return np.asarray(retained[(importance @ retained.T).argmax(axis=1)], dtype=np.bool_)


def _strongest(importance: NDArray[np.float64], kept: int) -> NDArray[np.bool_]:
    """The ``kept`` largest entries of each row, the first of equal ones."""
    mask = np.zeros(importance.shape, dtype=np.bool_)
    np.put_along_axis(mask, np.argsort(-importance, axis=1, kind="stable")[:, :kept], True, axis=1)
    return mask
