"""Figures say what the tables say, are legible, and are the same every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from pimsim.errors import ResultError
from pimsim.records.figures import busy_over_time, draw_all, energy, latency, latency_parts, style_context, utilisation
from pimsim.records.tables import Tables, tables
from pimsim.simulation.results import SimulationResult

Results = Callable[..., SimulationResult]


def bar_tops(figure: Figure, axes: int) -> list[float]:
    """Heights of the stacked bars of one panel."""
    tops: dict[float, float] = {}
    for bar in figure.axes[axes].patches:
        middle = bar.get_x() + bar.get_width() / 2
        tops[middle] = max(tops.get(middle, 0.0), bar.get_y() + bar.get_height())
    return [tops[place] for place in sorted(tops)]


def boxes(figure: Figure) -> list[tuple[str, object]]:
    """Every visible text with its box on the page."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in texts if in_view(t)]


def in_view(text: Text) -> bool:
    """Tick labels beyond the limits of their axis are never drawn."""
    axes = text.axes
    if axes is None or text not in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        return True
    along_x = text in axes.get_xticklabels()
    low, high = sorted(axes.get_xlim() if along_x else axes.get_ylim())
    return low <= text.get_position()[0 if along_x else 1] <= high


@pytest.mark.parametrize("layers", [1, 3, 9, 22])
@pytest.mark.parametrize("draw", [energy, latency, utilisation])
def test_no_text_overlaps(results: Results, layers: int, draw: Callable[[Tables], Figure]) -> None:
    with style_context("paper"):
        found = boxes(draw(tables(results(layers))))
        for i, (first, box) in enumerate(found):
            for second, other in found[i + 1 :]:
                shrunk = box.padded(-1.5)  # type: ignore[attr-defined]
                assert not shrunk.overlaps(other.padded(-1.5)), (first, second)  # type: ignore[attr-defined]


def test_energy_bars_are_the_layers_energies(result: SimulationResult) -> None:
    found = tables(result)
    assert bar_tops(energy(found), 0) == pytest.approx(list(found.layers["energy_pj"] / 1e6))  # in uJ


def test_latency_bars_are_the_layers_latencies(result: SimulationResult) -> None:
    found = tables(result)
    assert bar_tops(latency(found), 0) == pytest.approx(list(found.layers["latency_ns"] / 1e3))  # in us


def test_latency_is_split_as_an_average_array_saw_it(result: SimulationResult) -> None:
    parts = latency_parts(tables(result)).loc["conv1"]
    whole = 1024 * 800 + 1400
    assert parts["array busy"] == pytest.approx(whole / 2)
    assert parts["adc"] == pytest.approx(whole / 8)
    assert parts.sum() == pytest.approx(whole)


def test_layers_one_after_another_show_their_own_fraction(result: SimulationResult) -> None:
    edges, fraction = busy_over_time(tables(result), "adc")
    assert edges[0] == 0
    assert len(edges) == len(result.layers) + 1
    assert fraction == pytest.approx([0.6] * len(result.layers))


def test_layers_that_overlap_share_their_units(result: SimulationResult) -> None:
    first, second = result.layers[0], result.layers[1]
    half = first.latency_fs // 2
    moved = replace(second, start_fs=half, end_fs=half + second.latency_fs, busy_fs=dict.fromkeys(second.busy_fs, 0))
    edges, fraction = busy_over_time(tables(replace(result, layers=(first, moved))), "array")
    assert edges == pytest.approx(np.array([0, 0.5, 1, 1.5]) * first.latency_fs / 1e6)
    assert fraction == pytest.approx([0.5, 0.25, 0.0])


def test_a_resource_that_nobody_uses_is_idle(result: SimulationResult) -> None:
    assert not busy_over_time(tables(result), "router")[1].any()


@pytest.mark.slow
def test_figures_are_the_same_every_time(tmp_path: Path, results: Results) -> None:
    found = tables(results(3))
    for name in ("a", "b"):
        draw_all(found, tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_paper_figures_embed_truetype_and_fit_a_column(tmp_path: Path, results: Results) -> None:
    (path, *_) = draw_all(tables(results(3)), tmp_path, ("pdf",))
    text = path.read_bytes()
    assert b"/Type3" not in text
    assert b"/FontFile2" in text
    width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", text).group(1))  # type: ignore[union-attr]
    assert width == pytest.approx(3.5 * 72)


def test_drawing_leaves_the_users_settings_alone(tmp_path: Path, results: Results) -> None:
    before = dict(mpl.rcParams)
    draw_all(tables(results(2)), tmp_path, ("svg",), "screen")
    assert dict(mpl.rcParams) == before


def test_a_run_that_takes_no_energy_can_be_drawn(tmp_path: Path, results: Results) -> None:
    free = results(2)
    layers = tuple(replace(layer, dynamic_energy_j={"adc": 0.0}) for layer in free.layers)
    components = (replace(free.components[0], dynamic_energy_j=0.0, static_energy_j=0.0),)
    assert len(draw_all(tables(replace(free, layers=layers, components=components)), tmp_path, ("svg",))) == 3


def test_a_network_pruned_to_nothing_can_be_drawn(tmp_path: Path, results: Results) -> None:
    free = results(2)
    gone = {"start_fs": 0, "first_output_fs": 0, "end_fs": 0, "arrays": 0}
    empty: dict[str, dict[str, int]] = {"dynamic_energy_j": {}, "busy_fs": {}, "units": {}, "stall_fs": {}}
    layers = tuple(replace(layer, **gone, **empty) for layer in free.layers)  # type: ignore[arg-type]
    assert len(draw_all(tables(replace(free, layers=layers, components=())), tmp_path, ("svg",))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "papr"}, "'papr': this is not a figure style. Did you mean 'paper'? Known: paper, screen."),
        ({"formats": ("gif",)}, "'gif': this is not a figure format. Known: pdf, svg, png."),
    ],
)
def test_an_unknown_choice_is_refused(tmp_path: Path, results: Results, options: dict, message: str) -> None:
    with pytest.raises(ResultError) as caught:
        draw_all(tables(results(1)), tmp_path / "figures", **options)
    assert str(caught.value) == message
    assert not (tmp_path / "figures").exists()


def test_nothing_to_draw_is_refused(tmp_path: Path, results: Results) -> None:
    with pytest.raises(ResultError, match="a run without layers: there is nothing to draw"):
        draw_all(tables(replace(results(1), layers=())), tmp_path)
