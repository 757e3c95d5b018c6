"""Tables keep every number of the simulation, with documented columns."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from pimsim.records.check import Check, LayerCheck
from pimsim.records.schema import TABLES
from pimsim.records.tables import Tables, frame, plain_tables, spans_of, tables, to_json_object
from pimsim.records.tables import columns as column_lists
from pimsim.simulation.results import SimulationResult, Span

CONTRACT_LAYER = (
    "name kind cycles windows arrays rows_mapped rows_skipped conversions latency_ns energy_pj cell_utilisation"
)
CONTRACT_TOTALS = (
    "latency_ns first_output_ns interval_ns energy_pj energy_by_component_pj area_mm2 arrays conversions "
    "rows_mapped rows_skipped skip_ratio"
)
CONTRACT_CHECK = "images outputs mismatches top1_float top1_integer top1_crossbar"


def test_every_table_has_the_documented_columns_and_types(result: SimulationResult) -> None:
    found = tables(result)
    assert [field.name for field in fields(Tables)] == list(TABLES)
    for name, columns in TABLES.items():
        table = getattr(found, name)
        assert list(table.columns) == [column.name for column in columns]
        assert [str(dtype) for dtype in table.dtypes] == [column.dtype for column in columns]
        assert len(table) > 0


def test_empty_tables_have_the_same_types() -> None:
    for name, columns in TABLES.items():
        assert [str(dtype) for dtype in frame(name, {}).dtypes] == [column.dtype for column in columns]


def test_every_quantity_has_its_unit_in_its_name() -> None:
    suffix = {"ns": "_ns", "fs": "_fs", "pJ": "_pj", "mm2": "_mm2", "bit": "_bits", "": ""}
    for columns in TABLES.values():
        for column in columns:
            assert column.name.endswith(suffix[column.unit])


def test_the_documentation_states_every_column_as_the_schema_does() -> None:
    text = (Path(__file__).parents[3] / "docs" / "results.md").read_text()
    for name, columns in TABLES.items():
        part = re.split(r"^### ", text.split(f"### `{name}`")[1], flags=re.MULTILINE)[0]
        documented = re.findall(r"^\| `(\w+)` \| (\w+) \| (\S*) ?\| (.*) \|$", part, flags=re.MULTILINE)
        assert documented == [(c.name, c.dtype, c.unit or "–", c.definition) for c in columns]


def test_layers_are_in_ns_and_pj(result: SimulationResult) -> None:
    row = tables(result).layers.iloc[0]
    assert row["latency_ns"] == 1024 * 800 + 1400
    assert row["skip_ratio"] == 48 / 144
    energies = tables(result).energy
    first = energies.loc[energies["layer"] == "conv1", "energy_pj"]
    assert row["energy_pj"] == pytest.approx(first.sum(), rel=1e-12)
    assert first.iloc[0] == pytest.approx(2_097_152 * 1.5625)  # conversions x pJ


def test_resources_show_the_busy_fraction_of_the_layer(result: SimulationResult) -> None:
    used = tables(result).resources.set_index(["layer", "resource"])
    assert used.loc[("conv1", "adc"), "utilisation"] == pytest.approx(0.6)
    assert used.loc[("conv1", "array"), "units"] == 2


def test_a_component_without_utilisation_is_missing_not_zero(result: SimulationResult) -> None:
    found = tables(result).components.set_index("component")["utilisation"]
    assert math.isnan(found["crossbar"])
    assert found["adc"] > 0


def test_spans_come_back_as_they_went_in(result: SimulationResult) -> None:
    again = tuple(spans_of(plain_tables(result)["spans"]))
    assert again == result.spans
    assert all(type(value) is int for value in (again[0].start_fs, again[0].window))


def test_the_json_object_has_every_key_of_the_contract(result: SimulationResult, check: Check) -> None:
    found = to_json_object(result, check)
    assert set(CONTRACT_LAYER.split()) <= set(found["layers"][0])
    assert set(CONTRACT_TOTALS.split()) <= set(found["totals"])
    assert set(CONTRACT_CHECK.split()) <= set(found["check"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_energies_by_component_add_up_exactly(result: SimulationResult) -> None:
    totals = to_json_object(result, None)["totals"]
    parts = totals["energy_by_component_pj"]
    assert math.fsum(parts.values()) == totals["energy_pj"]
    dynamic = [value for name, value in parts.items() if not name.endswith("_static")]
    assert math.fsum(dynamic) == totals["dynamic_energy_pj"]
    assert totals["energy_pj"] == pytest.approx(totals["dynamic_energy_pj"] + totals["static_energy_pj"])
    assert totals["dynamic_energy_pj"] == pytest.approx(
        sum(layer["energy_pj"] for layer in to_json_object(result, None)["layers"])
    )


def test_a_component_at_two_levels_is_added_up(result: SimulationResult) -> None:
    twice = replace(result, components=(*result.components, replace(result.components[0], level="tile")))
    once = to_json_object(result, None)["totals"]["energy_by_component_pj"]
    assert to_json_object(twice, None)["totals"]["energy_by_component_pj"]["adc"] == 2 * once["adc"]


def test_totals_count_over_layers(result: SimulationResult) -> None:
    found = to_json_object(result, None)
    for key in ("arrays", "conversions", "rows_mapped", "rows_skipped", "cycles"):
        assert found["totals"][key] == sum(layer[key] for layer in found["layers"])
    assert found["totals"]["skip_ratio"] == 48 / 144
    assert found["check"] is None


def test_a_batch_in_flight_has_its_own_totals(pipelined: SimulationResult) -> None:
    totals = to_json_object(pipelined, None)["totals"]
    assert (totals["schedule"], totals["images"]) == ("pipelined", 4)
    assert totals["makespan_ns"] == 3 * totals["interval_ns"] + totals["latency_ns"]


def test_an_unknown_interval_is_null_in_json_and_missing_in_the_table(pipelined: SimulationResult) -> None:
    unknown = replace(pipelined, interval_fs=None)
    assert to_json_object(unknown, None)["totals"]["interval_ns"] is None
    assert math.isnan(tables(unknown).totals["interval_ns"][0])


def test_stalls_are_of_one_image(pipelined: SimulationResult) -> None:
    alone = replace(pipelined, schedule="sequential")
    mean, whole = (to_json_object(found, None)["layers"][0]["stall_ns"]["adc"] for found in (pipelined, alone))
    assert mean == pytest.approx(whole / 4)
    assert plain_tables(pipelined)["stalls"]["stall_ns"][0] == mean


def test_a_network_that_costs_nothing_has_numbers_not_nan(result: SimulationResult) -> None:
    layer = replace(
        result.layers[0],
        arrays=0,
        rows_mapped=0,
        rows_skipped=0,
        start_fs=0,
        end_fs=0,
        dynamic_energy_j={},
    )
    found = to_json_object(replace(result, layers=(layer,), components=()), None)
    assert found["totals"]["skip_ratio"] == 0.0
    assert found["totals"]["energy_pj"] == 0.0
    assert found["layers"][0]["utilisation"]["adc"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"mismatches": 5}, "mismatches=5: must lie between 0 and outputs=4"),
        ({"images": -1}, "images=-1: must not be negative"),
        ({"top1_integer": 81.0}, "top1_integer=81.0: must be a share between 0 and 1"),
        ({"clipped_conversions": 1}, "clipped_conversions=1: must lie between 0 and conversions_checked=0"),
    ],
)
def test_an_impossible_check_is_refused(values: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        Check(**{"images": 1, "outputs": 4, "mismatches": 0, **values})


def test_a_layer_check_is_checked_too() -> None:
    with pytest.raises(ValueError, match="mismatches=2"):
        LayerCheck("conv1", 1, 2)


def test_a_check_says_what_was_compared() -> None:
    assert Check(1, 4_000, 0).line == "0 of 4,000 outputs differ from the reference"
    assert Check(0, 0, 0).line == "no outputs were compared with the reference"
    assert Check(1, 4, 0).exact
    assert not Check(0, 0, 0).exact
    assert not Check(1, 4, 1).exact


def test_lockstep_spans_keep_their_number_of_units(spans: tuple[Span, ...]) -> None:
    found = frame("spans", column_lists("spans", (vars(span) for span in spans)))
    assert set(found["units"]) == {1, 2}
    assert set(found["image"]) == {0}
