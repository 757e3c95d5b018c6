"""The working memory of the bit-serial kernels: one block of windows, whatever the number of images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Columns of a table; with sums of 8 bits, 64 bytes or two vector registers of most machines.
LANES = 64
#: Windows that are packed together; their lines of drives stay in the first cache.
BLOCK = 128
#: What the largest array of a block should not pass, to stay in the second cache (bytes).
CACHE_BYTES = 2**18
#: Bytes that a cache loads at once.
CACHE_LINE = 64
#: Most windows of a block.
MOST_WINDOWS = 2048


class Sizes(NamedTuple):
    """What working memory depends on.

    Attributes:
        rows: R, of all groups.
        columns: C, weight columns.
        planes: bits of an input.
        group_rows: rows of each group.
        chunk: rows of a chunk.
    """

    rows: int
    columns: int
    planes: int
    group_rows: tuple[int, ...]
    chunk: int

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks of each group."""
        return tuple(-(-rows // self.chunk) for rows in self.group_rows)

    @property
    def window_bytes(self) -> int:
        """What the largest array takes for one window, with the types of 8-bit inputs."""
        return max(self.rows, self.planes * sum(self.chunks), 4 * self.columns)

    def windows(self, most: int) -> int:
        """Windows of a block, a multiple of `BLOCK`: as many as fit the cache, no more than are needed for ``most``."""
        fit = min(CACHE_BYTES // self.window_bytes, MOST_WINDOWS, most + BLOCK - 1)
        return max(1, fit // BLOCK) * BLOCK


class Scratch(NamedTuple):
    """What a block of W windows needs; the types decide the speed.

    Attributes:
        values: inputs, unsigned (R, W).
        signed: the same memory, with the sign of the inputs.
        drives: packed bits of each chunk, uint8 (W / BLOCK, planes, chunks of all groups, BLOCK).
        busy: not zero where any row of a group is driven, uint8 (W / BLOCK, planes, G, BLOCK).
        table: partial sums, (chunks of a group, 2**chunk, LANES).
        sums: column sums of one window and step, (LANES,), of the same type.
        more: column sums of one plane, likewise.
        highest: the greatest sums so far, likewise.
        over: clipped conversions, uint8 (LANES,).
        reads: shifted and added codes, (LANES,).
        analog: merged codes, (W, C).
        digital: corrections, (W, C), of that type.
    """

    values: NDArray[Any]
    signed: NDArray[Any]
    drives: NDArray[np.uint8]
    busy: NDArray[np.uint8]
    table: NDArray[Any]
    sums: NDArray[Any]
    more: NDArray[Any]
    highest: NDArray[Any]
    over: NDArray[np.uint8]
    reads: NDArray[Any]
    analog: NDArray[Any]
    digital: NDArray[Any]


class Kinds(NamedTuple):
    """Types that hold every value.

    Attributes:
        inputs: integers as given.
        sums: column sums.
        reads: codes shifted and added over the input steps.
        merged: shifted and added codes, and corrections.
    """

    inputs: np.dtype[Any]
    sums: np.dtype[Any]
    reads: np.dtype[Any]
    merged: np.dtype[Any]


def scratch(sizes: Sizes, kinds: Kinds, most: int) -> Scratch:
    """Working memory for blocks of at most ``most`` windows; its size does not grow with the number of images."""
    windows = sizes.windows(most)
    blocks, groups = windows // BLOCK, len(sizes.group_rows)
    signed = np.zeros((sizes.rows, windows), kinds.inputs)
    table = aligned((max(sizes.chunks), 1 << sizes.chunk, LANES), kinds.sums)
    merged = [np.empty((windows, sizes.columns), kinds.merged) for _ in range(2)]
    return Scratch(
        values=signed.view(unsigned(kinds.inputs)),
        signed=signed,
        drives=np.empty((blocks, sizes.planes, sum(sizes.chunks), BLOCK), np.uint8),
        busy=np.empty((blocks, sizes.planes, groups, BLOCK), np.uint8),
        table=table,
        sums=np.empty(LANES, kinds.sums),
        more=np.empty(LANES, kinds.sums),
        highest=np.empty(LANES, kinds.sums),
        over=np.empty(LANES, np.uint8),
        reads=np.empty(LANES, kinds.reads),
        analog=merged[0],
        digital=merged[1],
    )


def aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
    """An empty array that begins with a line of the cache, so that its own lines do not straddle two."""
    size = math.prod(shape) * kind.itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE
    return memory[first : first + size].view(kind).reshape(shape)


def unsigned(kind: np.dtype[Any]) -> np.dtype[Any]:
    """The unsigned integer type of the same size."""
    return np.dtype(f"u{kind.itemsize}")


def input_kind(bits: int, signed: bool) -> np.dtype[Any]:
    """The smallest integer type of inputs of these bits."""
    size = next(size for size in (8, 16, 32, 64) if bits <= size)
    return np.dtype(f"{'int' if signed else 'uint'}{size}")


def smallest_kind(least: int, greatest: int, kinds: tuple[str, ...]) -> np.dtype[Any]:
    """The first of these integer types that holds ``least`` to ``greatest``; they come in order of size."""
    return next(np.dtype(k) for k in kinds if np.iinfo(k).min <= least and greatest <= np.iinfo(k).max)
