"""Figures of a comparison: bars are the numbers, texts can be read, and greyscale tells everything apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pytest
from figure_boxes import drawn_bars, overlaps
from made_outcomes import make_outcome
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from pimsim.records.looks import style_context
from pimsim.records.method_figures import SMALLEST, draw_methods
from pimsim.records.outcomes import Outcome
from pimsim.records.pareto_figure import accuracy_against_rows, pareto_front
from pimsim.records.skip_figure import method_looks, skip_ratios
from pimsim.records.waterfall_figure import savings, waterfall


def zoo(count: int = 13) -> list[Outcome]:
    names = ("pairs", "patdnn", "random", "garos", "row")
    made = []
    for place in range(count):
        method, entries = names[place % 5], (8, 6, 4)[place // 5]
        skipped, accuracy = 20 + 11 * place, 0.86 - 0.004 * place - 0.001 * (place % 3)
        made.append(
            make_outcome(f"{method}{entries}", skipped, 30 * place + 40, entries=entries, method=method, top1=accuracy)
        )
    return made


@pytest.mark.parametrize("count", [1, 4, 13])
def test_no_text_overlaps(count: int) -> None:
    dense, outcomes = make_outcome(top1=0.87), zoo(count)
    with style_context("paper"):
        for figure in (skip_ratios(outcomes), waterfall(outcomes, dense), accuracy_against_rows([dense, *outcomes])):
            assert overlaps(figure) == []


def test_skip_bars_are_the_skip_ratios_in_groups_of_entries() -> None:
    outcomes = zoo(7)
    with style_context("paper"):
        (axes,) = skip_ratios(outcomes).axes
    assert [height for *_, height in drawn_bars(axes)] == pytest.approx([100 * o.skip_ratio for o in outcomes])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["8", "6"]


def test_a_long_legend_leaves_the_bars_their_height() -> None:
    names = [f"a method with a long name, number {place}" for place in range(10)]
    heights = []
    for outcomes in (zoo(1), [make_outcome(name, 30, 60, method=name) for name in names]):
        with style_context("paper"):
            figure = skip_ratios(outcomes)
            figure.draw_without_rendering()
        heights.append(figure.axes[0].get_window_extent().height)
        assert overlaps(figure) == []
    assert heights[1] > 0.8 * heights[0]


def test_the_front_is_what_nothing_beats() -> None:
    points = {"a": (0, 0.9), "b": (100, 0.8), "c": (100, 0.85), "d": (200, 0.7), "e": (150, 0.6), "f": (0, 0.9)}
    outcomes = [make_outcome(label, skipped, top1=top1) for label, (skipped, top1) in points.items()]
    by_hand = [
        o for o in outcomes
        if not any(p is not o and p.skip_ratio >= o.skip_ratio and p.top1 >= o.top1
                   and (p.skip_ratio, p.top1) != (o.skip_ratio, o.top1) for p in outcomes)
    ]  # fmt: skip
    assert [o.label for o in pareto_front(outcomes)] == ["a", "f", "c", "d"]
    assert {o.label for o in by_hand} == {"a", "f", "c", "d"}


def test_masks_without_training_lie_on_no_front_with_trained_networks() -> None:
    dense, trained = make_outcome("dense", 0, top1=0.9), make_outcome("trained", 100, top1=0.8)
    masks = [
        replace(make_outcome(name, rows, top1=top1), training="mask only")
        for name, rows, top1 in (("much", 300, 0.2), ("good", 100, 0.85))
    ]
    assert [o.label for o in pareto_front([dense, trained, *masks])] == ["dense", "trained"]
    # Alone, or beside the dense network only, they have one of their own.
    assert [o.label for o in pareto_front([dense, *masks])] == ["dense", "good", "much"]


def test_the_waterfall_goes_from_weights_to_time() -> None:
    dense, pruned = make_outcome(rounds=2), make_outcome("p", 100, 500)
    # 500 of 2,000 weights, 100 of 500 rows, a quarter of the cycles of one of two equal layers, none, half the rounds.
    assert savings(pruned, dense) == pytest.approx((0.25, 0.2, 0.125, 0.0, 0.5))
    assert savings(pruned, None) == (*savings(pruned, dense)[:4], None)
    with style_context("paper"):
        (axes,) = waterfall([pruned], dense).axes
    assert [height for *_, height in drawn_bars(axes)] == pytest.approx([25, 20, 12.5, 0, 50])


def test_every_text_can_be_read_in_print_and_files_are_undated(tmp_path: Path) -> None:
    dense = make_outcome(top1=0.87)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files = draw_methods([dense, *zoo()], dense, tmp_path / folder, "zoo", ("pdf", "svg", "png"))
        assert len(files) == 9
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert mpl.rcParams["xtick.labelsize"] != SMALLEST  # the user's own settings are back


@pytest.mark.parametrize("kind", ["skip", "accuracy", "waterfall"])
def test_no_text_is_small(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes: list[tuple[float, float]] = []

    def watch(figure, path):  # type: ignore[no-untyped-def]
        if kind in path.name:
            texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
            sizes.extend((text.get_fontsize(), figure.get_figwidth()) for text in texts)
        return path

    monkeypatch.setattr("pimsim.records.method_figures.save_figure", watch)
    dense = make_outcome(top1=0.87)
    draw_methods([dense, *zoo()], dense, tmp_path, "zoo", ("pdf",))
    assert sizes and min(size for size, _ in sizes) >= SMALLEST
    assert {width for _, width in sizes} <= {3.5, 7.16}


def test_looks_differ_in_greyscale() -> None:
    looks = method_looks([f"m{i}" for i in range(14)])
    assert len(set(looks.values())) == 14
    for (a, hatch_a), (b, hatch_b) in combinations(list(looks.values())[:8], 2):
        lightness = [0.2126 * r + 0.7152 * g + 0.0722 * blue for r, g, blue in (to_rgb(a), to_rgb(b))]
        assert hatch_a != hatch_b or abs(lightness[0] - lightness[1]) > 0.1, (a, b)


def test_nothing_is_drawn_of_dense_networks_alone(tmp_path: Path) -> None:
    assert draw_methods([make_outcome()], None, tmp_path, "x", ("png",)) == []
