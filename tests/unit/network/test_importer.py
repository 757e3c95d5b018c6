"""Import of a network: how it is named, what it takes, and the exact message for what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pimsim.errors import NetworkError, PimsimError, QuantizationError
from pimsim.network.importer import import_float, import_network
from pimsim.network.integer import integer_multiply
from pimsim.network.modules import load_module
from pimsim.network.quantizers import LayerQuantization, quantize_activation, quantize_weight

SOURCE = """
import torch
from torch import nn
from sibling import CHANNELS

answer = 42

def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(CHANNELS, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))

def broken():
    raise ValueError("no such width")

def number():
    return 3

def wide(width):
    return nn.Linear(width, width)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mynet.py"
    path.write_text(SOURCE)
    (tmp_path / "sibling.py").write_text("CHANNELS = 2\n")
    yield path
    sys.modules.pop("sibling", None)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def images(count: int = 8) -> Tensor:
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(3))


def message(kind: type[PimsimError], call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    return str(caught.value)


def test_a_network_file_may_import_its_siblings_and_leaves_the_path_alone(file: Path) -> None:
    before = list(sys.path)
    network = import_network(f"{file}:small", calibration=images())
    assert sys.path == before
    assert network.name == "small"
    assert [layer.name for layer in network.layers] == ["0", "3"]


def test_network_sources_that_cannot_be_used(file: Path, tmp_path: Path) -> None:
    assert message(NetworkError, load_module, "resnet20") == (
        "network 'resnet20': a network is named as FILE.py:CALLABLE. For example models/resnet20.py:resnet20."
    )
    absent = tmp_path / "absent.py"
    assert message(NetworkError, load_module, f"{absent}:f") == (
        f"{absent}: network '{absent}:f': there is no such file. Check the path."
    )
    assert message(NetworkError, load_module, f"{file}:smal") == (
        f"{file}: callable 'smal': the file has no such callable. "
        "Did you mean 'small'? Known: small, broken, number, wide."
    )
    assert message(NetworkError, load_module, f"{file}:answer") == (
        f"{file}: callable 'answer': it is a value of type int, not a callable. Known: small, broken, number, wide."
    )
    assert message(NetworkError, load_module, f"{file}:broken") == (
        f"network '{file}:broken' raised ValueError: no such width: the callable must build the network."
    )
    assert message(NetworkError, load_module, f"{file}:number") == (
        f"network '{file}:number' returned a value of type int: it must return a torch.nn.Module."
    )
    assert message(NetworkError, load_module, f"{file}:wide") == (
        f"network '{file}:wide' needs the arguments width: the callable is called without arguments. "
        "Give them defaults, or write a function that passes them."
    )
    file.write_text("import nothing_of_that_name")
    assert message(NetworkError, load_module, f"{file}:small") == (
        f"{file}: network file raised ModuleNotFoundError: No module named 'nothing_of_that_name': "
        "the file must import cleanly."
    )


@pytest.mark.parametrize("shape", [(0, 6, 6), (2, 6), (2, 6, 0), (2, 6, -6)])
def test_input_shapes_that_hold_no_image(shape: tuple[int, ...]) -> None:
    assert message(NetworkError, import_network, small, input_shape=shape) == (
        f"input shape {','.join(map(str, shape))}: an input is channels, height and width, each at least 1. "
        "For example 3,32,32."
    )


def test_input_shapes_that_do_not_fit_the_network() -> None:
    assert message(NetworkError, import_network, small, input_shape=(3, 6, 6)) == (
        "Sequential: input shape 3,6,6: the network cannot take it (Given groups=1, weight of size [4, 2, 3, 3], "
        "expected input[1, 3, 6, 6] to have 2 channels, but got 3 channels instead). "
        "Give the shape (C,H,W) of the images that the network was written for."
    )
    assert message(NetworkError, import_network, small) == (
        "no input shape: tracing a network needs one. Give it as C,H,W, for example 3,32,32."
    )
    assert message(NetworkError, import_network, small, input_shape=(2, 5, 5), calibration=images()) == (
        "calibration images of shape 2,6,6: the input shape is 2,5,5."
    )


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if x.sum() > 0 else -self.fc(x)


class Random(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + torch.rand(6)


def test_networks_that_cannot_be_traced() -> None:
    text = message(NetworkError, import_float, Branching(), (2, 6, 6))
    assert text.startswith("network Branching that torch.export cannot trace (")
    assert text.endswith(
        "): the operations of a network must not depend on the values of the images. "
        "Replace such control flow, for example `if x.sum() > 0`, by torch.where or torch.cond."
    )
    assert message(NetworkError, import_float, Random(), (2, 6, 6)) == (
        "network Random whose traced operations give other values than the module: "
        "a network must give the same output for the same image. "
        "Remove random operations that stay active in evaluation mode."
    )
    assert message(NetworkError, import_float, nn.ReLU(), (2, 6, 6)) == (
        "network ReLU without convolution or linear layers: "
        "a network needs at least one layer that can be mapped on arrays."
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"weight_bits": 1}, "weight_bits=1: symmetric weights have 2 to 16 bits."),
        ({"weight_bits": 0}, "weight_bits=0: symmetric weights have 2 to 16 bits."),
        ({"weight_bits": 17}, "weight_bits=17: symmetric weights have 2 to 16 bits."),
        ({"activation_bits": 0}, "activation_bits=0: activations have 1 to 16 bits."),
        ({"quantizer": "log"}, "weight quantizer 'log': must be one of symmetric, dorefa."),
    ],
)
def test_bits_out_of_range(options: dict[str, Any], text: str) -> None:
    assert message(QuantizationError, import_network, small, calibration=images(), **options) == text


