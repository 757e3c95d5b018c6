"""Quantities with units, read once at the door; SI floats and integer femtoseconds inside.

Time is an integer number of femtoseconds so that 100 ns / 128 conversions (781.25 ps) is exact
and two engines can be compared event by event. Everything else is an SI float64.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from pimsim.errors import ConfigError

if TYPE_CHECKING:
    import pint

FS_PER_S = 10**15
FS_PER_NS = 10**6

#: No quantity is above this, in the unit of its dimension: 1e30 fs are 3e7 years. Sums stay finite floats.
LARGEST = Decimal(10) ** 30
_UNIT = r"[^\W\d_]+(?:(?:\^|[*]{2})-?\d)?"
#: A number and its units, which may have an exponent of one digit: ``5 ns``, ``1.5e3 um^2``, ``2 J/s``.
_QUANTITY = re.compile(
    rf"\s*[+-]?(?:nan|inf|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{{1,3}})?)"
    rf"(?:\s*[*/]?\s*{_UNIT}(?:(?:\s*[*/]\s*|\s+){_UNIT})*)?\s*",
    re.IGNORECASE | re.UNICODE,
)

#: What each kind of quantity is measured in inside pimsim, and an example for error messages.
DIMENSIONS: dict[str, tuple[str, str]] = {
    "time": ("femtosecond", "0.78125 ns"),
    "frequency": ("hertz", "1.28 GHz"),
    "energy": ("joule", "1.5625 pJ"),
    "power": ("watt", "0.2 mW"),
    "area": ("meter ** 2", "1200 um^2"),
    "length": ("meter", "32 nm"),
    "information": ("byte", "64 KiB"),
    "bandwidth": ("byte / second", "2.56 GB/s"),
    "energy per byte": ("joule / byte", "0.456 pJ/B"),
    "voltage": ("volt", "0.2 V"),
    "resistance": ("ohm", "600 kohm"),
    "dimensionless": ("", "128"),
}


#: The units a user may write, for Pint. Its default file knows 900 units, takes 0.12 s to read, and
#: calls a bit dimensionless, so that a bare "64" would pass as 64 bits of information.
UNITS = """
femto- = 1e-15 = f-
pico- = 1e-12 = p-
nano- = 1e-9 = n-
micro- = 1e-6 = µ- = μ- = u-
milli- = 1e-3 = m-
centi- = 1e-2 = c-
kilo- = 1e3 = k-
mega- = 1e6 = M-
giga- = 1e9 = G-
tera- = 1e12 = T-
kibi- = 1024 = Ki-
mebi- = 1048576 = Mi-
gibi- = 1073741824 = Gi-
meter = [length] = m = metre
second = [time] = s
ampere = [current] = A
gram = [mass] = g
bit = [information] = b
byte = 8 * bit = B
hertz = 1 / second = Hz
newton = kilogram * meter / second ** 2 = N
joule = newton * meter = J
watt = joule / second = W
volt = watt / ampere = V
ohm = volt / ampere = Ω
siemens = 1 / ohm = S
sample = 1 = Sa
"""


@cache
def _registry() -> pint.UnitRegistry[Decimal]:
    """The unit registry in decimal arithmetic, so that ``0.78125 ns`` is exactly 781250 fs."""
    import pint

    registry: pint.UnitRegistry[Decimal] = pint.UnitRegistry(None, non_int_type=Decimal)
    registry.load_definitions(UNITS.strip().splitlines())
    return registry


def parse_quantity(text: object, dimension: str, where: str | None = None) -> Decimal:
    """The value of ``text`` in pimsim's unit for ``dimension`` (a key of `DIMENSIONS`), exactly.

    Args:
        text: a quantity with its unit, such as ``"1.5625 pJ"``; bare numbers are refused.
        dimension: the kind of quantity expected.
        where: ``file:line`` or dotted path for the message.

    Raises:
        ConfigError: no unit, an unknown unit, the wrong dimension, or not a finite number.
    """
    unit, example = DIMENSIONS[dimension]
    fix = f"Write it with a unit of {dimension}, for example '{example}'"
    if not isinstance(text, str):
        raise ConfigError(f"{text!r}", f"a quantity of {dimension} needs its unit", where, fix)
    import pint

    try:
        quantity: Any = _registry().Quantity(_one_number(text))  # Pint's own types are loose
        value = quantity.to(unit).magnitude
    except pint.DimensionalityError:
        bare = quantity.unitless
        rule = "a unit is needed" if bare else f"this is not a quantity of {dimension}"
        raise ConfigError(f"'{text}'", rule, where, fix) from None
    except Exception:  # pint raises many kinds (tokenizer, decimal, attribute) for unreadable text
        raise ConfigError(f"'{text}'", "this is not a number with a unit that pimsim knows", where, fix) from None
    exact = Decimal(value)
    if not exact.is_finite():
        raise ConfigError(f"'{text}'", "a finite value is needed", where, fix)
    if abs(exact) > LARGEST:
        raise ConfigError(f"'{text}'", f"at most {LARGEST:.0e} {unit} is possible".replace("  ", " "), where, fix)
    return exact


def _one_number(text: str) -> str:
    """The text, if it is one number and its unit; Pint would also work out ``1 ns + 2 ns`` and ``9**9**9 ns``."""
    if not _QUANTITY.fullmatch(text):
        raise ValueError(text)
    return text


def parse_time_fs(text: object, where: str | None = None) -> int:
    """A time as an integer number of femtoseconds, rounded half to even; see `parse_quantity`."""
    return int(parse_quantity(text, "time", where).to_integral_value(ROUND_HALF_EVEN))


def ns(time_fs: int) -> float:
    """Nanoseconds of a time in femtoseconds."""
    return time_fs / FS_PER_NS


def seconds(time_fs: int) -> float:
    """Seconds of a time in femtoseconds."""
    return time_fs / FS_PER_S


def period_fs(frequency_hz: Decimal) -> int:
    """The femtoseconds of one period of a frequency, rounded half to even (1.2 GHz is 833333 fs)."""
    return int((Decimal(FS_PER_S) / frequency_hz).to_integral_value(ROUND_HALF_EVEN))
