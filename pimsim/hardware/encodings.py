"""How signed weights become cells and signed inputs become steps: exact, by name, in numpy only.

A weight takes `columns_per_weight` physical columns, one per `Slice`. For every encoding

    weight = sign * sum over slices of (factor * code)  -  offset

so a column of cells under integer inputs x gives the true product once the digital side adds the slices
with their factors and subtracts ``offset * sum(x)`` over the driven rows. Under the offset encodings the
code of a zero weight is the offset, not an empty cell. The sign is 1 but for ``polarised``, whose cells hold
magnitudes: there the weights of a column that are read together share it (`shared_signs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import ConfigError, QuantizationError, nearest
from pimsim.hardware.records import ENCODINGS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: The encoding whose cells hold magnitudes: FORMS (G. Yuan et al., ISCA 2021), `pruning-blocks.md` 4.
POLARISED = "polarised"


@dataclass(frozen=True)
class Slice:
    """One physical column of a weight.

    Attributes:
        significance: rank among the slices of the same sign, 0 for the least significant.
        sign: +1 or -1, how the column enters the weight.
        bits: bits of the weight that its cells hold (the last slice may hold fewer than a cell can).
        shift: binary weight of the column, 2**shift.
    """

    significance: int
    sign: int
    bits: int
    shift: int

    @property
    def factor(self) -> int:
        """What the digital side multiplies the column sum by: sign * 2**shift."""
        return self.sign << self.shift


@dataclass(frozen=True)
class InputStep:
    """One input step: the driver bits it carries, their binary weight, and whether it subtracts."""

    bits: int
    shift: int
    sign: int

    @property
    def factor(self) -> int:
        """What the digital side multiplies the step's sum by: sign * 2**shift."""
        return self.sign << self.shift


def columns_per_weight(encoding: str, weight_bits: int, cell_bits: int) -> int:
    """Physical columns of one weight, slices and signs (q of `hardware.md` 4.1).

    ceil(w/c) for ``offset`` and ``offset-inverted``, twice that for ``differential``, for
    ``twos-complement`` 1 (the sign bit) + ceil((w - 1)/c), and for ``polarised`` ceil((w - 1)/c).

    Raises:
        ConfigError: an unknown encoding, or too few bits.
    """
    return len(slices(encoding, weight_bits, cell_bits))


def slices(encoding: str, weight_bits: int, cell_bits: int) -> tuple[Slice, ...]:
    """The columns of one weight in physical order: least significant first.

    ``differential`` pairs a positive with a negative column per significance; ``twos-complement`` ends
    with the sign bit, whose factor is -2**(w - 1); ``polarised`` has the columns of the magnitude alone.

    Raises:
        ConfigError: an unknown encoding, bits below 1, or below 2 where the sign is not in the cells.
    """
    _check(encoding, weight_bits, cell_bits)
    magnitude = _unsigned(weight_bits - 1, cell_bits, +1)
    if encoding == POLARISED:
        if not magnitude:
            raise ConfigError("1 weight bits", f"encoding '{POLARISED}' needs a bit beside the sign: 2 or more")
        return magnitude
    if encoding == "twos-complement":
        return (*magnitude, Slice(len(magnitude), -1, 1, weight_bits - 1))
    positive = _unsigned(weight_bits, cell_bits, +1)
    if encoding != "differential":
        return positive
    negative = _unsigned(weight_bits, cell_bits, -1)
    return tuple(slice_ for pair in zip(positive, negative, strict=True) for slice_ in pair)


def _unsigned(bits: int, cell_bits: int, sign: int) -> tuple[Slice, ...]:
    """Slices of an unsigned number, least significant first."""
    starts = range(0, bits, cell_bits)
    return tuple(Slice(rank, sign, min(cell_bits, bits - shift), shift) for rank, shift in enumerate(starts))


