"""PIM-Prune: block-row or block-column segments of the unrolled weight matrix, kept by norm and packed into crossbars.

No full text of the paper was available. The claims are those of its abstract; the algorithm is the reconstruction
of `pruning-blocks.md` 1.2 [INF].

Reference:
    C. Chu, Y. Wang, Y. Zhao, X. Ma, S. Ye, Y. Hong, X. Liang, Y. Han, L. Jiang, "PIM-Prune: Fine-Grain DCNN Pruning
    for Crossbar-Based Process-In-Memory Architecture", DAC 2020, doi 10.1109/DAC18072.2020.9218523.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.errors import PruningError, nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: ``best`` is the one of ``row`` and ``column`` that occupies fewer arrays; ``both`` is experimental.
MODES = ("row", "column", "best", "both")
#: ``smallest`` is the smaller of the other two.
INDEX_FORMATS = ("bitmap", "coordinates", "smallest")


@dataclass(frozen=True)
class Crossbar:
    """The arrays that a matrix is cut for: ``rows`` x ``columns`` cells, ``columns_per_weight`` of them a weight.

    Raises:
        PruningError: a number below one, or an array that is narrower than a weight.
    """

    rows: int
    columns: int
    columns_per_weight: int = 1

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.columns_per_weight) < 1:
            given = f"crossbar {self.rows}x{self.columns} with {self.columns_per_weight} columns per weight"
            raise PruningError(given, "rows, columns and columns per weight must be at least 1")
        if self.columns < self.columns_per_weight:
            given = f"{self.columns_per_weight} columns per weight on a crossbar of {self.columns} columns"
            raise PruningError(given, "an array must be wide enough for one weight", fix="Use a wider crossbar")

    @property
    def weights(self) -> int:
        """Whole weights of a row: a weight's cells are never split over two arrays."""
        return self.columns // self.columns_per_weight


@dataclass(frozen=True)
class Pack:
    """One weight matrix after pruning, and the arrays that hold what is left.

    Attributes:
        mode: ``row``, ``column`` or ``both``: how the arrays are packed.
        crossbar: the arrays.
        shape: (H, M) of the matrix.
        dense_arrays: arrays of the whole matrix.
        occupied_arrays: arrays after pruning and packing.
        nonempty_blocks: dense arrays that still hold a kept weight: what is occupied without re-packing.
        segments: segments of the matrix.
        selected: segments kept by their norm alone.
        kept: segments kept after fill-up; with mode ``both`` the block-row segments.
        kept_per_panel: the same for each column panel (row mode) or row panel (column mode).
        mask: which weights stay, bool (H, M).
        index_bits: storage of the index, in the format asked for.
        bitmap_bits, coordinate_bits: storage in either format.
    """

    mode: str
    crossbar: Crossbar
    shape: tuple[int, int]
    dense_arrays: int
    occupied_arrays: int
    nonempty_blocks: int
    segments: int
    selected: int
    kept: int
    kept_per_panel: tuple[int, ...]
    mask: NDArray[np.bool_] = field(repr=False, compare=False)
    index_bits: int
    bitmap_bits: int
    coordinate_bits: int

    @property
    def compression(self) -> float:
        """Dense arrays / occupied arrays; infinite when nothing is left."""
        return self.dense_arrays / self.occupied_arrays if self.occupied_arrays else float("inf")

    @property
    def density(self) -> float:
        """Share of the weights that stay."""
        return float(self.mask.mean())


