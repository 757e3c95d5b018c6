"""What feeds the layers of a shape table: the shipped tables against real networks, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import resnets
from torch import nn

from pimsim.errors import ConfigError
from pimsim.network.dataflow import Edge, Reach, chain
from pimsim.network.exporting import export_network
from pimsim.network.folding import fold
from pimsim.network.layers import Geometry, Network
from pimsim.network.modules import load_module
from pimsim.network.program import Program
from pimsim.network.shapes import load_shapes
from pimsim.network.structure import Structure, trace_structure

ROOT = Path(__file__).parents[3]
SHAPES = ROOT / "workloads" / "shapes"
IMAGENET, CIFAR = (3, 224, 224), (3, 32, 32)


def placed(names: list[str], edges: tuple[Edge, ...]) -> list[tuple[int, int, Reach, Reach]]:
    """The edges with the layers' places in execution order for their names, which tables choose for themselves."""
    return [(names.index(e.producer), names.index(e.consumer), e.rows, e.columns) for e in edges]


def traced(module: nn.Module, shape: tuple[int, int, int]) -> Structure:
    exported = export_network(module.eval(), shape)
    return trace_structure(Program(fold(exported), shape, exported.batched))


def option_a() -> nn.Module:
    return load_module(f"{ROOT}/models/resnet20.py:resnet20")


