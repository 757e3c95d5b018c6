"""Figures say what the tables say, are legible, and are the same every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from figure_boxes import bar_tops, drawn_bars, overlaps
from matplotlib.figure import Figure

from pimsim.errors import ResultError
from pimsim.records.energy_figure import energy, largest
from pimsim.records.figures import draw_all
from pimsim.records.looks import style_context
from pimsim.records.tables import PlainTables, plain_tables
from pimsim.records.time_figures import BUSY, REST, latency, latency_parts, run_shares
from pimsim.records.use_figure import busy_over_time, utilisation
from pimsim.simulation.results import SimulationResult

Results = Callable[..., SimulationResult]


@pytest.mark.parametrize("layers", [1, 3, 9, 22])
@pytest.mark.parametrize("draw", [energy, latency, utilisation])
def test_no_text_overlaps(results: Results, layers: int, draw: Callable[[PlainTables], Figure]) -> None:
    with style_context("paper"):
        assert overlaps(draw(plain_tables(results(layers)))) == []


def test_energy_bars_are_the_layers_energies(result: SimulationResult) -> None:
    found = plain_tables(result)
    assert bar_tops(energy(found), 0) == pytest.approx([value / 1e6 for value in found["layers"]["energy_pj"]])  # in uJ


def test_latency_bars_are_the_layers_latencies(result: SimulationResult) -> None:
    found = plain_tables(result)
    assert bar_tops(latency(found), 0) == pytest.approx(
        [value / 1e3 for value in found["layers"]["latency_ns"]]
    )  # in us


def test_latency_is_split_as_an_average_array_saw_it(result: SimulationResult) -> None:
    parts = {name: values[0] for name, values in latency_parts(plain_tables(result)).items()}
    whole = 1024 * 800 + 1400
    assert parts[BUSY] == pytest.approx(whole / 2)
    assert parts["adc"] == pytest.approx(whole / 8)
    assert parts[REST] > 0
    assert sum(parts.values()) == pytest.approx(whole)


def test_layers_at_the_same_time_are_a_timeline(pipelined: SimulationResult) -> None:
    times, shares = latency(plain_tables(pipelined)).axes
    first, second = pipelined.layers[:2]
    drawn = drawn_bars(times)
    assert [left for left, *_ in drawn][:2] == pytest.approx([0, second.start_fs / 1e12])  # in ms
    ends = [left + width for left, _, width, _ in drawn][9:11]
    assert ends == pytest.approx([first.end_fs / 1e12, second.end_fs / 1e12])
    assert shares.get_xlim() == (0, 100)


def test_shares_of_the_run_count_every_image(pipelined: SimulationResult) -> None:
    shares = run_shares(plain_tables(pipelined))
    layer = pipelined.layers[0]
    assert shares[BUSY][0] == pytest.approx(4 * layer.latency_fs / 2 / pipelined.makespan_fs)
    assert shares["adc"][0] == pytest.approx(layer.latency_fs / 8 / pipelined.makespan_fs)


@pytest.mark.parametrize("draw", [energy, latency, utilisation])
def test_no_text_overlaps_where_layers_do(pipelined: SimulationResult, draw: Callable[[PlainTables], Figure]) -> None:
    with style_context("paper"):
        assert overlaps(draw(plain_tables(pipelined))) == []


def test_components_beyond_the_seven_largest_are_one(result: SimulationResult) -> None:
    parts = largest(plain_tables(result)["components"])
    assert [part.name for part in parts][-1] == "other"
    assert len(parts) == 8
    energies = plain_tables(result)["components"]["dynamic_energy_pj"]
    assert sum(part.dynamic_pj for part in parts) == pytest.approx(sum(energies))


def test_layers_one_after_another_show_their_own_fraction(result: SimulationResult) -> None:
    edges, fraction = busy_over_time(plain_tables(result), "adc")
    assert edges[0] == 0
    assert len(edges) == len(result.layers) + 1
    assert fraction == pytest.approx([0.6] * len(result.layers))


def test_layers_that_overlap_share_their_units(result: SimulationResult) -> None:
    first, second = result.layers[0], result.layers[1]
    half = first.latency_fs // 2
    moved = replace(second, start_fs=half, end_fs=half + second.latency_fs, busy_fs=dict.fromkeys(second.busy_fs, 0))
    edges, fraction = busy_over_time(plain_tables(replace(result, layers=(first, moved))), "array")
    assert edges == pytest.approx(np.array([0, 0.5, 1, 1.5]) * first.latency_fs / 1e6)
    assert fraction == pytest.approx([0.5, 0.25, 0.0])


def test_a_resource_that_nobody_uses_is_idle(result: SimulationResult) -> None:
    assert not busy_over_time(plain_tables(result), "router")[1].any()


@pytest.mark.slow
def test_figures_are_the_same_every_time(tmp_path: Path, results: Results) -> None:
    found = plain_tables(results(3))
    for name in ("a", "b"):
        draw_all(found, tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_paper_figures_embed_truetype_and_fit_a_column(tmp_path: Path, results: Results) -> None:
    (path, *_) = draw_all(plain_tables(results(3)), tmp_path, ("pdf",))
    text = path.read_bytes()
    assert b"/Type3" not in text
    assert b"/FontFile2" in text
    width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", text).group(1))  # type: ignore[union-attr]
    assert width == pytest.approx(3.5 * 72)


def test_drawing_leaves_the_users_settings_alone(tmp_path: Path, results: Results) -> None:
    before = dict(mpl.rcParams)
    draw_all(plain_tables(results(2)), tmp_path, ("svg",), "screen")
    assert dict(mpl.rcParams) == before


def test_a_run_that_takes_no_energy_can_be_drawn(tmp_path: Path, results: Results) -> None:
    free = results(2)
    layers = tuple(replace(layer, dynamic_energy_j={"adc": 0.0}) for layer in free.layers)
    components = (replace(free.components[0], dynamic_energy_j=0.0, static_energy_j=0.0),)
    assert len(draw_all(plain_tables(replace(free, layers=layers, components=components)), tmp_path, ("svg",))) == 3


def test_a_network_pruned_to_nothing_can_be_drawn(tmp_path: Path, results: Results) -> None:
    free = results(2)
    gone = {"start_fs": 0, "first_output_fs": 0, "end_fs": 0, "arrays": 0}
    empty: dict[str, dict[str, int]] = {"dynamic_energy_j": {}, "busy_fs": {}, "units": {}, "stall_fs": {}}
    layers = tuple(replace(layer, **gone, **empty) for layer in free.layers)  # type: ignore[arg-type]
    assert len(draw_all(plain_tables(replace(free, layers=layers, components=())), tmp_path, ("svg",))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "papr"}, "'papr': this is not a figure style. Did you mean 'paper'? Known: paper, screen."),
        ({"formats": ("gif",)}, "'gif': this is not a figure format. Known: pdf, svg, png."),
    ],
)
def test_an_unknown_choice_is_refused(tmp_path: Path, results: Results, options: dict, message: str) -> None:
    with pytest.raises(ResultError) as caught:
        draw_all(plain_tables(results(1)), tmp_path / "figures", **options)
    assert str(caught.value) == message
    assert not (tmp_path / "figures").exists()


def test_nothing_to_draw_is_refused(tmp_path: Path, results: Results) -> None:
    with pytest.raises(ResultError, match="a run without layers: there is nothing to draw"):
        draw_all(plain_tables(replace(results(1), layers=())), tmp_path)


def test_letters_beyond_the_embedded_font_are_drawn_all_the_same(
    tmp_path: Path, result: SimulationResult, recwarn: pytest.WarningsRecorder
) -> None:
    odd = replace(result, layers=(replace(result.layers[0], name="слой1"),))
    draw_all(plain_tables(odd), tmp_path, ("pdf", "png"))
    assert not [str(warning.message) for warning in recwarn if "missing from font" in str(warning.message)]
