"""PAIRS: the published pattern sets and gains come out of the enumeration, and hold on the explicit layout."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import keep_weight, place
from pimsim.network.layers import Geometry
from pimsim.pruning.patterns import best_patterns, border_patterns, rows_skipped

# Rhe, Jeon, Ko 2023 (PAIRS), as their code lists them: entries -> patterns.
PUBLISHED = {
    8: "011111111 110111111 111111011 111111110",
    7: "001111111 100111111 011011111 110110111 111011011 111111001 111111100 111110110 010111111 110111110 "
       "111111010 011111011 011111110 110111011",
    6: "000111111 111111000 110110110 011011011",
    5: "000011111 000110111 000111011 000111110 111110000 111011000 011111000 110111000 011011001 001011011 "
       "010011011 011011010 110110100 100110110 010110110 110110010",
    4: "000011011 000110110 110110000 011011000",
}  # fmt: skip
SIZES = {8: 4, 7: 14, 6: 4, 5: 16, 4: 4, 3: 22, 2: 12, 1: 9}


@pytest.mark.parametrize("entries", PUBLISHED)
@pytest.mark.parametrize("side", [4, 5, 6])
def test_the_enumeration_gives_the_published_sets(entries: int, side: int) -> None:
    assert set(best_patterns(entries, window=(side, side))) == set(PUBLISHED[entries].split())


def test_the_enumeration_gives_the_published_sizes() -> None:
    assert {entries: len(best_patterns(entries)) for entries in SIZES} == SIZES
    with_centre = {e: sum(keep[4] == "1" for keep in best_patterns(e)) for e in (3, 2, 1)}
    assert with_centre == {3: 14, 2: 4, 1: 1}


def test_the_border_patterns_stand_in_the_published_order() -> None:
    assert " ".join(border_patterns()) == PUBLISHED[6]


@pytest.mark.parametrize("side", [4, 5, 7])
def test_gains_for_each_channel(side: int) -> None:
    gains = {8: 1, 7: 2, 6: side, 5: side + 1, 4: 2 * side - 1, 3: 2 * side, 2: 3 * side - 2, 1: 4 * side - 4}
    assert {e: rows_skipped(best_patterns(e)[0], (side, side)) for e in gains} == gains


def layout_rows_skipped(keep: str, window: tuple[int, int], kernel: tuple[int, int], channels: int = 2) -> int:
    """Rows that `place` leaves out of a layout whose window is ``window``, for one of two channels."""
    places = tuple(side - taps + 1 for side, taps in zip(window, kernel, strict=True))
    # A map of one window, on an array with room for it.
    geometry = Geometry("layer", channels, 1, kernel, window)
    array = ArrayShape(channels * window[0] * window[1], places[0] * places[1])
    # SDK has as many kernel places in both directions; other windows are those of VW-SDK.
    mapping = map_layer(geometry, array, "sdk" if places[0] == places[1] else "vw-sdk")
    assert mapping.window == window
    placed = place(mapping, np.ascontiguousarray(keep_weight(geometry, keep)), "row")
    assert placed.rows_skipped % channels == 0
    return placed.rows_skipped // channels


@pytest.mark.parametrize("kernel", list(product(range(1, 6), repeat=2)), ids=lambda k: f"{k[0]}x{k[1]}")
def test_the_closed_form_equals_the_explicit_layout(kernel: tuple[int, int]) -> None:
    draw = np.random.default_rng(kernel[0] * 10 + kernel[1])
    for window in product(range(kernel[0], 8), range(kernel[1], 8)):
        for share in (0.2, 0.5, 0.8):
            keep = "".join("1" if kept else "0" for kept in draw.random(kernel[0] * kernel[1]) < share)
            assert layout_rows_skipped(keep, window, kernel) == rows_skipped(keep, window, kernel), (window, keep)


def test_resnet20_on_512x256_has_the_windows_and_totals_of_one_pattern_a_layer() -> None:
    """16 layers in windows of 5x5, 4x4 and 4x4; a pattern frees its gain for each input channel."""
    stages = ((16, 32, 6), (32, 16, 5), (64, 8, 5))
    array, rows, freed = ArrayShape(512, 256), 0, dict.fromkeys(PUBLISHED, 0)
    for channels, side, layers in stages:
        geometry = Geometry("layer", channels, channels, (3, 3), (side, side), (1, 1), (1, 1, 1, 1))
        mapping = map_layer(geometry, array, "sdk")
        for entries in PUBLISHED:
            weight = np.ascontiguousarray(keep_weight(geometry, best_patterns(entries, window=mapping.window)[0]))
            placed = place(mapping, weight, "row")
            freed[entries] += layers * placed.rows_skipped
        rows += layers * mapping.rows_mapped
    assert rows == 6 * 25 * 16 + 5 * 16 * 32 + 5 * 16 * 64
    channels = 6 * 16 * np.array([1, 2, 5, 6, 9]) + 5 * 96 * np.array([1, 2, 4, 5, 7])
    assert list(freed.values()) == channels.tolist() == [576, 1152, 2400, 2976, 4224]
