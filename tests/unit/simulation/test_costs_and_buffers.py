"""What counts cost, what a chip holds, and that every buffer really holds back; all worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_chip import NS, chip

from pimsim.hardware.budget import tile_budget
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Network, Precision
from pimsim.simulation.costs import dynamic_energy_j, inventory
from pimsim.simulation.network import simulate, simulate_layer
from pimsim.simulation.results import Span
from pimsim.simulation.routing import route
from pimsim.simulation.work import LayerWork, layer_work


def work_of(machine: Chip, rows: int, outputs: int, windows: int, bits: int = 4, **options: int) -> LayerWork:
    geometry = Geometry("layer", rows, outputs, (1, 1), (windows, 1))
    array = ArrayShape(machine.crossbar.rows, machine.crossbar.columns, 2)
    return layer_work(
        Layer(geometry, Precision(4, bits)), place(map_layer(geometry, array, "im2col"), None), machine, **options
    )


ENERGY = [
    # counts, component, joules on the small chip (1 pJ conversions, 0.1 pJ/B registers and bus, 10 pJ accesses ...)
    ({"crossbar": 3}, "crossbar", 3e-15),
    ({"row_driver": 3}, "row_driver", 3e-13),
    ({"sample_hold": 3}, "sample_hold", 3e-15),
    ({"adc": 3}, "adc", 3e-12),
    ({"shift_add": 3}, "shift_add", 3e-14),
    ({"input_register_write_bytes": 2, "input_register_read_bits": 24}, "input_register", 5e-13),
    ({"output_register": 3}, "output_register", 6e-13),
    ({"buffer": 3}, "buffer", 3e-11),
    ({"bus": 3}, "bus", 3e-13),
    ({"tile_shift_add": 3}, "tile_shift_add", 3e-14),
    ({"activation": 3}, "activation", 3e-14),
    ({"max_pool": 3}, "max_pool", 3e-14),
    ({"tile_output_register_bits": 16}, "tile_output_register", 2e-13),
    ({"router": 3}, "router", 3e-12),
    ({"index_bytes": 3, "index_decode": 5}, "index", 8e-13),
]


@pytest.mark.parametrize(("counts", "component", "joules"), ENERGY, ids=[row[1] for row in ENERGY])
def test_energy_is_counts_times_energy_per_action(counts: dict[str, int], component: str, joules: float) -> None:
    energy = dynamic_energy_j(counts, chip())
    assert energy.pop(component) == pytest.approx(joules, rel=1e-12, abs=0)
    assert set(energy.values()) == {0.0}


def test_inventory_of_four_tiles_is_four_times_the_published_tile() -> None:
    """Four tiles share one router, so their area and static power are those of ISAAC's Table I."""
    isaac = load_chip("isaac-like")
    items, tile = inventory(isaac, 4), tile_budget(isaac)
    assert sum(item.area_m2 * item.units for item in items) == pytest.approx(4 * tile.area_m2, rel=1e-9, abs=0)
    assert sum(item.static_power_w * item.units for item in items) == pytest.approx(4 * tile.static_w)


@pytest.mark.parametrize(("columns", "arrays", "units"), [(128, 1, 96), (64, 1, 192), (128, 2, 48), (32, 4, 96)])
def test_converters_of_a_tile(columns: int, arrays: int, units: int) -> None:
    items = {item.component: item.units for item in inventory(chip(adc_columns=columns, adc_arrays=arrays), 1)}
    assert items["adc"] == units


def test_components_of_a_run_are_units_times_time() -> None:
    machine = chip()
    work = work_of(machine, 20, 4, 3)
    result = simulate(Network("net", (work.layer,)), [work.placement], machine)
    for item, found in zip(inventory(machine, 1), result.components, strict=True):
        assert found.area_m2 == item.area_m2 * item.units
        assert found.static_energy_j == pytest.approx(
            item.static_power_w * item.units * result.latency_fs * 1e-15, rel=1e-9, abs=0
        )


def test_an_array_waits_until_its_samples_are_converted() -> None:
    """Depth 1: samples of step j + 1 are taken when the burst of step j is over, 128 x 0.78125 ns after it began."""
    machine = chip(read_fs=NS, stage_fs=0)
    spans: list[Span] = []
    result = simulate_layer(work_of(machine, 16, 64, 2), machine, probe=spans.append)
    reads, bursts = (sorted(s.start_fs for s in spans if s.stage == stage) for stage in ("array", "adc"))
    for step, burst in enumerate(bursts[:-2]):
        assert reads[step + 2] >= burst + 128 * 781_250
    assert result.stall_fs["adc"] > 0


def test_the_output_register_holds_one_window_until_it_is_merged() -> None:
    machine = chip(output_slots=1, read_fs=10 * NS)
    spans: list[Span] = []
    simulate_layer(work_of(machine, 16, 16, 4, bits=1), machine, probe=spans.append)
    added = {s.window: s.start_fs for s in spans if s.stage == "shift_add"}
    merged = {s.window: s.start_fs for s in spans if s.stage == "merge"}
    for window in range(3):
        assert added[window + 1] >= merged[window]


def test_partial_sums_between_rounds_cross_the_buffer() -> None:
    """200 inputs of 4 bits in two rounds: 2 + 2 accesses load them; 8 sums of 4 bytes wait, 8 outputs leave."""
    machine = chip()
    result = simulate_layer(work_of(machine, 200, 8, 5, arrays=1), machine)
    loads, parked, resumed, written = -(-128 * 4 // 256) + -(-72 * 4 // 256), 1, 1, 1
    assert result.counts["buffer"] == 5 * (loads + parked + resumed + written)


def test_mesh_distance() -> None:
    """Nine routers in a 3 x 3 mesh, one array each: from the first to the middle and to the opposite corner."""
    small = chip(arrays=1, macros=1)
    mesh = replace(small, tiles=9, router=replace(small.router, tiles=1))
    assert [len(route(mesh, 0, [there])) for there in (0, 1, 3, 4, 8)] == [0, 1, 1, 2, 4]


def test_programming_is_reported_apart() -> None:
    """130 rows take two arrays of 128 and 2 rows, written together: 128 rows of 86 ns; 16 columns, 1 pJ a cell."""
    machine = chip()
    result = simulate_layer(work_of(machine, 130, 8, 2), machine)
    assert result.program_time_fs == 128 * 86 * NS
    assert result.program_energy_j == pytest.approx(130 * 16 * 1e-12, rel=1e-9, abs=0)
    one_by_one = simulate_layer(work_of(machine, 130, 8, 2, arrays=1), machine)
    assert one_by_one.program_time_fs == 130 * 86 * NS