def pack(
    matrix: ArrayLike,
    crossbar: tuple[int, int],
    keep: float,
    mode: str = "row",
    *,
    columns_per_weight: int = 1,
    fill_up: bool = True,
    normalise: bool = False,
    index_format: str = "smallest",
) -> Pack:
    """Keep the strongest segments of a weight matrix and pack them into crossbars.

    Args:
        matrix: unrolled weights (H, M), numpy or a torch tensor; row ic * K * K + k_y * K + k_x, column output channel.
        crossbar: (R, C), rows and columns of an array.
        keep: share of the segments that stays, 0 to 1, rounded to the nearest number of segments (a half up), one at
            least where it is above 0. Of equal norms the segment of the lower panel, then of the lower row or
            column, stays.
        mode: ``row``: block-row segments (r, j), the weights of matrix row r in column panel j; kept segments of a
            column panel are stacked. ``column``: block-column segments (i, c), kept segments of a row panel stand side
            by side. ``best``: whichever occupies fewer arrays, then fewer index bits, then rows. ``both``: two
            phases, experimental, see `_pack_both`.
        columns_per_weight: columns of a weight, c_w; 1 for the published compression rates.
        fill_up: un-prune the strongest pruned segments of a panel until its last array is full: no array more.
        normalise: rank by norm / sqrt(weights of the segment), so that the narrow segments of a last panel are not
            at a disadvantage.
        index_format: one of `INDEX_FORMATS`: ``bitmap``, one bit a segment (H Q or P M), ``coordinates``, ceil(log2 H)
            or ceil(log2 M) bits a kept segment, or the smaller of both.

    Raises:
        PruningError: a matrix that is none, a share outside 0 to 1, or an unknown mode or index format.

    Reference:
        `pruning-blocks.md` 1.2 [INF]: X_row = sum_j ceil(|S_j| / R), X_col = sum_i ceil(|T_i| / floor(C / c_w)).
    """
    weights = as_matrix(matrix)
    array = Crossbar(*crossbar, columns_per_weight)
    check_share(keep)
    _check_name("mode", mode, MODES)
    _check_name("index format", index_format, INDEX_FORMATS)
    if mode == "both":
        return _pack_both(weights, array, keep, fill_up, normalise, index_format)
    modes = ("row", "column") if mode == "best" else (mode,)
    packs = [pack_together([weights], array, keep, one, fill_up, normalise, index_format)[0] for one in modes]
    return better(packs)


def pack_together(
    matrices: Sequence[NDArray[np.float64]],
    array: Crossbar,
    keep: float,
    mode: str,
    fill_up: bool = True,
    normalise: bool = False,
    index_format: str = "smallest",
) -> tuple[Pack, ...]:
    """Several matrices whose segments are ranked together, as of one layer with groups or of a whole network.

    Args:
        matrices: (H, M) each.
        array: the crossbar.
        keep: share of all their segments.
        mode: ``row`` or ``column``.
        fill_up, normalise, index_format: see `pack`.
    """
    norms = [_norms(matrix, array, mode, normalise) for matrix in matrices]
    chosen = _strongest(norms, keep)
    packs = []
    for matrix, norm, kept in zip(matrices, norms, chosen, strict=True):
        full = _filled_up(norm, kept, _per_array(array, mode)) if fill_up else kept
        packs.append(_packed(matrix.shape, array, mode, kept, full, index_format))
    return tuple(packs)


def pack_mask(mask: NDArray[np.bool_], array: Crossbar, mode: str, index_format: str = "smallest") -> Pack:
    """The arrays of weights that were pruned before, by whatever method: segments with a kept weight stay.

    The mask of the result keeps whole segments, so it may keep more than ``mask`` (H, M).
    """
    kept = _norms(mask.astype(np.float64), array, mode, normalise=False) > 0
    return _packed(mask.shape, array, mode, kept, kept, index_format)


def better(packs: Sequence[Pack]) -> Pack:
    """The pack with fewest arrays, then fewest index bits, then the first."""
    return min(packs, key=lambda one: (one.occupied_arrays, one.index_bits))


