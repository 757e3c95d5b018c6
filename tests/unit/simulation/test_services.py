"""How long the steps of an array take, with numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_chip import chip

from pimsim.hardware.records import Chip, Index
from pimsim.simulation.services import activations, bursts_in_flight, index_bytes, index_fs
from pimsim.simulation.streams import stream_jobs
from pimsim.simulation.work import ArrayWork

#: 10 and 3 rows in two column groups of 4 weights, 2 columns each; units of 4 rows and 8 columns.
ARRAY = ArrayWork(10, (((2, 4), (1, 2)), ((1, 3),)), True, 8, 16, 0, 0, 0)


def machine(resolution: str = "fixed", index: Index | None = None) -> Chip:
    made = chip(rows=16, columns=16, active=(4, 8), adc_interval_fs=1000, stage_fs=0)
    adc = replace(made.macro.adc, resolution=resolution)
    return replace(
        made, tile=replace(made.tile, macro=replace(made.macro, adc=adc)), index=index or Index("bitmap", 0.0, 0.0)
    )


def test_units_of_each_column_group() -> None:
    act = activations(ARRAY, 2, machine())
    assert [(read.group, read.units, read.rows) for read in act.reads] == [(0, 2, 4), (0, 1, 2), (1, 1, 3)]
    assert (act.steps, act.units, act.fullest, act.most_rows) == (8, 4, (0, 3), 4)
    assert act.runs == ((8, 8, 8),)


@pytest.mark.parametrize(
    ("resolution", "most_rows", "bits"),
    # 4, 2 and 3 rows of 2-bit cells sum to 12, 6 and 9: 4, 3 and 4 bits; 16 rows to 48: 6 bits.
    [
        ("fixed", 16, [8] * 8),
        ("static", 16, [6] * 8),
        ("static", 0, [4] * 8),
        ("dynamic", 16, [4] * 4 + [3] * 2 + [4] * 2),
    ],
)
def test_a_converter_that_stops_early_takes_time_in_proportion(
    resolution: str, most_rows: int, bits: list[int]
) -> None:
    chip_, act = machine(resolution), activations(ARRAY, 2, machine(resolution), most_rows)
    jobs = stream_jobs([act], chip_, indexed=False).adc
    each = jobs.occupancy_fs * (8 // len(jobs.occupancy_fs))
    assert each == tuple(8 * 1000 * n // 8 for n in bits)
    counts = dict(jobs.counts)
    assert counts["adc"] == 8 * 8
    by_bits = {f"adc_{n}_bits": 8 * bits.count(n) for n in set(bits)}
    assert {name: n for name, n in counts.items() if name.startswith("adc_")} == (
        by_bits if resolution != "fixed" else {}
    )


def test_rows_are_selected_in_every_step_and_fetched_where_a_unit_begins() -> None:
    unit, row = (Index("list", 0.0, 0.0, fetch, 3, 70, 10) for fetch in ("unit", "unit-row"))
    act = activations(ARRAY, 2, machine())
    shared = activations(replace(ARRAY, own_rows=False), 2, machine())
    assert index_fs(machine(index=unit), act) == (80, 10) * 4
    assert index_fs(machine(index=row), act) == (80, 10) * 4
    assert index_fs(machine(index=row), shared) == (80, 10) * 3 + (10, 10)
    assert index_fs(machine(), act) == (0,)
    assert [index_bytes(machine(index=one), a) for one in (unit, row) for a in (act, shared)] == [12, 12, 12, 9]


def test_bursts_that_a_pipelined_converter_works_on() -> None:
    """8 conversions of 1 ns: the first result after 9 ns, the last after 16 = twice the 8 ns of a burst."""
    slow = machine()
    slow = replace(
        slow,
        tile=replace(slow.tile, macro=replace(slow.macro, adc=replace(slow.macro.adc, latency_fs=9000))),
    )
    assert (bursts_in_flight(machine(), 8), bursts_in_flight(slow, 8), bursts_in_flight(slow, 4)) == (1, 2, 3)
