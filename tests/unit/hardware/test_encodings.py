"""Weights survive slicing, inversion and bit-serial steps exactly, in every encoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimsim.errors import ConfigError, QuantizationError
from pimsim.hardware.encodings import (
    POLARISED,
    InputStep,
    Slice,
    columns_per_weight,
    decode,
    drive,
    encode,
    input_steps,
    inverted,
    offset,
    restored,
    shared_signs,
    slices,
)
from pimsim.hardware.records import ENCODINGS

#: The encodings whose cells hold signs, so that any weights go into a column.
SIGNED = tuple(encoding for encoding in ENCODINGS if encoding != POLARISED)
encodings = st.sampled_from(SIGNED)
weight_bits = st.integers(1, 16)
cell_bits = st.integers(1, 4)


def weights_of(bits: int) -> st.SearchStrategy[list[int]]:
    """Lists of weights that ``bits`` can hold, the extremes likely."""
    return st.lists(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), min_size=1, max_size=20)


@given(st.data(), encodings, weight_bits, cell_bits)
def test_decode_undoes_encode(data: st.DataObject, encoding: str, bits: int, cell: int) -> None:
    weights = np.array(data.draw(weights_of(bits)))
    codes = encode(weights, encoding, bits, cell)
    assert codes.shape == (len(weights), columns_per_weight(encoding, bits, cell))
    assert codes.min() >= 0
    assert codes.max() <= 2**cell - 1
    assert np.array_equal(decode(codes, encoding, bits, cell), weights)


@given(encodings, st.integers(1, 6), cell_bits)
def test_every_weight_of_few_bits_survives(encoding: str, bits: int, cell: int) -> None:
    weights = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)).reshape(2, -1)
    assert np.array_equal(decode(encode(weights, encoding, bits, cell), encoding, bits, cell), weights)


@given(st.data(), encodings, st.integers(1, 8), cell_bits, st.integers(1, 8), st.integers(1, 3), st.booleans())
def test_bit_serial_product_is_exact(
    data: st.DataObject, encoding: str, bits: int, cell: int, activation: int, dac: int, signed: bool
) -> None:
    """What the arrays and the digital side compute together, written out step by step and slice by slice."""
    weights = np.array(data.draw(weights_of(bits)))
    low, high = (-(2 ** (activation - 1)), 2 ** (activation - 1) - 1) if signed else (0, 2**activation - 1)
    inputs = np.array(data.draw(st.lists(st.integers(low, high), min_size=len(weights), max_size=len(weights))))
    codes, driven = encode(weights, encoding, bits, cell), drive(inputs, activation, dac, signed)
    total = 0
    for step, x in zip(input_steps(activation, dac, signed), driven.T, strict=True):
        assert 0 <= x.min() <= x.max() < 2**dac
        for column, cells in zip(slices(encoding, bits, cell), codes.T, strict=True):
            total += step.factor * column.factor * int(x @ cells)
    assert total - offset(encoding, bits) * int(inputs.sum()) == int(weights @ inputs)


@given(st.integers(2, 16), cell_bits, st.integers(0, 2**32 - 1))
def test_magnitudes_and_signs_are_the_weights(bits: int, cell: int, seed: int) -> None:
    rng, top = np.random.default_rng(seed), 2 ** (bits - 1) - 1
    weights = rng.integers(-top, top + 1, 40)
    codes = encode(weights, POLARISED, bits, cell)
    assert codes.shape == (40, columns_per_weight(POLARISED, bits, cell))
    assert 0 <= codes.min() <= codes.max() <= 2**cell - 1
    assert np.array_equal(decode(codes, POLARISED, bits, cell, np.where(weights < 0, -1, 1)), weights)
    assert np.array_equal(decode(codes, POLARISED, bits, cell, 1), np.abs(weights))
    assert np.array_equal(encode(-weights, POLARISED, bits, cell), codes)


@given(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=12), st.integers(1, 5))
def test_rows_that_are_read_together_share_a_sign_or_none_fits(rows: list[tuple[int, ...]], height: int) -> None:
    """Against a loop over row groups and columns; zero weights have no sign."""
    weights = np.array(rows)
    starts = np.append(np.arange(0, len(rows), height), len(rows))
    signs, mixed = shared_signs(weights, starts)
    assert signs.shape == mixed.shape == (-(-len(rows) // height), 3)
    for (group, column), sign in np.ndenumerate(signs):
        found = {int(np.sign(row[column])) for row in rows[group * height : (group + 1) * height]} - {0}
        assert bool(mixed[group, column]) == (found == {-1, 1})
        assert sign == (-1 if -1 in found else 1)


@given(st.data(), cell_bits, st.integers(1, 9), st.integers(1, 5), st.integers(1, 3))
def test_inversion_halves_full_scale_and_is_undone(
    data: st.DataObject, cell: int, rows: int, columns: int, dac: int
) -> None:
    cells = st.lists(st.integers(0, 2**cell - 1), min_size=rows * columns, max_size=rows * columns)
    codes = np.array(data.draw(cells)).reshape(rows, columns)
    x = np.array(data.draw(st.lists(st.integers(0, 2**dac - 1), min_size=rows, max_size=rows)))
    stored, flags = inverted(codes, cell)
    assert stored.min() >= 0
    assert (2 * stored.sum(axis=0) <= rows * (2**cell - 1)).all()
    assert np.array_equal(stored[:, ~flags], codes[:, ~flags])
    assert np.array_equal(restored(x @ stored, flags, x.sum(), cell), x @ codes)


def test_column_at_exactly_half_of_full_scale_is_not_inverted() -> None:
    stored, flags = inverted(np.array([[0, 3], [3, 3]]), 2)
    assert flags.tolist() == [False, True]
    assert stored.tolist() == [[0, 0], [3, 0]]


#: `hardware.md` 4.1 and ISAAC: q = ceil(w/c), twice that when differential, sign bit apart in two's complement.
COLUMN_ROWS = [
    ("offset", 16, 2, 8),
    ("offset-inverted", 16, 2, 8),
    ("offset-inverted", 8, 2, 4),
    ("offset", 5, 2, 3),
    ("differential", 8, 2, 8),
    ("differential", 4, 4, 2),
    ("twos-complement", 8, 1, 8),
    ("twos-complement", 8, 2, 5),
    ("twos-complement", 1, 4, 1),
    ("polarised", 8, 2, 4),  # FORMS: 8-bit weights in 2-bit cells
    ("polarised", 8, 1, 7),
    ("polarised", 4, 4, 1),
    ("polarised", 2, 1, 1),
]


@pytest.mark.parametrize(("encoding", "bits", "cell", "columns"), COLUMN_ROWS)
def test_columns_per_weight(encoding: str, bits: int, cell: int, columns: int) -> None:
    assert columns_per_weight(encoding, bits, cell) == columns


def test_slices_name_sign_width_and_shift() -> None:
    assert slices("offset", 5, 2) == (Slice(0, 1, 2, 0), Slice(1, 1, 2, 2), Slice(2, 1, 1, 4))
    assert slices("twos-complement", 4, 2) == (Slice(0, 1, 2, 0), Slice(1, 1, 1, 2), Slice(2, -1, 1, 3))
    assert slices("polarised", 4, 2) == slices("twos-complement", 4, 2)[:-1]
    assert [(s.significance, s.factor) for s in slices("differential", 4, 2)] == [(0, 1), (0, -1), (1, 4), (1, -4)]


def test_zero_weight_is_not_an_empty_cell_under_offset() -> None:
    assert encode(0, "offset", 4, 2).tolist() == [0, 2]
    assert encode(0, "differential", 4, 2).tolist() == [0, 0, 0, 0]
    assert encode(0, "polarised", 4, 2).tolist() == [0, 0]


#: (activation bits, DAC bits, signed, steps): 16 steps in ISAAC, the sign bit its own step.
STEP_ROWS = [(16, 1, False, 16), (8, 1, True, 8), (8, 2, False, 4), (8, 3, False, 3), (8, 3, True, 4), (1, 1, True, 1)]


@pytest.mark.parametrize(("bits", "dac", "signed", "steps"), STEP_ROWS)
def test_number_of_input_steps(bits: int, dac: int, signed: bool, steps: int) -> None:
    assert len(input_steps(bits, dac, signed)) == steps


def test_last_step_of_signed_inputs_subtracts() -> None:
    assert input_steps(4, 2, signed=True) == (InputStep(2, 0, 1), InputStep(1, 2, 1), InputStep(1, 3, -1))
    assert drive([-8, 7, -1], 4, 2, signed=True).tolist() == [[0, 0, 1], [3, 1, 0], [3, 1, 1]]


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(QuantizationError, match=r"^weight 8: 4 signed bits hold -8 to 7\.$"):
        encode(np.array([0, 8]), "offset", 4, 2)
    with pytest.raises(QuantizationError, match=r"^weight -9: 4 signed bits hold -8 to 7\.$"):
        encode(np.array([-9, 8]), "differential", 4, 2)
    with pytest.raises(QuantizationError, match=r"^input -1: 4 unsigned bits hold 0 to 15\.$"):
        drive([-1], 4, 1)
    with pytest.raises(
        QuantizationError, match=r"^weights of type float64: integers are needed\. Quantize them first\.$"
    ):
        encode(np.array([0.5]), "offset", 4, 2)
    with pytest.raises(
        QuantizationError, match=r"^codes of shape \(3,\): the last axis must be the 2 columns of a weight\.$"
    ):
        decode([0, 1, 2], "offset", 4, 2)
    with pytest.raises(
        QuantizationError,
        match=r"^weight -8: encoding 'polarised' holds -7 to 7 in 4 bits\. "
        r"Quantize symmetrically, or use twos-complement\.$",
    ):
        encode(np.array([7, -8]), "polarised", 4, 2)


def test_a_sign_beside_the_cells_is_needed_where_they_have_none() -> None:
    rule = r": the sign is beside the cells for 'polarised', and in them for all others\.$"
    with pytest.raises(QuantizationError, match=r"^codes of encoding 'polarised' without a sign" + rule):
        decode([3, 1], "polarised", 4, 2)
    with pytest.raises(QuantizationError, match=r"^codes of encoding 'offset' with a sign" + rule):
        decode([3, 1], "offset", 4, 2, sign=-1)


def test_unknown_encodings_and_bits_below_one_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^'ofset': no weight encoding has this name\. Did you mean 'offset'\? Known: "
    ):
        slices("ofset", 4, 2)
    with pytest.raises(ConfigError, match=r"^0 cell bits: 1 or more is needed\.$"):
        slices("offset", 4, 0)
    with pytest.raises(ConfigError, match=r"^1 weight bits: encoding 'polarised' needs a bit beside the sign: 2 or "):
        columns_per_weight("polarised", 1, 2)
    with pytest.raises(ConfigError, match=r"^0 DAC bits: 1 or more is needed\.$"):
        input_steps(4, 0)
