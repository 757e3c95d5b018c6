"""Methods that prune the unrolled matrix: block by block against their definition, and on the crossbar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_chip import chip
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.functional.crossbar import CrossbarLayer, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.hardware.encodings import columns_per_weight
from pimsim.hardware.laws import lossless_adc_bits
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Geometry, Layer, Precision
from pimsim.pruning.admm import Admm, AdmmOptions
from pimsim.pruning.masks import mask_layers
from pimsim.pruning.methods.matrix import roll, unroll
from pimsim.pruning.pim_prune import Crossbar, pack, pack_together
from pimsim.pruning.registry import pruning_method
from pimsim.pruning.selection import network_weights


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3, groups=2), nn.Flatten(), nn.Linear(8, 5))


def masks_of(method: str, built: nn.Module | None = None, **options: object) -> dict[str, Tensor]:
    return dict(pruning_method(method, options).plan(built or network()).masks)


def matrices(weight: Tensor, groups: int = 1) -> list[np.ndarray]:
    """The im2col matrix of each group, written with loops."""
    w = weight.detach().double().numpy().reshape(*weight.shape[:2], -1)
    oc, ic, taps = w.shape
    return [
        np.array([[w[g * oc // groups + o, c, t] for o in range(oc // groups)] for c in range(ic) for t in range(taps)])
        for g in range(groups)
    ]


def test_unrolling_is_the_row_order_of_im2col_and_rolls_back() -> None:
    weight = network()[1].weight
    for mine, theirs in zip(unroll(weight, 2), matrices(weight, 2), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    signs = [part > 0 for part in unroll(weight, 2)]
    assert torch.equal(roll(signs, weight), (weight > 0).to(weight))


@pytest.mark.parametrize("mode", ["row", "column", "best", "both"])
def test_pim_prune_masks_every_layer_as_pack_does(mode: str) -> None:
    masks = masks_of("pim-prune", array="8x4", keep="1/4", mode=mode)
    assert list(masks) == ["0", "1", "3"]
    for name in ("0", "3"):
        weight = network()[int(name)].weight
        expected = pack(matrices(weight)[0], (8, 4), 0.25, mode).mask
        np.testing.assert_array_equal(unroll(masks[name])[0] > 0, expected)
    if mode in ("row", "column"):
        parts = pack_together(matrices(network()[1].weight, 2), Crossbar(8, 4), 0.25, mode)
        for mask, one in zip(unroll(masks["1"], 2), parts, strict=True):
            np.testing.assert_array_equal(mask > 0, one.mask)


def test_a_rank_over_the_network_takes_from_the_weak_layers() -> None:
    built = network()
    with torch.no_grad():
        built[0].weight.mul_(100)
    masks = masks_of("pim-prune", built, array="3x4", keep=0.2, scope="network", mode="row", fill_up=False)
    assert masks["0"].mean() > 0.5
    assert masks["1"].sum() == masks["3"].sum() == 0


@pytest.mark.parametrize(("exempt", "left"), [("none", "013"), ("first", "13"), ("last", "01"), ("first-last", "1")])
def test_first_and_last_layers_can_stay_dense(exempt: str, left: str) -> None:
    assert list(masks_of("pim-prune", exempt=exempt)) == list(left)
    assert list(masks_of("pim-prune", exempt=exempt, layers=["0"])) == ["0"]


def test_notes_count_the_arrays_that_the_simulator_places() -> None:
    built = network()
    method = pruning_method("pim-prune", {"array": "8x4", "keep": 0.3})
    masks = method.plan(built).masks
    lines = method.notes(built, masks)
    used = 0
    for name, geometry in (("0", Geometry("a", 3, 12, (3, 3), (5, 5))), ("3", Geometry("b", 8, 5, (1, 1), (1, 1)))):
        weight = masks[name].numpy().reshape(geometry.weight_shape).astype(np.int64)
        arrays = len(place(map_layer(geometry, ArrayShape(8, 4), "im2col"), weight, "block", "layer").tiles)
        assert f"{name}: {arrays} of " in "".join(lines)
        used += arrays
    assert lines[-1].startswith("8x4: ")
    assert "crossbar compression" in lines[-1]


def test_admm_projects_on_the_same_segments() -> None:
    built = network()
    method = pruning_method("pim-prune", {"array": "8x4", "keep": 0.3})
    projection = method.projection(built)
    mask_layers(built, {})
    hook = Admm(method.constraints(built), projection, AdmmOptions(admm_epochs=2))
    hook.before_epoch(built, 0)
    targets = hook.state()["targets"][0]
    for name, mask in projection(network_weights(built)).items():
        assert torch.equal(targets[name], built[int(name)].weight_orig * mask)


def test_crossbar_keeps_the_strongest_blocks_and_skip_array_drops_the_others() -> None:
    masks, array = masks_of("crossbar", array="9x4", keep=0.5), (9, 4)
    matrix, mask = matrices(network()[0].weight)[0], unroll(masks["0"])[0]
    blocks = [(r, c) for r in range(0, 27, 9) for c in range(0, 12, 4)]
    norms = {at: (matrix[at[0] : at[0] + 9, at[1] : at[1] + 4] ** 2).sum() for at in blocks}
    kept = sorted(blocks, key=lambda at: -norms[at])[:5]  # 4.5 of 9, a half up
    for r, c in blocks:
        assert (mask[r : r + 9, c : c + 4] == ((r, c) in kept)).all()
    mapping = map_layer(Geometry("a", 3, 12, (3, 3), (5, 5)), ArrayShape(*array), "im2col")
    placed = place(mapping, masks["0"].numpy().astype(np.int64), "array")
    assert (len(placed.tiles), placed.index_bits) == (5, 0)


@pytest.mark.parametrize("width", [1, 4, 5])
def test_ou_row_keeps_the_strongest_rows_of_every_column_group(width: int) -> None:
    mask = unroll(masks_of("ou-row", keep=1 / 3, column_group=width)["0"])[0] > 0
    matrix = matrices(network()[0].weight)[0]
    for first in range(0, 12, width):
        part = matrix[:, first : first + width]
        best = sorted(np.argsort(-(part**2).sum(axis=1), kind="stable")[:9])
        assert (mask[:, first : first + width] == np.isin(np.arange(27), best)[:, None]).all()


def test_shared_n_of_m_in_groups_of_columns() -> None:
    built = nn.Sequential(nn.Conv2d(6, 6, 3))
    grouped = masks_of("n-m", built, n_of_m="1:3", column_group=4)["0"]
    for part, weight in ((grouped[:4], built[0].weight[:4]), (grouped[4:], built[0].weight[4:])):
        alone = nn.Sequential(nn.Conv2d(6, len(weight), 3))
        with torch.no_grad():
            alone[0].weight.copy_(weight)
        assert torch.equal(part, masks_of("n-m", alone, n_of_m="1:3", layers=["0"])["0"])
    assert not torch.equal(grouped[:1].expand_as(grouped), grouped)


@pytest.mark.parametrize("encoding", ["differential", "twos-complement", "offset"])
def test_tiny_adc_bounds_the_bits_where_zero_is_an_empty_cell(encoding: str) -> None:
    """64 rows need 7 bits (1-bit cells and inputs); with 5 weights in each column 3 bits lose nothing."""
    built = nn.Sequential(nn.Conv2d(64, 6, 1))
    mask = masks_of("tiny-adc", built, nonzeros=5, array="64x64")["0"]
    assert (unroll(mask)[0].sum(axis=0) == 5).all()
    strongest = np.sort(np.abs(unroll(built[0].weight)[0]), axis=0)[-5]
    assert np.abs(unroll(built[0].weight)[0])[unroll(mask)[0] > 0].reshape(5, 6, order="A").min() >= strongest.min()
    weight = np.where(mask.numpy() > 0, 7, 0).astype(np.int64)  # all magnitude bits set: the worst case
    layer = Layer(Geometry("layer", 64, 6, (1, 1), (2, 2)), Precision(4, 2), weight)
    inputs = np.full((1, 64, 2, 2), 3)
    machine = chip(rows=64, columns=64, cell_bits=1)
    crossbar = replace(machine.crossbar, encoding=encoding)
    columns = columns_per_weight(encoding, 4, 1)
    placement = place(map_layer(layer.geometry, ArrayShape(64, 64, columns), "im2col"), weight)
    needed = lossless_adc_bits(5, 1, 1, encoding)
    for bits, exact in ((needed, encoding != "offset"), (needed - 1, False)):
        read_out = ReadOut(crossbar, machine.macro.row_driver, replace(machine.macro.adc, bits=bits))
        outputs, seen = CrossbarLayer(layer, placement, read_out).multiply(inputs)
        assert (seen.clipped == 0) == exact
        assert np.array_equal(outputs, reference_convolution(layer, inputs)) == exact


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pruning_method("pim-prune", {"array": "128"}),
         "array '128': an array is ROWSxCOLUMNS. Write it like 128x128."),
        (lambda: pruning_method("pim-prune", {"keep": ("half",)}),
         "keep 'half': a share is a number from 0 to 1. Write it like 0.25 or 1/4."),
        (lambda: pruning_method("pim-prune", {"keep": ("0.1", "0.2")}),
         "2 values of keep: one share is kept. Give --keep 0.25."),
        (lambda: pruning_method("pim-prune", {"keep": 0}), "keep=0: a layer needs a weight. Keep more than 0."),
        (lambda: pruning_method("pim-prune", {"mode": "rows"}),
         "mode 'rows': unknown mode. Did you mean 'row'? Known: row, column, best, both."),
        (lambda: pruning_method("pim-prune", {"scope": "global"}),
         "scope 'global': unknown scope. Known: layer, network."),
        (lambda: pruning_method("pim-prune", {"mode": "both", "scope": "network"}),
         "mode 'both' with scope 'network': its second phase works on one layer."),
        (lambda: masks_of("pim-prune", exempt="fist"),
         "exempt 'fist': unknown exemption. Did you mean 'first'? Known: none, first, last, first-last."),
        (lambda: masks_of("pim-prune", layers=["2"]), "layer '2': must name a layer with weights. Known: 0, 1, 3."),
        (lambda: masks_of("pim-prune", nn.Sequential(nn.Conv2d(2, 2, 1)), exempt="first"),
         "exempt 'first': no layer is left to prune. Name the layers, or use exempt none."),
        (lambda: pruning_method("ou-row", {"column_group": 0}),
         "column_group=0: a group has at least one output channel."),
        (lambda: pruning_method("n-m", {"column_group": 0}),
         "column_group=0: a group has at least one output channel."),
        (lambda: pruning_method("tiny-adc", {"nonzeros": 0}), "nonzeros=0: a column keeps at least one weight."),
        (lambda: pruning_method("crossbar", {"array": "4x2", "columns_per_weight": 4}),
         "4 columns per weight on a crossbar of 2 columns: an array must be wide enough for one weight. Use a wider "
         "crossbar."),
    ],
)  # fmt: skip
def test_what_a_user_can_get_wrong_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(PruningError) as caught:
        call()
    assert str(caught.value) == message
