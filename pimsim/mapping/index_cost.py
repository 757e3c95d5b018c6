"""Bits that an array stores to know which rows were kept (`hardware.md` 3.7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import MappingError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bitmap_bits(kept: NDArray[np.bool_]) -> int:
    """One bit for each of R candidate rows."""
    return len(kept)


def list_bits(kept: NDArray[np.bool_]) -> int:
    """An index of ceil(log2 R) bits for each of the r kept rows."""
    return int(np.count_nonzero(kept)) * address_bits(len(kept))


def delta_bits(kept: NDArray[np.bool_], code_bits: int = 4) -> int:
    """A run length of ``code_bits`` for each kept row, and one more for each 2**code_bits rows skipped before it."""
    where = np.flatnonzero(kept)
    gaps = np.diff(where, prepend=-1) - 1
    return int(len(where) + np.sum(gaps >> code_bits)) * code_bits


def pattern_bits(units: int, patterns: int) -> int:
    """A pattern number of ceil(log2 patterns) bits for each of ``units`` kernels or channels."""
    return units * address_bits(patterns)


def address_bits(count: int) -> int:
    """ceil(log2 count): bits that tell ``count`` things apart."""
    return max(0, count - 1).bit_length()


INDEX_FORMATS: MappingProxyType[str, Callable[[NDArray[np.bool_]], int]] = MappingProxyType(
    {
        "bitmap": bitmap_bits,
        "list": list_bits,
        "delta4": partial(delta_bits, code_bits=4),
        "delta5": partial(delta_bits, code_bits=5),
    }
)


def index_bits(index_format: str, kept: NDArray[np.bool_]) -> int:
    """Bits of the index of one array, or of one column tile when rows are refilled.

    Args:
        index_format: a key of `INDEX_FORMATS`.
        kept: which candidate rows are kept, (R,).

    Raises:
        MappingError: an unknown format.
    """
    if index_format not in INDEX_FORMATS:
        raise MappingError(
            f"index format '{index_format}'", "unknown index format", fix=nearest(index_format, INDEX_FORMATS)
        )
    return INDEX_FORMATS[index_format](kept)
