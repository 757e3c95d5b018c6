"""Rows that a keep pattern frees: the closed form, brute force and the published sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimsim.errors import PruningError
from pimsim.pruning.patterns import (
    best_patterns,
    border_patterns,
    format_pattern,
    parse_pattern,
    rows_skipped,
)


def rows_of_explicit_layout(
    keep: str, window: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int
) -> int:
    """Empty rows of the cell matrix of one channel, built cell by cell."""
    places = [
        (top, left)
        for top in range(0, window[0] - dilation * (kernel[0] - 1), stride)
        for left in range(0, window[1] - dilation * (kernel[1] - 1), stride)
    ]
    cells = np.zeros((window[0] * window[1], len(places)), dtype=int)
    for column, (top, left) in enumerate(places):
        for tap, digit in enumerate(keep):
            row = top + dilation * (tap // kernel[1])
            cells[row * window[1] + left + dilation * (tap % kernel[1]), column] = int(digit)
    return int((cells.sum(axis=1) == 0).sum())


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, tuple[int, int], tuple[int, int], int, int]:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    extra = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    window = tuple(dilation * (side - 1) + 1 + more for side, more in zip(kernel, extra, strict=True))
    keep = draw(st.text("01", min_size=kernel[0] * kernel[1], max_size=kernel[0] * kernel[1]))
    return keep, window, kernel, stride, dilation  # type: ignore[return-value]


@settings(deadline=None)
@given(layouts())
def test_rows_skipped_are_the_empty_rows_of_the_explicit_layout(
    layout: tuple[str, tuple[int, int], tuple[int, int], int, int],
) -> None:
    keep, window, kernel, stride, dilation = layout
    expected = rows_of_explicit_layout(keep, window, kernel, stride, dilation)
    assert rows_skipped(keep, window, kernel, (stride, stride), (dilation, dilation)) == expected


@pytest.mark.parametrize("side", [4, 5, 7])
def test_best_patterns_free_the_published_number_of_rows(side: int) -> None:
    gains = {8: 1, 7: 2, 6: side, 5: side + 1, 4: 2 * side - 1, 3: 2 * side, 2: 3 * side - 2, 1: 4 * side - 4}
    assert {e: rows_skipped(best_patterns(e)[0], (side, side)) for e in gains} == gains


@settings(deadline=None)
@given(st.text("01", min_size=9, max_size=9))
def test_a_window_of_the_kernel_frees_every_pruned_tap(keep: str) -> None:
    assert rows_skipped(keep, (3, 3)) == keep.count("0")


def test_the_best_patterns_are_those_that_a_slow_count_finds() -> None:
    for entries, kernel, window in ((2, (2, 3), (4, 5)), (3, (3, 2), (3, 5)), (4, (1, 5), (2, 7)), (5, (2, 3), (2, 4))):
        places = kernel[0] * kernel[1]
        texts = ("".join("1" if place in kept else "0" for place in range(places))
                 for kept in combinations(range(places), entries))  # fmt: skip
        freed = {keep: rows_skipped(keep, window, kernel) for keep in texts}
        most = {keep for keep, rows in freed.items() if rows == max(freed.values())}
        assert best_patterns(entries, kernel, window) == tuple(sorted(most))


def test_stride_and_dilation_count_in_the_best_patterns() -> None:
    # Two places, two pixels apart: the middle line of a 3x3 kernel shares no pixel and frees as many as a border.
    assert set(best_patterns(6, window=(5, 5), stride=(2, 2))) != set(best_patterns(6, window=(5, 5)))
    freed = {rows_skipped(keep, (6, 6), dilation=(2, 2)) for keep in best_patterns(6, (3, 3), (6, 6), (1, 1), (2, 2))}
    assert freed == {12}


def test_patterns_of_a_5x5_kernel_are_enumerated() -> None:
    assert set(best_patterns(20, (5, 5), (6, 6))) == set(border_patterns((5, 5)))


def test_border_patterns_of_another_kernel_drop_one_line_each() -> None:
    assert border_patterns((2, 3)) == ("000111", "111000", "110110", "011011")


@settings(deadline=None)
@given(st.text("01", min_size=6, max_size=6))
def test_parsing_and_formatting_are_inverse(keep: str) -> None:
    assert format_pattern(parse_pattern(keep, (2, 3)), (2, 3)) == keep


@pytest.mark.parametrize("keep", ["", "00011111", "000111112", "0001111111"])
def test_a_wrong_pattern_is_refused(keep: str) -> None:
    with pytest.raises(PruningError, match="a 3x3 kernel needs 9 digits 0 or 1, row by row"):
        parse_pattern(keep)


def test_a_window_smaller_than_the_kernel_is_refused() -> None:
    with pytest.raises(PruningError, match=r"parallel window 4x4: must hold the kernel 3x3 \(dilation 2x2\)"):
        rows_skipped("1" * 9, (4, 4), dilation=(2, 2))


def test_what_cannot_be_enumerated_is_refused() -> None:
    with pytest.raises(PruningError, match="a 7x7 kernel: patterns are enumerated for up to 25 positions"):
        best_patterns(9, (7, 7), (8, 8))
    with pytest.raises(PruningError, match="a parallel window of 65 pixels a line: rows are counted for up to 64"):
        best_patterns(6, window=(4, 65))


def test_no_entries_are_refused() -> None:
    with pytest.raises(PruningError, match="a 3x3 kernel keeps 1 to 9"):
        best_patterns(0)
