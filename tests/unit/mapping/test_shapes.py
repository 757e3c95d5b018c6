"""Layers on a line and tables of layers: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimsim.errors import ConfigError, NetworkError
from pimsim.network.layers import Geometry, Precision
from pimsim.network.shapes import load_shapes, parse_layer

SHAPES = Path(__file__).parents[3] / "workloads" / "shapes"


def test_a_line_names_every_part_of_a_convolution() -> None:
    text = "name=c, k=3x5, ic=4, oc=8, in=28x30, stride=2x1, pad=1x2, dilation=1x2, groups=2"
    assert parse_layer(text) == Geometry("c", 4, 8, (3, 5), (28, 30), (2, 1), (1, 1, 2, 2), (1, 2), 2)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("k=3,ic=1,oc=1,in=9", "k=3x3,ic=1,oc=1,in=9x9,stride=1,pad=0,dilation=1,groups=1"),
        ("k=3,ic=1,oc=1,in=9,pad=same", "k=3,ic=1,oc=1,in=9,pad=1"),
        ("k=3,ic=1,oc=1,in=9,pad=same,dilation=2", "k=3,ic=1,oc=1,in=9,pad=2x2x2x2,dilation=2"),
        ("k=2x4,ic=1,oc=1,in=9,pad=same", "k=2x4,ic=1,oc=1,in=9,pad=0x1x1x2"),
    ],
)
def test_equivalent_lines(short: str, long: str) -> None:
    assert parse_layer(short) == parse_layer(long)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "k=3,ic=3,oc=4,in=8,strid=2",
            "--layer: key 'strid': unknown key. Did you mean 'stride'? "
            "Known: name, k, ic, oc, in, stride, pad, dilation, groups.",
        ),
        ("k=3,oc=4", "--layer: 'k=3,oc=4': missing ic, in."),
        ("k=3y3,ic=1,oc=1,in=4", "--layer: k=3y3: 'k' must be N or HxW with whole numbers of at least 1."),
        ("k=3,ic=0,oc=1,in=4", "--layer: ic=0: 'ic' must be N with whole numbers of at least 1."),
        ("k=3,ic=2x2,oc=1,in=4", "--layer: ic=2x2: 'ic' must be N with whole numbers of at least 1."),
        ("k=3,ic=1,oc=1,in=0x4", "--layer: in=0x4: 'in' must be N or HxW with whole numbers of at least 1."),
        (
            "k=3,ic=1,oc=1,in=4,pad=1x2x3",
            "--layer: pad=1x2x3: 'pad' must be N, HxW, TOPxBOTTOMxLEFTxRIGHT or same with whole numbers of at least 0.",
        ),
        (
            "k=3,ic=1,oc=1,in=4,pad=same,stride=2",
            "--layer: pad=same: padding 'same' needs stride 1. Write the padding in pixels.",
        ),
        ("k=3,k=3", "--layer: key 'k' twice: each key may be given once."),
        (
            "3x3",
            "--layer: '3x3': a layer is written as key=value pairs. "
            "Write it like k=3x3,ic=64,oc=128,in=28x28,stride=1,pad=0.",
        ),
    ],
)
def test_a_line_that_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_layer(text, "--layer")
    assert str(caught.value) == message


def test_a_kernel_larger_than_its_input_is_refused() -> None:
    with pytest.raises(NetworkError, match="the kernel must fit in the padded input"):
        parse_layer("k=5,ic=1,oc=1,in=4")


TABLE = """\
name: small
weight_bits: 4
layers:
  - {name: conv, k: 3, ic: 3, oc: 8, in: [8, 10], pad: 1, repeat: 2}
  - {k: 1x1, ic: 8, oc: 4, in: 8x10, stride: 2}
  - {name: fc, kind: linear, in_features: 80, out_features: 10}
