"""PRAP-PIM: scales, shapes, reuse, gains and index bytes against slow references and the worked examples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import prap_reference as slow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimsim.errors import PruningError
from pimsim.pruning import prap
from pimsim.pruning.prap.groups import group_of
from pimsim.pruning.prap.scales import scales_of


@st.composite
def weights(draw: st.DrawFn) -> tuple[np.ndarray, float]:
    """A small weight, often with equal and zero entries, and kept positions for it."""
    kernel = draw(st.sampled_from([1, 2, 3, 3]))
    kept = draw(
        st.sampled_from([1.0, 0.5] if kernel == 1 else [1.0, 2.0, 4.0] if kernel == 2 else [1.0, 2.0, 4.0, 8.0])
    )
    channels = draw(st.integers(1, 3)) * int(8 / kept) + draw(st.integers(0, 1))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    values = rng.normal(size=(draw(st.integers(1, 12)), channels, kernel, kernel))
    if draw(st.booleans()):
        values = np.round(values * draw(st.sampled_from([1, 3])))
    if draw(st.booleans()):
        values *= 2.0 ** rng.integers(-10, 1, size=(*values.shape[:2], 1, 1))
    return values, kept


@pytest.mark.parametrize(
    ("ratio", "scale"),
    [(0.7072, 1), (0.7071, 0.5), (1.4142, 1), (1.4143, 2), (1, 1), (0.5, 0.5), (3, 4), (900 / 1792, 0.5),
     (1 / 256, 1 / 256), (1e-12, 1 / 256), (math.sqrt(0.5), 1), (6, 8), (5.6, 4)],
)  # fmt: skip
def test_scales_are_powers_of_two_with_thresholds_at_odd_powers_of_root_two(ratio: float, scale: float) -> None:
    assert prap.power_of_two_scale(ratio) == scale


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_scale_is_that_of_exact_arithmetic(numerator: int, denominator: int) -> None:
    expected = slow.scale(numerator, denominator)
    assert Fraction(prap.power_of_two_scale(numerator / denominator)) == expected
    assert Fraction(float(scales_of(np.array([numerator / denominator]))[0])) == expected


@pytest.mark.parametrize("ratio", [0, -1, math.nan, math.inf])
def test_a_ratio_that_is_none_is_refused(ratio: float) -> None:
    with pytest.raises(PruningError, match="positive finite ratio"):
        prap.power_of_two_scale(ratio)


def test_scales_are_counted_in_the_published_bins_and_one_above() -> None:
    counts = prap.scale_statistics(np.array([0, 1, 1, 0.5, 0.25, 0.125, 1 / 16, 1 / 32, 1 / 256, 2, 4]))
    assert counts == {"0": 1, "1": 2, "[1/4, 1)": 2, "[1/16, 1/4)": 2, "(0, 1/16)": 2, "> 1": 2}


@settings(deadline=None, max_examples=60)
@given(weights())
def test_shapes_are_those_of_the_slow_reference_and_at_most_eight_a_group(case: tuple[np.ndarray, float]) -> None:
    weight, kept = case
    mask = prap.shape_mask(weight, kept)
    if weight.shape[2] > 1:
        assert np.array_equal(mask, slow.shapes(weight, int(kept)))
    group = int(8 / kept)
    for first in range(0, weight.shape[1] // group * group, group):
        block = mask[:, first : first + group].reshape(len(weight), -1)
        assert len(np.unique(block, axis=0)) <= 8
        assert (block.sum(axis=1) == 8).all()
    assert mask[:, weight.shape[1] // group * group :].all()


@settings(deadline=None, max_examples=40)
@given(weights())
def test_shape_pruning_a_pruned_weight_changes_nothing(case: tuple[np.ndarray, float]) -> None:
    weight, kept = case
    weight = np.where(weight == 0, 1e-3, weight)  # a zero that is kept could as well be another one
    mask = prap.shape_mask(weight, kept)
    assert np.array_equal(prap.shape_mask(weight * mask, kept), mask)


def test_a_1x1_layer_keeps_the_eight_strongest_of_sixteen_inputs_for_all_outputs() -> None:
    weight = np.random.default_rng(1).normal(size=(5, 32))
    mask = prap.shape_mask(weight, 0.5)
    strength = np.abs(weight).sum(axis=0)
    for first in (0, 16):
        expected = set(first + np.argsort(-strength[first : first + 16])[:8])
        assert all(set(np.flatnonzero(row)) & set(range(first, first + 16)) == expected for row in mask)


@settings(deadline=None, max_examples=60)
@given(weights(), st.sampled_from(["1/4", "1/2", "3/4", "1"]), st.booleans())
def test_similar_reuse_is_that_of_the_slow_reference(case: tuple[np.ndarray, float], keep: str, shaped: bool) -> None:
    weight, kept = case
    share = max(Fraction(keep), Fraction(1, len(weight)))
    mask = prap.shape_mask(weight, kept) if shaped else np.ones(weight.shape, dtype=bool)
    reuse = prap.similar_reuse(weight, float(share), int(8 / kept), mask)
    codes, _ = prap.fine_codes(weight)
    expected = slow.similar(codes, mask, share, int(8 / kept))
    for (group, output), (source, scale) in expected.items():
        assert (reuse.source[group, output], reuse.scale[group, output]) == (source, scale)
    assert reuse.reused == sum(source != output for (_, output), (source, _) in expected.items())
    assert reuse.reuse_ratio == pytest.approx(reuse.reused / (weight.shape[1] * kept / 8 * len(weight)))


@settings(deadline=None, max_examples=60)
@given(weights(), st.sampled_from(["0", "1/4", "1/2", "3/4", "9/10"]))
def test_identical_reuse_is_that_of_the_slow_reference(case: tuple[np.ndarray, float], threshold: str) -> None:
    weight, kept = case
    reuse = prap.identical_reuse(weight, float(Fraction(threshold)), int(8 / kept))
    codes, _ = prap.fine_codes(weight, fraction_bits=0)
    expected = slow.identical(codes, Fraction(threshold), int(8 / kept))
    assert {(g, o): int(reuse.source[g, o]) for g, o in expected} == expected
    assert set(np.unique(reuse.scale)) <= {0.0, 1.0}


@settings(deadline=None, max_examples=60)
@given(weights(), st.floats(0.1, 1), st.booleans())
def test_a_projection_is_idempotent_and_repeats_kept_patterns_times_powers_of_two(
    case: tuple[np.ndarray, float], keep: float, shaped: bool
) -> None:
    weight, kept = case
    mask = prap.shape_mask(weight, kept) if shaped else None
    reuse = prap.similar_reuse(weight, max(keep, 1 / len(weight)), int(8 / kept), mask)
    codes, step = prap.fine_codes(weight)
    once = reuse.project_codes(codes)
    assert np.array_equal(reuse.project_codes(once), once)
    values = reuse.project(weight, step)
    assert np.array_equal(reuse.project(values, step), values)
    assert np.array_equal(reuse.project(values.astype(np.float32), step), values)
    patterns = reuse.grid.split(once)
    for group, output in np.ndindex(reuse.source.shape):
        source, scale = reuse.source[group, output], reuse.scale[group, output]
        if source < 0:
            assert not patterns[group, output].any()
            continue
        assert np.array_equal(patterns[group, output], patterns[group, source] * scale)
        assert scale > 0 and math.log2(scale) == round(math.log2(scale))
        assert reuse.is_kept[group, source]
        assert (patterns[group, source] % 256 == 0).all() and np.abs(patterns[group, source]).max() <= 127 * 256
    assert not once[~reuse.mask].any()
    assert np.abs(once).max(initial=0) <= 127 * 256


def test_a_source_whose_copies_are_larger_leaves_room_for_them() -> None:
    codes = np.zeros((3, 8), dtype=np.int64)
    codes[0] = 100 * 256
    grid = prap.PatternGrid((3, 8), 8)
    source, scale = np.array([[0, 0, 0]]), np.array([[1.0, 2.0, 0.5]])
    reuse = prap.Reuse(grid, source, scale, np.ones((3, 8), dtype=bool), 8)
    once = reuse.project_codes(codes)
    assert list(once[:, 0]) == [63 * 256, 126 * 256, 63 * 128]
    assert np.array_equal(reuse.project_codes(once), once)


def one_group(*patterns: tuple[int, ...]) -> np.ndarray:
    """A linear layer of one channel group of eight inputs whose steps are whole numbers."""
    full = np.zeros((len(patterns) + 1, 16))
    for row, pattern in enumerate(patterns):
        full[row, : len(pattern)] = pattern
    full[-1, 8] = 127 * 256  # in another group, so that a step is 1
    return full


def test_the_worked_example_is_reused_with_a_right_shift_by_one() -> None:
    weight = one_group((1024, -512, 256), (500, -300, 100))
    reuse = prap.similar_reuse(weight, 1 / 3, 8)
    assert (reuse.source[0, 1], reuse.scale[0, 1]) == (0, 0.5)
    projected = reuse.project(weight)
    assert list(projected[1, :3]) == [512, -256, 128]
    assert np.abs(projected[1] - weight[1]).sum() == 84


def test_the_worked_example_with_other_signs_is_mapped_to_zero() -> None:
    reuse = prap.similar_reuse(one_group((1024, -512, 256), (-500, 300, -100)), 1 / 3, 8)
    assert (reuse.source[0, 1], reuse.scale[0, 1]) == (-1, 0)
    assert not reuse.mask[1, :8].any()


def test_kept_patterns_end_at_the_first_that_rounds_to_zero() -> None:
    weight = one_group((1024,) * 8, (120,) * 8, (60,) * 8)  # 120 / 256 rounds to nothing
    reuse = prap.similar_reuse(weight, 0.75, 8)
    assert list(reuse.is_kept[0]) == [True, False, False, False]
    assert list(reuse.source[0, :3]) == [0, 0, 0]
    assert list(reuse.scale[0, :3]) == [1, 0.125, 0.0625]


def test_weight_that_is_lost_outside_the_shape_of_the_source_does_not_count() -> None:
    weight = np.zeros((3, 2, 3, 3))
    weight[0, :, 0, :] = 1024
    weight[0, :, 1, 0] = 1024
    weight[1] = weight[0] * 0.5
    weight[1, :, 2, 2] = 700  # stronger than what it has at the source's positions
    weight[2, 0, 0, 0] = 127 * 256
    mask = np.zeros(weight.shape, dtype=bool)
    mask[:2, :, 0, :] = mask[:2, :, 1, 0] = True
    mask[2] = mask[0]
    reuse = prap.similar_reuse(weight, 2 / 3, 2, mask)
    assert (reuse.source[0, 1], reuse.scale[0, 1]) == (0, 0.5)


def test_a_kept_share_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(PruningError, match=r"keep ratio 0.1: of 4 patterns at least one is kept. Use 0.25 or more"):
        prap.similar_reuse(np.ones((4, 8)), 0.1, 8)


@pytest.mark.parametrize(
    ("kept", "positions", "message"),
    [(3, 9, "fill the 8 rows"), (8, 4, "of a kernel of 4 positions 1 to 4 are kept"), (0.5, 9, "1 to 9 are kept"),
     (0, 9, "fill the 8 rows"), (2, 1, "a 1x1 or linear layer has one"), (0.3, 1, "fill the 8 rows")],
)  # fmt: skip
def test_positions_that_do_not_fill_a_unit_are_refused(kept: float, positions: int, message: str) -> None:
    with pytest.raises(PruningError, match=message):
        group_of(kept, positions, "conv1")


def test_the_first_channels_are_grouped_and_the_rest_is_dense() -> None:
    weight = np.random.default_rng(3).normal(size=(4, 5, 3, 3))
    mask = prap.shape_mask(weight, 4)
    assert mask[:, 4].all()
    assert mask[:, :4].sum() == 4 * 4 * 4
    reuse = prap.similar_reuse(weight, 0.5, 2, mask)
    assert reuse.reuse_ratio == 4 / (2.5 * 4)


def test_structure_keeps_the_strongest_channels_and_orc_the_strongest_weights_of_each_filter() -> None:
    weight = np.arange(1, 1 + 3 * 4 * 4, dtype=float).reshape(3, 4, 2, 2)
    assert np.array_equal(np.flatnonzero(prap.structure_mask(weight, 0.65)[0, :, 0, 0]), [2, 3])
    orc = prap.orc_mask(weight, 0.2)
    assert (orc.reshape(3, -1).sum(axis=1) == 3).all() and orc[:, 3, 1, 1].all()
    with pytest.raises(PruningError, match="keep ratio 1"):
        prap.orc_mask(weight, 1.5)


@dataclass
class Record:
    ic: int
    oc: int
    kernel: int
    output_side: int
    kept_positions: float
    keep_ratio: float


VGG16 = [
    (3, 64, 3, 32), (64, 64, 3, 32), (64, 128, 3, 16), (128, 128, 3, 16), (128, 256, 3, 8), (256, 256, 3, 8),
    (256, 256, 3, 8), (256, 512, 3, 4), (512, 512, 3, 4), (512, 512, 3, 4), (512, 512, 3, 2), (512, 512, 3, 2),
    (512, 512, 3, 2), (512, 4096, 1, 1), (4096, 4096, 1, 1), (4096, 10, 1, 1),
]  # fmt: skip
VGG16_KEPT = [8, 8, 8, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 1 / 4, 1 / 4, 1]
VGG16_TARGETS = [1, 0.75, 0.5, 0.5, 0.25, 0.25, 0.25, *[0.125] * 6, 0.03125, 0.03125, 1]


def test_the_gain_of_vgg16_is_that_of_exact_fractions_however_a_layer_is_written() -> None:
    rows = [(*layer, p, keep) for layer, p, keep in zip(VGG16, VGG16_KEPT, VGG16_TARGETS, strict=True)]
    units = [Fraction(ic * k * k * oc, 8) for ic, oc, k, _ in VGG16]
    left = [Fraction(ic, 8) * Fraction(p) * oc * Fraction(keep) for ic, oc, _, _, p, keep in rows]
    sides = [side * side for *_, side in VGG16]
    compute = sum(u * s for u, s in zip(units, sides, strict=True)) / sum(
        u * s for u, s in zip(left, sides, strict=True)
    )
    stored = sum(units) / sum(left)
    names = ("ic", "oc", "kernel", "output_side", "kept_positions", "keep_ratio")
    for layers in (rows, [Record(*row) for row in rows], [dict(zip(names, row, strict=True)) for row in rows]):
        gain = prap.logical_gain(layers)
        assert gain == pytest.approx((float(compute), float(stored)), rel=1e-12)
    assert gain.compute_cut == pytest.approx(float(1 - 1 / compute))
    assert gain.weights_cut == pytest.approx(float(1 - 1 / stored))


def test_a_dense_network_gains_nothing() -> None:
    assert prap.logical_gain([(*layer, layer[2] ** 2, 1) for layer in VGG16]) == (1, 1)


@pytest.mark.parametrize(
    ("layers", "message"),
    [([], "no layers"), ([(3, 64, 3, 32, 8)], "layer 1: .*Give its ic"),
     ([{"ic": 3}], "layer 1: .*Give its oc"),
     ([(3, 64, 3, 32, 10, 1)], "kernel positions"), ([(3, 64, 3, 32, 8, 0)], "keep no pattern"),
     ([(3, 64, 3, 32, 8, -0.1)], "keep ratio"),
     ([(3, 64, 3, 32, 8, math.nan)], "finite"), ([(0, 64, 3, 32, 8, 1)], "at least 1")],
)  # fmt: skip
def test_a_record_that_cannot_be_is_refused(layers: list[object], message: str) -> None:
    with pytest.raises(PruningError, match=message):
        prap.logical_gain(layers)


@pytest.mark.parametrize(
    ("mode", "per_row", "per_unit", "stored"),
    [("naive", 0, 0, 0), ("structure", 1, 0, 8 * 16), ("orc", 0, 16, 8 * 16 * 16 * 3), ("shape", 5, 0, 5 * 8 * 16 * 3),
     ("identical", 0, 1, 16 * 16 * 3), ("similar", 0, 2, 2 * 16 * 16 * 3),
     ("structure+identical", 1, 1, 8 * 16 + 16 * 16 * 3), ("shape+similar", 5, 2, 5 * 8 * 16 * 3 + 2 * 16 * 16 * 3)],
)  # fmt: skip
def test_index_bytes_of_a_full_crossbar(mode: str, per_row: int, per_unit: int, stored: int) -> None:
    cost = prap.index_cost(mode, 125, 128, crossbars=3)
    assert (cost.bytes_per_row, cost.bytes_per_unit, cost.stored_bytes) == (per_row, per_unit, stored)
    assert cost.read_bytes(unit_rows=7, units=100) == 7 * per_row + 100 * per_unit


def test_conversions_of_the_busiest_crossbar_by_the_published_formula() -> None:
    assert prap.busiest_conversions(128, 128) == 8 * 16 * 16 * 8  # O3: 16,384
    assert prap.busiest_conversions(108, 128, 4 / 9) == 8 * math.ceil(13 * 4 / 9) * 16 * 8
    assert prap.busiest_conversions(128, 120, 1, 0.3) == 8 * 16 * (36 / 8) * 8


def test_an_unknown_mode_is_answered_with_the_nearest() -> None:
    with pytest.raises(PruningError, match=r"Did you mean 'shape\+similar'"):
        prap.prap_mode("shape+similiar")