@pytest.mark.parametrize(
    ("table", "build", "shape"),
    [
        (SHAPES / "resnet18.yaml", resnets.resnet18, IMAGENET),
        (SHAPES / "resnet18-cifar.yaml", resnets.resnet18_cifar, CIFAR),
        (SHAPES / "resnet34.yaml", resnets.resnet34, IMAGENET),
        (SHAPES / "resnet50.yaml", resnets.resnet50, IMAGENET),
        (SHAPES / "mobilenetv2.yaml", resnets.mobilenet_v2, IMAGENET),
        (ROOT / "benchmarks" / "resnet20.yaml", option_a, CIFAR),
        (SHAPES / "resnet20.yaml", resnets.cifar(16, 1, 3, 10, early=False), CIFAR),
        (SHAPES / "resnet20-wide.yaml", resnets.cifar(64, 1, 3, 10, early=False), CIFAR),
        (SHAPES / "wrn16-4.yaml", resnets.cifar(16, 4, 2, 100, early=True), CIFAR),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else None,
)
def test_a_shipped_table_has_the_dataflow_of_the_network(
    table: Path, build: Callable[[], nn.Module], shape: tuple[int, int, int]
) -> None:
    network, found = load_shapes(table), traced(build(), shape)
    layers, real = [layer.geometry for layer in network.layers], list(found.geometries.values())
    assert [unnamed(each) for each in layers] == [unnamed(each) for each in real]
    names = [geometry.name for geometry in layers]
    assert placed(names, network.dataflow) == placed(list(found.geometries), found.edges)


def unnamed(geometry: Geometry) -> tuple[object, ...]:
    return geometry.weight_shape, geometry.input_size, geometry.stride, geometry.padding, geometry.groups, geometry.kind


TABLE = """\
layers:
  - {name: a, k: 3, ic: 3, oc: 8, in: 16, pad: 1}
  - {name: b, k: 3, ic: 8, oc: 8, in: 8, pad: 1, pool: 2}
  - {name: c, k: 1, ic: 8, oc: 4, in: 8, repeat: 2}
  - {name: d, k: 3, ic: 8, oc: 8, in: 8, pad: 1, from: b}
  - {name: fc, kind: linear, in_features: 8, out_features: 10}
"""


def load(folder: Path, old: str = "", new: str = "") -> Network:
    assert old in TABLE
    (folder / "net.yaml").write_text(TABLE.replace(old, new, 1) if old else TABLE)
    return load_shapes(folder / "net.yaml")


def feeding(network: Network, consumer: str) -> dict[str, tuple[Reach, Reach]]:
    return {edge.producer: (edge.rows, edge.columns) for edge in network.dataflow if edge.consumer == consumer}


SAME, HALF = (Reach(), Reach()), (Reach(2, 0, 1), Reach(2, 0, 1))


def test_a_table_without_keys_is_a_chain() -> None:
    for table in SHAPES.glob("*.yaml"):
        if not any(key in table.read_text() for key in (" from: ", " pool: ")):
            network = load_shapes(table)
            assert network.edges == chain(network.layers), table


def test_from_and_pool_are_for_the_first_copy(tmp_path: Path) -> None:
    network = load(tmp_path, "in: 8, repeat: 2", "in: 16, repeat: 2, from: input")
    assert feeding(network, "c.1") == {}
    assert feeding(network, "c.2") == {"c.1": SAME}
    assert feeding(network, "d") == {"b": SAME}


def test_producers_are_added_or_concatenated(tmp_path: Path) -> None:
    assert feeding(load(tmp_path, "from: b", "from: [b, a]"), "d") == {"a": HALF, "b": SAME}
    assert feeding(load(tmp_path, "from: b", "from: [c.1, c.2]"), "d") == {"c.1": SAME, "c.2": SAME}
    assert feeding(load(tmp_path, "from: b", "from: [c.2, input]"), "d") == {"c.2": SAME}


def test_the_input_of_a_layer_is_what_that_layer_reads(tmp_path: Path) -> None:
    assert feeding(load(tmp_path, "from: b", "from: [b, input of b]"), "d") == {"a": HALF, "b": SAME}


def test_only_what_is_larger_is_pooled(tmp_path: Path) -> None:
    network = load(tmp_path, "from: b", "from: [b, a], pool: {k: 3, stride: 2, pad: 1}")
    assert feeding(network, "d") == {"a": (Reach(2, -1, 1), Reach(2, -1, 1)), "b": SAME}


def test_a_subsampled_shortcut_may_have_fewer_channels(tmp_path: Path) -> None:
    old = "{name: d, k: 3, ic: 8, oc: 8, in: 8, pad: 1, from: b"
    new = "{name: d, k: 3, ic: 16, oc: 8, in: 4, pad: 1, from: [e, input of e], pool: {k: 1, stride: 2}"
    strided = "{name: e, k: 3, ic: 8, oc: 16, in: 8, stride: 2, pad: 1, from: b}"
    network = load(tmp_path, old, f"{strided}\n  - {new}")
    assert feeding(network, "d") == {"b": (Reach(2, 0, 0), Reach(2, 0, 0)), "e": SAME}


@pytest.mark.parametrize(
    ("inputs", "reach"),
    [
        ("in_features: 8", Reach(8, 0, 7)),
        ("in_features: 512", Reach(8, 0, 7)),
        ("in_features: 8, pool: 8", Reach(8, 0, 7)),
        ("in_features: 128, pool: 2", Reach.WHOLE),
    ],
)
def test_a_linear_layer_reads_pixels_pooled_or_flattened(tmp_path: Path, inputs: str, reach: Reach) -> None:
    network = load(tmp_path, "in_features: 8", f"from: d, {inputs}")
    assert feeding(network, "fc") == {"d": (reach, reach)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from: b", "form: b", "5: key 'form': unknown key. Did you mean 'from'? Known: name, k, ic, oc, in, stride,"),
        (
            "from: b",
            "from: bb",
            "5: from: 'bb': there is no layer of that name. Did you mean 'b'? Known: input, a, b",
        ),
        (
            "from: b",
            "from: fc",
            "5: from: 'fc': a layer is fed by earlier ones, not by later ones. Known: input, a,",
        ),
        (
            "from: b",
            "from: d",
            "5: from: 'd': a layer is fed by earlier ones, not by later ones. Known: input, a,",
        ),
        (
            "from: b",
            "from: input of x",
            "5: from: 'input of x': there is no layer of that name. Known: input, a, b",
        ),
        ("from: b", "from: [b, b]", "5: from: [b, b]: a layer is fed by at least one other, and by each only once."),
        ("from: b", "from: []", "5: from: []: a layer is fed by at least one other, and by each only once."),
        (
            "from: b",
            "from: [a, c.1]",
            "5: from: a (8 channels), c.1 (4 channels): layer 'd' reads 8: those of each for a sum, or of all together "
            "for a concatenation.",
        ),
        (
            "from: b",
            "from: c.2",
            "5: from: c.2 (4 channels): layer 'd' reads 8: those of each for a sum, or of all together for a "
            "concatenation.",
        ),
        (
            "pool: 2",
            "pool: {k: 3, stride: 2}",
            "3: pool of a, 16x16: kernel 3x3, stride 2x2 and padding 0x0 make it 7x7, and layer 'b' reads 8x8.",
        ),
        (
            "from: b",
            "from: [a, b], pool: 4",
            "5: pool of a, 16x16: kernel 4x4, stride 4x4 and padding 0x0 make it 4x4, and layer 'd' reads 8x8.",
        ),
        ("from: b", "from: input, pool: 2", "5: pool of the network's input: a table does not say how large it is."),
        (
            "pool: 2",
            "pool: {k: 2, step: 2}",
            "3: key 'step': unknown key. Did you mean 'stride'? Known: k,",
        ),
        ("pool: 2", "pool: {stride: 2}", "3: pool: {'stride': 2}: missing k. Write it like {k: 3, stride: 2, pad: 1}."),
        ("pool: 2", "pool: {k: 2, pad: 2}", "3: pool: pad=2x2: at most half of k=2x2 is padded."),
        ("pool: 2", "pool: two", "3: k=two: 'k' must be N or HxW with whole numbers of at least 1."),
        (
            "out_features: 10",
            "out_features: 10, pool: 3",
            "6: pool of d, 8x8: kernel 3x3, stride 3x3 and padding 0x0",
        ),
    ],
)
def test_joins_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, old, new)
    assert str(caught.value).startswith(f"{tmp_path}/net.yaml:{message}")