def offset(encoding: str, weight_bits: int) -> int:
    """What is added to a weight before it is sliced: 2**(w - 1) for the offset encodings, 0 otherwise."""
    _check(encoding, weight_bits, 1)
    return 2 ** (weight_bits - 1) if encoding in ("offset", "offset-inverted") else 0


def encode(weights: ArrayLike, encoding: str, weight_bits: int, cell_bits: int) -> NDArray[np.int64]:
    """The cell codes of integer weights, (..., q), 0 to 2**cell_bits - 1, in the order of `slices`.

    Those of ``polarised`` are of the magnitudes: `shared_signs` has the rest.

    Args:
        weights: integers from -2**(w - 1) to 2**(w - 1) - 1, any shape; for ``polarised`` without the least.
        encoding: one of ENCODINGS (``offset-inverted`` slices as ``offset``; see `inverted`).
        weight_bits: bits of a weight, w.
        cell_bits: bits of a cell, c.

    Raises:
        ConfigError: an unknown encoding, or bits below 1.
        QuantizationError: a weight outside the range, or not an integer.
    """
    columns = slices(encoding, weight_bits, cell_bits)
    values = _in_range(weights, weight_bits, "weight")
    if encoding == POLARISED:
        parts = {+1: _magnitudes(values, weight_bits)}
    elif encoding == "differential":
        parts = {+1: np.maximum(values, 0), -1: np.maximum(-values, 0)}
    else:
        # Two's complement: the arithmetic shift of a negative int64 already yields its stored bits.
        parts = {+1: values + offset(encoding, weight_bits), -1: values}
    return np.stack([(parts[s.sign] >> s.shift) & ((1 << s.bits) - 1) for s in columns], axis=-1)


def decode(
    codes: ArrayLike, encoding: str, weight_bits: int, cell_bits: int, sign: ArrayLike | None = None
) -> NDArray[np.int64]:
    """The weights that cell codes (..., q) stand for: sign * sum of factor * code, less the offset.

    Args:
        codes: cell codes in the order of `slices`.
        encoding: one of ENCODINGS.
        weight_bits: bits of a weight, w.
        cell_bits: bits of a cell, c.
        sign: +1 or -1 for each weight (...), or what broadcasts to that; for ``polarised``, and for no other.

    Raises:
        ConfigError: an unknown encoding, or bits below 1.
        QuantizationError: the last axis is not one code per slice, or a sign too many or too few.
    """
    columns = slices(encoding, weight_bits, cell_bits)
    cells = np.asarray(codes, dtype=np.int64)
    if cells.ndim == 0 or cells.shape[-1] != len(columns):
        raise QuantizationError(
            f"codes of shape {cells.shape}", f"the last axis must be the {len(columns)} columns of a weight"
        )
    if (sign is None) == (encoding == POLARISED):
        given = f"codes of encoding '{encoding}' {'without' if sign is None else 'with'} a sign"
        raise QuantizationError(given, f"the sign is beside the cells for '{POLARISED}', and in them for all others")
    factors = np.array([s.factor for s in columns], dtype=np.int64)
    values = cells @ factors - offset(encoding, weight_bits)
    return values if sign is None else np.asarray(sign, dtype=np.int64) * values


