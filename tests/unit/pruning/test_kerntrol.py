"""KERNTROL: pixels that few outputs use, what its two kernels reach, and the whole method on a small network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import pimsim
from pimsim import api
from pimsim.errors import MappingError, PimsimError, PruningError
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.importer import import_network
from pimsim.network.layers import Geometry
from pimsim.network.phase_conv import PhaseConv2d
from pimsim.network.rewrites import phased
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.methods.kerntrol import Kerntrol, coverage
from pimsim.pruning.prune import PruneResult
from pimsim.pruning.trained import TrainedNetwork
from pimsim.pruning.windows import Windows

REPOSITORY = Path(__file__).parents[3]
DIGITS: dict[str, Any] = {
    "network": f"{REPOSITORY / 'models' / 'digits_cnn.py'}:digits_cnn", "data": "digits", "batch": 64, "lr": 0.01,
    "checkpoint": REPOSITORY / "models" / "digits_cnn-w4a4.safetensors", "normalize": ((0.305,), (0.376,)),
    "crop_padding": 0, "flip": False, "show_progress": False, "warmup_epochs": 0.25, "epochs": 1,
}  # fmt: skip
METHODS = ("kerntrol-m", "kerntrol-c")


def test_coverage_as_published() -> None:
    """`pruning-sdk.md` 9."""
    four = [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    five = [[1, 2, 3, 2, 1], [2, 4, 6, 4, 2], [3, 6, 9, 6, 3], [2, 4, 6, 4, 2], [1, 2, 3, 2, 1]]
    assert torch.equal(coverage((3, 3), (4, 4)), torch.tensor(four).double() / 4)
    assert torch.equal(coverage((3, 3), (5, 5)), torch.tensor(five).double() / 9)


@pytest.mark.parametrize("window", [(3, 4), (6, 5), (7, 7), (9, 4)])
def test_coverage_counts_the_places_over_a_pixel(window: tuple[int, int]) -> None:
    n_h, n_w = window[0] - 2, window[1] - 2
    over = nn.functional.conv_transpose2d(torch.ones(1, 1, n_h, n_w), torch.ones(1, 1, 3, 3))[0, 0]
    torch.testing.assert_close(coverage((3, 3), window), over.double() / (n_h * n_w))


@pytest.mark.parametrize(
    ("side", "threshold", "block"),
    [(4, 0.5, 3), (5, 0.4, 5), (5, 0.45, 5)],  # `pruning-sdk.md` 9: the block actually reachable
)
def test_the_block_of_the_larger_kernel_that_outputs_reach(side: int, threshold: float, block: int) -> None:
    kept = coverage((3, 3), (side, side)) > threshold
    layer = phased(nn.Conv2d(1, 1, 3), (2 * side - 3,) * 2, kept)
    edge = (2 * side - 3 - block) // 2
    box = torch.zeros_like(layer.reachable)
    box[edge : edge + block, edge : edge + block] = True
    outside = layer.reachable & ~box
    assert not outside.any()
    assert layer.reachable[edge].any() and layer.reachable[:, edge].any()
    assert layer.reachable[:, -1 - edge].any() and layer.reachable[-1 - edge].any()


@pytest.mark.parametrize(
    ("threshold", "skipped"),
    [(0.0, (0, 0, 0)), (0.15, (64, 0, 0)), (0.25, (192, 128, 256)), (0.4, (256, 128, 256)), (0.45, (320, 128, 256))],
)
@pytest.mark.parametrize("compensate", [False, True])
def test_rows_of_resnet20_on_the_papers_array(
    threshold: float, skipped: tuple[int, int, int], compensate: bool
) -> None:
    """Formula (pixels x channels), layout and utilisation agree; 0.45 gives the 36.4 % of the paper."""
    stages = ((16, 32, 5), (32, 16, 4), (64, 8, 4))
    mapped = []
    for (channels, size, side), expected in zip(stages, skipped, strict=True):
        kept = coverage((3, 3), (side, side)) > threshold
        kernel = 2 * side - 3 if compensate else 3
        layer = phased(nn.Conv2d(channels, channels, 3, padding=1, bias=False), (kernel, kernel), kept)
        nn.init.constant_(layer.weight, 1.0)
        imported = import_network(nn.Sequential(layer).eval(), None, (channels, size, size), 4, 4, torch.ones(
            1, channels, size, size)).layers[0]  # fmt: skip
        mapping = map_layer(imported.geometry, ArrayShape(512, 256), "sdk")
        placement = place(mapping, imported.weight, "row")
        assert mapping.window == (side, side)
        # The arrays that the dense layer needs, and its windows.
        shape = Geometry("dense", channels, channels, (3, 3), (size, size), padding=(1, 1, 1, 1))
        dense = map_layer(shape, ArrayShape(512, 256), "sdk")
        assert (mapping.cycles, mapping.rows_mapped) == (dense.cycles, dense.rows_mapped)
        assert placement.rows_skipped == expected == int((~kept).sum()) * channels * mapping.column_tiles
        cells = sum(len(tile.rows) * len(tile.columns) for tile in placement.tiles)
        assert placement.nonzero_cells is not None
        assert (placement.weight_cells == cells == placement.nonzero_cells) == (compensate or side == 3)
        mapped.append(mapping.rows_mapped)
    if threshold == 0.45:
        # The ratio of this family of papers counts every stage once (`pruning-sdk.md` 7).
        assert round(100 * sum(skipped) / sum(mapped), 1) == 36.4


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, bias=False))


class Fixed:
    """Windows that stand fast."""

    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, **sizes: tuple[int, int]) -> None:
        self.sizes = {name.strip("_"): size for name, size in sizes.items()}

    def __call__(self, network: nn.Module, input_shape: tuple[int, int, int]) -> Windows:
        return Windows(self.sizes)


def trained() -> TrainedNetwork:
    return TrainedNetwork((), {key: value.clone() for key, value in small_network().state_dict().items()}, {}, {})


@pytest.mark.parametrize("compensate", [False, True])
def test_the_larger_kernel_starts_with_the_trained_one(compensate: bool) -> None:
    before = trained()
    method = Kerntrol(compensate, Fixed(_0=(4, 4), _2=(5, 5)), (2, 7, 7), 0.25)
    found = method.next_round(small_network, before)
    assert found is not None and found.final
    layer = found.network.rebuild(small_network).get_submodule("2")
    assert isinstance(layer, PhaseConv2d)
    margin = 2 if compensate else 0
    centre = layer.weight[:, :, margin : margin + 3, margin : margin + 3]
    assert torch.equal(centre, before.state["2.weight"])
    assert layer.weight.count_nonzero() == centre.count_nonzero()
    assert torch.equal(found.network.masks["2"][0, 0].bool(), layer.reachable)
    # The first layer has not as many inputs as outputs and stays.
    assert not isinstance(found.network.rebuild(small_network).get_submodule("0"), PhaseConv2d)


def test_threshold_0_computes_what_the_dense_network_computes() -> None:
    images, before = torch.randn(3, 2, 7, 8), trained()
    for compensate in (False, True):
        found = Kerntrol(compensate, Fixed(_2=(5, 5)), (2, 7, 8), 0.0).next_round(small_network, before)
        assert found is not None
        torch.testing.assert_close(found.network.rebuild(small_network)(images), before.rebuild(small_network)(images))


def test_an_earlier_mask_stays_in_the_centre() -> None:
    before = trained()
    before.masks["2"] = torch.ones(4, 4, 3, 3)
    before.masks["2"][:, :, 0] = 0
    for compensate, margin in ((False, 0), (True, 1)):
        found = Kerntrol(compensate, Fixed(_2=(4, 4)), (2, 7, 7), 0.0).next_round(small_network, before)
        assert found is not None
        mask = found.network.masks["2"]
        assert torch.equal(mask[:, :, margin : margin + 3, margin : margin + 3], before.masks["2"])
        assert int(mask.sum()) == 16 * (25 - 3 if compensate else 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, "threshold=1.0: a threshold is a share of the outputs of a window, from 0 to below 1."),
        ({"threshold": -0.1}, "threshold=-0.1: a threshold is a share"),
        ({"layers": ("2",), "threshold": 0.99, "window": (6, 9)}, "2: threshold=0.99: at most 0.321 of the outputs of "
         "a window of 6x9 use a pixel. Use a lower threshold."),
        ({"window": (3, 3)}, "an array that gives no layer a larger window: rows are left out of windows that are "
         "larger than the kernel. Use a larger array."),
        ({"layers": ("1",)}, "layer '1': must name a convolution of the network."),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    window = options.pop("window", (4, 4))
    with pytest.raises(PruningError) as caught:
        Kerntrol(False, Fixed(_2=window), (2, 9, 9), **options).next_round(small_network, trained())
    assert str(caught.value).startswith(message)


# The whole method


@pytest.fixture(scope="module", params=METHODS)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    out = tmp_path_factory.mktemp(request.param) / "x.safetensors"
    return api.prune(**DIGITS, method=request.param, array="512x256", out=out)


def metadata(result: PruneResult) -> dict[str, Any]:
    with safe_open(str(result.checkpoint), "pt") as file:
        content: dict[str, Any] = json.loads(file.metadata()["pimsim"])
    return content


def simulate(result: PruneResult, **options: Any) -> Any:
    return pimsim.simulate(
        REPOSITORY / "workloads" / "digits.yaml", checkpoint=str(result.checkpoint), skip="row", images=360,
        crossbar_images=6, trace="none", **options,
    )  # fmt: skip


@pytest.mark.parametrize("mapping", ["sdk", "im2col", "vw-sdk"])
def test_the_trained_network_is_run_and_checked(result: PruneResult, mapping: str) -> None:
    run = simulate(result, mapping=mapping)
    assert run.check.exact
    # The integer network is the one that was trained.
    assert run.check.top1_integer == pytest.approx(result.quantized_accuracy, abs=0.003)


def test_fine_tuning_keeps_what_is_left_out_at_zero_and_fills_the_ring(result: PruneResult) -> None:
    with safe_open(str(result.checkpoint), "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for name, entry in metadata(result)["structure"][0]["layers"].items():
        rows = np.array([[int(pixel) for pixel in row] for row in entry["kept"]])
        weight = state.get(f"{name}.weight_orig", state.get(f"{name}.weight"))
        assert weight is not None and list(weight.shape[2:]) == entry["kernel"]
        assert rows.sum() < rows.size
        if metadata(result)["method"] == "kerntrol-c":
            mask = state[f"{name}.weight_mask"]
            ring = mask.clone()
            edge = (len(rows) - 3) or 1
            ring[:, :, edge:-edge, edge:-edge] = False
            assert (weight[ring] != 0).float().mean() > 0.9


def test_card_and_metadata_tell_rows_and_windows(result: PruneResult) -> None:
    card = result.card.read_text()
    layers = metadata(result)["structure"][0]["layers"]
    for name, entry in layers.items():
        omitted = sum(row.count("0") for row in entry["kept"])
        assert f"{name}: " in card
        assert f"({omitted / len(entry['kept']) ** 2:.1%})" in card
    assert f"--method {metadata(result)['method']}" in card and "--array 512x256" in card
    assert metadata(result)["recipe"]["threshold"] == 0.25


def test_other_methods_go_on_from_it(result: PruneResult, tmp_path: Path) -> None:
    again = api.prune(**{**DIGITS, "checkpoint": result.checkpoint, "limit": 128}, method="none",
                      out=tmp_path / "x.safetensors")  # fmt: skip
    assert metadata(again)["structure"] == metadata(result)["structure"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"array": None}, PruningError, "the method 'kerntrol-m' without an array: which rows are left out follows "
         "from the parallel windows. Give --array 512x256, or --hardware."),
        ({"checkpoint": None}, PruningError, "the method 'kerntrol-m' without a checkpoint"),
        ({"mapping": "low-rank"}, MappingError, "mapping 'low-rank': windows come from a mapper"),
        ({"method": "pairs", "threshold": 0.5}, PruningError, "--threshold with the method 'pairs': it belongs to "
         "'kerntrol-m' and 'kerntrol-c'. Leave --threshold out, or use --method kerntrol-m."),
        ({"array": "64x32"}, PruningError, "an array that gives no layer a larger window"),
        ({"admm_epochs": 1}, PruningError, "--admm-epochs with the method 'kerntrol-m'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_written(
    changes: dict[str, Any], error: type[PimsimError], message: str, tmp_path: Path
) -> None:
    asked = {**DIGITS, "limit": 100, "method": "kerntrol-m", "array": "512x256", **changes}
    with pytest.raises(error) as caught:
        api.prune(**asked, out=tmp_path / "x.safetensors")
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["low-rank", *METHODS])
def test_layers_with_phases_are_not_changed_a_second_time(result: PruneResult, method: str, tmp_path: Path) -> None:
    asked = {**DIGITS, "checkpoint": result.checkpoint, "limit": 100, "epochs": 0, "method": method}
    if method == "low-rank":
        with pytest.raises(PruningError, match="layer 'conv2' with output phases: only a convolution with one kernel"):
            api.prune(**asked, layers=("conv2",), out=tmp_path / "x.safetensors")
        return
    with pytest.raises(PruningError, match="a network without stride-1 3x3 convolutions"):
        api.prune(**asked, array="512x256", out=tmp_path / "x.safetensors")


def test_the_quantizer_looks_at_the_taps_that_are_used() -> None:
    """DoReFa: mean and peak of the block in use, whatever stands in taps that no output reaches."""
    from pimsim.pruning.fake_quantization import QuantizationOptions, attach_quantizers
    from pimsim.pruning.masks import mask_layers

    found = Kerntrol(True, Fixed(_2=(4, 4)), (2, 7, 7), 0.5).next_round(small_network, trained())
    assert found is not None
    network = found.network.rebuild(small_network)
    mask_layers(network, found.network.masks)
    layer = trained_layers(network)["2"]
    attach_quantizers(network, QuantizationOptions("dorefa", 4, 4, 4))
    with torch.no_grad():
        layer.weight_orig[:, :, 0, 0] = 100.0
    record = layer.quantizer.record(layer.weight_orig, layer.weight_mask)
    assert record.weight_scale[0] == pytest.approx(float(trained().state["2.weight"].abs().mean()) / 15)
