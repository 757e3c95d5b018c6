"""Which channels belong together, and networks that are cut to some of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pimsim.errors import CheckpointError, NetworkError
from pimsim.network.channels import map_channels
from pimsim.network.importer import import_float
from pimsim.network.modules import load_module
from pimsim.network.rewrites import channels_record, low_rank_record, rebuild
from pimsim.network.shrinking import ChannelSelect, shrink

MODELS = Path(__file__).parents[3] / "models"
SHAPE = (3, 16, 16)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def resnet20() -> nn.Module:
    torch.manual_seed(0)
    module = load_module(f"{MODELS / 'resnet20.py'}:resnet20")
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
    return module


def zero_reads(module: nn.Module, removed: dict[str, list[int]], channels) -> None:
    """The original network in which nobody sees the removed channels: an independent way to leave them out."""
    for layer, layout in channels.reads.items():
        start = 0
        for space, repeat in layout:
            for channel in removed.get(space, []):
                first = start + channel * repeat
                module.get_submodule(layer).weight.data[:, first : first + repeat] = 0
            start += channels.spaces[space].channels * repeat if space else 0


class Branches(nn.Module):
    """Concatenation, a depthwise layer, a shared scale and a flattened map in front of the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.left, self.right = nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 5, 1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.gate = nn.Conv2d(6, 6, 1)
        self.join = nn.Conv2d(9, 4, 1)
        self.head = nn.Linear(4 * 16, 3)

    def forward(self, images: Tensor) -> Tensor:
        stem = functional.relu(self.stem(images))
        stem = self.depthwise(stem) * torch.sigmoid(self.gate(stem.mean((2, 3), keepdim=True)))
        joined = torch.cat([self.left(stem), self.right(stem)], 1)
        out = functional.max_pool2d(torch.relu(self.join(joined)), 4)
        return self.head(out.view(out.size(0), -1))


def test_a_residual_stream_is_one_space_and_its_zero_padding_starts_another():
    channels = map_channels(resnet20(), SHAPE)
    stream = channels.spaces["conv1"]
    assert stream.writers == ("conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2")
    assert stream.followers == ("bn1", "layer1.0.bn2", "layer1.1.bn2", "layer1.2.bn2")
    assert [reader.name for reader in stream.readers] == [
        "layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1", "layer2.0.conv1",
    ]  # fmt: skip
    assert [(pad.source, pad.target, pad.before) for pad in channels.pads] == [
        ("conv1", "layer2.0.conv2", 8), ("layer2.0.conv2", "layer3.0.conv2", 16),
    ]  # fmt: skip


def test_classes_stay_and_everything_else_of_resnet_can_shrink():
    spaces = map_channels(resnet20(), SHAPE).spaces
    assert [space.name for space in spaces.values() if not space.prunable] == ["linear"]
    assert len(spaces) == 1 + 3 + 9  # classes, streams, the inner channels of nine blocks


def test_readers_carry_their_shape():
    reader = map_channels(resnet20(), SHAPE).spaces["conv1"].readers[-1]
    assert (reader.in_channels, reader.out_channels, reader.stride, reader.input_size) == (16, 32, (2, 2), (16, 16))
    assert reader.padding == (1, 1, 1, 1)


def test_channels_that_multiply_each_other_go_together():
    spaces = map_channels(Branches(), SHAPE).spaces
    assert set(spaces["stem"].writers) == {"stem", "gate"}
    assert spaces["stem"].followers == ("depthwise",)
    # The concatenation is read by a layer that reads others too: it belongs to nobody's readers.
    assert spaces["left"].readers == spaces["right"].readers == ()
    assert spaces["left"].prunable


class Fixed(nn.Module):
    def __init__(self, use) -> None:
        super().__init__()
        self.first, self.second, self.use = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), use

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.use(self.first(images)))


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x.view(-1, 2, 4, 16, 16).transpose(1, 2).reshape(-1, 8, 16, 16),
        lambda x: torch.cat([x[:, 4:], x[:, :4]], 1),
        lambda x: functional.layer_norm(x, x.shape[1:]),
        lambda x: x * torch.arange(8.0).reshape(8, 1, 1),
        lambda x: x.flip(1),
        lambda x: x - x.mean(1, keepdim=True).expand(-1, 8, -1, -1),
    ],
    ids=["shuffle", "slices", "layer norm", "constant", "flip", "mean of channels"],
)
def test_channels_that_are_used_one_by_one_are_not_offered(use):
    assert not map_channels(Fixed(use), SHAPE).spaces["first"].prunable


