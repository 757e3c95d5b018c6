"""Pictures of mappings: the colour of every cell, and files of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pimsim.errors import ResultError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer, map_unit
from pimsim.mapping.skipping import keep_weight, place
from pimsim.mapping.stages import StagedMapping, place_stages
from pimsim.network.layers import Geometry
from pimsim.records.cell_pictures import IDLE, SKIPPED, UNUSED, cell_colours, hues, kernel_palette
from pimsim.records.comparison_figure import draw_comparison
from pimsim.records.drawings import Drawn, draw_mappings

LAYER = Geometry("conv", 1, 1, (2, 2), (3, 3))
ARRAY = ArrayShape(10, 8, 2)


def _letters(picture: NDArray[np.float64], names: dict[str, NDArray[np.float64]]) -> list[str]:
    """Each row of cells as the letters of its colours."""

    def letter(cell: NDArray[np.float64]) -> str:
        return next((name for name, colour in names.items() if np.allclose(cell, colour)), "?")

    return ["".join(letter(cell) for cell in row) for row in picture]


def _names(palette: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    greys = {"-": IDLE, ".": UNUSED, "x": SKIPPED}
    grey = {name: np.array([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for name, c in greys.items()}
    return {**{str(i + 1): colour for i, colour in enumerate(palette.reshape(-1, 3))}, **grey}


def test_cells_show_the_kernel_position_they_hold() -> None:
    placement = place(map_layer(LAYER, ARRAY, "sdk"), None)
    (tile,) = placement.mapping.tiles
    # Two physical columns a weight; the matrix of `test_sdk_places_shifted_kernels`; the tenth row is not used.
    assert _letters(cell_colours(placement, tile), _names(kernel_palette(placement.mapping))) == [
        "11------",
        "2211----",
        "--22----",
        "33--11--",
        "44332211",
        "--44--22",
        "----33--",
        "----4433",
        "------44",
        "........",
    ]


def test_skipped_rows_and_pruned_weights_are_marked() -> None:
    weight = keep_weight(LAYER, "0011")
    placement = place(map_layer(LAYER, ARRAY, "sdk"), weight, "row")
    (tile,) = placement.mapping.tiles
    picture = _letters(cell_colours(placement, tile, weight=weight), _names(kernel_palette(placement.mapping)))
    assert [row == "xxxxxxxx" for row in picture] == [True] * 3 + [False] * 7
    assert picture[4] == "4433????"  # positions 2 and 1 are pruned: pale


def test_windows_colour_their_columns() -> None:
    placement = place(map_layer(LAYER, ARRAY, "sdk"), None)
    (tile,) = placement.mapping.tiles
    assert _letters(cell_colours(placement, tile, "window"), _names(hues(4)))[4] == "11223344"


def test_hues_of_neighbours_differ() -> None:
    many = hues(40)
    assert many.shape == (40, 3) and many.min() >= 0 and many.max() <= 1
    assert len(np.unique(many.round(6), axis=0)) == 40


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_one_layer_and_a_network_become_files(tmp_path: Path, suffix: str) -> None:
    layers = [Geometry("a", 3, 8, (3, 3), (8, 8)), Geometry("b", 8, 4, (3, 3), (8, 8), groups=4)]
    drawn = [Drawn(place(map_layer(layer, ArrayShape(16, 16), "im2col"), None)) for layer in layers]
    for count in (1, 2):
        path = draw_mappings(drawn[:count], tmp_path / f"{count}.{suffix}")
        assert path.stat().st_size > 1000


def test_the_same_mapping_gives_the_same_picture(tmp_path: Path) -> None:
    drawn = [Drawn(place(map_layer(LAYER, ARRAY, "vw-sdk"), None))]
    first, second = (draw_mappings(drawn, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second


def test_low_rank_shows_both_stages_and_what_is_left_out(tmp_path: Path) -> None:
    layer = Geometry("conv", 4, 16, (3, 3), (6, 6))
    mapping = map_unit(layer, ArrayShape(16, 32), "low-rank", rank="1/2", window_outputs="2x2")
    assert isinstance(mapping, StagedMapping)
    text = draw_mappings([Drawn(place_stages(mapping, None))], tmp_path / "both.svg").read_text()
    # Matplotlib's SVG keeps every text as a comment.
    assert "Stage 1: 3x3, 4 to 8 channels; 4 windows x 4 arrays" in text
    assert "Stage 2: 1x1, 8 to 16 channels; 4 windows x 2 arrays" in text
    assert text.count("<!-- no weight: -->") == 2


def test_many_arrays_are_counted_when_not_drawn(tmp_path: Path) -> None:
    drawn = Drawn(place(map_layer(Geometry("conv", 64, 64, (3, 3), (8, 8)), ArrayShape(16, 16), "im2col"), None))
    text = draw_mappings([drawn], tmp_path / "one.svg").read_text()
    assert "144 arrays of 16x16 cells, 12 of 144 drawn" in text
    assert "+ 132" in draw_mappings([drawn, drawn], tmp_path / "two.svg").read_text()


@pytest.mark.parametrize(
    ("name", "colouring", "message"),
    [
        ("a.gif", "kernel", "a picture is one of .pdf, .png, .svg. Change the suffix."),
        ("a.png", "columns", "colouring 'columns': unknown colouring. Known: kernel, window."),
        ("none/a.png", "kernel", "the picture cannot be written: No such file or directory."),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, name: str, colouring: str, message: str) -> None:
    with pytest.raises(ResultError) as caught:
        draw_mappings([Drawn(place(map_layer(LAYER, ARRAY, "sdk"), None))], tmp_path / name, colouring)
    assert message in str(caught.value)


def test_bars_are_relative_to_the_first_mapping(tmp_path: Path) -> None:
    cases = {"net, 8x8": {"im2col": [100, 60], "sdk": [50, 30]}}
    text = draw_comparison(cases, {"net, 8x8": ["conv1", "conv2"]}, tmp_path / "bars.svg").read_text()
    assert "<!-- 1.00 -->" in text and "<!-- 0.50 -->" in text and "<!-- cycles / im2col -->" in text
