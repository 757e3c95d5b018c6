"""Bit slices that are made empty: against brute force, and as an operation unit sees them."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimsim.errors import PruningError
from pimsim.hardware.encodings import encode
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.mapping.slice_skipping import Slicing
from pimsim.network.layers import Geometry
from pimsim.pruning.bit_slices import SliceGrid
from pimsim.pruning.registry import pruning_method


def filled(grid: SliceGrid, codes: np.ndarray) -> set[tuple[int, int, int]]:
    """(fragment, column, slice) of every slice that holds a bit, found weight by weight."""
    found = set()
    for (row, column), code in np.ndenumerate(codes):
        fragment = (row // grid.array_rows, row % grid.array_rows // grid.fragment)
        for number, shift in enumerate(grid.shifts):
            if abs(int(code)) >> shift & (2**grid.cell_bits - 1):
                found.add((fragment, column, number))
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[SliceGrid, np.ndarray, np.ndarray]:
    bits = draw(st.integers(2, 6))
    grid = SliceGrid(bits, draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from([4, 7])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = 2 ** (bits - 1) - 1
    codes = rng.integers(-top, top + 1, (draw(st.integers(1, 9)), draw(st.integers(1, 3))))
    return grid, codes, rng.uniform(0.1, 1, codes.shape[1])


@given(cases(), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_no_more_slices_hold_a_bit_than_asked(case: tuple[SliceGrid, np.ndarray, np.ndarray], keep: float) -> None:
    grid, codes, steps = case
    projected = grid.project(codes, steps, keep)
    pairs = len(grid.starts(len(codes))) * codes.shape[1] * len(grid.shifts)
    assert len(filled(grid, projected)) <= max(int(keep * pairs + 0.5), int(keep > 0))
    assert np.all(projected * codes >= 0)
    np.testing.assert_array_equal(grid.project(codes, steps, 1), codes)
    np.testing.assert_array_equal(grid.project(projected, steps, keep), projected)
    assert not grid.project(codes, steps, 0).any()


@given(cases(), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_one_fragment_gets_its_nearest_codes(case: tuple[SliceGrid, np.ndarray, np.ndarray], share: int) -> None:
    """With one fragment the projection is the nearest of all matrices with so many slices."""
    grid, codes, _ = case
    grid, codes = SliceGrid(grid.weight_bits, grid.cell_bits, 2, 8), codes[:2, :1]
    slices = len(grid.shifts)
    number = share * slices // 100
    projected = grid.project(codes, np.ones(1), number / slices)
    top = 2 ** (grid.weight_bits - 1) - 1
    everything = [np.array(values)[:, None] for values in product(range(-top, top + 1), repeat=len(codes))]
    allowed = [values for values in everything if len(filled(grid, values)) <= number]
    assert ((projected - codes) ** 2).sum() == min(((values - codes) ** 2).sum() for values in allowed)


def test_the_subset_that_goes_is_the_least_important() -> None:
    """By hand: {4, 5} rounds to {4, 4} for the lower slice; {1, 0} loses its lower slice for 1."""
    grid = SliceGrid(4, 2, 2, 128)
    codes = np.array([[4], [5], [1], [0]])
    # Four pairs: the upper slice of the lower fragment is empty already.
    np.testing.assert_array_equal(grid.project(codes, np.ones(1), 3 / 4), codes)
    np.testing.assert_array_equal(grid.project(codes, np.ones(1), 2 / 4), [[4], [4], [1], [0]])
    np.testing.assert_array_equal(grid.project(codes, np.ones(1), 1 / 4), [[4], [4], [0], [0]])


def test_errors_are_those_of_weights_and_not_of_codes() -> None:
    """An error of 2 at a step of 1 is less than one of 1 at a step of 2.5, by squares."""
    grid = SliceGrid(4, 2, 1, 128)
    codes = np.array([[2, 5]])
    # The upper slice of 2 is empty; one more of the three others goes.
    np.testing.assert_array_equal(grid.project(codes, np.array([1.0, 2.5]), 2 / 4), [[0, 5]])
    np.testing.assert_array_equal(grid.project(codes, np.array([2.5, 1.0]), 2 / 4), [[2, 4]])


def test_every_pair_of_slices_is_looked_at() -> None:
    grid = SliceGrid(7, 2, 1, 8)
    table = {
        tuple(gone): grid.nearest[sum(1 << i for i in gone)] for n in range(4) for gone in combinations(range(3), n)
    }
    for gone, row in table.items():
        for magnitude, nearest in enumerate(row.tolist()):
            allowed = [m for m in range(64) if not any(m >> grid.shifts[i] & 3 for i in gone)]
            assert nearest == min(allowed, key=lambda m: (abs(m - magnitude), m))


def test_empty_slices_are_those_that_are_not_converted() -> None:
    """The fragments of the method are the operation units of the chip."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-7, 8, (6, 4, 3, 3))
    grid = SliceGrid(4, 2, 8, 32)
    codes = grid.project(weight.reshape(6, -1).T, np.ones(6), 0.5)
    projected = codes.T.reshape(weight.shape)
    mapping = map_layer(Geometry("layer", 4, 6, (3, 3), (5, 5)), ArrayShape(32, 24, 4, (8, 4)), "im2col")
    placed = place(mapping, projected, "slice", compact=False, slicing=Slicing("differential", 4, 2))
    starts = grid.starts(len(codes))
    signed = np.logical_or.reduceat(encode(codes, "differential", 4, 2) != 0, starts, axis=0)
    assert sum(sum(sum(group) for group in tile.converted or ()) for tile in placed.tiles) == signed.sum()
    some = signed.reshape(*signed.shape[:2], 2, 2).any(axis=3)
    assert some.sum() == len(filled(grid, codes)) <= some.size / 2 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fragment": 0}, "fragment=0: 1 or more is needed."),
        ({"cell_bits": 0}, "cell_bits=0: 1 or more is needed."),
        ({"keep": 2}, "keep=2.0: the share of segments that stays is 0 to 1."),
        ({"array": "big"}, "array 'big': an array is ROWSxCOLUMNS. Write it like 128x128."),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(PruningError) as caught:
        pruning_method("bit-slice", options)
    assert str(caught.value) == message


def test_too_many_slices_are_refused() -> None:
    with pytest.raises(PruningError) as caught:
        SliceGrid(16, 1, 8, 128)
    assert str(caught.value) == ("cell_bits=1: 16 bits in cells of 1 are more than 8 slices. Use more bits a cell.")