def test_a_network_that_decides_by_values_cannot_be_followed():
    class Decides(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if images.sum() > 0 else -images

    with pytest.raises(NetworkError, match=r"torch\.fx cannot trace"):
        map_channels(Decides(), SHAPE)


@pytest.mark.parametrize("kept", [{"stem": [0, 2, 5]}, {"left": [1, 2]}, {"join": [3], "right": [0, 4]}])
def test_a_smaller_network_computes_the_original_without_the_channels(kept):
    torch.manual_seed(1)
    original, images = Branches().eval(), torch.randn(2, *SHAPE)
    small = shrink(copy_of(original), SHAPE, kept)
    channels = map_channels(original, SHAPE)
    removed = {name: [c for c in range(channels.spaces[name].channels) if c not in kept[name]] for name in kept}
    zero_reads(original, removed, channels)
    assert torch.allclose(small(images), original(images), atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in original.parameters())


def copy_of(original: nn.Module) -> nn.Module:
    twin = Branches().eval()
    twin.load_state_dict(original.state_dict())
    return twin


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 with an addition in place; the shortcut is a convolution where the shape changes."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        out = self.body(images)
        out += images if self.shortcut is None else self.shortcut(images)
        return functional.relu(out, inplace=True)


class InvertedResidual(nn.Module):
    """The block of MobileNetV2: widen, depthwise, narrow, add."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.residual = stride == 1 and channels == outputs
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return images + self.body(images) if self.residual else self.body(images)


def with_head(stem: int, *blocks: nn.Module, width: int) -> nn.Module:
    first = [nn.Conv2d(3, stem, 3, 2, 1), nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(4 * width, 5))


def bottlenecks() -> nn.Module:
    return with_head(6, Bottleneck(6, 4, 8), Bottleneck(8, 4, 8), Bottleneck(8, 5, 10, 2), width=10)


def mobilenet() -> nn.Module:
    return with_head(4, InvertedResidual(4, 4, 1), InvertedResidual(4, 6, 2), InvertedResidual(6, 6, 1), width=6)


@given(st.sampled_from([bottlenecks, mobilenet]), st.integers(0, 2**31))
@settings(max_examples=12, deadline=None)
def test_any_choice_of_channels_leaves_what_the_others_compute(build, seed):
    generator = torch.Generator().manual_seed(seed)
    original = build().eval()
    for parameter in original.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    twin = build()
    twin.load_state_dict(original.state_dict())
    channels = map_channels(original, SHAPE)
    order = {s.name: torch.randperm(s.channels, generator=generator).tolist() for s in channels.spaces.values()}
    kept = {s.name: sorted(order[s.name][: s.channels // 2]) for s in channels.spaces.values() if s.prunable}
    zero_reads(original, {name: order[name][len(kept[name]) :] for name in kept}, channels)
    small, images = shrink(twin, SHAPE, kept), torch.randn(2, *SHAPE, generator=generator)
    assert torch.allclose(small(images), original(images), rtol=1e-4, atol=1e-4)


class FlatBranches(nn.Module):
    """Two maps flattened side by side in front of the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 3, 1), nn.Linear(7 * 16, 2)

    def forward(self, images: Tensor) -> Tensor:
        both = torch.cat([self.left(images), self.right(images)], 1)
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(both, 4), 1))


def test_a_flattened_map_takes_all_its_pixels_along():
    torch.manual_seed(2)
    original, kept = FlatBranches().eval(), {"left": [1, 3], "right": [0, 2]}
    twin = FlatBranches()
    twin.load_state_dict(original.state_dict())
    small, images = shrink(twin, SHAPE, kept), torch.randn(2, *SHAPE)
    head = original.head.weight.data.reshape(2, 7, 16)
    head[:, [0, 2, 4 + 1]] = 0
    assert torch.allclose(small(images), original(images), atol=1e-5)


