"""Random layers on random small arrays with operation units, their zeros skipped; reads found by looking at cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from polarised_weights import held
from small_chip import chip

from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayShape, ArrayTile
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.mapping.slice_skipping import Slicing
from pimsim.network.layers import Geometry, Layer, Precision

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
def cases(draw: st.DrawFn, skip: str = "ou") -> Case:
    """Layers placed with ``ou``, or with ``slice`` on encodings and operation units that it takes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    geometry = Geometry(
        "layer",
        draw(st.integers(1, 5)),
        draw(st.integers(1, 6)),
        (draw(st.integers(1, 3)), 2),
        (4, 4),
        padding=(1, 0, 0, 1),
    )
    encodings = ["offset", "differential", "twos-complement", "polarised"]
    encoding = draw(st.sampled_from(encodings if skip == "ou" else encodings[1:]))
    per_weight = columns_per_weight(encoding, BITS, 2)
    rows, columns = draw(st.sampled_from([7, 12])), per_weight * draw(st.integers(1, 4)) + draw(st.integers(0, 1))
    widths = [1, min(3, columns), columns] if skip == "ou" else [per_weight, min(2 * per_weight, columns), columns]
    unit = draw(st.sampled_from([1, 3, rows])), draw(st.sampled_from(widths))
    weight = rng.integers(-8, 8, geometry.weight_shape) * (
        rng.random(geometry.weight_shape) < draw(st.sampled_from([0.1, 0.4]))
    )
    weight = held(weight, encoding, BITS)
    layer = Layer(geometry, Precision(BITS, draw(st.integers(1, 3)), draw(st.booleans())), weight)
    mapping = map_layer(geometry, ArrayShape(rows, columns, per_weight, unit), draw(st.sampled_from(["im2col", "sdk"])))
    compact = draw(st.booleans())
    machine = chip(rows=rows, columns=columns, active=unit, discipline=draw(st.sampled_from(["pipelined", "serial"])))
    crossbar = replace(machine.crossbar, encoding=encoding)
    machine = replace(machine, tile=replace(machine.tile, macro=replace(machine.macro, crossbar=crossbar)))
    placement = place(mapping, weight, skip, compact=compact, slicing=Slicing(encoding, BITS, 2))
    return Case(machine, layer, placement, compact, encoding)
