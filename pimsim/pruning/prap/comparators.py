"""Masks of the methods that PRAP-PIM was compared with: whole channels, and the strongest weights of each filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import PruningError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def structure_mask(weight: NDArray[np.floating], keep: float) -> NDArray[np.bool_]:
    """The strongest input channels stay, by the sum of magnitudes over all outputs; the first of equal ones.

    Args:
        weight: (OC, IC, K_h, K_w) or (OC, IC).
        keep: share of the channels, rounded down to a whole number, at least one ([INF]: the rounding).

    Raises:
        PruningError: a share outside (0, 1].

    Reference:
        `pruning-blocks.md` 3.8, ``structure``.
    """
    axes = tuple(axis for axis in range(weight.ndim) if axis != 1)
    strength = np.abs(weight).sum(axis=axes)
    channels = _largest(strength[None], keep)[0]
    return np.broadcast_to(channels.reshape(1, -1, *[1] * (weight.ndim - 2)), weight.shape).copy()


def orc_mask(weight: NDArray[np.floating], keep: float) -> NDArray[np.bool_]:
    """Each filter keeps its own strongest weights, as operation-unit row compression (SRE) does.

    Of equal weights the first stay.

    Args:
        weight: (OC, IC, K_h, K_w) or (OC, IC).
        keep: share of the weights of a filter, rounded down to a whole number, at least one ([INF]: the rounding).

    Raises:
        PruningError: a share outside (0, 1].

    Reference:
        `pruning-blocks.md` 3.8, ``ORC``.
    """
    return _largest(np.abs(weight).reshape(len(weight), -1), keep).reshape(weight.shape)


def _largest(values: NDArray[np.floating], keep: float) -> NDArray[np.bool_]:
    """The largest entries of each row."""
    if not 0 < keep <= 1:
        raise PruningError(f"keep ratio {keep}", "the share that is kept is more than 0 and at most 1")
    count = max(1, int(round(keep * values.shape[1], 9)))
    mask = np.zeros(values.shape, dtype=np.bool_)
    np.put_along_axis(mask, np.argsort(-values, axis=1, kind="stable")[:, :count], True, axis=1)
    return mask
