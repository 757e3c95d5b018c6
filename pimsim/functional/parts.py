"""Work in parts: pieces of a batch that bound memory, and one share for each core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_cores(work: Callable[[int, int], T], count: int) -> list[T]:
    """``work(first, last)`` of consecutive shares of ``count`` things, one for each core, in order.

    For compiled work that holds no interpreter lock; the calling thread takes the first share.
    """
    shares = max(1, min(cores(), count))
    ends = [count * share // shares for share in range(shares + 1)]
    (first, last), *others = pairwise(ends)
    if not others:
        return [work(first, last)]
    with ThreadPoolExecutor(len(others)) as pool:
        later = [pool.submit(work, *share) for share in others]
        return [work(first, last), *(future.result() for future in later)]


def pieces(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` (at least 1) over ``count`` things."""
    for first in range(0, count, max(1, size)):
        yield slice(first, min(first + max(1, size), count))
