"""The layer with output phases: equal to one convolution a phase, and recognised when a network is imported."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pimsim.errors import CheckpointError, NetworkError
from pimsim.network.importer import import_float, import_network
from pimsim.network.integer import integer_multiply
from pimsim.network.layers import Layer
from pimsim.network.phase_conv import PhaseConv2d
from pimsim.network.phases import shuffle
from pimsim.network.rewrites import phases_record, rebuild
from pimsim.network.structure import trace_structure

few = settings(max_examples=60, deadline=None)


@st.composite
def phase_convolutions(draw: st.DrawFn) -> PhaseConv2d:
    """-M and -C kernels and sizes between, rectangular windows, groups, any pixels left out."""
    side = st.integers(1, 3)
    base, outputs = draw(st.tuples(side, side)), draw(st.tuples(side, side))
    window = base[0] + outputs[0] - 1, base[1] + outputs[1] - 1
    ring = draw(st.integers(0, outputs[0])), draw(st.integers(0, outputs[1]))
    groups, padding = draw(st.integers(1, 2)), draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    kept = torch.rand(window, generator=generator) < 0.7
    kept[draw(st.integers(0, window[0] - 1)), draw(st.integers(0, window[1] - 1))] = True
    layer = PhaseConv2d(
        2 * groups, 2 * groups, (base[0] + 2 * ring[0], base[1] + 2 * ring[1]), base, window, kept, padding, groups,
        bias=draw(st.booleans()),
    ).double()  # fmt: skip
    nn.init.normal_(layer.weight, generator=generator)
    return layer


def one_by_one(layer: PhaseConv2d, images: Tensor) -> Tensor:
    """Strided convolutions, one for each phase with its own kernel written tap by tap, put where they belong."""
    (n_h, n_w), (p_h, p_w), (k_h, k_w) = layer.outputs, layer.window, layer.base_kernel
    top, left = (int(side) for side in layer.padding)
    size = images.shape[2] + 2 * top - k_h + 1, images.shape[3] + 2 * left - k_w + 1
    padded = functional.pad(images, (left, left + p_w + n_w, top, top + p_h + n_h))
    outputs = torch.empty(len(images), layer.out_channels, *size, dtype=images.dtype)
    for a, b in product(range(n_h), range(n_w)):
        kernel = torch.zeros(*layer.weight.shape[:2], p_h, p_w, dtype=images.dtype)
        for y, x in product(range(p_h), range(p_w)):
            i, j = y - a + (layer.weight.shape[2] - k_h) // 2, x - b + (layer.weight.shape[3] - k_w) // 2
            if layer.kept[y, x] and 0 <= i < layer.weight.shape[2] and 0 <= j < layer.weight.shape[3]:
                kernel[:, :, y, x] = layer.weight[:, :, i, j]
        phase = outputs[:, :, a::n_h, b::n_w]
        found = functional.conv2d(padded, kernel, layer.bias, (n_h, n_w), groups=layer.groups)
        phase[:] = found[:, :, : phase.shape[2], : phase.shape[3]]
    return outputs


@few
@given(phase_convolutions(), st.integers(3, 8), st.integers(3, 8), st.integers(0, 2**32 - 1))
def test_the_layer_is_one_strided_convolution_for_each_phase(
    layer: PhaseConv2d, height: int, width: int, seed: int
) -> None:
    images = torch.randn(
        2, layer.in_channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    torch.testing.assert_close(layer(images), one_by_one(layer, images))


@few
@given(phase_convolutions(), st.integers(3, 8), st.integers(3, 8))
def test_m_with_all_pixels_is_plain_convolution_and_c_with_a_ring_of_zeros_is_m(
    layer: PhaseConv2d, height: int, width: int
) -> None:
    base, window, images = layer.base_kernel, layer.window, torch.randn(2, layer.in_channels, height, width).double()
    kernel = torch.randn(layer.out_channels, layer.weight.shape[1], *base, dtype=torch.float64)
    rest = layer.padding, layer.groups, False
    plain = functional.conv2d(images, kernel, None, 1, layer.padding, 1, layer.groups)
    whole = PhaseConv2d(layer.in_channels, layer.out_channels, base, base, window, None, *rest).double()
    whole.weight.data = kernel
    torch.testing.assert_close(whole(images), plain)
    m = PhaseConv2d(layer.in_channels, layer.out_channels, base, base, window, layer.kept, *rest).double()
    ring = window[0] - base[0], window[1] - base[1]
    larger = base[0] + 2 * ring[0], base[1] + 2 * ring[1]
    c = PhaseConv2d(layer.in_channels, layer.out_channels, larger, base, window, layer.kept, *rest).double()
    m.weight.data, c.weight.data = kernel, functional.pad(kernel, (ring[1], ring[1], ring[0], ring[0]))
    torch.testing.assert_close(c(images), m(images), rtol=0, atol=0)


class Around(nn.Module):
    """A layer with batch norm and activation between two ordinary convolutions."""

    def __init__(self, layer: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.layer = nn.Conv2d(3, inputs, 3, padding=1), layer
        self.norm, self.last = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, 2, 3)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.layer(torch.relu(self.first(images))))))


@pytest.mark.parametrize("window", [(4, 4), (5, 5), (5, 4), (3, 5)])
@pytest.mark.parametrize("larger", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_an_imported_layer_knows_its_phases(window: tuple[int, int], larger: bool, bias: bool) -> None:
    torch.manual_seed(3)
    ring = tuple(2 * (side - 3) if larger else 0 for side in window)
    kept = torch.ones(window, dtype=torch.bool)
    kept[0, 0] = False
    layer = PhaseConv2d(4, 6, (3 + ring[0], 3 + ring[1]), (3, 3), window, kept, (1, 1), bias=bias)
    network = Around(layer, 4, 6).eval()
    program, _ = import_float(network, (3, 8, 7))  # compares the outputs with the module's
    structure = trace_structure(program)
    geometry = structure.geometries["layer"]
    assert geometry.phases == (window[0] - 2, window[1] - 2)
    assert (geometry.anchored, geometry.kernel) == (larger, window if larger else (3, 3))
    assert (geometry.padding, geometry.stride, geometry.out_channels) == ((1, 1, 1, 1), (1, 1), 6)
    assert geometry.output_size == (8, 7)
    # Shuffle, crop and batch norm are part of the layer, and the layers around it know where they read.
    assert [op.kind for op in structure.digital] == ["activation", "activation"]
    assert [(e.producer, e.consumer, e.rows.step) for e in structure.edges] == [
        ("first", "layer", 1), ("layer", "last", 1)
    ]  # fmt: skip


def test_one_scale_for_all_phases_of_a_channel_and_pixels_left_out_are_exactly_zero() -> None:
    torch.manual_seed(4)
    kept = torch.ones(4, 4, dtype=torch.bool)
    kept[0, 0] = kept[3, 3] = False
    layer = PhaseConv2d(4, 6, (5, 5), (3, 3), (4, 4), kept, (1, 1), bias=False)
    network = Around(layer, 4, 6).eval()
    for quantizer in ("symmetric", "dorefa"):
        images = torch.randn(8, 3, 8, 8)
        integer = import_network(network, None, (3, 8, 8), 4, 4, images, quantizer)
        found: Layer = integer.layer("layer")
        assert found.weight is not None and found.weight_scale is not None
        assert found.weight.shape == (24, 4, 4, 4) and found.weight_scale.shape == (6,)
        assert not found.weight[:, :, 0, 0].any() and not found.weight[:, :, 3, 3].any()
        assert found.weight[:, :, 0, 1].any()
        outputs = integer.program.run(images, integer_multiply)
        assert outputs.shape == (8, 2, 6, 6)


class Cut(nn.Module):
    """A strided convolution and a pixel shuffle as a user may write them, with something behind."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.change, stride = change, {"upsampling": 1, "halved": 4, "border unread": 4}.get(change, 2)
        self.conv = nn.Conv2d(3, 8, 4, stride, padding=1, bias=change == "bias of a phase")

    def forward(self, images: Tensor) -> Tensor:
        blocks = self.conv(images)
        if self.change == "used twice":
            return functional.pixel_shuffle(blocks, 2).sum((2, 3)) + blocks[:, :2].sum((2, 3))
        shuffled = functional.pixel_shuffle(blocks, 2)
        if self.change == "step":
            return shuffled[:, :, ::2]
        if self.change == "first row":
            return shuffled[:, :, 1:]
        return shuffled[:, :, :-3] if self.change == "a block less" else shuffled