"""


def _load(folder: Path, text: str) -> object:
    (folder / "net.yaml").write_text(text)
    return load_shapes(folder / "net.yaml")


def test_a_table_becomes_a_network_without_weights(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(TABLE)
    network = load_shapes(tmp_path / "net.yaml")
    conv = Geometry("conv.1", 3, 8, (3, 3), (8, 10), padding=(1, 1, 1, 1))
    assert [layer.name for layer in network.layers] == ["conv.1", "conv.2", "layer2", "fc"]
    assert network.layers[0].geometry == conv
    assert network.layers[3].geometry == Geometry("fc", 80, 10, kind="linear")
    assert {layer.precision for layer in network.layers} == {Precision(4, 8)}
    assert (network.name, network.input_shape, network.layers[0].weight) == ("small", (3, 8, 10), None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("oc: 4,", "oc: 4, od: 4,", "net.yaml:5: key 'od': unknown key. Did you mean 'oc'? Known: name, k, ic, oc,"),
        ("oc: 4,", "oc: 4, oc: 4,", 'net.yaml:5: found duplicate key "oc": each key may be given once.'),
        ("ic: 8, ", "", "net.yaml:5: 'k=1x1,oc=4,in=8x10,stride=2': missing ic."),
        ("oc: 4,", "oc: four,", "net.yaml:5: oc=four: 'oc' must be N with whole numbers of at least 1."),
        ("oc: 4,", "oc: true,", "net.yaml:5: oc=True: 'oc' must be N with whole numbers of at least 1."),
        ("oc: 4,", "oc: 4.5,", "net.yaml:5: oc=4.5: 'oc' must be N with whole numbers of at least 1."),
        ("stride: 2", "pad: 0x1", "net.yaml:5: pad=1: 'pad' must be N, HxW, TOPxBOTTOMxLEFTxRIGHT or same with"),
        ("k: 1x1", "k: 9", "net.yaml:5: kernel 9x9, dilation (1, 1) on a padded input of 8x10: the kernel must fit"),
        ("linear", "dense", "net.yaml:6: kind 'dense': a layer is conv or linear."),
        ("in_features: 80, ", "", "net.yaml:6: 'name=fc,kind=linear,out_features=10': missing in_features."),
        (
            "name: fc",
            "name: conv.1",
            "net.yaml: layers conv.1: layer names must be unique. Give each layer its own name.",
        ),
        ("weight_bits: 4", "weight_bits: 17", "net.yaml:2: weight_bits=17: 1 to 16 bits are supported."),
        ("weight_bits", "weigth_bits", "net.yaml:2: key 'weigth_bits': unknown key. Did you mean 'weight_bits'?"),
        ("layers:", "layers: 3\nname2:", "net.yaml:4: key 'name2': unknown key."),
    ],
)
def test_a_table_that_cannot_be_read_names_file_and_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TABLE
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, TABLE.replace(old, new))
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "net.yaml:1: '{path}': a shape table is a mapping with 'layers'."),
        ("name: x\nlayers: []\n", "net.yaml:2: layers: []: a shape table needs a list of layers."),
        ("name: x\n", "net.yaml:1: layers: None: a shape table needs a list of layers."),
        ("layers:\n  - 3\n", "net.yaml:2: 3: a layer is a mapping of keys. Write it like k=3x3,"),
        ("layers: [\n", "net.yaml:2: "),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/" + message.format(path=tmp_path / "net.yaml"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_shapes(tmp_path / "no.yaml")
    assert (
        str(caught.value)
        == f"'{tmp_path}/no.yaml': the shape table cannot be read: No such file or directory. Check the path."
    )


# Output pixels x kernel x input x output channels of the published layer list, written out.
VGG8_MACS = (
    32 * 32 * 9 * (3 * 128 + 128 * 128)
    + 16 * 16 * 9 * (128 * 256 + 256 * 256)
    + 8 * 8 * 9 * (256 * 512 + 512 * 512)
    + 8192 * 1024
    + 1024 * 10
)


# ResNet-18 has 1.814 G multiply-accumulates at 224 x 224 (torchvision's model card: 1.81 GFLOPS).
@pytest.mark.parametrize(
    ("name", "layers", "macs"),
    [
        ("resnet18", 21, 1_814_073_344),
        # torchvision's own counts of multiply-accumulates (its `_ops`, G): 3.664, 4.089, 15.47 and 0.301.
        # 0.56 G in the tables of CIFAR-10 networks.
        ("resnet18-cifar", 21, 555_422_720),
        ("resnet34", 37, 3_663_761_408),
        ("resnet50", 54, 4_089_184_256),
        ("vgg16", 16, 15_470_264_320),
        ("mobilenetv2", 53, 300_774_272),
        ("vgg8", 8, VGG8_MACS),
        # 19 convolutions, two shortcuts and the classifier; 40.6 M without the shortcuts (He et al. 2016).
        ("resnet20", 22, 40_813_184),
        ("resnet20-wide", 22, None),
        ("wrn16-4", 17, None),
        ("cnn8", 8, None),
        ("vgg13-paper", 10, None),
        ("resnet18-paper", 5, None),
    ],
)
def test_shipped_tables(name: str, layers: int, macs: int | None) -> None:
    network = load_shapes(SHAPES / f"{name}.yaml")
    assert len(network.layers) == layers
    assert macs is None or sum(layer.geometry.macs for layer in network.layers) == macs
