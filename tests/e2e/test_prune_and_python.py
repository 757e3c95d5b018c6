"""``pimsim prune``, and networks given from Python."""

from __future__ import annotations

import inspect
import json
import re

import pytest
import torch
from torch import nn

import pimsim as package
from pimsim.cli.pruning import _prune
from pimsim.errors import ConfigError, DataError


def test_a_pruned_network_is_trained_written_and_run(pimsim, repository, tmp_path):
    out = tmp_path / "pruned.safetensors"
    done = pimsim(
        "prune", "--network", repository / "models/digits_cnn.py:digits_cnn", "--data", "digits", "--out", out,
        "--checkpoint", repository / "models/digits_cnn-w4a4.safetensors", "--method", "pattern", "--keep", "000111111",
        "--layers", "conv2", "--epochs", 1, "--warmup-epochs", 0, "--lr", 0.001, "--limit", 200, "--no-flip",
        "--crop-padding", 0, "--normalize", "0.305/0.376", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["keep"] == {"conv2": "000111111"}
    assert (tmp_path / "pruned.md").is_file()
    result = package.simulate(
        repository / "workloads/digits.yaml", checkpoint=str(out), mapping="im2col", images=4, trace="none"
    )
    # Three of nine rows of each of the 16 input channels hold no weight.
    assert result.layers.set_index("layer")["rows_skipped"]["conv2"] == 3 * 16
    assert result.check.exact


@pytest.mark.parametrize("method", ["garos", "row"])
def test_the_rows_that_were_asked_for_are_skipped_in_the_run(pimsim, repository, tmp_path, method):
    chip = "isaac-like-8b"
    done = pimsim(
        "prune", "--network", repository / "models/digits_cnn.py:digits_cnn", "--data", "digits",
        "--out", tmp_path / "x.safetensors", "--checkpoint", repository / "models/digits_cnn-w4a4.safetensors",
        "--method", method, "--rows", 100, "--hardware", chip, "--epochs", 1, "--warmup-epochs", 0, "--lr", 0.001,
        "--limit", 100, "--no-flip", "--crop-padding", 0, "--normalize", "0.305/0.376",
    )  # fmt: skip
    assert done.code == 0, done.err
    promised = dict(re.findall(r"(\w+): (\d+) of \d+ rows skipped", done.out))
    assert list(promised) == ["conv2", "conv4"]
    result = package.simulate(
        repository / "workloads/digits.yaml", checkpoint=str(tmp_path / "x.safetensors"), hardware=chip, mapping="sdk",
        skip="row", images=2, trace="none",
    )  # fmt: skip
    skipped = result.layers.set_index("layer")["rows_skipped"]
    assert {layer: skipped[layer] for layer in promised} == {layer: int(rows) for layer, rows in promised.items()}
    # 16 and 32 input channels: a third and two thirds of the rows.
    if method == "garos":
        assert promised == {"conv2": "33", "conv4": "66"}
    assert result.check.exact


def test_prune_refuses_a_wrong_method(pimsim, repository, tmp_path):
    network = repository / "models/digits_cnn.py:digits_cnn"
    words = ("--network", network, "--data", "digits", "--out", tmp_path / "x.safetensors", "--method", "patern")
    done = pimsim("prune", *words)
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'pattern'?" in done.err
    assert not list(tmp_path.iterdir())


def strided():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 5))


@pytest.mark.parametrize("mapping", ["im2col", "sdk", "vw-sdk"])
def test_a_callable_from_python(mapping):
    result = package.simulate(
        module=strided, input_shape=(2, 6, 6), hardware="isaac-like-8b", mapping=mapping, images=3,
        calibration_images=8, trace="none",
    )  # fmt: skip
    assert (result.check.outputs, result.check.mismatches) == (3 * (6 * 9 + 5), 0)
    assert result.check.top1_integer is None
    assert str(result).splitlines()[-1] == "0 of 177 outputs differ from the reference"


def test_the_same_seed_gives_the_same_numbers():
    def run(seed):
        return package.simulate(
            module=strided, input_shape=(2, 6, 6), hardware="isaac-like-8b", images=2, seed=seed,
            calibration_images=8, trace="none", set={"tile.macro.crossbar.read_energy": "data-dependent"},
        ).to_json()  # fmt: skip

    assert run(3) == run(3)
    assert run(3)["totals"]["energy_pj"] != run(4)["totals"]["energy_pj"]


def test_probes_never_change_timing():
    def latency(trace):
        result = package.simulate(
            module=strided, input_shape=(2, 6, 6), hardware="isaac-like-8b", images=1, calibration_images=8,
            check=False, trace=trace,
        )  # fmt: skip
        return result.simulation.latency_fs, len(result.simulation.spans)

    silent, traced = latency("none"), latency("windows=0:999")
    assert silent[0] == traced[0]
    assert silent[1] == 0 < traced[1]


def test_more_images_than_there_are_is_refused(repository):
    with pytest.raises(DataError, match="images=400: the data has 360 test images"):
        package.simulate(repository / "workloads/digits.yaml", images=400)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": "s.yaml", "checkpoint": "c.pt"}, "checkpoint with shapes: a shape table has no weights"),
        ({"shapes": "s.yaml", "input_shape": "3,8,8"}, "input_shape with shapes: a shape table has no weights"),
        ({"shapes": "s.yaml", "quantizer": "dorefa"}, "quantizer with shapes: a shape table has no weights"),
        ({"network": "n.py:n", "input_shape": "1,2,2", "convention": "valid"}, "convention 'valid' with network"),
        ({"shapes": "s.yaml", "normalize": "1,2"}, "--normalize: normalize='1,2': means and deviations are separated"),
    ],
)
def test_keys_that_do_not_go_together(options, message):
    with pytest.raises(ConfigError, match=message):
        package.simulate(**options)


def test_public_names_are_listed_and_loaded_on_first_use():
    assert set(dir(package)) == set(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'simulte'"):
        package.simulte  # noqa: B018


def test_the_help_says_which_methods_have_an_option():
    from pimsim.api.pruning import options_by_method

    table = options_by_method()
    parameters = inspect.signature(_prune, eval_str=True).parameters
    for option in {name for own in table.values() for name in own}:
        help_text = parameters[option].annotation.__metadata__[0].help
        assert help_text.startswith("["), option
        having = {method for method, own in table.items() if option in own}
        named = set()
        for methods in re.findall(r"\[(?!default)([^]]+)]", help_text):
            listed = set(methods.removeprefix("all but ").split(", "))
            assert listed <= set(table), option
            named |= set(table) - listed if methods.startswith("all but") else listed
        assert named == having, option
    assert all(method in parameters["method"].annotation.__metadata__[0].help for method in table)
