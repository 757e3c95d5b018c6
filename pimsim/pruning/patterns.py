"""Keep patterns of a kernel, and the crossbar rows they free under a parallel window.

A pattern is a string of 0 and 1, the kernel positions in row-major order, 1 kept:
``000111111`` drops the first row of a 3x3 kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import PruningError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.uint64]

Taps = frozenset[tuple[int, int]]
# 2^25 codes are still gone through in seconds: kernels up to 5x5.
_MOST_PLACES = 25
# Bits of a code word that holds one line of a window.
_WIDEST_WINDOW = 64
# The windows from which on the patterns that free most rows stay the same (3x3 kernels).
_ENUMERATION_WINDOW = (4, 4)


def parse_pattern(keep: str, kernel: tuple[int, int] = (3, 3)) -> Taps:
    """Kept kernel positions (row, column) of a pattern; raises :class:`PruningError`."""
    height, width = kernel
    if len(keep) != height * width or set(keep) - {"0", "1"}:
        raise PruningError(
            given=f"keep pattern {keep!r}",
            rule=f"a {height}x{width} kernel needs {height * width} digits 0 or 1, row by row",
        )
    return frozenset(divmod(place, width) for place, digit in enumerate(keep) if digit == "1")


def format_pattern(taps: Taps, kernel: tuple[int, int] = (3, 3)) -> str:
    """The string of a set of kept positions; the inverse of :func:`parse_pattern`."""
    height, width = kernel
    return "".join(str(int((row, column) in taps)) for row in range(height) for column in range(width))


def rows_skipped(
    keep: str,
    window: tuple[int, int],
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> int:
    """Rows of one input channel that no kept weight touches, out of P_h x P_w.

    ``window`` is the parallel window (P_h, P_w) in input pixels. Closed form: P_h P_w
    less the size of the Minkowski sum of the kept taps and the grid of kernel places.
    Raises :class:`PruningError` when the kernel does not fit into the window.
    """
    tops, lefts = kernel_places(window, kernel, stride, dilation)
    touched = {
        (top + row * dilation[0], left + column * dilation[1])
        for row, column in parse_pattern(keep, kernel)
        for top in tops
        for left in lefts
    }
    return window[0] * window[1] - len(touched)


def kernel_places(
    window: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> tuple[list[int], list[int]]:
    """First pixel rows and columns of the kernel places in a parallel window.

    Raises:
        PruningError: the kernel does not fit into the window.
    """
    origins = [
        [step * places for places in range((side - dilate * (taps - 1) - 1) // step + 1)]
        for side, taps, step, dilate in zip(window, kernel, stride, dilation, strict=True)
    ]
    if not all(origins):
        raise PruningError(
            given=f"parallel window {window[0]}x{window[1]}",
            rule=f"must hold the kernel {kernel[0]}x{kernel[1]} (dilation {dilation[0]}x{dilation[1]})",
        )
    return origins[0], origins[1]


def border_patterns(kernel: tuple[int, int] = (3, 3)) -> tuple[str, ...]:
    """The four patterns without one border line: first row, last row, last and first column."""
    height, width = kernel
    everything = frozenset((row, column) for row in range(height) for column in range(width))
    borders = (
        {(0, column) for column in range(width)},
        {(height - 1, column) for column in range(width)},
        {(row, width - 1) for row in range(height)},
        {(row, 0) for row in range(height)},
    )
    return tuple(format_pattern(everything - border, kernel) for border in borders)


def best_patterns(
    entries: int,
    kernel: tuple[int, int] = (3, 3),
    window: tuple[int, int] = _ENUMERATION_WINDOW,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> tuple[str, ...]:
    """All patterns of ``entries`` kept taps that free most rows of ``window``, sorted; found by enumeration.

    Raises:
        PruningError: entries that the kernel does not have, or a kernel that does not fit into the window.

    Reference:
        Rhe, Jeon, Ko 2023 (PAIRS) use these sets for 3x3 kernels; `pruning-sdk.md` 3.
    """
    candidates = all_patterns(entries, kernel)
    touched = _touched_rows(candidates, kernel, window, stride, dilation)
    best = candidates[touched == touched.min()]
    return tuple(pattern_text(code, kernel) for code in best.tolist())


def all_patterns(entries: int, kernel: tuple[int, int]) -> Codes:
    """Codes (uint64) of all patterns of ``entries`` kept taps in rising order: see `pattern_text`.

    Raises:
        PruningError: entries that the kernel does not have, or a kernel with too many positions to go through.
    """
    check_entries(entries, kernel)
    places = kernel[0] * kernel[1]
    if places > _MOST_PLACES:
        raise PruningError(
            f"a {kernel[0]}x{kernel[1]} kernel", f"patterns are enumerated for up to {_MOST_PLACES} positions"
        )
    codes: Codes = np.arange(1 << places, dtype=np.uint64)
    kept: Codes = codes[np.bitwise_count(codes) == entries]
    return kept


def check_entries(entries: int, kernel: tuple[int, int]) -> None:
    """Raises `PruningError` for a number of kept entries that a kernel cannot have."""
    places = kernel[0] * kernel[1]
    if not 1 <= entries <= places:
        raise PruningError(
            given=f"{entries} kept entries", rule=f"a {kernel[0]}x{kernel[1]} kernel keeps 1 to {places}"
        )


def pattern_text(code: int, kernel: tuple[int, int]) -> str:
    """The pattern of a code: its binary digits, the highest for the first kernel position."""
    return f"{code:0{kernel[0] * kernel[1]}b}"


def _touched_rows(
    codes: Codes, kernel: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> NDArray[np.int64]:
    """Rows of one channel that each pattern needs: the size of its Minkowski sum with the grid of kernel places.

    A line of pixels is a bit field; the kernel places of a window line are one or of shifted fields.
    """
    tops, lefts = kernel_places(window, kernel, stride, dilation)
    if window[1] > _WIDEST_WINDOW:
        raise PruningError(
            f"a parallel window of {window[1]} pixels a line", f"rows are counted for up to {_WIDEST_WINDOW}"
        )
    lines = [_spread_line(codes, kernel, row, lefts, dilation[1]) for row in range(kernel[0])]
    touched = np.zeros(len(codes), dtype=np.int64)
    for pixel_row in range(window[0]):
        pixels = np.zeros_like(codes)
        for row in range(kernel[0]):
            if pixel_row - row * dilation[0] in tops:
                pixels |= lines[row]
        touched += np.bitwise_count(pixels)
    return touched


def _spread_line(codes: Codes, kernel: tuple[int, int], row: int, lefts: Sequence[int], dilation: int) -> Codes:
    """The pixels of one window line that one kernel row of each pattern meets."""
    line, last = np.zeros_like(codes), kernel[0] * kernel[1] - 1
    for column in range(kernel[1]):
        tap = (codes >> np.uint64(last - row * kernel[1] - column)) & np.uint64(1)
        for left in lefts:
            line |= tap << np.uint64(left + column * dilation)
    return line
