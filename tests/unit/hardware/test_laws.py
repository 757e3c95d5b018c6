"""ADC laws, lossless bits and read energy against the tables of `hardware.md` 2 and 3.4."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimsim.errors import ConfigError
from pimsim.hardware.laws import (
    LAWS,
    accelergy,
    adc_cost,
    adc_ratio,
    cell_conductances,
    extrapolated,
    isaac,
    lossless_adc_bits,
    mean_conductance,
    mean_read_energy,
    read_energy,
    saberi,
)
from pimsim.hardware.records import ENCODINGS, Device

ISAAC_PJ = {4: 0.176, 5: 0.293, 6: 0.502, 7: 0.879, 8: 1.5625, 9: 2.81, 10: 5.11}
SABERI = {
    4: (0.79, 361),
    5: (0.99, 477),
    6: (1.20, 627),
    7: (1.42, 845),
    8: (1.67, 1200),
    9: (1.97, 1828),
    10: (2.38, 3002),
}
#: (node nm, samples per second, bits, pJ, um^2 or None).
ACCELERGY = [
    (32, 1.2e9, 4, 0.924, 5130),
    (32, 1.2e9, 5, 0.936, None),
    (32, 1.2e9, 6, 1.065, 5353),
    (32, 1.2e9, 7, 1.312, None),
    (32, 1.2e9, 8, 1.849, 6313),
    (32, 1.2e9, 9, 5.30, 8651),
    (32, 1.2e9, 10, 15.7, None),
    (32, 0.1e9, 8, 1.714, 3939),
    (22, 1.2e9, 4, 0.457, 2864),
    (22, 1.2e9, 6, 0.527, 2989),
    (22, 1.2e9, 8, 0.914, 3525),
    (45, 1.2e9, 8, 3.51, 10729),
    (65, 1.2e9, 4, 3.50, None),
    (65, 1.2e9, 6, 4.04, None),
    (65, 1.2e9, 8, 7.0, 19011),
]


@pytest.mark.parametrize(("bits", "energy_pj"), ISAAC_PJ.items())
def test_law_a_follows_two_to_the_b_over_b_plus_one(bits: int, energy_pj: float) -> None:
    cost = isaac(bits, 32e-9, 1.28e9)
    assert cost.energy_j * 1e12 == pytest.approx(energy_pj, rel=2e-3)
    assert cost.area_m2 * 1e12 == pytest.approx(SABERI[bits][1])


@pytest.mark.parametrize(("bits", "row"), SABERI.items())
def test_law_c_is_the_published_list(bits: int, row: tuple[float, float]) -> None:
    cost = saberi(bits, 32e-9, 1.28e9)
    assert (cost.energy_j * 1e12, cost.area_m2 * 1e12) == pytest.approx(row)


@pytest.mark.parametrize(("node", "rate", "bits", "energy_pj", "area_um2"), ACCELERGY)
def test_law_e_meets_its_check_points(
    node: float, rate: float, bits: int, energy_pj: float, area_um2: float | None
) -> None:
    """Within 0.3 %: the table was computed with more digits than the coefficients printed beside it."""
    cost = accelergy(bits, node * 1e-9, rate)
    assert cost.energy_j * 1e12 == pytest.approx(energy_pj, rel=3e-3)
    if area_um2 is not None:
        assert cost.area_m2 * 1e12 == pytest.approx(area_um2, rel=1e-3)


#: `hardware.md` 2.2: energy of 6 bits over 8 bits by law.
@pytest.mark.parametrize(("law", "ratio"), [("isaac", 0.32), ("saberi", 0.72), ("accelergy", 0.58)])
def test_laws_disagree_on_six_bits_as_published(law: str, ratio: float) -> None:
    assert adc_ratio(law, 6, 8, 32e-9, 1.2e9)[0] == pytest.approx(ratio, rel=1e-9, abs=0.005)


def test_lists_go_on_with_their_last_ratio() -> None:
    assert saberi(3, 32e-9, 1e9).area_m2 * 1e12 == pytest.approx(361 * 361 / 477)
    assert saberi(12, 32e-9, 1e9).energy_j * 1e12 == pytest.approx(2.38 * (2.38 / 1.97) ** 2)
    assert [extrapolated("isaac", bits) for bits in (3, 4, 10, 11)] == [True, False, False, True]
    assert not extrapolated("accelergy", 12)


@given(st.sampled_from(sorted(LAWS)), st.integers(4, 15))
def test_more_bits_never_cost_less(law: str, bits: int) -> None:
    fewer, more = (adc_cost(law, b, 32e-9, 1e9) for b in (bits, bits + 1))
    assert fewer.energy_j < more.energy_j
    assert fewer.area_m2 < more.area_m2


def test_unknown_laws_and_bits_out_of_range_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^'isac': no ADC scaling law has this name\. Did you mean 'isaac'\? Known: "
    ):
        adc_cost("isac", 8, 32e-9, 1e9)
    with pytest.raises(
        ConfigError, match=r"^3 ADC bits: the accelergy regression starts at 4 bits\. Use 4 bits or more"
    ):
        adc_cost("accelergy", 3, 32e-9, 1e9)


#: `hardware.md` 2.1, exact bits: rows -> (v1 w1, v1 w2, v1 w4, v2 w2).
EXACT_BITS = {
    1: (1, 2, 4, 4),
    4: (3, 4, 6, 6),
    8: (4, 5, 7, 7),
    9: (4, 5, 8, 7),
    16: (5, 6, 8, 8),
    32: (6, 7, 9, 9),
    64: (7, 8, 10, 10),
    128: (8, 9, 11, 11),
    256: (9, 10, 12, 12),
    512: (10, 11, 13, 13),
}


@pytest.mark.parametrize(("rows", "bits"), EXACT_BITS.items())
def test_lossless_bits_table(rows: int, bits: tuple[int, ...]) -> None:
    shapes = [(1, 1), (1, 2), (1, 4), (2, 2)]
    assert tuple(lossless_adc_bits(rows, dac, cell, "offset") for dac, cell in shapes) == bits


def test_inversion_saves_the_bit_that_isaac_counts_on() -> None:
    assert lossless_adc_bits(128, 1, 2, "offset-inverted") == 8


@given(st.integers(1, 600), st.integers(1, 3), st.integers(1, 4), st.sampled_from(ENCODINGS))
def test_lossless_bits_are_enough_and_not_too_many(rows: int, dac: int, cell: int, encoding: str) -> None:
    """Against the column sums themselves: the largest stored sum fits, and would not fit one bit less."""
    bits = lossless_adc_bits(rows, dac, cell, encoding)
    cells = rows * (2**cell - 1)
    largest = (cells // 2 if encoding == "offset-inverted" else cells) * (2**dac - 1)
    assert largest <= 2**bits - 1
    # With inversion the largest input need not meet the fullest column, so the rule may spare no further bit.
    assert bits == 1 or 2 ** (bits - 1) - 1 < largest or encoding == "offset-inverted"


def test_lossless_bits_refuse_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"^0 rows: 1 or more is needed\.$"):
        lossless_adc_bits(0, 1, 1, "offset")
    with pytest.raises(ConfigError, match=r"^'none': no weight encoding has this name\."):
        lossless_adc_bits(1, 1, 1, "none")


CALIBRATED = Device(0.2, 600e3, 6e6, 100_000_000)

#: `hardware.md` 3.4, consistency table: device, cell bits, mean conductance in microsiemens, energy in fJ at p = 1/2.
CELLS = [
    (CALIBRATED, 2, 0.9167, 1.833),
    (Device(0.15, 10e3, 1e6, 3_160_000), 1, 50.5, 1.795),
    (Device(0.5, 6e3, 900e3, 2_000_000, access_resistance_ohm=195e3), 1, 2.94, 0.736),
    (Device(0.5, 100e3, 10e6, 2_050_000), 1, 5.05, 1.295),
    (Device(0.2, 1e3, 20e3, 100_000_000), 1, 525, 1050),
]


@pytest.mark.parametrize(("device", "bits", "conductance_us", "energy_fj"), CELLS)
def test_consistency_table_of_read_energies(device: Device, bits: int, conductance_us: float, energy_fj: float) -> None:
    assert mean_conductance(device, bits) * 1e6 == pytest.approx(conductance_us, rel=2e-3)
    assert mean_read_energy(device, bits, density=0.5) * 1e15 == pytest.approx(energy_fj, rel=2e-3)


def test_calibrated_cell_is_within_three_percent_of_the_fixed_energy() -> None:
    """`hardware.md` 10.7 property 9 for one cell: 1.831 fJ is ISAAC's published power over its cells."""
    assert mean_read_energy(CALIBRATED, 2, density=0.5) == pytest.approx(1.831e-15, rel=0.03)


