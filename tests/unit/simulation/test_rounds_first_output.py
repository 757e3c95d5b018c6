"""With fewer arrays than array tiles a window is complete only in the last round."""

from __future__ import annotations

import pytest

from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.loading import load_chip
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.work import layer_work

NS = 10**6
WINDOWS = 16


@pytest.mark.parametrize(("arrays", "rounds"), [(1, 4), (2, 2), (3, 2), (4, 1), (None, 1)])
def test_first_output_is_written_in_the_last_round(arrays: int | None, rounds: int) -> None:
    chip = load_chip("isaac-like-8b")
    per_weight = columns_per_weight(chip.crossbar.encoding, 8, chip.crossbar.cell_bits)
    layer = Layer(Geometry("four-row-tiles", 512, 4, (1, 1), (4, 4)), Precision(8, 8))
    placement = place(map_layer(layer.geometry, ArrayShape(128, 128, per_weight), "im2col"), None)

    result = simulate_layer(layer_work(layer, placement, chip, arrays=arrays), chip)

    # Every round plays all windows, one in 8 stages of 100 ns; nothing drains between rounds.
    interval = 800 * NS
    assert (result.rounds, result.interval_fs) == (rounds, interval)
    assert result.first_output_fs == result.fill_fs + (rounds - 1) * WINDOWS * interval
    assert result.end_fs == result.first_output_fs + (WINDOWS - 1) * interval
