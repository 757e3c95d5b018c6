"""Operation units that repeat others: read once, used often; counted at the cells, computed by the sources."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chip import chip

from pimsim.errors import MappingError, SimulationError
from pimsim.functional.activity import activity
from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.functional.repeating import program_arrays
from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.repeat_skipping import pattern_bits
from pimsim.mapping.repeats import Repeats
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.pruning import prap
from pimsim.simulation import compiled, event
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.work import layer_work

BITS = 12  # 4-bit patterns with 8 fraction bits


@dataclass(frozen=True)
class Case:
    machine: Chip
    layer: Layer
    placement: Placement


def machine_of(unit: tuple[int, int], rows: int, columns: int, discipline: str = "pipelined") -> Chip:
    machine = chip(rows=rows, columns=columns, active=unit, discipline=discipline)
    crossbar = replace(machine.crossbar, cell_bits=1, encoding="twos-complement")
    adc = replace(machine.macro.adc, bits=8)
    return replace(machine, tile=replace(machine.tile, macro=replace(machine.macro, crossbar=crossbar, adc=adc)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A layer whose weights were projected by PRAP-PIM, on arrays for what is stored of them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel, kept = draw(st.sampled_from([(3, 8.0), (3, 4.0), (3, 2.0), (1, 1.0), (2, 2.0)]))
    channels = int(8 / kept) * draw(st.integers(1, 2)) + draw(st.integers(0, 1))
    geometry = Geometry("layer", channels, draw(st.integers(2, 7)), (kernel, kernel), (4, 4), padding=(1, 0, 0, 1))
    weight = rng.normal(size=geometry.weight_shape)
    reuse = prap.similar_reuse(weight, 0.5, int(8 / kept), prap.shape_mask(weight, kept), weight_bits=4)
    codes = reuse.project_codes(prap.fine_codes(weight, 4)[0]) * draw(st.sampled_from([0, 1, 1, 1]))
    layer = Layer(geometry, Precision(BITS, draw(st.integers(1, 3)), draw(st.booleans())), codes)
    unit = draw(st.sampled_from([4, 8])), draw(st.sampled_from([4, 8, 9]))
    bits = pattern_bits(codes, BITS, unit[0])
    per_weight = columns_per_weight("twos-complement", bits, 1)
    rows, columns = draw(st.sampled_from([20, 32])), max(unit[1], per_weight) * draw(st.integers(1, 3))
    machine = machine_of(unit, rows, columns, draw(st.sampled_from(["pipelined", "serial"])))
    mapping = map_layer(geometry, ArrayShape(rows, columns, per_weight, unit), draw(st.sampled_from(["im2col", "sdk"])))
    return Case(machine, layer, place(mapping, codes, "repeat", stored_bits=bits))


def odd_units(case: Case) -> dict[tuple[int, int], list[tuple[int, int, bytes, np.ndarray]]]:
    """By set of arrays and row block: tile, column group, odd weights and shifts of every unit that is not zero."""
    mapping, found = case.placement.mapping, defaultdict(list)
    weights = mapping.array.weights_per_group
    used = {(t.block, t.row_tile, t.column_tile): t for t in case.placement.tiles}
    for number, tile in enumerate(mapping.tiles):
        kept = used.get((tile.block, tile.row_tile, tile.column_tile))
        if kept is None:
            continue
        assert kept.repeats is not None
        cells = mapping.cell_weights(tile, case.layer.weight)
        for block in range(int(kept.repeats.shared.row_block.max()) + 1):
            rows = np.flatnonzero(kept.repeats.shared.row_block == block)
            for group in range(-(-cells.shape[1] // weights)):
                unit = cells[rows, group * weights : (group + 1) * weights]
                if unit.any():
                    powers = [int(np.gcd.reduce(column)) for column in unit.T]
                    shifts = np.array([(p & -p).bit_length() - 1 if p else 0 for p in powers])
                    odd = np.pad(unit >> shifts, ((0, 0), (0, weights - unit.shape[1])))
                    found[id(kept.repeats.shared), block].append((number, group, odd.tobytes(), shifts))
    return found


def bitmap_bits(repeats: Repeats) -> int:
    """A bitmap of the block's rows and a byte of run length for each set of rows that units drive, where one is not
    whole; a byte of source, and one of shift where any result is shifted, for every unit where any is a copy."""
    bits = 0
    for block in range(len(repeats.source)):
        marks = repeats.marks[repeats.row_block == block].T.tolist()
        sets = {tuple(column) for column in marks if any(column)}
        if any(not all(one) for one in sets):
            bits += len(sets) * (len(marks[0]) + 8)
    copies = int(repeats.is_copy.any()) * (1 + int(repeats.is_shifted.any()))
    return bits + 8 * copies * repeats.source.size


@given(cases())
@settings(max_examples=60, deadline=None)
def test_reads_copies_and_traffic_are_those_of_the_cells(case: Case) -> None:
    work = layer_work(case.layer, case.placement, case.machine)
    result = simulate_layer(work, case.machine, event.play)
    assert simulate_layer(work, case.machine, compiled.play) == result
    units = odd_units(case)
    total = sum(map(len, units.values()))
    classes = sum(len({odd for _, _, odd, _ in members}) for members in units.values())
    shared = {id(t.repeats.shared): t.repeats.shared for t in case.placement.tiles if t.repeats is not None}
    reads = sum(one.units_read for one in shared.values())
    # One read for each class; an array whose units would all be copies has one more.
    assert classes <= reads <= classes + len(case.placement.tiles)
    assert case.placement.unit_steps == reads * case.placement.mapping.array.units_per_group
    assert result.array_steps == work.windows * work.input_steps * case.placement.unit_steps
    assert case.placement.index_bits == sum(map(bitmap_bits, shared.values()))
    none = place(case.placement.mapping, case.layer.weight, "ou")
    assert sum(int(one.is_copy.sum()) for one in shared.values()) == total - reads
    if case.placement.mapping.array.weights_per_group == 1 and len(work.rounds[0].arrays):
        without = simulate_layer(layer_work(case.layer, none, case.machine), case.machine)
        joins = without.counts.get("tile_shift_add", 0)
        assert result.counts.get("tile_shift_add", 0) == joins + work.windows * (total - reads)


@given(cases(), st.integers(0, 2**32 - 1), st.sampled_from(["auto", "bit-serial"]))
@settings(max_examples=60, deadline=None)
def test_outputs_are_those_of_the_reference_and_follow_the_sources(case: Case, seed: int, exact: str) -> None:
    precision, geometry = case.layer.precision, case.layer.geometry
    rng = np.random.default_rng(seed)
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    inputs = rng.integers(low, low + 2**precision.activation_bits, (2, geometry.in_channels, *geometry.input_size))
    read_out = ReadOut(case.machine.crossbar, case.machine.macro.row_driver, case.machine.macro.adc, exact)
    on_arrays = CrossbarLayer(case.layer, case.placement, read_out)
    outputs, seen = on_arrays.multiply(inputs)
    np.testing.assert_array_equal(outputs, reference_convolution(case.layer, inputs))
    reads = case.placement.mapping.windows * len(on_arrays.steps) * len(inputs)
    per_weight = case.placement.mapping.array.columns_per_weight
    widths = [
        int(t.group_reads(t.kept.weights, case.machine.crossbar.active_rows) @ t_widths(t))
        for t in case.placement.tiles
        if t.kept is not None
    ]
    assert seen.conversions == reads * sum(widths) * per_weight
    measured = activity(case.layer, case.placement, inputs, case.machine.crossbar, case.machine.macro.row_driver)
    assert len(measured.tiles) == len(case.placement.tiles)


def t_widths(tile):
    groups = -(-len(tile.columns) // tile.kept.weights)
    return np.minimum(tile.kept.weights, len(tile.columns) - tile.kept.weights * np.arange(groups))


def two_outputs() -> tuple[Layer, Placement]:
    """Output 1 is four times output 0."""
    weight = np.array([[1, -2, 3], [4, -8, 12]]).reshape(2, 3, 1, 1)
    geometry = Geometry("layer", 3, 2, (1, 1), (2, 2))
    mapping = map_layer(geometry, ArrayShape(8, 16, 8, (8, 8)), "im2col")
    return Layer(geometry, Precision(8, 2, False), weight), place(mapping, weight, "repeat", stored_bits=8)


def test_a_copy_is_computed_from_the_cells_of_its_source() -> None:
    layer, placement = two_outputs()
    other = replace(layer, weight=layer.weight + np.array([0, 100]).reshape(2, 1, 1, 1))
    machine = machine_of((8, 8), 8, 16)
    read_out = ReadOut(machine.crossbar, machine.macro.row_driver, machine.macro.adc)
    inputs = np.arange(12).reshape(1, 3, 2, 2) % 4
    expected = reference_convolution(layer, inputs)
    # The second output's own weights are stored nowhere: changing them changes nothing.
    found = CrossbarLayer(other, placement, read_out).multiply(inputs)[0]
    np.testing.assert_array_equal(found, expected)
    (stored,) = program_arrays(placement.mapping, placement.tiles, layer.weight, 8, machine.crossbar)
    assert len(stored.columns) == 1


def test_one_copy_costs_a_shift_an_addition_and_its_partial_sums() -> None:
    layer, placement = two_outputs()
    machine = machine_of((8, 8), 8, 16)
    result = simulate_layer(layer_work(layer, placement, machine), machine)
    windows, steps = 4, 2
    assert result.array_steps == windows * steps
    assert result.counts["tile_shift_add"] == windows
    # The unit's own updates; the copy's; and 16 bits written and read where 8 were enough without the shift.
    assert result.counts["output_register"] == windows * (steps + 1 + 2 + 2)
    assert result.index_bits == 2 * 16  # source and shift of both units


def test_repeats_need_weights_and_enough_bits() -> None:
    layer, placement = two_outputs()
    with pytest.raises(
        MappingError, match=r"layer: skip 'repeat' without weights: .* Give a checkpoint, or use skip 'ou'"
    ):
        place(placement.mapping, None, "repeat")
    with pytest.raises(
        MappingError, match=r"weights that need 3 bits in an operation unit: the array is laid out for 2"
    ):
        place(placement.mapping, layer.weight, "repeat", stored_bits=2)


def test_arrays_that_take_turns_are_refused() -> None:
    weight = np.ones((4, 3, 1, 1), dtype=np.int64)
    geometry = Geometry("layer", 3, 4, (1, 1), (2, 2))
    layer = Layer(geometry, Precision(8, 2, False), weight)
    placement = place(map_layer(geometry, ArrayShape(8, 16, 8, (8, 8)), "im2col"), weight, "repeat")
    with pytest.raises(SimulationError, match=r"arrays=1 for a layer of 2 .*: a result .* would have to wait"):
        layer_work(layer, placement, machine_of((8, 8), 8, 16), arrays=1)


@pytest.mark.parametrize(("kept", "rows"), [(16, 128), (8, 128), (4, 64), (1, 8)])
def test_conversions_of_an_array_are_those_of_the_authors_formula(kept: int, rows: int) -> None:
    """Where its averages are whole: the first ``kept`` of 16 outputs are stored, ``rows`` of 128 inputs are used."""
    rng = np.random.default_rng(1)
    weight = 2 * rng.integers(0, 32, (16, 128, 1, 1)) + 1
    weight[:, rows:] = 0
    for output in range(kept, 16):
        weight[output] = weight[output % kept] * 2 ** (output % 2 if kept < 8 else 1)
    geometry = Geometry("layer", 128, 16, (1, 1), (3, 1))
    layer = Layer(geometry, Precision(8, 8, False), weight)
    machine = load_chip("prap", {"timing.discipline": "serial-sum"})
    mapping = map_layer(geometry, ArrayShape(128, 128, 8, (8, 8)), "im2col")
    result = simulate_layer(
        layer_work(layer, place(mapping, weight, "repeat", stored_bits=8), machine), machine, compiled.play
    )
    formula = prap.busiest_conversions(128, 128, rows / 128, kept / 16)
    assert result.conversions == 3 * formula
    # Each conversion drives, reads, converts, shifts and adds again: nothing overlaps.
    assert result.busy_fs["array"] == result.conversions * (2_500_000 + 3_160_000 + 6_666_667 + 833_333)
