"""Properties of `hardware.md` 10.7 and of the engine on random small chips, layers and skip patterns."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chip import chip

from pimsim.hardware.records import DISCIPLINES, INDEX_FETCHES, RESOLUTIONS, Chip, Index
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import DigitalOp, Geometry, Layer, Network, Precision
from pimsim.simulation import compiled
from pimsim.simulation.closed_form import closed_form
from pimsim.simulation.network import Options, simulate, simulate_layer
from pimsim.simulation.results import Span
from pimsim.simulation.routing import Link
from pimsim.simulation.services import activations, burst_fs
from pimsim.simulation.work import LayerWork, layer_work

PER_WEIGHT = 2


@st.composite
def chips(draw: st.DrawFn, discipline: str | None = None) -> Chip:
    rows, columns = draw(st.sampled_from([8, 12, 16])), draw(st.sampled_from([8, 16]))
    active = draw(st.sampled_from([(rows, columns), (4, columns), (rows, 4), (3, 6)]))
    machine = chip(
        rows=rows,
        columns=columns,
        active=active,
        read_fs=draw(st.sampled_from([5, 40, 100])) * 1000,
        stage_fs=draw(st.sampled_from([0, 100])) * 1000,
        adc_columns=draw(st.sampled_from([columns, columns // 2, 1])),
        adc_arrays=draw(st.sampled_from([1, 2])),
        adc_interval_fs=draw(st.sampled_from([781, 7000])),
        dac_bits=draw(st.sampled_from([1, 2])),
        discipline=discipline or draw(st.sampled_from(DISCIPLINES)),
        depth=draw(st.sampled_from([1, 2])),
        input_slots=draw(st.sampled_from([1, 2, 3])),
        output_slots=draw(st.sampled_from([1, 2])),
        arrays=2,
        macros=2,
    )
    adc = replace(
        machine.macro.adc,
        resolution=draw(st.sampled_from(RESOLUTIONS)),
        bits=draw(st.sampled_from([3, 8])),
        latency_fs=machine.macro.adc.interval_fs * draw(st.integers(1, 5)),
    )
    macro = replace(machine.macro, adc=adc)
    return replace(machine, tile=replace(machine.tile, macro=macro), index=draw(indices()))


@st.composite
def indices(draw: st.DrawFn) -> Index:
    fetch = draw(st.sampled_from(INDEX_FETCHES))
    size, latency = (0, 0) if fetch == "image" else (draw(st.integers(1, 16)), draw(st.sampled_from([0, 1000, 9000])))
    decode = draw(st.sampled_from([0, 0, 800, 60_000, 200_000]))
    return Index("bitmap", 1e-13, 1e-13, fetch, size, latency, decode)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    groups = draw(st.sampled_from([1, 2]))
    geometry = Geometry(
        "layer",
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 5)),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        (draw(st.integers(3, 6)), draw(st.integers(3, 6))),
        stride=(draw(st.integers(1, 2)), 1),
        padding=(1, draw(st.integers(0, 1)), 0, 1),
        groups=groups,
    )
    keep = np.array(draw(st.lists(st.integers(0, 1), min_size=4, max_size=4)))
    weight = np.resize(keep, geometry.weight_shape).astype(np.int64)
    # Whole kernels go as well, so that arrays of one layer keep different columns.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight *= rng.random((*weight.shape[:2], 1, 1)) < draw(st.sampled_from([0.4, 1.0]))
    return Layer(geometry, Precision(4, draw(st.integers(1, 4)), draw(st.booleans())), weight)


def work_of(
    layer: Layer, machine: Chip, method: str = "im2col", skip: str = "row", pack: str = "tile", **options: Any
) -> LayerWork:
    crossbar = machine.crossbar
    array = ArrayShape(crossbar.rows, crossbar.columns, PER_WEIGHT, (crossbar.active_rows, crossbar.active_columns))
    placement = place(map_layer(layer.geometry, array, method), layer.weight, skip=skip, pack=pack)
    return layer_work(layer, placement, machine, **options)


methods = st.sampled_from(["im2col", "sdk", "vw-sdk"])


@given(
    chips(),
    layers(),
    methods,
    st.sampled_from(
        [*((skip, "tile") for skip in ("none", "row", "ou", "repeat", "array", "column")), ("column", "layer")]
    ),
    st.integers(1, 3),
    st.sampled_from([None, 1, 3]),
)
@settings(max_examples=120, deadline=None)
def test_counts_from_events_equal_formulas_and_probes_change_nothing(
    machine: Chip, layer: Layer, method: str, skip: tuple[str, str], replication: int, arrays: int | None
) -> None:
    """`simulate_layer` raises when the engine's counts differ from the formulas."""
    digital = (DigitalOp("add", "add", 7, 14, "layer"), DigitalOp("pool", "max_pool", 2, 11, "layer"))
    route = (Link("link 0-1", -1, True), Link("link 1-2", 0, True), Link("link 1-3", 0, True))
    options = {"replication": replication, "arrays": arrays, "digital": digital, "route": route}
    if skip[0] == "repeat":
        options["arrays"] = None  # results cannot wait for arrays of a later round
    work = work_of(layer, machine, method, *skip, **options)
    spans: list[Span] = []
    result = simulate_layer(work, machine)
    assert simulate_layer(work, machine, probe=spans.append) == result
    assert simulate_layer(work, machine, compiled.play) == result
    if result.arrays:
        assert max(span.end_fs for span in spans) == result.end_fs
        assert result.counts["adc"] == result.conversions
        assert sum(result.stall_fs.values()) <= result.latency_fs * result.arrays


