"""Units at the door: exact decimals, bits apart from plain numbers, nothing without its unit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimsim.errors import ConfigError
from pimsim.units import DIMENSIONS, parse_quantity, parse_time_fs

VALUES = [
    ("1.5625 pJ", "energy", "1.5625e-12"),
    ("0.456 pJ/B", "energy per byte", "0.456e-12"),
    ("1200 um^2", "area", "1200e-12"),
    ("5.72 mm**2", "area", "5.72e-6"),
    ("64 KiB", "information", "65536"),
    ("384 bit", "information", "48"),
    ("2.56 GB/s", "bandwidth", "2.56e9"),
    ("1.28 GSa/s", "frequency", "1.28e9"),
    ("600 kohm", "resistance", "600e3"),
    ("6 MΩ", "resistance", "6e6"),
    ("0.2 V", "voltage", "0.2"),
    ("10 µW", "power", "10e-6"),
    ("128", "dimensionless", "128"),
]


@pytest.mark.parametrize(("text", "dimension", "value"), VALUES)
def test_value_in_the_unit_used_inside(text: str, dimension: str, value: str) -> None:
    assert parse_quantity(text, dimension) == Decimal(value)


@pytest.mark.parametrize("dimension", sorted(DIMENSIONS))
def test_example_of_every_dimension_is_accepted(dimension: str) -> None:
    assert parse_quantity(DIMENSIONS[dimension][1], dimension) > 0


@given(st.integers(0, 10**12), st.integers(0, 6))
def test_times_are_exact_decimals(digits: int, places: int) -> None:
    assert parse_time_fs(f"{Decimal(digits).scaleb(-places)} ns") == digits * 10 ** (6 - places)


def test_a_bare_number_is_no_information() -> None:
    with pytest.raises(
        ConfigError, match=r"^'64': a unit is needed\. Write it with a unit of information, for example"
    ):
        parse_quantity("64", "information")
    with pytest.raises(ConfigError, match=r"^f:3: '8 B': this is not a quantity of energy\."):
        parse_quantity("8 B", "energy", "f:3")
    with pytest.raises(ConfigError, match=r"^'nan pJ': a finite value is needed\."):
        parse_quantity("nan pJ", "energy")


@pytest.mark.parametrize(
    "text", ["1 ns + 2 ns", "9**9**9**9 ns", "2**2 ns", "(1) ns", "1 ns**9**9", "1 ns * 3", "1_0 ns", "1 2 ns"]
)
def test_arithmetic_is_not_worked_out(text: str) -> None:
    rule = "this is not a number with a unit that pimsim knows"
    with pytest.raises(ConfigError) as raised:
        parse_quantity(text, "time")
    assert (raised.value.given, raised.value.rule) == (f"'{text}'", rule)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("1.5e-3 J s^-1", "power", "1.5e-3"),
        (" +.5ns ", "time", "5e5"),
        ("2 J/s", "power", "2"),
        ("3*pJ / B", "energy per byte", "3e-12"),
    ],
)
def test_ways_to_write_a_unit(text: str, dimension: str, value: str) -> None:
    assert parse_quantity(text, dimension) == Decimal(value)


def test_a_value_that_would_overflow() -> None:
    rule = "at most 1e[+]30 femtosecond is possible"
    with pytest.raises(ConfigError, match=rf"^f:3: '1e300 s': {rule}\. Write it with a unit of time"):
        parse_quantity("1e300 s", "time", "f:3")
