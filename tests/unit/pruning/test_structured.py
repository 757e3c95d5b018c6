"""The whole methods on a few digits: rounds, files, cards, and options that do not belong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import pimsim
from pimsim import api
from pimsim.errors import ConfigError, MappingError, PimsimError, PruningError, QuantizationError
from pimsim.network.checkpoints import load_checkpoint
from pimsim.pruning.prune import PruneResult

REPOSITORY = Path(__file__).parents[3]
MODEL = f"{REPOSITORY / 'models' / 'digits_cnn.py'}:digits_cnn"
DENSE = REPOSITORY / "models" / "digits_cnn-w4a4.safetensors"
DIGITS: dict[str, Any] = {
    "network": MODEL, "data": "digits", "normalize": ((0.305,), (0.376,)), "checkpoint": DENSE, "batch": 64,
    "lr": 0.01, "crop_padding": 0, "flip": False, "show_progress": False, "warmup_epochs": 0.25, "epochs": 1,
}  # fmt: skip
VWC: dict[str, Any] = {"method": "vwc-sdk", "array": "128x64"}
LOW_RANK: dict[str, Any] = {"method": "low-rank", "rank": "1/4", "groups": 4}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    return api.prune(**DIGITS, **VWC, out=tmp_path_factory.mktemp("small") / "small.safetensors")


@pytest.fixture(scope="module")
def factored(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    return api.prune(**DIGITS, **LOW_RANK, out=tmp_path_factory.mktemp("factored") / "factored.safetensors")


def metadata(result: PruneResult) -> dict[str, Any]:
    with safe_open(str(result.checkpoint), "pt") as file:
        content: dict[str, Any] = json.loads(file.metadata()["pimsim"])
    return content


def simulate(result: PruneResult, mapping: str) -> Any:
    return pimsim.simulate(
        REPOSITORY / "workloads" / "digits.yaml", checkpoint=str(result.checkpoint), mapping=mapping, images=360,
        crossbar_images=4, trace="none",
    )  # fmt: skip


def test_vwc_sdk_writes_an_ordinary_smaller_checkpoint(small: PruneResult) -> None:
    state = load_checkpoint(small.checkpoint).state
    assert set(state) == set(load_checkpoint(DENSE).state)
    widths = {name: tuple(state[f"{name}.weight"].shape[:2]) for name in ("conv1", "conv2", "conv3", "conv4")}
    # `pimsim map` for 128 rows: 8 channels fit under conv2's window, 10 under conv3's, 10 under conv4's.
    assert widths == {"conv1": (8, 1), "conv2": (10, 8), "conv3": (30, 10), "conv4": (32, 30)}
    assert metadata(small)["method"] == "vwc-sdk"


def test_the_smaller_network_is_run_and_checked(small: PruneResult) -> None:
    result = simulate(small, "vw-sdk")
    assert result.check.exact
    assert result.check.top1_integer == pytest.approx(small.quantized_accuracy, abs=0.011)


@pytest.mark.parametrize("mapping", ["im2col", "low-rank"])
def test_the_factored_network_is_run_and_checked(factored: PruneResult, mapping: str) -> None:
    result = simulate(factored, mapping)
    assert result.check.exact
    assert result.check.top1_integer == pytest.approx(factored.quantized_accuracy, abs=0.011)
    assert [name for name in result.layers["layer"] if name.startswith("conv2")] == ["conv2.reduce", "conv2.expand"]


def test_both_factors_share_their_windows(factored: PruneResult) -> None:
    layers = simulate(factored, "low-rank").layers.set_index("layer")
    shape = api.map("k=3x3,ic=16,oc=16,in=8x8,pad=1", hardware="isaac-like-8b", weight_bits=4, mapping="low-rank",
                    options={"rank": "1/4", "groups": 4})  # fmt: skip
    pair = layers.loc[["conv2.reduce", "conv2.expand"]]
    assert pair["windows"].nunique() == 1
    assert pair["cycles"].sum() == shape.placements[0].cycles


def test_fine_tuning_wins_accuracy_back(small: PruneResult, factored: PruneResult) -> None:
    for result in (small, factored):
        plan: Any = result.plan
        (done,) = plan.rounds
        assert plan.dense_accuracy > 0.97
        assert done.pruned_accuracy < done.accuracy == result.quantized_accuracy
        assert done.accuracy > 0.7


def test_the_card_tells_rounds_command_and_curve(small: PruneResult) -> None:
    card = small.card.read_text()
    assert "## Changes of structure" in card
    assert "conv2: 16 -> 10 channels" in card
    assert "--method vwc-sdk" in card and "--array 128x64" in card and "--no-flip" in card
    assert sum("| quantized |" in line for line in card.splitlines()) == 1
    assert str(small.checkpoint.parent) not in card


def test_a_factored_checkpoint_can_be_pruned_by_channels(tmp_path: Path) -> None:
    untrained = {**DIGITS, "epochs": 0}
    first = api.prune(**untrained, method="low-rank", rank="1/2", out=tmp_path / "factored.safetensors")
    result = api.prune(**{**untrained, "checkpoint": first.checkpoint}, **VWC, out=tmp_path / "both.safetensors")
    assert [entry["rewrite"] for entry in metadata(result)["structure"]] == ["low-rank", "channels"]
    assert simulate(result, "im2col").check.exact


def test_other_methods_keep_the_structure(small: PruneResult, tmp_path: Path) -> None:
    arguments = {**DIGITS, "checkpoint": small.checkpoint, "method": "pattern", "layers": ("conv3",)}
    result = api.prune(**arguments, out=tmp_path / "more.safetensors")
    assert metadata(result)["structure"] == metadata(small)["structure"]
    assert load_checkpoint(result.checkpoint).state["conv3.weight_orig"].shape == (30, 10, 3, 3)


def test_no_epochs_mean_no_training(tmp_path: Path) -> None:
    result = api.prune(**{**DIGITS, "epochs": 0}, **LOW_RANK, out=tmp_path / "raw.safetensors")
    assert result.history == ()
    assert "after" not in result.plan.picture()
    assert not (tmp_path / "raw.training").exists()


def test_a_network_that_fits_is_left_as_it_is(tmp_path: Path) -> None:
    # One row tile holds all channels of every layer: nothing is left over.
    arguments = {**DIGITS, "method": "vwc-sdk", "array": "4096x64"}
    result = api.prune(**arguments, out=tmp_path / "same.safetensors")
    assert result.plan.picture().endswith("end: nothing is left to prune")
    assert result.quantized_accuracy == pytest.approx(0.986, abs=0.01)


def test_a_float_network_is_pruned_and_quantized(small: PruneResult, tmp_path: Path) -> None:
    state = load_checkpoint(DENSE).state
    torch.save(state, tmp_path / "float.pt")
    arguments = {**DIGITS, "checkpoint": tmp_path / "float.pt", "epochs": 2}
    result = api.prune(**arguments, **LOW_RANK, out=tmp_path / "x.safetensors")
    assert set(metadata(result)["quantization"]) >= {"conv1", "conv2.reduce", "conv2.expand"}
    assert result.quantized_accuracy > 0.7


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"method": "none", "sparsity": 0.5}, PruningError,
            "--sparsity with the method 'none': it belongs to 'magnitude', 'filter', 'channel' and 'column'. Leave "
            "--sparsity out, or use --method magnitude.",
        ),
        (
            {"method": "pairs", "mapping": "sdk"}, PruningError,
            "--mapping without an array: it says how the array is used. Give --array 512x256.",
        ),
        (
            {"method": "row"}, PruningError,
            "the method 'row' without an array: how many rows a weight occupies follows from the parallel window. Give "
            "--array 512x256.",
        ),
        (
            {"method": "low-rank", "keep": ("000111111",)}, PruningError,
            "--keep with the method 'low-rank': it belongs to 'pattern', 'pim-prune', 'crossbar', 'ou-row' and "
            "'bit-slice'. Leave --keep out, or use --method pattern.",
        ),
        (
            {"method": "low-rank", "array": "128x64"}, PruningError,
            "--array with the method 'low-rank': it belongs to 'pairs', 'garos', 'row-efficient', 'row', 'pim-prune', "
            "'crossbar', 'tiny-adc', 'bit-slice', 'forms', 'vwc-sdk', 'kerntrol-m' and 'kerntrol-c'. Leave --array "
            "out, or use --method pairs.",
        ),
        (
            {**VWC, "layers": ("conv2",)}, PruningError,
            "--layers with the method 'vwc-sdk': it belongs to 'pattern', 'pairs', 'patdnn', 'random', 'pconv', "
            "'garos', 'row-efficient', 'row', 'magnitude', 'filter', 'channel', 'column', 'n-m', 'pim-prune', "
            "'crossbar', 'ou-row', 'tiny-adc', 'bit-slice', 'forms', 'prap', 'low-rank', 'kerntrol-m' and "
            "'kerntrol-c'. Leave --layers out, or use --method pattern.",
        ),
        (
            {"method": "none", "rank": "1/4"}, PruningError,
            "--rank with the method 'none': it belongs to 'low-rank'. Leave --rank out, or use --method low-rank.",
        ),
        (
            {**LOW_RANK, "checkpoint": None}, PruningError,
            "the method 'low-rank' without a checkpoint: it changes the structure of a trained network. Give its "
            "weights with --checkpoint; --method none trains a network from scratch.",
        ),
        (
            {"method": "vwc-sdk"}, PruningError,
            "the method 'vwc-sdk' without an array: the number of channels that stay follows from the array. Give "
            "--array 512x256, or --hardware.",
        ),
        (
            {"method": "vwc-sdk", "hardware": "isaac-like", "columns_per_weight": 2}, PruningError,
            "--columns-per-weight with --hardware: the cells of the hardware and the weight bits say how many columns "
            "a weight takes. Leave --columns-per-weight out.",
        ),
        (
            {**VWC, "array": "128"}, ConfigError,
            "--array: '128': an array is ROWSxCOLUMNS. Write it like 512x512.",
        ),
        (
            {**VWC, "search": "fast"}, MappingError, "search 'fast': unknown search. Known: exact, as-published.",
        ),
        (
            {**VWC, "convention": "full"}, MappingError, "convention 'full': unknown convention. Known: same, valid.",
        ),
        (
            {**LOW_RANK, "rank": "1/4/2"}, PruningError,
            "rank '1/4/2': a rank is a whole number of at least 1, or a fraction of the output channels. Write it "
            "like 16 or 1/4.",
        ),
        (
            {**LOW_RANK, "groups": 3}, PruningError,
            "conv2: groups=3 with 16 input channels: groups must divide the input channels. Use one of 1, 2, 4, 8, 16.",
        ),
        (
            {**LOW_RANK, "rank": "17", "groups": 1}, PruningError,
            "conv2: rank=17: the 16x144 matrix has a rank of at most 16. Use a rank from 1 to 16.",
        ),
        ({**LOW_RANK, "epochs": -1}, PruningError, "epochs=-1: epochs must be at least 0."),
        ({**LOW_RANK, "accuracy_drop": 2.0}, PruningError,
         "--accuracy-drop with the method 'low-rank': it belongs to 'vwc-sdk'. Leave --accuracy-drop out, or use "
         "--method vwc-sdk."),
        ({**LOW_RANK, "weight_bits": 8}, QuantizationError,
         "a checkpoint with (quantizer, weight bits, activation bits) ('symmetric', 4, 4): fine-tuning with "
         "('symmetric', 8, 4) must start from the same ones or from float weights."),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_written(
    changes: dict[str, Any], error: type[PimsimError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        api.prune(**{**DIGITS, "limit": 100, **changes}, out=tmp_path / "x.safetensors")
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


def test_a_misspelled_option_is_a_type_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        api.prune(**DIGITS, **LOW_RANK, epoch=3, out=tmp_path / "x.safetensors")


def test_low_rank_mapping_wants_a_factored_network() -> None:
    with pytest.raises(MappingError) as caught:
        pimsim.simulate(REPOSITORY / "workloads" / "digits.yaml", mapping="low-rank", images=1)
    assert str(caught.value) == (
        "mapping 'low-rank' with a network that is not factorised: it computes a layer by its two factors. "
        "Factorise it first with 'pimsim prune --method low-rank'."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 3}, "option rank=3 of mapping 'low-rank': the network's own factors have their rank and groups"),
        ({"stages": "pipelined"}, "whether the two layers overlap is said for all layers, with layers: pipelined"),
    ],
)
def test_options_of_shapes_are_refused_for_a_factored_network(
    factored: PruneResult, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MappingError, match=message):
        pimsim.simulate(
            REPOSITORY / "workloads" / "digits.yaml", checkpoint=str(factored.checkpoint), mapping="low-rank",
            mapping_options=options, images=1,
        )  # fmt: skip
