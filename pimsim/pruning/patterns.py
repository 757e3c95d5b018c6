"""Keep patterns of a kernel, and the crossbar rows they free under a parallel window.

A pattern is a string of 0 and 1, the kernel positions in row-major order, 1 kept:
``000111111`` drops the first row of a 3x3 kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from pimsim.errors import PruningError

Taps = frozenset[tuple[int, int]]
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
    origins = [
        [step * places for places in range((side - dilate * (taps - 1) - 1) // step + 1)]
        for side, taps, step, dilate in zip(window, kernel, stride, dilation, strict=True)
    ]
    if not all(origins):
        raise PruningError(
            given=f"parallel window {window[0]}x{window[1]}",
            rule=f"must hold the kernel {kernel[0]}x{kernel[1]} (dilation {dilation[0]}x{dilation[1]})",
        )
    touched = {
        (top + row * dilation[0], left + column * dilation[1])
        for row, column in parse_pattern(keep, kernel)
        for top in origins[0]
        for left in origins[1]
    }
    return window[0] * window[1] - len(touched)


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
    entries: int, kernel: tuple[int, int] = (3, 3), window: tuple[int, int] = _ENUMERATION_WINDOW
) -> tuple[str, ...]:
    """All patterns of ``entries`` kept taps that free most rows of ``window``, sorted.

    Rhe, Jeon, Ko 2023 (PAIRS) use these sets for 3x3 kernels.
    """
    candidates = list(_all_patterns(entries, kernel))
    most = max(rows_skipped(keep, window, kernel) for keep in candidates)
    return tuple(sorted(k for k in candidates if rows_skipped(k, window, kernel) == most))


def strongest_pattern(tap_energy: Sequence[float], candidates: Sequence[str]) -> str:
    """The candidate that keeps most energy; the first of equal ones.

    ``tap_energy`` is the sum of squared weights at each kernel position, row-major.
    """
    return max(
        candidates,
        key=lambda keep: sum(energy for energy, digit in zip(tap_energy, keep, strict=True) if digit == "1"),
    )


def _all_patterns(entries: int, kernel: tuple[int, int]) -> Iterator[str]:
    places = kernel[0] * kernel[1]
    if not 1 <= entries <= places:
        raise PruningError(
            given=f"{entries} kept entries", rule=f"a {kernel[0]}x{kernel[1]} kernel keeps 1 to {places}"
        )
    for kept in combinations(range(places), entries):
        yield "".join(str(int(place in kept)) for place in range(places))
