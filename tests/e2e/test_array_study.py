"""``pimsim arrays``: a small study against its witnesses, its files, and what is wrong with a study file."""

from __future__ import annotations

import csv
import json
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from pimsim import api
from pimsim.api.array_study import ARRAY_PARTS, array_area_m2, formula_energy_j, sized_chip
from pimsim.api.mapping import array_of_chip
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.simulation.costs import dynamic_energy_j
from pimsim.simulation.network import simulate_layer
from pimsim.simulation.work import layer_work

TABLE = """\
name: tiny
layers:
  - {name: conv, k: 3, ic: 8, oc: 24, in: 6, pad: 1}
  - {name: dw, k: 3, ic: 24, oc: 24, in: 6, pad: 1, groups: 3}
  - {name: fc, kind: linear, in_features: 96, out_features: 10, from: dw, pool: 3}
"""
STUDY = """\
name: small
source: a test
hardware: pim-prune
sizes: [16, 32, 64]
aspects: ["1:1", "1:2"]
networks:
  - {name: Tiny, shapes: tiny.yaml, keep: [0.5, 1/4]}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TABLE)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def test_points_of_a_small_study(study: Path) -> None:
    found = api.study_arrays(study)
    assert [(p.rows, p.columns) for p in found.points[::3]] == [(16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]
    for point in found.points:
        shapes = [(1, 72, 24), (3, 72, 8), (1, 96, 10)]
        dense = sum(g * ceil(h / point.rows) * ceil(m / point.columns) for g, h, m in shapes)
        assert point.dense_arrays == dense
        assert point.bound == dense / 3
        assert point.compression == dense / point.occupied_arrays <= point.bound or point.occupied_arrays < 5
        assert point.adc_bits == (3 * point.rows).bit_length() - 1
        assert point.nonempty_blocks <= dense
        if point.keep == 1:
            assert (point.compression, point.kept_energy, point.index_bits, point.index_energy_j) == (1, 1, 0, 0)
        else:
            assert point.keep - 0.02 < point.kept_energy < 1
            assert point.index_bits > 0
        # Arrays that are not full are driven and converted less than the formula says.
        assert 0.2 * point.formula_j < point.array_energy_j <= point.formula_j
        assert point.array_energy_j + point.index_energy_j < point.energy_j
    by_size = {(p.rows, p.columns, p.keep): p for p in found.points}
    assert by_size[16, 16, 0.25].compression > by_size[64, 64, 0.25].compression
    assert by_size[16, 16, 0.25].cell_share < by_size[64, 64, 0.25].cell_share
    assert found.sweet_spots[0].energy_j == min(p.energy_j for p in found.points if p.keep == 1)


@pytest.mark.parametrize("shape", [(16, 16), (32, 64), (64, 32)])
def test_formula_and_engine_agree_on_full_arrays(shape: tuple[int, int]) -> None:
    """H and M fill the arrays: the simulated energy at the arrays is the formula's, and the study's that of the run."""
    chip = sized_chip("pim-prune", shape)
    geometry = Geometry("layer", 64, 64, (1, 1), (3, 3))
    layer = Layer(geometry, Precision(chip.weight_bits, chip.activation_bits))
    work = layer_work(layer, place(map_layer(geometry, array_of_chip(chip, 8), "im2col"), None), chip)
    energy = dynamic_energy_j(simulate_layer(work, chip).counts, chip)
    assert sum(energy[name] for name in ARRAY_PARTS) == pytest.approx(formula_energy_j(work, chip), rel=1e-12)
    macro, rows, columns = chip.macro, *shape
    arrays = 64 // rows * 64 * 4 // columns
    read = rows * macro.row_driver.energy_j + rows * columns * macro.crossbar.cell_read_energy_j
    read += columns * (macro.adc.energy_j + macro.sample_hold.energy_j + macro.shift_add.energy_j)
    assert formula_energy_j(work, chip) == pytest.approx(9 * 8 * arrays * read, rel=1e-12)


def test_area_at_an_array_is_that_of_the_preset() -> None:
    """ISAAC's table: 128 drivers, 128 holds, one 1200 um2 converter and half a shift-add beside 25 um2 of cells."""
    whole, cells = array_area_m2(sized_chip("pim-prune", (128, 128)))
    assert cells == pytest.approx(25e-12)
    assert whole == pytest.approx((25 + 128 * 0.166015625 + 128 * 0.0390625 + 1200 + 60 / 2) * 1e-12)


def test_the_command_writes_table_and_figure(pimsim: Any, study: Path, tmp_path: Path) -> None:
    done = pimsim("arrays", study, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "Tiny, keep 0.25:" in done.out
    with (tmp_path / "out/small.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = json.loads(pimsim("arrays", study, "--json").out)
    assert len(rows) == len(found["points"]) == 15
    assert int(rows[4]["occupied_arrays"]) == found["points"][4]["occupied_arrays"]
    assert (tmp_path / "out/small.png").stat().st_size > 10_000
    assert pimsim("validate", study).code == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hardware:", "hardwear:", "study.yaml:3: key 'hardwear': unknown key. Did you mean 'hardware'?"),
        ("sizes: [16, 32, 64]", "sizes: 16", "study.yaml:4: sizes: 16: an array study needs a list of sizes."),
        ("sizes: [16, 32, 64]", "sizes: [0]", "study.yaml:4: sizes=0: 'sizes' must be N"),
        ("1:2", "2", "study.yaml:5: aspects: '2': an aspect ratio is ROWS:COLUMNS. Write it in quotes, like '4:1'."),
        ('["1:1", "1:2"]', '["1:7"]', "study.yaml:5: sizes and aspects: no two sizes have such a ratio."),
        ("tiny.yaml", "tin.yaml", "there is no such file. Check the path."),
        ("[0.5, 1/4]", "0.5", "study.yaml:7: keep: 0.5: a list of shares is needed. Write it like [0.5, 1/4]."),
        ("1/4", "1.0", "keep: 1.0: a share is above 0 and below 1"),
        ("1/4", "few", "study.yaml:7: keep 'few': a share is a number from 0 to 1. Write it like 0.25 or 1/4."),
        ("shapes: tiny.yaml, ", "", "a network is a shape table, or a module with a checkpoint."),
        ("source: a test", "mode: both", "study.yaml:2: mode 'both': unknown mode. Did you mean 'best'? Known:"),
    ],
)
def test_a_study_that_cannot_be_says_where(pimsim: Any, study: Path, old: str, new: str, message: str) -> None:
    assert old in STUDY
    study.write_text(STUDY.replace(old, new))
    done = pimsim("arrays", study)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