def dense_arrays(shape: tuple[int, int], array: Crossbar) -> int:
    """ceil(H / R) * ceil(M / floor(C / c_w)): arrays of a whole matrix."""
    return -(-shape[0] // array.rows) * -(-shape[1] // array.weights)


# Segments: panels along the first axis, the rows (or columns) of each along the second.


def _norms(matrix: NDArray[np.float64], array: Crossbar, mode: str, normalise: bool) -> NDArray[np.float64]:
    """L2 norm of every segment, (column panels, H) or (row panels, M)."""
    squares = matrix * matrix
    if mode == "row":
        sums = np.add.reduceat(squares, np.arange(0, matrix.shape[1], array.weights), axis=1).T
        length, whole = array.weights, matrix.shape[1]
    else:
        sums = np.add.reduceat(squares, np.arange(0, matrix.shape[0], array.rows), axis=0)
        length, whole = array.rows, matrix.shape[0]
    if normalise:
        lengths = np.minimum(length, whole - np.arange(0, whole, length))
        sums = sums / lengths[:, None]
    return np.sqrt(sums)


def _per_array(array: Crossbar, mode: str) -> int:
    """Segments that an array holds."""
    return array.rows if mode == "row" else array.weights


def _strongest(norms: Sequence[NDArray[np.float64]], keep: float) -> list[NDArray[np.bool_]]:
    """The strongest share of all segments, shaped like ``norms``; of equal ones the first."""
    together = np.concatenate([norm.reshape(-1) for norm in norms])
    kept = np.zeros(len(together), dtype=np.bool_)
    kept[np.argsort(-together, kind="stable")[: kept_segments(keep, len(together))]] = True
    parts = np.split(kept, np.cumsum([norm.size for norm in norms])[:-1])
    return [part.reshape(norm.shape) for part, norm in zip(parts, norms, strict=True)]


def kept_segments(keep: float, segments: int) -> int:
    """The nearest number of segments to a share of them, a half up; one at least, where the share is not 0."""
    return max(floor(keep * segments + 0.5), int(keep > 0))


def _filled_up(norms: NDArray[np.float64], kept: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """More segments, the strongest first, until the arrays of every panel are full or the panel is whole.

    A panel that keeps nothing stays empty: it costs no array.
    """
    # Within a panel the kept segments are the strongest, so they come first.
    order = np.argsort(-norms, axis=1, kind="stable")
    counts = kept.sum(axis=1, keepdims=True)
    full = np.zeros_like(kept)
    np.put_along_axis(full, order, np.arange(kept.shape[1])[None, :] < -(-counts // step) * step, axis=1)
    return full


def _packed(
    shape: tuple[int, ...],
    array: Crossbar,
    mode: str,
    selected: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    index_format: str,
) -> Pack:
    """The result of row or column mode."""
    height, width = shape
    if mode == "row":
        mask = np.repeat(kept, array.weights, axis=0)[:width].T
        addressed = height
    else:
        mask = np.repeat(kept, array.rows, axis=0)[:height]
        addressed = width
    counts = kept.sum(axis=1)
    bits = {"bitmap": kept.size, "coordinates": int(counts.sum()) * _address_bits(addressed)}
    return Pack(
        mode=mode,
        crossbar=array,
        shape=(height, width),
        dense_arrays=dense_arrays((height, width), array),
        occupied_arrays=int((-(-counts // _per_array(array, mode))).sum()),
        nonempty_blocks=_nonempty_blocks(mask, array),
        segments=kept.size,
        selected=int(selected.sum()),
        kept=int(counts.sum()),
        kept_per_panel=tuple(int(count) for count in counts),
        mask=np.ascontiguousarray(mask),
        index_bits=_chosen_bits(bits, index_format),
        bitmap_bits=bits["bitmap"],
        coordinate_bits=bits["coordinates"],
    )


def _chosen_bits(bits: dict[str, int], index_format: str) -> int:
    return min(bits.values()) if index_format == "smallest" else bits[index_format]


def _address_bits(count: int) -> int:
    """ceil(log2 count): bits that tell ``count`` rows or columns apart."""
    return max(0, count - 1).bit_length()


def _nonempty_blocks(mask: NDArray[np.bool_], array: Crossbar) -> int:
    """Blocks of R rows and floor(C / c_w) columns with a weight that stays."""
    rows = np.logical_or.reduceat(mask, np.arange(0, mask.shape[0], array.rows), axis=0)
    return int(np.logical_or.reduceat(rows, np.arange(0, mask.shape[1], array.weights), axis=1).sum())


def _pack_both(
    matrix: NDArray[np.float64], array: Crossbar, keep: float, fill_up: bool, normalise: bool, index_format: str
) -> Pack:
    """Rows first, then columns of every packed array: experimental, [INF].

    Each phase keeps sqrt(keep) of its segments. After the rows are stacked, the columns of every packed array are
    scored anew on the rows that it holds; what is left of arrays that read the same rows stands side by side. As
    arrays of different column panels seldom read the same rows, the second phase seldom frees one. The index names the
    rows of each column panel and the columns of each packed array.
    """
    share = keep**0.5
    first = pack_together([matrix], array, share, "row", fill_up, normalise, index_format)[0]
    stacked = _stacked(first, array)
    norms = [np.sqrt((matrix[rows, columns] ** 2).sum(axis=0)) for rows, columns in stacked]
    if normalise:
        norms = [norm / len(rows) ** 0.5 for norm, (rows, _) in zip(norms, stacked, strict=True)]
    kept = _strongest(norms, share) if norms else []
    mask = np.zeros(first.shape, dtype=np.bool_)
    columns_left: dict[bytes, int] = {}
    for (rows, columns), left in zip(stacked, kept, strict=True):
        mask[rows, columns] = left
        key = rows.tobytes()
        columns_left[key] = columns_left.get(key, 0) + int(left.sum())
    extra = {
        "bitmap": sum(left.size for left in kept),
        "coordinates": sum(int(left.sum()) * _address_bits(left.size) for left in kept),
    }
    bits = {"bitmap": first.bitmap_bits, "coordinates": first.coordinate_bits}
    bits = {name: bits[name] + extra[name] for name in bits}
    return replace(
        first,
        mode="both",
        occupied_arrays=sum(-(-count // array.weights) for count in columns_left.values()),
        nonempty_blocks=_nonempty_blocks(mask, array),
        mask=mask,
        index_bits=_chosen_bits(bits, index_format),
        bitmap_bits=bits["bitmap"],
        coordinate_bits=bits["coordinates"],
    )


def _stacked(first: Pack, array: Crossbar) -> list[tuple[NDArray[np.intp], slice]]:
    """Rows (R', 1) and columns of every packed array of row mode."""
    arrays = []
    for start in range(0, first.shape[1], array.weights):
        rows = np.flatnonzero(first.mask[:, start])
        columns = slice(start, min(start + array.weights, first.shape[1]))
        arrays += [(rows[i : i + array.rows], columns) for i in range(0, len(rows), array.rows)]
    return arrays


# Arguments.


def as_matrix(matrix: Any) -> NDArray[np.float64]:
    """A weight matrix as float64 (H, M). Raises `PruningError` for anything else."""
    if hasattr(matrix, "detach"):
        matrix = matrix.detach().cpu().numpy()
    weights = np.asarray(matrix, dtype=np.float64)
    if weights.ndim != 2 or not weights.size:
        fix = "Unroll a convolution first: weight.flatten(1).T"
        raise PruningError(f"a matrix of shape {weights.shape}", "(rows, output channels) are needed", fix=fix)
    if not np.isfinite(weights).all():
        raise PruningError("a matrix with values that are not finite", "their norms have no order")
    return weights


def check_share(keep: float) -> None:
    """Raises `PruningError` for a share outside 0 to 1."""
    if not 0 <= keep <= 1:
        raise PruningError(f"keep={keep}", "the share of segments that stays is 0 to 1")


def share_of(text: str | float) -> float:
    """A share written as a number or as a fraction such as 1/4. Raises `PruningError` for anything else."""
    try:
        share = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        raise PruningError(
            f"keep '{text}'", "a share is a number from 0 to 1", fix="Write it like 0.25 or 1/4"
        ) from None
    check_share(share)
    return share


def crossbar_of(text: str, columns_per_weight: int = 1) -> Crossbar:
    """An array written ROWSxCOLUMNS. Raises `PruningError` for anything else."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise PruningError(f"array '{text}'", "an array is ROWSxCOLUMNS", fix="Write it like 128x128")
    return Crossbar(int(parts[0]), int(parts[1]), columns_per_weight)


def _check_name(kind: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise PruningError(f"{kind} '{value}'", f"unknown {kind}", fix=nearest(value, known))
