"""Operation units against the explicit cell matrix: steps and conversions counted, outputs computed unit by unit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chip import chip

from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.hardware.encodings import columns_per_weight, encode, input_steps, offset, slices
from pimsim.hardware.records import Chip
from pimsim.mapping.layout import ArrayShape, ArrayTile
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.simulation import compiled, event
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.work import layer_work

BITS = 4


@dataclass(frozen=True)
class Case:
    machine: Chip
    layer: Layer
    placement: Placement
    compact: bool
    encoding: str

    @property
    def per_weight(self) -> int:
        return self.placement.mapping.array.columns_per_weight

    def units(self) -> list[tuple[ArrayTile, list[int], list[int], int]]:
        """Every read of a window: tile, rows, weight columns, physical columns; found by looking at the cells."""
        h, u = self.machine.crossbar.active_rows, self.machine.crossbar.active_columns
        together = max(1, u // self.per_weight)
        found = []
        for tile in self.placement.mapping.tiles:
            cells = self.placement.mapping.cell_weights(tile, self.layer.weight)
            for first in range(0, cells.shape[1], together):
                group = list(range(first, min(first + together, cells.shape[1])))
                rows = [r for r in range(len(cells)) if any(cells[r, c] != 0 for c in group)]
                aligned = [list(range(i, min(i + h, len(cells)))) for i in range(0, len(cells), h)]
                packed = [rows[i : i + h] for i in range(0, len(rows), h)]
                reads = packed if self.compact else [unit for unit in aligned if set(unit) & set(rows)]
                widths = [min(u, len(group) * self.per_weight - i) for i in range(0, len(group) * self.per_weight, u)]
                found += [(tile, read, group, width) for read in reads for width in widths]
        return found


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    geometry = Geometry(
        "layer",
        draw(st.integers(1, 5)),
        draw(st.integers(1, 6)),
        (draw(st.integers(1, 3)), 2),
        (4, 4),
        padding=(1, 0, 0, 1),
    )
    encoding = draw(st.sampled_from(["offset", "differential", "twos-complement"]))
    per_weight = columns_per_weight(encoding, BITS, 2)
    rows, columns = draw(st.sampled_from([7, 12])), per_weight * draw(st.integers(1, 4)) + draw(st.integers(0, 1))
    unit = draw(st.sampled_from([1, 3, rows])), draw(st.sampled_from([1, min(3, columns), columns]))
    weight = rng.integers(-8, 8, geometry.weight_shape) * (
        rng.random(geometry.weight_shape) < draw(st.sampled_from([0.1, 0.4]))
    )
    layer = Layer(geometry, Precision(BITS, draw(st.integers(1, 3)), draw(st.booleans())), weight)
    mapping = map_layer(geometry, ArrayShape(rows, columns, per_weight, unit), draw(st.sampled_from(["im2col", "sdk"])))
    compact = draw(st.booleans())
    machine = chip(rows=rows, columns=columns, active=unit, discipline=draw(st.sampled_from(["pipelined", "serial"])))
    crossbar = replace(machine.crossbar, encoding=encoding)
    machine = replace(machine, tile=replace(machine.tile, macro=replace(machine.macro, crossbar=crossbar)))
    return Case(machine, layer, place(mapping, weight, "ou", compact=compact), compact, encoding)


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


@given(cases(), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_outputs_are_those_of_the_units_one_after_another(case: Case, adc_bits: int, seed: int) -> None:
    """Also where the converter clips, which depends on the rows that are read together."""
    precision, mapping = case.layer.precision, case.placement.mapping
    low = -(2 ** (precision.activation_bits - 1)) if precision.activation_signed else 0
    shape = 1, case.layer.geometry.in_channels, *case.layer.geometry.input_size
    inputs = np.random.default_rng(seed).integers(low, low + 2**precision.activation_bits, shape)
    adc = replace(case.machine.macro.adc, bits=adc_bits)
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
        stored = encode(mapping.cell_weights(tile, case.layer.weight)[np.ix_(rows, columns)], case.encoding, BITS, 2)
        places = mapping.output_index(tile.columns)[:, columns]
        values = padded[mapping.window_pixels(tile.rows)[:, rows]]
        total = -offset(case.encoding, BITS) * values.sum(axis=1)[:, None] + np.zeros(places.shape, dtype=np.int64)
        for step in input_steps(precision.activation_bits, 1, precision.activation_signed):
            bits = (values >> step.shift) & 1
            for s, factor in enumerate(factors):
                total += step.factor * factor * np.minimum(bits @ stored[:, :, s], 2**adc_bits - 1)
        inside = places >= 0
        np.add.at(expected, places[inside], total[inside])
    np.testing.assert_array_equal(outputs.reshape(-1), expected)
    assert seen.conversions == conversions
