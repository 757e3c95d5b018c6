"""Gains add up, and the sentences about them follow from the numbers."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_outcomes import COMPONENTS, make_outcome

from pimsim.records.gain_words import NO_DENSE, gain_sentences
from pimsim.records.gains import GAIN_COLUMNS, PARTS, energy_of, gain
from pimsim.records.outcome_text import top1_cell
from pimsim.records.outcomes import COLUMNS, LAYER_COLUMNS, Top1, row_of

amounts = st.floats(0, 1e6, allow_nan=False)
energies = st.fixed_dictionaries(dict.fromkeys(COMPONENTS, amounts))


@given(energies, energies)
def test_the_parts_are_all_of_the_energy_and_add_up_to_what_is_saved(before, after):  # type: ignore[no-untyped-def]
    dense, other = make_outcome(energies=before), make_outcome("x", 100, 300, energies=after)
    parts = math.fsum(energy_of(other, part) for part in (*PARTS, "other"))
    assert parts == pytest.approx(math.fsum(after.values()))
    found = gain(other, dense)
    saved = math.fsum(before.values()) - math.fsum(after.values())
    assert found.dynamic_saved_pj == pytest.approx(saved, abs=1e-6 * (1 + math.fsum(before.values())))


def test_fewer_conversions_and_cheaper_ones_are_told_apart():
    dense = make_outcome(energies={"adc": 1000.0})
    fewer = replace(make_outcome("fewer", 1, 1, energies={"adc": 500.0}), conversions=500)
    cheaper = make_outcome("cheaper", 1, 1, energies={"adc": 800.0})
    both = replace(make_outcome("both", 1, 1, energies={"adc": 400.0}), conversions=500)
    found = [(g.conversions_saved_pj, g.resolution_saved_pj) for g in (gain(o, dense) for o in (fewer, cheaper, both))]
    # 1 pJ a conversion before; 500 conversions of 0.8 pJ save 500 pJ by number and 100 pJ by bits.
    assert [part for pair in found for part in pair] == pytest.approx([500, 0, 0, 200, 500, 100], abs=1e-9)


def test_time_and_steps_are_the_differences():
    dense, faster = make_outcome(), replace(make_outcome("p", 100, 300), latency_ns=3.25)
    found = gain(replace(dense, latency_ns=10.0), faster)
    assert gain(faster, replace(dense, latency_ns=10.0)).time_saved_ns == 10.0 - 3.25 == -found.time_saved_ns
    assert found.serial_steps_saved == faster.serial_steps - dense.serial_steps


def test_a_resident_array_that_is_driven_whole_saves_no_step():
    words = gain_sentences([make_outcome(), make_outcome("p", 100, 300)], make_outcome())
    assert words[0] == (
        "Skipping rows saves no read step: p 20.0 % of the rows skipped, and still 1,024 steps follow one another as "
        "in dense, for all arrays are resident and an array drives all its rows at once, however many are left. "
        "Latency: unchanged"
    )


@pytest.mark.parametrize(
    ("dense", "after", "reason"),
    [
        ({"rounds": 3}, {"rounds": 2}, "because fewer arrays need fewer rounds in 2 layers. Latency: -33.3 %"),
        ({"steps": 16}, {"steps": 8}, "because an array reads fewer groups of 512 rows in 2 layers. Latency"),
        ({}, {"copies": 4}, "of 1,024 (75.0 % fewer), because more copies share the windows of 2 layers. Latency"),
    ],
)  # fmt: skip
def test_fewer_steps_have_their_reason(dense, after, reason):  # type: ignore[no-untyped-def]
    whole = make_outcome(**dense)
    words = gain_sentences([whole, make_outcome("p", 100, 300, **after)], whole)
    assert words[0].startswith("p saves steps with 20.0 % of the rows skipped: ") and reason in words[0]
    assert not any("saves no read step" in sentence for sentence in words)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rounds": 4}, "the arrays that are left need as many rounds (up to 4)"),
        ({"driven": 600}, "the fullest arrays still take as many groups of 512 rows"),
    ],
)
def test_as_many_steps_have_their_reason(change, reason):  # type: ignore[no-untyped-def]
    whole = make_outcome(**change)
    assert f"for {reason}. Latency" in gain_sentences([whole, make_outcome("p", 100, 300, **change)], whole)[0]


def test_adc_bits_are_saved_only_where_the_energy_shows_it():
    dense, fewer = make_outcome(driven=512), make_outcome("p", 100, 300, driven=200)
    (words,) = [s for s in gain_sentences([dense, fewer], dense) if "ADC" in s]
    assert words.startswith(
        "The fullest array needs fewer ADC bits than the 11 of dense: p 9; but the resolution of the chip"
    )
    cheaper = replace(fewer, energy_by_component_pj=fewer.energy_by_component_pj | {"adc": 1.0})
    assert any(s.startswith("Lower ADC resolution saves, of the energy of conversions: p ") for s in
               gain_sentences([dense, cheaper], dense))  # fmt: skip
    same = gain_sentences([dense, make_outcome("p", 100, 300, driven=512)], dense)
    assert "No ADC bit is saved: the fullest array of every entry still needs 11 bits" in same


def test_weights_that_free_no_row_are_said_to():
    words = gain_sentences([make_outcome(), make_outcome("m", 0, 500)], make_outcome())
    assert words == (
        "No row more than in the dense network is skipped: m 25.0 % of the weights pruned, but no row is empty",
    )


def test_many_entries_are_told_by_their_range():
    dense = make_outcome()
    words = gain_sentences([dense, *(make_outcome(f"p{n}", n, n) for n in (50, 100, 150, 200))], dense)
    assert "4 entries skip 10.0 % (p50) to 40.0 % (p200) of the rows" in words[0]


def test_other_layers_are_compared_as_a_whole():
    dense, other = make_outcome(), make_outcome("small")
    other = replace(other, layers=other.layers[:1], structure=("low-rank",), latency_ns=6400.0)
    (words,) = gain_sentences([dense, other], dense)
    assert words.startswith(
        "small has other layers than dense: 1,000 weights instead of 2,000, 3 arrays instead of 6, "
    )
    assert words.endswith("Latency: -50.0 %")


def test_without_a_dense_entry_there_is_one_sentence():
    assert gain_sentences([make_outcome("p", 100, 300)], None) == (NO_DENSE,)


def test_cells_say_what_is_recorded_and_what_is_not_known():
    measured = make_outcome(top1=0.5)
    recorded = replace(measured, accuracy=Top1(0.25, None, "recorded"))
    shown = [top1_cell(outcome) for outcome in (measured, recorded, make_outcome())]
    assert shown == ["50.00 %", "25.00 % recorded", "not known"]


def test_the_page_documents_every_column():
    text = (Path(__file__).parents[3] / "docs" / "compare.md").read_text()
    for columns in (COLUMNS, LAYER_COLUMNS, GAIN_COLUMNS):
        for column in columns:
            line = f"| `{column.name}` | {column.unit or '–'} | {column.definition} |"
            assert line in text, line
    named = set(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE))
    assert named == {column.name for columns in (COLUMNS, LAYER_COLUMNS, GAIN_COLUMNS) for column in columns}


def test_every_column_is_an_attribute():
    outcome = make_outcome("p", 100, 300)
    assert set(row_of(outcome, COLUMNS)) == {column.name for column in COLUMNS}
    assert row_of(outcome.layers[0], LAYER_COLUMNS)["skip_ratio"] == 0.25
    assert row_of(gain(outcome, make_outcome()), GAIN_COLUMNS)["label"] == "p"