KEPT: dict[str, list[int]] = {
    "conv1": [0, 3, 9, 15],
    "layer2.0.conv2": [0, 5, 8, 11, 17, 20, 30],
    "layer3.1.conv1": [7],
}


def test_streams_of_different_width_stay_connected_by_channel():
    original, small = resnet20(), shrink(resnet20(), SHAPE, KEPT)
    channels = map_channels(original, SHAPE)
    removed = {name: [c for c in range(channels.spaces[name].channels) if c not in KEPT[name]] for name in KEPT}
    zero_reads(original, removed, channels)
    # What the shortcut carries is read by the next stage past any layer: silence it as well.
    for block, space in (("layer2.0", "conv1"), ("layer3.0", "layer2.0.conv2")):
        shortcut = original.get_submodule(f"{block}.shortcut")
        shortcut.register_forward_pre_hook(silence(removed[space]))
    images = torch.randn(3, *SHAPE)
    assert torch.allclose(small(images), original(images), atol=1e-4)
    assert small.state_dict()["layer2.0.bn2.running_var"].shape == (7,)


def silence(removed: list[int]):
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        images = inputs[0].clone()
        images[:, removed] = 0
        return (images,)

    return hook


def test_the_keys_of_a_smaller_network_are_those_of_the_original():
    assert list(shrink(resnet20(), SHAPE, KEPT).state_dict()) == list(resnet20().state_dict())


def test_a_network_without_changed_shortcuts_stays_the_users_own():
    small = shrink(resnet20(), SHAPE, {"layer3.1.conv1": [1, 2]})
    assert type(small).__name__ == "ResNet"
    traced = shrink(resnet20(), SHAPE, {"conv1": [1, 2]})
    assert any(isinstance(module, ChannelSelect) for module in traced.modules())


def test_a_smaller_network_can_be_imported():
    program, notes = import_float(shrink(resnet20(), SHAPE, KEPT), SHAPE)
    assert not notes
    widths = {step.crossbar.name: tuple(step.crossbar.weight.shape[:2]) for step in program.crossbar_steps}
    assert widths["layer2.0.conv1"] == (32, 4)
    assert widths["layer3.1.conv2"] == (64, 1)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"conv9": [0]}, "no layer of that name writes channels that can be pruned"),
        ({"linear": [0]}, "no layer of that name writes channels that can be pruned"),
        ({"conv1": []}, "numbers from 0 to 15 in rising order, at least one"),
        ({"conv1": [1, 0]}, "numbers from 0 to 15 in rising order, at least one"),
        ({"conv1": [16]}, "numbers from 0 to 15 in rising order, at least one"),
    ],
)
def test_channels_that_cannot_be_kept_are_refused(kept, message):
    with pytest.raises(NetworkError, match=message):
        shrink(resnet20(), SHAPE, kept)


def test_rewrites_follow_each_other():
    structure = [channels_record(SHAPE, KEPT), low_rank_record({"layer2.0.conv2": 2}, 2)]
    small = rebuild(resnet20(), structure)
    assert small.get_submodule("layer2.0.conv2.reduce").weight.shape == (4, 16, 3, 3)
    assert small.get_submodule("layer2.0.conv2.expand").weight.shape == (7, 4, 1, 1)
    assert small(torch.zeros(1, *SHAPE)).shape == (1, 10)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ([{"rewrite": "chanels"}], "unknown change of structure.*Did you mean 'channels'"),
        ([{"rewrite": "channels"}], "damaged entry"),
        ([channels_record(SHAPE, {"nowhere": [0]})], "it does not fit the network"),
        ([low_rank_record({"conv1": 2}, 2)], "it does not fit the network.*groups must divide"),
        ([low_rank_record({"linear": 2}, 1)], "only a convolution can be two convolutions"),
        ([low_rank_record({"nowhere": 2}, 1)], "damaged entry"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(structure, message):
    with pytest.raises(CheckpointError, match=message):
        rebuild(resnet20(), structure, "small.safetensors")
