"""Operation units against the explicit cell matrix: steps and conversions counted, outputs computed unit by unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_cases import BITS, Case, cases

from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.hardware.encodings import encode, input_steps, offset, slices
from pimsim.hardware.records import RESOLUTIONS
from pimsim.simulation import compiled, event
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.services import conversion_bits
from pimsim.simulation.work import layer_work


@given(cases())
@settings(max_examples=60, deadline=None)
def test_steps_and_conversions_are_those_of_the_cells(case: Case) -> None:
    work, units = layer_work(case.layer, case.placement, case.machine), case.units()
    result = simulate_layer(work, case.machine, event.play)
    assert simulate_layer(work, case.machine, compiled.play) == result
    reads = work.windows * work.input_steps
    assert case.placement.unit_steps == len(units)
    assert result.array_steps == reads * len(units)
    assert result.conversions == reads * sum(width for *_, width in units)
    assert result.counts.get("row_driver", 0) == reads * sum(len(rows) for _, rows, *_ in units)
    assert result.counts.get("crossbar", 0) == reads * sum(len(rows) * width for _, rows, _, width in units)
    # A weight is added once a read, however many units it is wide; then the sums of arrays with the same output.
    added = {(id(tile), tuple(rows), tuple(group)): len(group) for tile, rows, group, _ in units}
    columns = [tile.columns for tile in case.placement.tiles]
    outputs = {place for c in columns for place in zip(c.output.tolist(), c.a.tolist(), c.b.tolist(), strict=True)}
    merges = work.windows * (sum(map(len, columns)) - len(outputs))
    assert result.counts.get("output_register", 0) == reads * sum(added.values()) + merges


@given(cases(), st.integers(1, 6), st.sampled_from(RESOLUTIONS), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_outputs_are_those_of_the_units_one_after_another(
    case: Case, adc_bits: int, resolution: str, seed: int
) -> None:
    """Also where the converter clips, which depends on the rows that are read together, and where it stops early."""
    precision, mapping = case.layer.precision, case.placement.mapping
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    shape = 1, case.layer.geometry.in_channels, *case.layer.geometry.input_size
    inputs = np.random.default_rng(seed).integers(low, low + 2**precision.activation_bits, shape)
    adc = replace(case.machine.macro.adc, bits=adc_bits, resolution=resolution)
    chip_ = replace(case.machine, tile=replace(case.machine.tile, macro=replace(case.machine.macro, adc=adc)))
    most = max((len(rows) for _, rows, *_ in case.units()), default=1)
    read_out = ReadOut(case.machine.crossbar, case.machine.macro.row_driver, adc, "bit-serial", "plain")
    outputs, seen = CrossbarLayer(case.layer, case.placement, read_out).multiply(inputs)
    padded = mapping.pad_input(inputs.astype(np.int64))[0]
    expected, conversions = np.zeros(outputs.size, dtype=np.int64), 0
    factors = [s.factor for s in slices(case.encoding, BITS, 2)]
    done = set()
    for tile, rows, columns, width in case.units():
        conversions += (
            mapping.windows * len(input_steps(precision.activation_bits, 1, precision.activation_signed)) * width
        )
        if (id(tile), tuple(rows), tuple(columns)) in done:  # another unit of the same weights
            continue
        done.add((id(tile), tuple(rows), tuple(columns)))
        cells = mapping.cell_weights(tile, case.layer.weight)[np.ix_(rows, columns)]
        signs = np.where((cells < 0).any(axis=0), -1, 1) if case.encoding == "polarised" else 1
        stored = encode(cells, case.encoding, BITS, 2)
        limit = 2 ** conversion_bits(chip_, len(rows), most) - 1
        places = mapping.output_index(tile.columns)[:, columns]
        values = padded[mapping.window_pixels(tile.rows)[:, rows]]
        total = -offset(case.encoding, BITS) * values.sum(axis=1)[:, None] + np.zeros(places.shape, dtype=np.int64)
        for step in input_steps(precision.activation_bits, 1, precision.activation_signed):
            bits = (values >> step.shift) & 1
            for s, factor in enumerate(factors):
                total += step.factor * factor * signs * np.minimum(bits @ stored[:, :, s], limit)
        inside = places >= 0
        np.add.at(expected, places[inside], total[inside])
    np.testing.assert_array_equal(outputs.reshape(-1), expected)
    assert seen.conversions == conversions