def shared_signs(weights: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The sign that the weights of each row group and column share, for ``polarised``.

    A zero weight has no sign.

    Args:
        weights: integers (R, C).
        starts: first row of each row group and R at the end, (G + 1,).

    Returns:
        Signs (G, C): -1 where a weight is negative, +1 elsewhere; and (G, C) True where another weight is positive
        all the same, so that no sign fits.
    """
    least, most = (extreme.reduceat(weights, starts[:-1], axis=0) for extreme in (np.minimum, np.maximum))
    return np.where(least < 0, -1, 1), (least < 0) & (most > 0)


def inverted(codes: NDArray[np.int64], cell_bits: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The cells with every column above half of full scale stored inverted (ISAAC).

    Args:
        codes: cell codes of the driven rows of one array, (rows, columns).
        cell_bits: bits of a cell, c.

    Returns:
        The codes to store, and a flag per column: True where code c became 2**cell_bits - 1 - code.
        No stored column then sums above half of full scale, which saves one ADC bit.
    """
    top = (1 << cell_bits) - 1
    flags = 2 * codes.sum(axis=0) > top * codes.shape[0]
    return np.where(flags, top - codes, codes), flags


def restored(
    sums: NDArray[np.int64], flags: NDArray[np.bool_], input_sum: ArrayLike, cell_bits: int
) -> NDArray[np.int64]:
    """The true column sums behind those of `inverted` columns: (2**c - 1) * sum(x) - y where flagged.

    Args:
        sums: digitised column sums, (..., columns).
        flags: inverted columns, (columns,).
        input_sum: sum of the inputs over the driven rows in the same step, (...).
        cell_bits: bits of a cell, c.
    """
    top = (1 << cell_bits) - 1
    total = np.asarray(input_sum, dtype=np.int64)[..., None]
    return np.where(flags, top * total - sums, sums)


def input_steps(activation_bits: int, dac_bits: int, signed: bool = False) -> tuple[InputStep, ...]:
    """The steps of a bit-serial input, least significant first; their number is ``len`` of the result.

    ceil(x/v) steps for unsigned inputs. The sign bit of signed inputs is a step of its own, the last,
    which subtracts: 1 + ceil((x - 1)/v) steps.

    Raises:
        ConfigError: bits below 1.
    """
    _check("offset", activation_bits, dac_bits, "activation bits", "DAC bits")
    magnitude = activation_bits - 1 if signed else activation_bits
    steps = tuple(InputStep(s.bits, s.shift, +1) for s in _unsigned(magnitude, dac_bits, +1))
    return (*steps, InputStep(1, activation_bits - 1, -1)) if signed else steps


def drive(inputs: ArrayLike, activation_bits: int, dac_bits: int, signed: bool = False) -> NDArray[np.int64]:
    """The driver codes of integer inputs, (..., steps), in the order of `input_steps`.

    Raises:
        ConfigError: bits below 1.
        QuantizationError: an input outside the range, or not an integer.
    """
    steps = input_steps(activation_bits, dac_bits, signed)
    values = _in_range(inputs, activation_bits, "input", signed)
    return np.stack([(values >> step.shift) & ((1 << step.bits) - 1) for step in steps], axis=-1)


def _magnitudes(weights: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """What ``polarised`` cells hold; the least number of two's complement has no room."""
    top = 2 ** (bits - 1) - 1
    if weights.size and int(weights.min()) < -top:
        rule = f"encoding '{POLARISED}' holds {-top} to {top} in {bits} bits"
        raise QuantizationError(f"weight {-top - 1}", rule, None, "Quantize symmetrically, or use twos-complement")
    return np.abs(weights)


def _in_range(values: ArrayLike, bits: int, what: str, signed: bool = True) -> NDArray[np.int64]:
    """Integers as int64, refused where ``bits`` cannot hold one."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise QuantizationError(f"{what}s of type {array.dtype}", "integers are needed", None, "Quantize them first")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        worst = int(array.min()) if int(array.min()) < low else int(array.max())
        kind = "signed" if signed else "unsigned"
        raise QuantizationError(f"{what} {worst}", f"{bits} {kind} bits hold {low} to {high}")
    return array.astype(np.int64)


def _check(encoding: str, bits: int, unit_bits: int, first: str = "weight bits", second: str = "cell bits") -> None:
    """Refuse an unknown encoding and bit counts below 1."""
    if encoding not in ENCODINGS:
        raise ConfigError(f"'{encoding}'", "no weight encoding has this name", None, nearest(encoding, ENCODINGS))
    for name, value in ((first, bits), (second, unit_bits)):
        if value < 1:
            raise ConfigError(f"{value} {name}", "1 or more is needed")