def test_levels_are_linear_in_conductance_between_the_two_states() -> None:
    levels = cell_conductances(CALIBRATED, 2)
    assert levels[0] == pytest.approx(1 / 6e6)
    assert levels[3] == pytest.approx(1 / 600e3)
    assert levels[1] - levels[0] == pytest.approx(levels[3] - levels[2])


@given(st.integers(1, 4), st.floats(0, 1), st.floats(0, 1))
def test_energy_of_one_cell(bits: int, place: float, drive: float) -> None:
    level = place * (2**bits - 1)
    expected = (0.2 * drive) ** 2 * (1 / 6e6 + place * (1 / 600e3 - 1 / 6e6)) * 100e-9
    assert read_energy(CALIBRATED, bits, level, drive) == pytest.approx(expected, rel=1e-9, abs=1e-40)


def test_mean_of_all_levels_and_inputs_is_the_average_read() -> None:
    energies = [read_energy(CALIBRATED, 2, level, drive) for level in range(4) for drive in (0, 1)]
    assert math.fsum(energies) / len(energies) == pytest.approx(mean_read_energy(CALIBRATED, 2, 0.5), rel=1e-9, abs=0)


def test_levels_and_drives_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^cell level 4: levels run from 0 to 3\.$"):
        read_energy(CALIBRATED, 2, 4)
    with pytest.raises(ConfigError, match=r"^drive 2: the drive is a fraction of full scale, 0 to 1\.$"):
        read_energy(CALIBRATED, 2, 0, 2)
