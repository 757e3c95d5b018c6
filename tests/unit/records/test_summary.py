"""The summary says every number once, with its unit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pimsim.records.check import Check
from pimsim.records.summary import energy, percent, share, summary_html, summary_text, text_table, time
from pimsim.records.tables import to_json_object
from pimsim.simulation.results import SimulationResult


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (0, "0 ns"),
        (0.78125, "0.7812 ns"),
        (999.0, "999.0 ns"),
        (1000.0, "1.000 us"),
        (1.6e6, "1.600 ms"),
        (2e9, "2.000 s"),
    ],
)
def test_times_are_written_in_a_readable_unit(value_ns: float, text: str) -> None:
    assert time(value_ns) == text


def test_energies_and_shares_are_written_in_a_readable_unit() -> None:
    assert energy(4_634_000.0) == "4.634 uJ"
    assert energy(0.0) == "0 pJ"
    assert percent(0.75) == "75.0 %"
    assert [share(v) for v in (0.0, 0.0001, 0.5)] == ["0.0 %", "< 0.1 %", "50.0 %"]


def test_columns_are_aligned() -> None:
    assert text_table(("a", "n"), [("conv", "1")], ("all", "10"), left=1) == [
        "a      n",
        "----  --",
        "conv   1",
        "----  --",
        "all   10",
    ]


def test_the_summary_holds_the_run(result: SimulationResult, check: Check) -> None:
    text = summary_text(to_json_object(result, check), check)
    assert "0 of 4,000,000 outputs differ from the reference" in text
    assert "top-1: float 81.03 %, integer 80.90 %, crossbar 80.90 %" in text
    assert "ADC scaling law saberi" in text
    assert "note: layers sequential" in text
    row = next(line for line in text.splitlines() if line.startswith("conv1"))
    assert re.split(r"\s{2,}", row)[2:] == [
        "1,024",
        "2",
        "96 / 288",
        "2,048",
        "2,097,152",
        "820.6 us",
        "4.634 uJ",
        "75.0 %",
    ]
    for words in ("first window of the last layer written", "steady-state time between two images", "33.3 %"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 110


def test_what_only_a_batch_in_flight_has_is_said_of_it_alone(pipelined: SimulationResult) -> None:
    text = summary_text(to_json_object(pipelined, None))
    interval = pipelined.interval_fs / 1e15
    for words in ("layers pipelined", "the last of the 4 images written", "of one image: dynamic"):
        assert words in text
    assert re.search(rf"throughput +{1 / interval:,.0f}   images/s: 1 / interval", text)
    single = summary_text(to_json_object(replace(pipelined, schedule="sequential", image_done_fs=()), None))
    assert not [words for words in ("pipelined", "makespan", "throughput", "of one image:") if words in single]


def test_an_interval_that_is_not_known(pipelined: SimulationResult) -> None:
    text = summary_text(to_json_object(replace(pipelined, interval_fs=None), None))
    assert re.search(r"interval +not known", text)
    assert "throughput" not in text


def test_a_summary_read_back_is_the_same(result: SimulationResult, check: Check) -> None:
    summary = to_json_object(result, check)
    assert summary_text(summary) == summary_text(summary, check)


def test_errors_are_reported_with_their_size(result: SimulationResult) -> None:
    check = Check(64, 1000, 3, snr_db=41.23, conversions_checked=500, clipped_conversions=2)
    text = summary_text(to_json_object(result, check), check)
    assert "3 of 1,000 outputs differ from the reference\nsignal to error 41.2 dB, 2 of 500 conversions clipped" in text
    assert "top-1" not in text


def test_a_network_without_weights_says_so(result: SimulationResult) -> None:
    assert summary_text(to_json_object(result, None)).endswith("no outputs were compared with the reference")


def test_only_files_that_exist_are_named(result: SimulationResult, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    text = summary_text(to_json_object(result, None), None, tmp_path)
    assert f"figures  {tmp_path}/figures" in text
    assert "perfetto" not in text


def test_html_is_escaped(result: SimulationResult) -> None:
    odd = replace(result, layers=(replace(result.layers[0], name="<script>alert(1)</script>"),))
    text = summary_html(to_json_object(odd, None))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert text.count("<tr>") == 3