def test_calibration_is_needed_after_training() -> None:
    assert message(QuantizationError, import_network, small, input_shape=(2, 6, 6)) == (
        "no calibration images: quantization after training finds the scales of activations on images. "
        "Give calibration images, or a checkpoint that records its quantization."
    )
    assert message(QuantizationError, import_network, small, calibration=images(0)) == (
        "no calibration images: scales of activations are found on at least one image."
    )


def test_images_of_another_shape_are_refused() -> None:
    program = import_network(small, calibration=images()).program
    assert message(NetworkError, program.run_float, torch.zeros(1, 2, 5, 5)) == (
        "images of shape (1, 2, 5, 5): the network was imported for (N, 2, 6, 6)."
    )


def test_signedness_is_found_from_the_images() -> None:
    network = import_network(small, calibration=images())
    assert [layer.precision.activation_signed for layer in network.layers] == [True, False]
    positive = import_network(small, calibration=images().abs())
    assert [layer.precision.activation_signed for layer in positive.layers] == [False, False]


def test_sixteen_bits_run_exactly() -> None:
    network = import_network(small, weight_bits=16, activation_bits=16, calibration=images(), method="max")
    expected = network.program.run_float(images())
    assert torch.allclose(network.program.run(images(), integer_multiply), expected, atol=1e-3)


RECORDS = {
    "0": LayerQuantization("symmetric", 4, 4, True, 0.5, (0.03, 0.05, 0.04, 0.06)),
    "3": LayerQuantization("symmetric", 4, 4, False, 0.25, (0.02,)),
}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return write(tmp_path, RECORDS)


def write(folder: Path, records: dict[str, LayerQuantization]) -> Path:
    path = folder / "net.safetensors"
    plain = {name: record.to_dict() for name, record in records.items()}
    save_file(small().state_dict(), path, metadata={"pimsim": json.dumps({"quantization": plain})})
    return path


@pytest.mark.parametrize("bits", [None, 4])
def test_recorded_quantization_is_used_as_it_is(recorded: Path, bits: int | None) -> None:
    network = import_network(small, recorded, (2, 6, 6), weight_bits=bits, activation_bits=bits)
    assert network.program.records == RECORDS
    assert network.notes == ("quantization taken from the checkpoint",)
    for layer, module in zip(network.layers, (small()[0], small()[3]), strict=True):
        codes = quantize_weight(module.weight.detach(), RECORDS[layer.name])
        assert torch.equal(torch.from_numpy(layer.weight).reshape(codes.shape), codes)


def test_recorded_quantization_gives_the_output_of_fake_quantization(recorded: Path) -> None:
    network, module = import_network(small, recorded, (2, 6, 6)), small()

    def fake(layer: nn.Module, name: str, x: Tensor) -> Tensor:
        record = RECORDS[name]
        scale = torch.tensor(record.weight_scale).reshape(-1, *[1] * (layer.weight.dim() - 1))
        layer.weight.data = quantize_weight(layer.weight.detach(), record) * scale
        return layer(quantize_activation(x, record) * record.activation_scale)

    with torch.no_grad():
        expected = fake(module[3], "3", torch.relu(fake(module[0], "0", images())).flatten(1))
    assert torch.allclose(network.program.run(images(), integer_multiply), expected, atol=1e-5)


def test_other_bits_quantize_after_training_and_say_so(recorded: Path) -> None:
    network = import_network(small, recorded, weight_bits=8, calibration=images())
    assert network.notes == (
        "quantized after training to 8-bit weights and 4-bit activations on 8 images; "
        "the checkpoint records other bits",
    )
    bits = {(record.weight_bits, record.activation_bits) for record in network.program.records.values()}
    assert bits == {(8, 4)}


def test_a_layer_without_a_record_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"0": RECORDS["0"]})
    assert message(QuantizationError, import_network, small, path, (2, 6, 6)) == (
        "layer '3' without quantization in the checkpoint: a quantized checkpoint records every crossbar layer. "
        "Ask for bits to quantize after training, or check the layer's name. Known: 0."
    )
