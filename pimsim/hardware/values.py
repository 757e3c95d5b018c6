"""The values of a hardware file: quantities, counts, names and texts, checked one by one.

Every type refuses with what was given, the rule and the fix; `pimsim.hardware.loading` adds the place.
Times become integer femtoseconds, everything else SI floats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN
from typing import Annotated

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from pimsim.errors import ConfigError, nearest
from pimsim.hardware.laws import LAWS
from pimsim.hardware.records import (
    DISCIPLINES,
    ENCODINGS,
    INDEX_FETCHES,
    INDEX_FORMATS,
    OVERFLOWS,
    READ_ENERGIES,
    RESOLUTIONS,
)
from pimsim.units import DIMENSIONS, parse_quantity

#: Type of the errors that leaf types raise.
PROBLEM = "pimsim"
#: Bounds of counts, of the bits of converters and cells, and of integers. The first two lie beyond any chip and keep
#: every product a finite float; the last is what the quantizers offer.
MOST, MOST_BITS, MOST_INTEGER_BITS = 10**9, 32, 16


#: Instead of a number: as many ADC bits as no column sum overflows; all columns of the array.
LOSSLESS, ALL = "lossless", "all"


@dataclass(frozen=True)
class Example:
    """How a value is written, for the message of a missing key."""

    text: str


def _refuse(given: str, rule: str, fix: str | None = None) -> PydanticCustomError:
    """A leaf error that keeps its three parts apart."""
    return PydanticCustomError(PROBLEM, "{rule}", {"given": given, "rule": rule, "fix": fix})


def _quantity(dimension: str, positive: bool) -> Callable[[object], float]:
    """A validator for a quantity with its unit, above zero or at least zero."""

    def check(value: object) -> float:
        if isinstance(value, dict):
            fix = f"Write it plainly or as '{{value: {DIMENSIONS[dimension][1]}, source: ...}}'"
            raise _refuse("a mapping", f"a quantity of {dimension} is needed", fix)
        try:
            amount = parse_quantity(value, dimension)
        except ConfigError as error:
            raise _refuse(error.given, error.rule, error.fix) from None
        result = int(amount.to_integral_value(ROUND_HALF_EVEN)) if dimension == "time" else float(amount)
        if amount < 0 or (positive and result <= 0):
            least = "more than zero" if positive else "zero or more"
            raise _refuse(f"'{value}'", f"{dimension} must be {least} here")
        return result

    return check


def _whole(value: object) -> int:
    """A whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _refuse(_shown(value), "a whole number of 1 or more is needed")
    if value > MOST:
        raise _refuse(_shown(value), f"a whole number of at most {MOST:,} is needed")
    return value


def _bits(most: int) -> Callable[[object], int]:
    """A validator for 1 to ``most`` bits."""

    def check(value: object) -> int:
        bits = _whole(value)
        if bits > most:
            raise _refuse(_shown(value), f"1 to {most} bits are supported")
        return bits

    return check


def _bits_or_lossless(value: object) -> int | str:
    """Bits, or the text that asks for as many as lose nothing."""
    if isinstance(value, str) and value != LOSSLESS:
        raise _refuse(_shown(value), f"a number of bits, or '{LOSSLESS}', is needed")
    return LOSSLESS if value == LOSSLESS else _bits(MOST_BITS)(value)


def _whole_or_all(value: object) -> int | str:
    """A whole number, or the text that asks for all there are."""
    if isinstance(value, str) and value != ALL:
        raise _refuse(_shown(value), f"a number of columns, or '{ALL}', is needed")
    return ALL if value == ALL else _whole(value)


def _share(value: object) -> float:
    """A share from 0 up to, and not including, 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise _refuse(_shown(value), "a share from 0 up to, and not including, 1 is needed", "Write 0.1 for 10 %")
    return float(value)


def _bytes(value: object) -> int:
    """A size in whole bytes."""
    size = _quantity("information", positive=True)(value)
    if size != int(size):
        raise _refuse(f"'{value}'", "a whole number of bytes is needed")
    return int(size)


def _text(value: object) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise _refuse(_shown(value), "text is needed")
    return value


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list):
        raise _refuse(_shown(value), "a list of texts is needed", "Start each with '- '")
    return tuple(_text(item) for item in value)


def _one_of(*names: str) -> Callable[[object], str]:
    """A validator for one of a few names."""

    def check(value: object) -> str:
        if value not in names:
            raise _refuse(_shown(value), "this name is not known", nearest(str(value), names))
        return str(value)

    return check


def _shown(value: object) -> str:
    """A value as it is quoted in a message."""
    return "a mapping" if isinstance(value, dict) else f"'{value}'"


def _example(dimension: str) -> Example:
    """How a quantity of a dimension is written."""
    return Example(DIMENSIONS[dimension][1])


Text = Annotated[str, PlainValidator(_text), Example("my-chip")]
Texts = Annotated[tuple[str, ...], PlainValidator(_texts), Example("[...]")]
Count = Annotated[int, PlainValidator(_whole), Example("8")]
Bits = Annotated[int, PlainValidator(_bits(MOST_BITS)), Example("8")]
AdcBits = Annotated[int | str, PlainValidator(_bits_or_lossless), Example("8")]
Columns = Annotated[int | str, PlainValidator(_whole_or_all), Example("128")]
IntegerBits = Annotated[int, PlainValidator(_bits(MOST_INTEGER_BITS)), Example("8")]
Share = Annotated[float, PlainValidator(_share), Example("0.1")]
Size = Annotated[int, PlainValidator(_bytes), _example("information")]
Time = Annotated[int, PlainValidator(_quantity("time", positive=False)), _example("time")]
Duration = Annotated[int, PlainValidator(_quantity("time", positive=True)), _example("time")]
Rate = Annotated[float, PlainValidator(_quantity("frequency", positive=True)), _example("frequency")]
Bandwidth = Annotated[float, PlainValidator(_quantity("bandwidth", positive=True)), _example("bandwidth")]
Energy = Annotated[float, PlainValidator(_quantity("energy", positive=False)), _example("energy")]
ByteEnergy = Annotated[float, PlainValidator(_quantity("energy per byte", positive=False)), _example("energy per byte")]
Power = Annotated[float, PlainValidator(_quantity("power", positive=False)), _example("power")]
Area = Annotated[float, PlainValidator(_quantity("area", positive=False)), _example("area")]
Length = Annotated[float, PlainValidator(_quantity("length", positive=True)), _example("length")]
Voltage = Annotated[float, PlainValidator(_quantity("voltage", positive=True)), _example("voltage")]
Resistance = Annotated[float, PlainValidator(_quantity("resistance", positive=True)), _example("resistance")]
SeriesResistance = Annotated[float, PlainValidator(_quantity("resistance", positive=False)), _example("resistance")]
EncodingName = Annotated[str, PlainValidator(_one_of(*ENCODINGS)), Example("offset")]
ReadEnergy = Annotated[str, PlainValidator(_one_of(*READ_ENERGIES)), Example("fixed")]
Scaling = Annotated[str, PlainValidator(_one_of(*LAWS)), Example("isaac")]
Overflow = Annotated[str, PlainValidator(_one_of(*OVERFLOWS)), Example("saturate")]
Format = Annotated[str, PlainValidator(_one_of(*INDEX_FORMATS)), Example("bitmap")]
Fetch = Annotated[str, PlainValidator(_one_of(*INDEX_FETCHES)), Example("image")]
Resolution = Annotated[str, PlainValidator(_one_of(*RESOLUTIONS)), Example("fixed")]
Discipline = Annotated[str, PlainValidator(_one_of(*DISCIPLINES)), Example("pipelined")]
