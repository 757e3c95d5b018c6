"""The crossbar rows of one input channel in its parallel window, and which kernel positions meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pimsim.pruning.patterns import kernel_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Touches = NDArray[np.bool_]


def mapped_rows(
    kernel: tuple[int, int],
    window: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> Touches:
    """Whether a row meets a kernel position, bool (rows, K_h K_w), both row-major.

    Row (y, x) holds the weights of position (i, j) iff a kernel place starts at (y - i D, x - j D). Pixels that no
    kernel meets, as between the kernels of a large stride, are no rows.

    Raises:
        PruningError: the kernel does not fit into the window.

    Reference:
        `pruning-sdk.md` 1: the set of taps T(y, x) of a pixel row.
    """
    tops, lefts = kernel_places(window, kernel, stride, dilation)
    meets = [
        _meets(side, taps, places, spread)
        for side, taps, places, spread in zip(window, kernel, (tops, lefts), dilation, strict=True)
    ]
    both = meets[0][:, None, :, None] & meets[1][None, :, None, :]
    touches: Touches = both.reshape(window[0] * window[1], kernel[0] * kernel[1])
    return touches[touches.any(axis=1)]


def rows_freed(mask: Tensor, touches: Touches) -> int:
    """Rows of a layer that its mask (OC, IC, K_h, K_w) leaves without a weight, out of IC times those of a channel."""
    kept = (mask != 0).any(dim=0).flatten(1).cpu().numpy()
    return int((~(kept.astype(np.int64) @ touches.T.astype(np.int64) > 0)).sum())


def freed_after(order: NDArray[np.int64], touches: Touches) -> NDArray[np.int64]:
    """When each row of each channel is freed if positions are pruned in an order, int (IC, rows of a channel).

    Args:
        order: (IC, K_h K_w), the step at which each position of each channel is pruned, from 0.
        touches: from `mapped_rows`.

    Returns:
        The step of the last position that the row meets.
    """
    freed: NDArray[np.int64] = np.where(touches[None], order[:, None, :], -1).max(axis=2)
    return freed


def _meets(side: int, taps: int, places: list[int], spread: int) -> Touches:
    """The same along one axis, bool (pixels, taps)."""
    offsets = np.arange(side)[:, None] - spread * np.arange(taps)
    return np.isin(offsets, places)
