"""Pattern reuse: which patterns are replaced by a kept one times a power of two, or by zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import PruningError
from pimsim.pruning.prap.groups import PatternGrid
from pimsim.pruning.prap.scales import FRACTION_BITS, codes_on, fine_codes, scale_statistics, scales_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The source of a pattern that is mapped to zero.
ZERO = -1


@dataclass(frozen=True, eq=False)
class Reuse:
    """Which pattern stands for which, in one layer.

    Attributes:
        grid: the channel groups.
        source: output channel whose pattern is used, (groups, OC): its own for a kept pattern, `ZERO` for none.
        scale: power of two, (groups, OC): 1 for a kept pattern, 0 for a pattern that is mapped to zero.
        mask: which weights stay, shaped like the weight: a reused pattern has the shape of its source.
        fraction_bits: f: kept patterns are multiples of 2**f steps, so that a scale of 2**-f still gives whole steps.
        weight_bits: b, bits of a kept pattern.
    """

    grid: PatternGrid
    source: NDArray[np.int64]
    scale: NDArray[np.float64]
    mask: NDArray[np.bool_]
    fraction_bits: int
    weight_bits: int = 8

    @cached_property
    def is_kept(self) -> NDArray[np.bool_]:
        """Which patterns are stored, (groups, OC)."""
        return np.asarray(self.source == np.arange(self.grid.outputs), dtype=np.bool_)

    @property
    def reused(self) -> int:
        """Patterns that are not stored, those mapped to zero included."""
        return int(self.is_kept.size - np.count_nonzero(self.is_kept))

    @property
    def reuse_ratio(self) -> float:
        """Patterns that are not stored / ((IC / G) OC)."""
        return self.reused / self.grid.patterns

    @property
    def keep_ratio(self) -> float:
        """1 - reuse ratio: what `logical_gain` takes."""
        return 1 - self.reuse_ratio

    @property
    def statistics(self) -> dict[str, int]:
        """Reused patterns by the bin of their scale."""
        return scale_statistics(self.scale[~self.is_kept])

    @cached_property
    def _limits(self) -> NDArray[np.int64]:
        """The largest step count of each pattern, (groups, OC), so that no copy of it exceeds `limit` either."""
        largest = np.ones_like(self.scale)
        group = np.broadcast_to(np.arange(self.grid.groups)[:, None], self.source.shape)
        np.maximum.at(largest, (group, np.maximum(self.source, 0)), self.scale)
        unit = 1 << self.fraction_bits
        return np.asarray(self.limit // (largest * unit).astype(np.int64) * unit, dtype=np.int64)

    @property
    def limit(self) -> int:
        """The largest step count of a kept weight, (2**(b-1) - 1) 2**f."""
        return ((1 << (self.weight_bits - 1)) - 1) << self.fraction_bits

    def project_codes(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Whole steps as the hardware computes with them: kept patterns rounded to b bits, the others from them."""
        unit = 1 << self.fraction_bits
        stored = np.clip(np.rint(codes / unit).astype(np.int64) * unit, -self.limit, self.limit)
        limits = self._limits[:, :, None, None]
        patterns = np.clip(self.grid.split(stored), -limits, limits)
        sources = np.take_along_axis(patterns, np.maximum(self.source, 0)[:, :, None, None], axis=1)
        values = np.rint(sources * self.scale[:, :, None, None]).astype(np.int64)
        return np.asarray(self.grid.join(values, stored) * self.mask, dtype=np.int64)

    def project(self, weight: NDArray[np.floating], step: float | None = None) -> NDArray[np.float64]:
        """The nearest weight that reuses patterns in this way; projecting it again changes nothing.

        Args:
            weight: shaped like the layer's.
            step: of the grid; without it that of `fine_codes`. Projecting again needs the same step, for the
                largest weight may have been replaced.
        """
        if step is None:
            codes, step = fine_codes(weight, self.weight_bits, self.fraction_bits)
        else:
            codes = codes_on(weight, step)
        return np.asarray(self.project_codes(codes) * step, dtype=np.float64)


def similar_reuse(
    weight: NDArray[np.floating],
    keep: float,
    group: int,
    mask: NDArray[np.bool_] | None = None,
    weight_bits: int = 8,
) -> Reuse:
    """Similarity-based reuse: the strongest patterns of a channel group stay, every other one becomes a shifted copy.

    The first floor(OC keep) patterns by masked L1 norm are kept, up to the first that rounds to zero. Another pattern
    becomes 2**k times the kept one of the least L1 distance, compared at the positions of the kept one, or zero where
    that is nearer to what its own mask leaves of it; the first of equal distances wins, kept patterns in the order
    of their norm, zero last.

    Args:
        weight: (OC, IC, K_h, K_w) or (OC, IC).
        keep: share of the patterns that is kept, at most.
        group: G, input channels of a pattern.
        mask: which weights stay, shaped like the weight (`shape_mask`); all without it.
        weight_bits: bits of a kept pattern.

    Raises:
        PruningError: a share outside (0, 1], or one that keeps no pattern.

    Reference:
        `pruning-blocks.md` 3.3.
    """
    grid = PatternGrid(weight.shape, group)
    count = kept_patterns(grid.outputs, keep)
    stays = np.ones(weight.shape, dtype=np.bool_) if mask is None else mask
    codes, _ = fine_codes(weight, weight_bits, FRACTION_BITS)
    found = [_similar(x, m, count) for x, m in zip(*_flat(grid, codes, stays), strict=True)]
    return _reuse(grid, found, stays, FRACTION_BITS, weight_bits)