@given(chips(), layers(), methods)
@settings(max_examples=80, deadline=None)
def test_no_unit_does_two_jobs_at_once(machine: Chip, layer: Layer, method: str) -> None:
    spans: list[Span] = []
    simulate_layer(work_of(layer, machine, method), machine, probe=spans.append)
    arrays = sorted((s.tile, s.macro, s.array, s.start_fs, s.end_fs) for s in spans if s.stage == "array")
    for one, two in itertools.pairwise(arrays):
        assert one[:3] != two[:3] or one[4] <= two[3]


@given(st.sampled_from(DISCIPLINES), st.integers(1, 8), st.integers(1, 16), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_latency_equals_the_closed_form_on_one_array(discipline: str, bits: int, outputs: int, windows: int) -> None:
    machine = chip(discipline=discipline, input_slots=3, output_slots=9)
    geometry = Geometry("layer", 100, outputs, (1, 1), (windows, 1))
    work = work_of(Layer(geometry, Precision(4, bits)), machine)
    result, expected = simulate_layer(work, machine), closed_form(work, machine)
    assert result.fill_fs == expected.fill_fs
    assert result.latency_fs == expected.total_fs


@given(
    st.sampled_from(DISCIPLINES),
    indices(),
    st.sampled_from(RESOLUTIONS),
    st.sampled_from([(8, 16), (8, 4), (128, 128)]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_latency_of_skipped_units_equals_the_closed_form(
    discipline: str, index: Index, resolution: str, unit: tuple[int, int], seed: int
) -> None:
    """Row selection, early-stopping converters and operation units; reads are slower than conversions in every step."""
    machine = chip(active=unit, discipline=discipline, input_slots=3, output_slots=9, stage_fs=0, adc_interval_fs=781)
    macro = replace(machine.macro, adc=replace(machine.macro.adc, resolution=resolution, latency_fs=20_000))
    machine = replace(machine, tile=replace(machine.tile, macro=macro), index=index)
    rng = np.random.default_rng(seed)
    weight = (rng.random((7, 100, 1, 1)) < rng.random()).astype(np.int64)
    weight[0, 0] = 1
    work = work_of(Layer(Geometry("layer", 100, 7, (1, 1), (9, 1)), Precision(4, 5), weight), machine, skip="ou")
    result, expected = simulate_layer(work, machine), closed_form(work, machine)
    assert (result.fill_fs, result.latency_fs) == (expected.fill_fs, expected.total_fs)


@given(st.sampled_from(DISCIPLINES), st.integers(1, 8), st.integers(2, 20), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_latency_of_moved_columns_equals_the_closed_form(
    discipline: str, bits: int, outputs: int, windows: int
) -> None:
    machine = chip(discipline=discipline, input_slots=3, output_slots=9, columns=4)
    weight = np.ones((outputs, 100, 1, 1), dtype=np.int64)
    weight[1::2] = 0
    layer = Layer(Geometry("layer", 100, outputs, (1, 1), (windows, 1)), Precision(4, bits), weight)
    work = work_of(layer, machine, "im2col", "column", "layer")
    assert work.scattered
    result, expected = simulate_layer(work, machine), closed_form(work, machine)
    assert (result.fill_fs, result.latency_fs) == (expected.fill_fs, expected.total_fs)
    still = simulate_layer(work_of(layer, machine, "im2col", "column", "tile"), machine)
    assert result.arrays == (outputs + 3) // 4 <= still.arrays
    assert result.fill_fs > still.fill_fs


def brute_force_sums(work: LayerWork, replica: int) -> tuple[int, int, int, int]:
    """Merges, joins of macros, finished outputs and parked sums of a window, output by output."""
    merges = joins = finished = parked = 0
    places: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    arrays = [(n, a) for n, round_ in enumerate(work.replicas[replica]) for a in round_.arrays]
    for tile, (number, array) in zip(work.placement.tiles, arrays, strict=True):
        for number_of in zip(tile.columns.output, tile.columns.a, tile.columns.b, strict=True):
            places.setdefault(tuple(map(int, number_of)), []).append((number, array.tile, array.macro))
    for held in places.values():
        merges, joins, finished = merges + len(held) - 1, joins + len(set(held)) - 1, finished + 1
        parked += len({number for number, _, _ in held}) - 1
    return merges, joins, finished, parked


@given(
    chips(),
    layers(),
    methods,
    st.sampled_from([("row", "layer"), ("column", "tile"), ("column", "layer")]),
    st.sampled_from([None, 1, 2, 3]),
)
@settings(max_examples=80, deadline=None)
def test_merges_equal_brute_force(
    machine: Chip, layer: Layer, method: str, skip: tuple[str, str], arrays: int | None
) -> None:
    work = work_of(layer, machine, method, *skip, replication=2, arrays=arrays)
    for replica, rounds in enumerate(work.replicas):
        sums = [sum(getattr(r, name) for r in rounds) for name in ("merges", "tile_merges", "outputs")]
        merges, joins, finished, parked = brute_force_sums(work, replica)
        assert sums == [merges, joins, finished]
        assert sum(r.partial_bytes_written for r in rounds) == 4 * parked
        assert sum(r.partial_bytes_read for r in rounds) == 4 * parked


@given(layers(), methods)
@settings(max_examples=40, deadline=None)
def test_published_cycles_on_one_array(layer: Layer, method: str) -> None:
    """arrays: 1 takes fill + (cycles - 1) x initiation interval when every tile takes the same steps."""
    machine = chip(rows=16, columns=16, output_slots=4, input_slots=3)
    work = work_of(replace(layer, weight=None), machine, method, "none", arrays=1)
    result = simulate_layer(work, machine)
    interval = result.steps * machine.crossbar.read_latency_fs
    assert result.rounds * result.windows == result.cycles
    assert result.latency_fs == result.fill_fs + (result.cycles - 1) * interval


def test_doubling_the_converters_halves_the_adc_term_and_keeps_conversions() -> None:
    """10.7 property 2."""
    layer = Layer(Geometry("layer", 128, 64, (1, 1), (3, 1)), Precision(4, 4))
    machines = [chip(read_fs=1000, adc_columns=columns) for columns in (128, 64)]
    works = [work_of(layer, machine) for machine in machines]
    each = [
        activations(w.rounds[0].arrays[0], 4, m).reads[0].conversions_each for w, m in zip(works, machines, strict=True)
    ]
    slow, fast = (burst_fs(m, n)[0] for m, n in zip(machines, each, strict=True))
    assert (slow, fast) == (128 * 781_250, 64 * 781_250)
    results = [simulate_layer(work, machine) for work, machine in zip(works, machines, strict=True)]
    assert results[0].conversions == results[1].conversions == 3 * 4 * 128


@given(chips(), layers())
@settings(max_examples=40, deadline=None)
def test_conversions_times_energy_is_the_adc_energy(machine: Chip, layer: Layer) -> None:
    """10.7 property 3, with conversions counted from the probe's spans of the adc stage."""
    result, adc = simulate_layer(work_of(layer, machine), machine), machine.macro.adc
    each = {bits: result.counts.get(f"adc_{bits}_bits", 0) for bits in range(1, adc.bits + 1)}
    if adc.resolution == "fixed":
        assert not any(each.values())
        each[adc.bits] = result.conversions
    assert sum(each.values()) == result.conversions
    energy = sum(count * adc.energy_j * bits / adc.bits for bits, count in each.items())
    assert result.dynamic_energy_j.get("adc", 0.0) == pytest.approx(energy, rel=1e-12, abs=0)


@given(chips(), layers(), st.sampled_from(["row", "ou"]), methods)
@settings(max_examples=60, deadline=None)
def test_skipping_no_rows_is_the_identity_and_skipping_all_costs_nothing(
    machine: Chip, layer: Layer, granularity: str, method: str
) -> None:
    """10.7 property 4."""
    assert layer.weight is not None
    geometry = layer.geometry
    if granularity == "ou":  # windows of several outputs have zeros of their own in the columns of a unit
        geometry, method = replace(geometry, groups=1), "im2col"
    dense = replace(layer, geometry=geometry, weight=np.ones(geometry.weight_shape, dtype=np.int64))
    kept, plain = (simulate_layer(work_of(dense, machine, method, skip), machine) for skip in (granularity, "none"))
    same = {"index_bits", "dynamic_energy_j", "counts"}
    for field in vars(plain):
        assert field in same or getattr(kept, field) == getattr(plain, field), field
    assert all(
        kept.dynamic_energy_j[name] == plain.dynamic_energy_j[name]
        for name in plain.dynamic_energy_j
        if name != "index"
    )
    empty = simulate_layer(work_of(replace(layer, weight=np.zeros_like(layer.weight)), machine, method), machine)
    assert (empty.conversions, empty.arrays, empty.latency_fs, sum(empty.dynamic_energy_j.values())) == (0, 0, 0, 0)


@given(chips("pipelined"), layers())
@settings(max_examples=60, deadline=None)
def test_pipelined_is_never_slower_than_serial(machine: Chip, layer: Layer) -> None:
    """10.7 property 5."""
    serial = replace(machine, timing=replace(machine.timing, discipline="serial"))
    fast, slow = (simulate_layer(work_of(layer, m), m) for m in (machine, serial))
    assert fast.latency_fs <= slow.latency_fs


def test_a_full_operation_unit_is_the_whole_array() -> None:
    """10.7 property 6: h = R, u = C, k = C gives ISAAC; a smaller unit multiplies the steps (4.5)."""
    layer = Layer(Geometry("layer", 128, 64, (1, 1), (4, 1)), Precision(4, 4))
    whole, full, small = chip(), chip(active=(128, 128)), chip(active=(9, 8))
    results = [simulate_layer(work_of(layer, m), m) for m in (whole, full, small)]
    assert results[0] == results[1]
    assert results[2].steps == 4 * -(-128 // 9) * (128 // 8)
    assert results[2].conversions == 4 * 4 * -(-128 // 9) * 128


@given(layers())
@settings(max_examples=20, deadline=None)
def test_macs_do_not_depend_on_the_mapping(layer: Layer) -> None:
    """10.7 property 7."""
    machine = chip(rows=16, columns=16)
    macs = {simulate_layer(work_of(layer, machine, m, "none"), machine).macs for m in ("im2col", "sdk", "vw-sdk")}
    assert macs == {layer.geometry.macs}


@pytest.mark.parametrize("rows", [(20, 21), (64, 65), (127, 128)])
def test_energy_grows_with_the_active_rows(rows: tuple[int, int]) -> None:
    """10.7 property 8."""
    fewer, more = (
        simulate_layer(work_of(Layer(Geometry("layer", n, 8, (1, 1), (4, 1)), Precision(4, 4)), chip()), chip())
        for n in rows
    )
    assert sum(fewer.dynamic_energy_j.values()) < sum(more.dynamic_energy_j.values())
    assert fewer.dynamic_energy_j["adc"] == more.dynamic_energy_j["adc"]


@given(st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_replication_divides_the_time_and_keeps_the_energy(groups: int, replication: int) -> None:
    """10.7 property 10; port accesses round up per window slot, so the windows here fill whole accesses."""
    machine = chip()
    windows = groups * replication
    layer = Layer(Geometry("layer", 64, 32, (1, 1), (windows, 1)), Precision(4, 8))
    one, many = (simulate_layer(work_of(layer, machine, replication=r), machine) for r in (1, replication))
    assert many.latency_fs - many.fill_fs == (groups - 1) * 8 * machine.crossbar.read_latency_fs
    assert one.latency_fs - one.fill_fs == (windows - 1) * 8 * machine.crossbar.read_latency_fs
    assert many.dynamic_energy_j == pytest.approx(one.dynamic_energy_j, rel=1e-9, abs=0)


def test_layers_follow_one_another_and_totals_add_up() -> None:
    machine = chip()
    geometries = [Geometry(f"l{i}", 16, 16, (3, 3), (5, 5), padding=(1, 1, 1, 1)) for i in range(3)]
    network = Network("net", tuple(Layer(g, Precision(4, 4)) for g in geometries))
    placements = [place(map_layer(g, ArrayShape(128, 128, PER_WEIGHT), "im2col"), None) for g in geometries]
    result = simulate(network, placements, machine)
    assert [layer.start_fs for layer in result.layers[1:]] == [layer.end_fs for layer in result.layers[:-1]]
    assert result.latency_fs == sum(layer.latency_fs for layer in result.layers)
    assert result.dynamic_energy_j == pytest.approx(
        sum(sum(x.dynamic_energy_j.values()) for x in result.layers), rel=1e-9, abs=0
    )
    assert result.array_utilisation == sum(layer.arrays for layer in result.layers) / (12 * 8)
    limited = simulate(network, placements, machine, Options(arrays=1))
    assert limited.array_utilisation == 1 / (12 * 8)
    power = sum(c.static_energy_j for c in result.components) / (result.latency_fs * 1e-15)
    assert result.static_energy_j == pytest.approx(power * result.latency_fs * 1e-15, rel=1e-9, abs=0)
