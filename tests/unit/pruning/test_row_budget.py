"""Rows that masks free on the real layout, and the methods that are told how many."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from pimsim.errors import PruningError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry
from pimsim.pruning.channel_program import ChannelProgram, kept_entries
from pimsim.pruning.mapped_rows import freed_after, mapped_rows, rows_freed
from pimsim.pruning.methods.garos import Garos, family
from pimsim.pruning.methods.row_budget import LayerBudget
from pimsim.pruning.plans import kernel_counts
from pimsim.pruning.registry import pruning_method
from pimsim.pruning.windows import Windows

BUDGET_METHODS = ("garos", "row-efficient", "row")


def network(channels: int = 16, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(channels, channels, 3), nn.ReLU())


def freed(method: str, side: int, channels: int = 16, **options: object) -> int:
    chosen = pruning_method(method, {"windows": Windows({"0": (side, side)}), **options})
    mask = chosen.plan(network(channels)).masks["0"]
    return rows_freed(mask, mapped_rows((3, 3), (side, side)))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 1)])
def test_freed_rows_are_those_that_the_layout_skips(stride: int, dilation: int) -> None:
    draw = np.random.default_rng(stride * 10 + dilation)
    geometry = Geometry("layer", 5, 3, (3, 2), (9, 8), (stride, stride), (0, 0, 0, 0), (dilation, dilation))
    mapping = map_layer(geometry, ArrayShape(256, 64), "sdk")
    for share in (0.1, 0.3, 0.6):
        mask = (draw.random(geometry.weight_shape) < share).astype(np.int64)
        touches = mapped_rows((3, 2), mapping.window, (stride, stride), (dilation, dilation))
        assert rows_freed(torch.from_numpy(mask), touches) == place(mapping, mask, "row").rows_skipped


def test_a_row_is_freed_with_the_last_position_that_it_meets() -> None:
    touches = mapped_rows((1, 2), (1, 3))
    assert freed_after(np.array([[5, 2], [0, 1]]), touches).tolist() == [[5, 5, 2], [0, 1, 1]]


@pytest.mark.parametrize(("method", "side", "entries"), list(product(BUDGET_METHODS, (3, 4, 5), (8, 6, 4))))
def test_as_many_rows_are_freed_as_pairs_frees(method: str, side: int, entries: int) -> None:
    asked, found = freed("pairs", side, entries=entries), freed(method, side, entries=entries)
    assert found >= asked
    # One position may free a few rows at once; the integer program meets the number exactly.
    assert found - asked <= (0 if method == "garos" else side + 1)


def test_a_budget_is_shared_out_by_width_as_published() -> None:
    widths = (16, 32, 64)
    built = nn.Sequential(*[nn.Conv2d(w, w, 3) for w in widths for _ in range(2)])
    windows = Windows({str(i): (4, 4) for i in range(6)})
    for rows in (50, 333, 900):
        budgets = pruning_method("garos", {"rows": rows, "windows": windows}).budgets(built)  # type: ignore[attr-defined]
        targets = [budget.target for budget in budgets.values()]
        assert targets == [rows // 7] * 2 + [2 * rows // 7] * 2 + [4 * rows // 7] * 2


def test_plans_tell_the_rows_of_each_layer() -> None:
    plan = pruning_method("garos", {"rows": 40, "windows": Windows({"0": (4, 4)})}).plan(network())
    assert plan.notes == ("0: 40 of 256 rows skipped in windows of 4x4, 40 asked for",)


def brute_force(program: ChannelProgram) -> int | None:
    """Most entries over all choices of channels."""
    families = list(program.gains)
    best = None
    for counts in product(range(min(program.bound, program.channels) + 1), repeat=len(families)):
        used = sum(counts)
        rows = sum(program.gains[e] * n for e, n in zip(families, counts, strict=True))
        if used <= program.channels and rows == program.target:
            kept = sum(e * n for e, n in zip(families, counts, strict=True)) + program.dense * (program.channels - used)
            best = kept if best is None else max(best, kept)
    return best


@pytest.mark.parametrize("side", [3, 4, 5])
@pytest.mark.parametrize("bound", [2, 4, 8])
def test_the_integer_program_finds_what_brute_force_finds(side: int, bound: int) -> None:
    gains = {8: 1, 6: side, 4: 2 * side - 1, 2: 3 * side - 2, 1: 4 * side - 4}
    for target in range(0, 8 * gains[1] + 1, 3):
        program = ChannelProgram(8, target, gains, 9, bound)
        expected = brute_force(program)
        if expected is None:
            with pytest.raises(PruningError, match=f"{target} rows to skip: no choice among 8 channels"):
                program.solve()
            continue
        counts = program.solve()
        assert kept_entries(counts) == expected
        assert sum(counts.values()) == 8
        assert sum(gains.get(e, 0) * n for e, n in counts.items()) == target
        assert all(n <= bound for e, n in counts.items() if e < 9)


def genetic_search(program: ChannelProgram, draw: np.random.Generator, generations: int = 60) -> int:
    """Entries kept by the best choice that a small genetic algorithm finds; 0 when it finds none."""
    families = np.array(list(program.gains))
    gains = np.array(list(program.gains.values()))
    people = draw.integers(0, program.bound + 1, (300, len(families)))
    best = 0
    for _ in range(generations):
        lost = (people * (program.dense - families)).sum(1)
        wrong = np.abs(people @ gains - program.target) + np.maximum(people.sum(1) - program.channels, 0)
        feasible = wrong == 0
        if feasible.any():
            best = max(best, program.dense * program.channels - int(lost[feasible].min()))
        parents = people[np.argsort(wrong * 1000 + lost)[:90]]
        couples = parents[draw.integers(0, len(parents), (2, len(people)))]
        people = np.where(draw.random(people.shape) < 0.5, *couples)
        mutate = draw.random(people.shape) < 0.2
        people = np.where(mutate, np.clip(people + draw.integers(-3, 4, people.shape), 0, program.bound), people)
    return best


@pytest.mark.parametrize(("channels", "side", "rows"), [(64, 4, 2), (64, 4, 7), (256, 5, 4), (512, 4, 3)])
def test_the_integer_program_is_never_worse_than_a_genetic_search(channels: int, side: int, rows: int) -> None:
    gains = {8: 1, 6: side, 4: 2 * side - 1, 2: 3 * side - 2, 1: 4 * side - 4}
    program = ChannelProgram(channels, rows * channels, gains, 9, int(0.4 * channels))
    found = genetic_search(program, np.random.default_rng(channels + rows))
    assert 0 < found <= kept_entries(program.solve())


def test_the_weakest_channels_keep_the_fewest_entries() -> None:
    built = network()
    with torch.no_grad():
        built[0].weight *= torch.arange(1, 17).reshape(1, 16, 1, 1)
    options = {"windows": Windows({"0": (4, 4)}), "entries": 4}
    kept = pruning_method("garos", options).plan(built).masks["0"][0].flatten(1).sum(1)
    assert kept.tolist() == sorted(kept.tolist())
    reverse = pruning_method("garos", {**options, "ranking": "descending"}).plan(built).masks["0"][0].flatten(1).sum(1)
    assert reverse.tolist() == sorted(kept.tolist(), reverse=True)
    drawn = [
        pruning_method("garos", {**options, "ranking": "random", "seed": seed}).plan(built).masks["0"]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_families_hold_the_centre_and_are_those_of_the_paper() -> None:
    budget = LayerBudget(network()[0], (4, 4), 0)
    families = {entries: set(family(budget, entries)) for entries in (8, 6, 4, 2, 1)}
    assert {entries: len(patterns) for entries, patterns in families.items()} == {8: 4, 6: 4, 4: 4, 2: 4, 1: 1}
    assert families[2] == {"010010000", "000110000", "000011000", "000010010"}
    assert families[1] == {"000010000"}


def test_the_published_concentration_depends_on_the_rows() -> None:
    few, many = (LayerBudget(network(20)[0], (4, 4), target) for target in (40, 41))
    assert (Garos().program(few).bound, Garos().program(many).bound) == (4, 8)
    assert Garos(concentration=1.0).program(few).bound == 20


def test_channels_keep_the_strongest_pattern_of_their_family() -> None:
    built = network(4)
    with torch.no_grad():
        built[0].weight[:] = 0.001
        built[0].weight[:, :, :, :2] = 1.0
    options = {"windows": Windows({"0": (4, 4)}), "families": [6], "concentration": 1.0, "rows": 16}
    assert kernel_counts(pruning_method("garos", options).plan(built).masks["0"]) == {"110110110": 16}


def test_row_prunes_in_the_order_of_the_norms() -> None:
    built = nn.Sequential(nn.Conv2d(1, 1, 3))
    with torch.no_grad():
        built[0].weight.copy_(torch.arange(1.0, 10).reshape(1, 1, 3, 3))
    masks = [
        pruning_method("row", {"windows": Windows({"0": (4, 4)}), "rows": rows}).plan(built).masks["0"].flatten()
        for rows in range(5)
    ]
    assert [int(mask.sum()) for mask in masks] == [9, 8, 7, 6, 6]
    assert masks[3].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]


def test_row_efficient_looks_at_whole_mapped_rows() -> None:
    # The weakest position is the centre, which frees nothing alone; the mapping says that the right column is cheapest.
    built = nn.Sequential(nn.Conv2d(1, 1, 3))
    with torch.no_grad():
        built[0].weight.copy_(torch.tensor([[5.0, 5, 2], [5, 0.1, 2], [5, 5, 2]]).reshape(1, 1, 3, 3))
    options = {"windows": Windows({"0": (4, 4)}), "rows": 4}
    aware = pruning_method("row-efficient", options).plan(built)
    assert aware.keep == (("0", "110110110"),)
    assert pruning_method("row", options).plan(built).keep == (("0", "110100110"),)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("garos", {"rows": 257}, "0: 257 rows to skip: the layer has 256 rows"),
        ("garos", {"rows": -1}, "rows=-1: the number of rows to skip is 0 or more"),
        ("garos", {"rows": 250}, "Raise --concentration, or ask for fewer rows"),
        ("garos", {"ranking": "up"}, "ranking 'up': unknown ranking"),
        ("garos", {"concentration": 0.0}, "concentration=0.0: a share of the channels is above 0 and up to 1"),
        ("row", {"rows": 256}, "256 rows to skip: the layer would lose all its weights"),
        ("row-efficient", {"rows": 256}, "256 rows to skip: the layer would lose all its weights"),
        ("row-efficient", {"power": 0}, "power=0: the power of the magnitudes is positive"),
    ],
)
def test_a_budget_that_cannot_be_met_is_explained(method: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(PruningError) as caught:
        pruning_method(method, {"windows": Windows({"0": (4, 4)}), **options}).plan(network())
    assert message in str(caught.value)
