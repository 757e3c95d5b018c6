"""Skipping zero input bits: counted bit by bit from the inputs, and played window by window by both engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chip import NS, chip
from unit_cases import BITS, Case, cases

from pimsim.errors import SimulationError
from pimsim.functional.driven import driven_rows
from pimsim.hardware.encodings import input_steps
from pimsim.hardware.records import RESOLUTIONS, Index
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Network, Precision
from pimsim.simulation import compiled, event
from pimsim.simulation.network import Options, simulate, simulate_layer
from pimsim.simulation.skipped_inputs import check_input_skipping
from pimsim.simulation.work import LayerWork, layer_work


def inputs_of(case: Case, seed: int, density: float) -> np.ndarray:
    precision = case.layer.precision
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    shape = 1, case.layer.geometry.in_channels, *case.layer.geometry.input_size
    rng = np.random.default_rng(seed)
    return rng.integers(low, low + 2**precision.activation_bits, shape) * (rng.random(shape) < density)


def work_of(case: Case, inputs: np.ndarray, **options: int | None) -> LayerWork:
    driven = driven_rows(case.layer, case.placement, inputs, case.machine.macro.row_driver)
    return layer_work(case.layer, case.placement, case.machine, driven=driven, **options)  # type: ignore[arg-type]


@given(
    cases(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.sampled_from(RESOLUTIONS),
    st.sampled_from([0, 300, 200_000]),
    st.integers(1, 3),
    st.sampled_from([None, 2]),
)
@settings(max_examples=80, deadline=None)
def test_steps_are_those_of_the_bits(
    case: Case, seed: int, density: float, resolution: str, decode: int, replication: int, arrays: int | None
) -> None:
    """The engines, the formulas (a difference raises) and a loop over windows, units and bits."""
    adc = replace(case.machine.macro.adc, resolution=resolution)
    machine = replace(
        case.machine,
        tile=replace(case.machine.tile, macro=replace(case.machine.macro, adc=adc)),
        index=Index("bitmap", 1e-13, 1e-13, decode_latency_fs=decode),
    )
    case, inputs = replace(case, machine=machine), inputs_of(case, seed, density)
    work = work_of(case, inputs, replication=replication, arrays=arrays)
    result = simulate_layer(work, machine, event.play)
    assert simulate_layer(work, machine, compiled.play) == result
    precision, mapping = case.layer.precision, case.placement.mapping
    h, u = machine.crossbar.active_rows, machine.crossbar.active_columns
    together = max(1, u // case.per_weight)
    padded = mapping.pad_input(inputs.astype(np.int64))[0]
    steps = conversions = driven = 0
    for tile in case.placement.tiles:
        values = padded[mapping.window_pixels(tile.rows)]
        for group in range(-(-len(tile.columns) // together)):
            kept = np.ones(len(tile.rows), dtype=bool) if tile.kept is None else tile.kept.marks[:, group]
            width = case.per_weight * len(range(len(tile.columns))[group * together : (group + 1) * together])
            for step in input_steps(precision.activation_bits, 1, precision.activation_signed):
                for window in values[:, kept]:
                    ones = int(((window >> step.shift) & 1).sum())
                    steps += -(-ones // h) * -(-width // u)
                    conversions += -(-ones // h) * width
                    driven += ones * -(-width // u)
    found = [result.counts.get(name, 0) for name in ("array_steps", "adc", "row_driver")]
    assert found == [steps, conversions, driven]
    assert result.skipped_steps.both == steps
    assert result.skipped_steps.both <= min(result.skipped_steps.weights, result.skipped_steps.inputs or 0)
    assert result.skipped_steps.weights <= result.skipped_steps.dense


@given(cases(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_inputs_of_ones_skip_only_what_weights_do(case: Case, seed: int) -> None:
    """With every bit of every driven row set, each step reads all kept rows; padding still carries no bit."""
    geometry = replace(case.layer.geometry, padding=(0, 0, 0, 0))
    layer = replace(case.layer, geometry=geometry, precision=Precision(BITS, case.layer.precision.activation_bits))
    mapping = map_layer(geometry, case.placement.mapping.array, "im2col")
    placement = place(mapping, layer.weight, "ou", compact=case.compact)
    case = replace(case, layer=layer, placement=placement)
    ones = np.full((1, geometry.in_channels, *geometry.input_size), 2**layer.precision.activation_bits - 1)
    skipped, plain = work_of(case, ones), layer_work(layer, placement, case.machine)
    one, other = (simulate_layer(work, case.machine) for work in (skipped, plain))
    same = {"index_bytes", "input_register_read_bits", "index_decode"}
    assert {k: v for k, v in one.counts.items() if k not in same} == {
        k: v for k, v in other.counts.items() if k not in same
    }
    assert one.latency_fs == other.latency_fs


def test_one_array_takes_as_long_as_its_steps() -> None:
    """8 rows at a time: windows of 100, 0 and 9 ones take 13, 0 and 2 reads of 100 ns for each of 2 column groups."""
    machine = chip(active=(8, 8), input_slots=4, output_slots=9, stage_fs=0, adc_interval_fs=781)
    geometry = Geometry("layer", 100, 8, (1, 1), (4, 1))
    layer = Layer(geometry, Precision(4, 1), np.ones((8, 100, 1, 1), dtype=np.int64))
    inputs = np.zeros((1, 100, 4, 1), dtype=np.int64)
    inputs[0, :, 0], inputs[0, :9, 2], inputs[0, :1, 3] = 1, 1, 1
    placement = place(map_layer(geometry, ArrayShape(128, 128, 2, (8, 8)), "im2col"), layer.weight)
    driven = driven_rows(layer, placement, inputs, machine.macro.row_driver)
    played = simulate_layer(layer_work(layer, placement, machine, driven=driven), machine)
    first = replace(geometry, input_size=(1, 1))
    array = placement.mapping.array
    work = layer_work(replace(layer, geometry=first), place(map_layer(first, array, "im2col"), layer.weight), machine)
    # The window without a bit passes through the converter behind the last burst of the first, 8 x 781 fs.
    following = (2 + 1) * 2 * 100 * NS + 8 * 781
    assert played.latency_fs == simulate_layer(work, machine).latency_fs + following
    assert (played.steps, played.array_steps) == (26, 2 * (13 + 0 + 2 + 1))
    assert vars(played.skipped_steps) == {"dense": 4 * 26, "weights": 4 * 26, "inputs": 32, "both": 32}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"adc_bits": 4},
            {},
            "skip_inputs: skipped inputs with an ADC of 4 bits: rows are read in other company in every step, which "
            "values must not depend on. Use --set tile.macro.adc.bits=5.",
        ),
        (
            {"encoding": "offset-inverted"},
            {},
            "skip_inputs: skipped inputs with columns inverted in units of 8 rows: rows are read in other company in "
            "every step, which values must not depend on. Use --set tile.macro.crossbar.encoding=offset.",
        ),
        (
            {"encoding": "polarised"},
            {},
            "skip_inputs: skipped inputs with a sign for each unit of 8 rows (encoding 'polarised'): rows are read in "
            "other company in every step, which values must not depend on. Leave skip_inputs out, or use --set "
            "tile.macro.crossbar.encoding=differential.",
        ),
        (
            {},
            {"batch": 2},
            "batch: batch=2 with skipped inputs: every image has zero bits of its own, and only the first is played. "
            "Leave batch out.",
        ),
    ],
)
def test_what_inputs_cannot_be_skipped_with(changes: dict[str, object], options: dict[str, int], message: str) -> None:
    machine = chip(active=(8, 8))
    adc = replace(machine.macro.adc, bits=changes.get("adc_bits", 8))  # type: ignore[arg-type]
    crossbar = replace(machine.crossbar, encoding=changes.get("encoding", "offset"))  # type: ignore[arg-type]
    machine = replace(machine, tile=replace(machine.tile, macro=replace(machine.macro, adc=adc, crossbar=crossbar)))
    geometry = Geometry("layer", 10, 4, (1, 1), (2, 1))
    layer = Layer(geometry, Precision(4, 2))
    placement = place(map_layer(geometry, ArrayShape(128, 128, 2, (8, 8)), "im2col"), None)
    driven = driven_rows(layer, placement, np.zeros((1, 10, 2, 1), dtype=np.int64), machine.macro.row_driver)
    with pytest.raises(SimulationError) as caught:
        simulate(Network("net", (layer,)), (placement,), machine, Options(**options), driven={"layer": driven})
    assert str(caught.value) == message


def test_inputs_can_be_skipped_where_one_sign_holds_for_the_whole_array() -> None:
    """Whatever rows of an array are read together then share it."""
    machine = chip(rows=32, active=(32, 8))
    crossbar = replace(machine.crossbar, encoding="polarised")
    check_input_skipping(replace(machine, tile=replace(machine.tile, macro=replace(machine.macro, crossbar=crossbar))))
