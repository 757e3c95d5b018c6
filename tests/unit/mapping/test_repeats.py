"""Operation units that repeat others: found from the weights, however they came to repeat."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pimsim.mapping.repeats import (
    NOTHING,
    channel_blocks,
    common_shift,
    even_blocks,
    find_repeats,
    group_sizes,
    split_blocks,
    stored_bits,
)
from pimsim.mapping.units import rows_per_unit


@st.composite
def arrays(draw: st.DrawFn) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Arrays that hold the same rows, with many repeats up to a shift."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    rows, height = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    weights = draw(st.integers(1, 3))
    blocks = even_blocks(rows, height)
    patterns = rng.integers(-3, 4, size=(rows, 3))
    found = []
    for _ in range(draw(st.integers(1, 3))):
        columns = draw(st.integers(1, 7))
        taken = patterns[:, rng.integers(0, 3, size=columns)] << rng.integers(0, 5, size=columns)
        zero = rng.random(size=(blocks.max() + 1, columns)) < 0.2
        found.append(np.where(zero[blocks], 0, taken).astype(np.int64))
    return found, blocks, weights


@settings(deadline=None)
@given(arrays())
def test_a_repeated_unit_is_that_of_its_source_shifted(case: tuple[list[np.ndarray], np.ndarray, int]) -> None:
    parts, blocks, weights = case
    found = find_repeats(parts, blocks, weights)
    padded = [np.pad(p, ((0, 0), (0, -p.shape[1] % weights))) for p in parts]
    whole = np.concatenate(padded, axis=1)
    units = whole.reshape(len(whole), -1, weights)
    shift = common_shift(whole, blocks)
    classes: dict[tuple[int, bytes], int] = {}
    for block, group in np.ndindex(found.source.shape):
        source = found.source[block, group]
        mine = units[blocks == block][:, group]
        if source == NOTHING:
            assert not mine.any()
            continue
        theirs = units[blocks == block][:, source]
        assert found.source[block, source] == source and mine.any()
        for column in range(weights):
            up = shift[block, group * weights + column] - shift[block, source * weights + column]
            assert np.array_equal(mine[:, column] * 2.0 ** max(0, -up), theirs[:, column] * 2.0 ** max(0, up))
        odd = (mine >> shift[block, group * weights : (group + 1) * weights]).tobytes()
        classes.setdefault((block, odd), source)
    alone = {int(found.group_array[g]) for g in np.flatnonzero(found.is_read.any(axis=0))}
    # One read for each class, and more only where an array would otherwise have none.
    assert len(classes) <= found.units_read <= len(classes) + len(parts)
    assert alone == {i for i, part in enumerate(parts) if part.any()}


def test_the_array_with_the_fewest_reads_reads_the_next_unit() -> None:
    pattern = np.array([[1, 2, 3], [1, 1, 1]])
    found = find_repeats([pattern, pattern * 4], even_blocks(2, 2), 1)
    assert list(np.bincount(found.group_array[found.source[0]])) in ([4, 2], [2, 4])
    assert found.units_read == 3
    assert list(found.shift[0]) == [0, 0, 0, 2, 2, 2]


def test_odd_weights_and_their_bits() -> None:
    weights = np.array([[256 * 127, 12], [-256, -20]])
    assert list(common_shift(weights, even_blocks(2, 2))[0]) == [8, 2]
    assert stored_bits(weights, even_blocks(2, 2)) == 8
    assert stored_bits(weights, even_blocks(2, 1)) == 8
    assert stored_bits(np.zeros((3, 2), dtype=np.int64), even_blocks(3, 2)) == 2


def test_blocks_of_which_a_group_uses_too_many_rows_are_cut_again() -> None:
    blocks = np.array([0, 1, 0, 1, 0, 1])
    marks = np.array([[1, 0], [1, 1], [1, 0], [0, 0], [1, 1], [0, 0]], dtype=bool)
    assert list(rows_per_unit(marks, blocks).max(axis=1)) == [3, 1]
    cut = split_blocks(blocks, marks, 2)
    assert list(cut) == [0, 2, 0, 2, 1, 2]
    assert rows_per_unit(marks, cut).max() == 2


def test_channels_that_a_tile_cuts_are_blocks_of_their_own() -> None:
    assert list(channel_blocks(np.array([3, 3, 4, 4, 5, 6]), 2)) == [0, 0, 1, 1, 1, 2]
    assert list(group_sizes(9)) == [1, 2, 4, 8]
