"""Each mask method on weights where the right answer can be seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.pruning.methods.column import ColumnPruning
from pimsim.pruning.methods.patdnn import PatDnn, most_frequent, natural_patterns
from pimsim.pruning.methods.pconv import crosses
from pimsim.pruning.patterns import best_patterns
from pimsim.pruning.plans import kernel_counts
from pimsim.pruning.projections import DIMENSIONS, strongest_kernels, strongest_patterns
from pimsim.pruning.registry import METHODS, method_options, pruning_method
from pimsim.pruning.windows import Windows

PATTERNS = ("000111111", "111111000", "110110110", "011011011")


def network(channels: int = 6, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, channels, 3), nn.Conv2d(channels, channels, 3), nn.Conv2d(channels, channels + 1, 3)
        )


def mask_of(method: str, built: nn.Module, **options: object) -> Tensor:
    masks = pruning_method(method, options).plan(built).masks
    assert list(masks) == ["1"]
    return masks["1"]


def slow_projection(weight: Tensor, dimension: str) -> Tensor:
    """Unit by unit, pattern by pattern."""
    masks = [torch.tensor([float(d) for d in keep]).reshape(3, 3) for keep in PATTERNS]
    result = torch.zeros_like(weight)
    units = {
        "kernel": [(o, c) for o in range(weight.shape[0]) for c in range(weight.shape[1])],
        "channel": [(slice(None), c) for c in range(weight.shape[1])],
        "layer": [(slice(None), slice(None))],
    }[dimension]
    for unit in units:
        norms = [float((weight[unit] * mask).detach().double().norm()) for mask in masks]
        result[unit] = masks[norms.index(max(norms))]
    return result


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_strongest_pattern_of_each_unit_is_kept(dimension: str) -> None:
    weight = network()[1].weight
    assert torch.equal(strongest_patterns(weight, PATTERNS, dimension), slow_projection(weight, dimension))


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_first_of_equal_patterns_is_kept(dimension: str) -> None:
    mask = strongest_patterns(torch.ones(2, 2, 3, 3), PATTERNS, dimension)
    assert kernel_counts(mask) == {PATTERNS[0]: 4}


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_pattern_method_has_the_dimensions(dimension: str) -> None:
    for method in ("pattern", "pairs", "patdnn", "random", "pconv"):
        mask = mask_of(method, network(), dimension=dimension)
        kernels = len(kernel_counts(mask))
        assert kernels == 1 if dimension == "layer" else kernels > 1
        assert torch.equal(mask, mask[:1].expand_as(mask)) == (dimension != "kernel")


def test_pairs_follows_the_window_of_the_layer() -> None:
    # In a line of windows a kernel row, the middle one too, frees a whole line of pixels; a kernel column does not.
    lines = pruning_method("pairs", {"windows": Windows({"1": (3, 9)})}).sets({"1": network()[1]})  # type: ignore[attr-defined]
    assert set(lines["1"]) == {"000111111", "111000111", "111111000"}
    # One kernel a window: the set of larger windows is taken, as published.
    single = Windows({"1": (3, 3)})
    assert torch.equal(mask_of("pairs", network(), windows=single), mask_of("pairs", network()))


def test_pairs_takes_any_kernel() -> None:
    built = nn.Sequential(nn.Conv2d(2, 2, (2, 4)))
    plan = pruning_method("pairs", {"layers": ["0"], "entries": 4}).plan(built)
    assert plan.keep[0][1] in best_patterns(4, (2, 4), (3, 5))


def test_natural_patterns_are_the_centre_and_the_largest_others() -> None:
    weight = torch.tensor([[[[9.0, 1, 2], [3, 0.1, 4], [5, 6, 7]]], [[[1.0, 1, 1], [1, 1, 1], [1, 1, 1]]]])
    assert natural_patterns(weight, 4) == ["100010011", "111010000"]
    assert natural_patterns(torch.tensor([[[[1.0, 3], [2, 4]]]]), 2) == ["0101"]


def test_the_most_frequent_patterns_come_first_and_of_equal_ones_the_later() -> None:
    kernels = {"110010000": 2, "010011000": 3, "010010010": 2, "000010011": 1}
    weight = torch.cat([
        torch.tensor([float(d) for d in keep]).reshape(1, 1, 3, 3).repeat(count, 1, 1, 1)
        for keep, count in kernels.items()
    ])  # fmt: skip
    assert most_frequent([weight], 3, 3) == ("010011000", "010010010", "110010000")


def test_connectivity_keeps_the_strongest_kernels() -> None:
    weight = network()[1].weight.detach()
    mask = mask_of("patdnn", network(), connectivity=3.6, dimension="kernel")
    left = mask.flatten(2).sum(2) > 0
    assert int(left.sum()) == 10  # 36 kernels over 3.6
    norms = weight.flatten(2).norm(dim=2)
    assert norms[left].min() > norms[~left].max()
    assert strongest_kernels(torch.ones(2, 3, 3, 3), 2.0).flatten().tolist() == [1, 1, 1, 0, 0, 0]


def test_random_sets_follow_the_seed_and_have_the_size_of_pairs() -> None:
    layers = {"1": network()[1]}
    sets = [pruning_method("random", {"seed": seed, "entries": 7}).sets(layers)["1"] for seed in (0, 0, 1)]  # type: ignore[attr-defined]
    assert sets[0] == sets[1] != sets[2]
    assert [len(set(keep)) for keep in sets] == [14] * 3
    assert {keep.count("1") for keep in sets[0]} == {7}
    drawn = pruning_method("random", {"entries": 8, "patterns": 9}).sets(layers)["1"]  # type: ignore[attr-defined]
    assert sorted(drawn) == sorted(("1" * 9)[:i] + "0" + "1" * (8 - i) for i in range(9))


def test_crosses_are_the_four_of_pconv() -> None:
    assert crosses((3, 3)) == ("010111000", "010110010", "010011010", "000111010")
    assert crosses((3, 5))[0] == "001000111000000"


def ordered() -> nn.Sequential:
    """A layer whose weights grow with channel, filter and position."""
    built = network(4)
    with torch.no_grad():
        built[1].weight.copy_(torch.arange(1.0, 145).reshape(4, 4, 3, 3))
    return built


def test_magnitude_prunes_the_smallest_weights() -> None:
    assert mask_of("magnitude", ordered(), sparsity=0.25).flatten().tolist() == [0.0] * 36 + [1.0] * 108


def test_filters_and_channels_go_as_a_whole() -> None:
    filters = mask_of("filter", ordered())
    assert filters.flatten(1).mean(1).tolist() == [0, 0, 1, 1]
    channels = mask_of("channel", ordered(), sparsity=0.75)
    assert channels.transpose(0, 1).flatten(1).mean(1).tolist() == [0, 0, 0, 1]


def test_column_segments_are_the_parts_of_a_filter_in_one_array() -> None:
    # 36 rows on arrays of 16: two whole segments and one of four rows.
    mask = mask_of("column", ordered(), sparsity=5 / 12, segment=16).flatten(1)
    assert mask[0].tolist() == [0.0] * 36
    assert mask[1].tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 4
    assert mask[2:].all()
    with pytest.raises(PruningError, match="segment=0: a column segment has at least one row"):
        ColumnPruning(segment=0)


def test_n_of_m_channels_stay_at_each_position() -> None:
    built = network(7)
    weight = built[1].weight.detach()
    mask = mask_of("n-m", built, n_of_m="1:3")
    assert torch.equal(mask, mask[:1].expand_as(mask))
    rows = mask[0].flatten(1)
    for start in (0, 3, 6):
        group = weight[:, start : start + 3].square().sum(0).flatten(1)
        strongest = torch.zeros_like(group).scatter(0, group.argmax(0, keepdim=True), 1.0)
        assert torch.equal(rows[start : start + 3], strongest)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("patdnn", {"connectivity": 0.5}, "connectivity=0.5: one in so many kernels stays: it is 1 or more"),
        ("patdnn", {"patterns": 0}, "patterns=0: a set has at least one pattern"),
        ("random", {"patterns": 85}, "patterns=85: there are 84 patterns of 6 entries"),
        ("pairs", {"entries": 10}, "10 kept entries: a 3x3 kernel keeps 1 to 9"),
        ("pairs", {"windows": Windows({"2": (4, 4)})}, "1: no parallel window for layer '1'"),
        ("pconv", {"dimension": "filter"}, "pattern dimension 'filter': unknown dimension"),
        ("magnitude", {"sparsity": 1.0}, "sparsity=1.0: the share that is pruned is 0 or more and less than 1"),
        ("n-m", {"n_of_m": "4:2"}, "n-of-m '4:2': of M channels 1 to M stay. Write it like 2:4."),
        ("n-m", {"n_of_m": "half"}, "n-of-m 'half'"),
        ("garos", {}, "the method 'garos' without an array"),
    ],
)
def test_options_that_cannot_be_met_are_explained(method: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(PruningError) as caught:
        pruning_method(method, options).plan(network())
    assert message in str(caught.value)


def test_a_kernel_without_neighbours_has_no_cross() -> None:
    with pytest.raises(PruningError, match="a 2x3 kernel: its centre must have four neighbours"):
        crosses((2, 3))


@pytest.mark.parametrize("method", METHODS)
def test_masks_are_zeros_and_ones_and_depend_on_the_weights_alone(method: str) -> None:
    # Arrays that the small layers do not fit: what one array holds costs nothing to keep.
    fitting = {"windows": Windows({"1": (4, 4)}), "array": "4x4", "nonzeros": 2, "fragment": 4}
    chosen = pruning_method(method, {name: fitting[name] for name in fitting if name in method_options(method)})
    first, second = chosen.plan(network(8)), chosen.plan(network(8))
    assert first == second
    for name, mask in first.masks.items():
        assert mask.shape == network(8).get_submodule(name).weight.shape
        assert set(np.unique(mask.numpy())) <= {0.0, 1.0}
        assert 0 < int(mask.sum()) < mask.numel()


def test_a_masked_layer_is_scored_by_its_whole_weight() -> None:
    built, plain = network(), network()
    plan = PatDnn().plan(plain)
    nn.utils.prune.custom_from_mask(built[1], "weight", torch.zeros(6, 6, 3, 3))
    assert torch.equal(PatDnn(dimension="kernel").projection(plain)({"1": plain[1].weight})["1"] > 0,
                       PatDnn(dimension="kernel").plan(plain).masks["1"] > 0)  # fmt: skip
    assert torch.equal(pruning_method("pairs").plan(built).masks["1"], pruning_method("pairs").plan(plain).masks["1"])
    assert plan.masks["1"].any()