@pytest.mark.parametrize(
    ("change", "phases", "digital"),
    [
        ("none", (2, 2), []),
        ("halved", (2, 2), []),
        ("border unread", (1, 1), ["reshape"]),
        ("upsampling", (1, 1), ["reshape"]),
        ("bias of a phase", (1, 1), ["reshape"]),
        ("used twice", (1, 1), None),
        ("step", (2, 2), ["reshape"]),
        ("first row", (2, 2), ["reshape"]),
        ("a block less", (2, 2), ["reshape"]),
    ],
)
def test_what_is_no_layer_with_phases_stays_what_it_is(
    change: str, phases: tuple[int, int], digital: list[str] | None
) -> None:
    program, _ = import_float(Cut(change).eval(), (3, 10, 8 if change == "border unread" else 10))
    structure = trace_structure(program)
    assert structure.geometries["conv"].phases == phases
    if digital is not None:
        assert [op.kind for op in structure.digital] == digital


class EverySecond(nn.Module):
    """Rows 0 and 2 of a block of three: as many as a crop would leave, and not the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 18, 5, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.conv(images), 3)[:, :, ::2]


def test_a_slice_with_a_step_is_no_crop() -> None:
    program, _ = import_float(EverySecond().eval(), (3, 3, 3))
    structure = trace_structure(program)
    assert structure.geometries["conv"].output_size == (3, 3)
    assert [op.kind for op in structure.digital] == ["reshape"]


@pytest.mark.parametrize("phases", [(2, 2), (2, 3), (3, 1)])
def test_shuffled_blocks_are_neighbouring_outputs(phases: tuple[int, int]) -> None:
    n_h, n_w = phases
    blocks = torch.randn(2, 3 * n_h * n_w, 4, 5)
    shuffled = shuffle(blocks, phases)
    for o, a, b in product(range(3), range(n_h), range(n_w)):
        assert torch.equal(shuffled[:, o, a::n_h, b::n_w], blocks[:, (o * n_h + a) * n_w + b])


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        (((3, 3), (3, 3), (2, 4)), "the window holds at least one place of the base kernel"),
        (((4, 3), (3, 3), (4, 4)), "V is the base kernel with as many taps more on each side"),
        (((1, 1), (3, 3), (4, 4)), "V is the base kernel with as many taps more on each side"),
    ],
)
def test_sizes_that_do_not_fit(sizes: tuple[tuple[int, int], ...], rule: str) -> None:
    with pytest.raises(NetworkError, match=rule):
        PhaseConv2d(2, 2, *sizes)  # type: ignore[arg-type]


def test_pixels_that_do_not_fit() -> None:
    with pytest.raises(NetworkError, match="there is one flag for each pixel of the window"):
        PhaseConv2d(2, 2, (3, 3), (3, 3), (4, 4), torch.ones(4, 5))
    with pytest.raises(NetworkError, match="some pixel of the window is kept"):
        PhaseConv2d(2, 2, (3, 3), (3, 3), (4, 4), torch.zeros(4, 4))


def test_a_network_is_rebuilt_from_the_entry_of_its_checkpoint() -> None:
    kept = torch.ones(4, 4, dtype=torch.bool)
    kept[0, 3] = False
    record = phases_record({"0": ((5, 5), kept)})
    assert record == {
        "rewrite": "phases", "layers": {"0": {"kernel": [5, 5], "kept": ["1110", "1111", "1111", "1111"]}}
    }  # fmt: skip
    rebuilt = rebuild(nn.Sequential(nn.Conv2d(2, 2, 3, padding="same"), nn.ReLU()), [record])
    layer = rebuilt.get_submodule("0")
    assert isinstance(layer, PhaseConv2d)
    assert (layer.window, layer.base_kernel, layer.padding) == ((4, 4), (3, 3), (1, 1))
    assert torch.equal(layer.kept, kept)


@pytest.mark.parametrize(
    ("layer", "kept", "message"),
    [
        (nn.Conv2d(2, 2, 3, stride=2), ["1111"] * 4, "only a convolution with stride and dilation 1"),
        (nn.Conv2d(2, 2, 3, padding_mode="circular"), ["1111"] * 4, "a border of zeros"),
        (nn.Conv2d(2, 2, (2, 3), padding="same"), ["1111"] * 4, "phases need the same padding on both sides"),
        (nn.Linear(2, 2), ["1111"] * 4, "only a convolution has output phases"),
        (nn.Conv2d(2, 2, 3), ["1111", "11"], "damaged entry"),
        (nn.Conv2d(2, 2, 3), ["11"] * 2, "the window holds at least one place of the base kernel"),
    ],
)
def test_entries_that_do_not_fit_the_network(layer: nn.Module, kept: list[str], message: str) -> None:
    size = [2, 3] if getattr(layer, "kernel_size", None) == (2, 3) else [3, 3]
    entry = {"rewrite": "phases", "layers": {"0": {"kernel": size, "kept": kept}}}
    with pytest.raises(CheckpointError, match=message):
        rebuild(nn.Sequential(layer), [entry], "a.safetensors")