def identical_reuse(
    weight: NDArray[np.floating],
    threshold: float,
    group: int,
    mask: NDArray[np.bool_] | None = None,
    weight_bits: int = 8,
) -> Reuse:
    """Approximately equal patterns share one, as in PattPIM: no scale, and a distance that may not be exceeded.

    In the order of their L1 norms, a pattern becomes the nearest pattern kept so far, or zero, when the L1 distance is
    at most the norm of the pattern at rank floor(OC threshold); else it is kept. The first pattern always is.

    Args:
        weight: (OC, IC, K_h, K_w) or (OC, IC).
        threshold: t, in [0, 1): a smaller one allows larger distances.
        group: G, input channels of a pattern.
        mask: which weights stay; all without it.
        weight_bits: bits of a weight.

    Raises:
        PruningError: a threshold outside [0, 1).

    Reference:
        `pruning-blocks.md` 3.4.
    """
    if not 0 <= threshold < 1:
        raise PruningError(
            f"threshold={threshold}", "the threshold is the rank of a pattern: 0 or more and less than 1"
        )
    grid = PatternGrid(weight.shape, group)
    stays = np.ones(weight.shape, dtype=np.bool_) if mask is None else mask
    codes, _ = fine_codes(weight * stays, weight_bits, 0)
    rank = _floor(grid.outputs * threshold)
    found = [_identical(x, rank) for x, _ in zip(*_flat(grid, codes, stays), strict=True)]
    return _reuse(grid, found, stays, 0, weight_bits)


def kept_patterns(outputs: int, keep: float) -> int:
    """floor(OC keep). Raises `PruningError` for a share outside (0, 1], or too small for one pattern."""
    if not 0 < keep <= 1:
        raise PruningError(f"keep ratio {keep}", "the share of patterns that is kept is more than 0 and at most 1")
    count = _floor(outputs * keep)
    if count == 0:
        rule = f"of {outputs} patterns at least one is kept"
        raise PruningError(f"keep ratio {keep}", rule, fix=f"Use {1 / outputs:g} or more")
    return count


def _floor(value: float) -> int:
    # 0.29 * 100 is a little less than 29.
    return math.floor(round(value, 9))


def _flat(grid: PatternGrid, codes: NDArray[np.int64], mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Patterns and their masks, (groups, OC, G K_h K_w) each."""
    shape = (grid.groups, grid.outputs, grid.group * grid.positions)
    return grid.split(codes).reshape(shape), grid.split(mask).astype(np.int64).reshape(shape)


def _similar(
    x: NDArray[np.int64], mask: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Source and scale of each pattern of one channel group; x and mask (OC, L)."""
    outputs, unit = len(x), 1 << FRACTION_BITS
    own = np.abs(x * mask).sum(axis=1)
    order = np.argsort(-own, kind="stable")
    stored = np.rint(x[order[:count]] * mask[order[:count]] / unit).astype(np.int64) * unit
    norms = np.abs(stored).sum(axis=1)
    if (norms == 0).any():
        count = int(np.argmin(norms != 0))
    kept, others, y, norms = order[:count], order[count:], stored[:count], norms[:count]
    source, scale = np.arange(outputs), np.ones(outputs)
    seen = x[others][:, None, :] * mask[kept][None, :, :]
    sizes = np.abs(seen).sum(axis=2)
    with np.errstate(divide="ignore"):
        scales = np.where(sizes > 0, scales_of(sizes / norms), 0.0)
    # Kept patterns are multiples of 256 and scales of 1/256: the copies are whole.
    copies = (y[None] * scales[:, :, None]).astype(np.int64)
    distances = np.concatenate([np.abs(copies - seen).sum(axis=2), own[others][:, None]], axis=1)
    best = distances.argmin(axis=1)
    chosen = np.take_along_axis(np.pad(scales, ((0, 0), (0, 1))), best[:, None], axis=1)[:, 0]
    source[others] = np.where(chosen > 0, np.append(kept, ZERO)[best], ZERO)
    scale[others] = chosen
    return source, scale


def _identical(x: NDArray[np.int64], rank: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Source and scale of each pattern of one channel group; x (OC, L)."""
    norms = np.abs(x).sum(axis=1)
    order = np.argsort(-norms, kind="stable")
    limit = norms[order[rank]]
    source, scale = np.arange(len(x)), np.ones(len(x))
    kept = [int(order[0])]
    for number in order[1:]:
        distances = np.append(np.abs(x[kept] - x[number]).sum(axis=1), norms[number])
        best = int(distances.argmin())
        if distances[best] > limit:
            kept.append(int(number))
        elif best == len(kept):
            source[number], scale[number] = ZERO, 0.0
        else:
            source[number] = kept[best]
    return source, scale


def _reuse(
    grid: PatternGrid,
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
    mask: NDArray[np.bool_],
    fraction_bits: int,
    weight_bits: int,
) -> Reuse:
    empty = np.zeros((0, grid.outputs))
    source = np.stack([s for s, _ in found]) if found else empty.astype(np.int64)
    scale = np.stack([s for _, s in found]) if found else empty
    patterns = np.take_along_axis(grid.split(mask), np.maximum(source, 0)[:, :, None, None], axis=1)
    taken = grid.join(patterns & (source != ZERO)[:, :, None, None], mask)
    return Reuse(grid, source, scale, taken, fraction_bits, weight_bits)
