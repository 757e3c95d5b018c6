"""Which filters go: norms over all writers, masks and scales that go with them, and rounds that follow each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from pimsim.errors import PruningError
from pimsim.network.channels import Space, map_channels
from pimsim.network.modules import load_module
from pimsim.network.quantizers import LayerQuantization
from pimsim.pruning.channel_rounds import ChannelMethod, channel_norms, strongest
from pimsim.pruning.trained import TrainedNetwork

MODELS = Path(__file__).parents[3] / "models"
SHAPE = (3, 16, 16)


def build() -> nn.Module:
    torch.manual_seed(0)
    return load_module(f"{MODELS / 'resnet20.py'}:resnet20")


def fixed(*counts: Mapping[str, int]):
    """Targets of one round after another, whatever the network is."""
    left = list(counts)

    def targets(spaces: Sequence[Space]) -> Mapping[str, int]:
        return left.pop(0) if left else {}

    return targets


def start() -> TrainedNetwork:
    return TrainedNetwork((), build().state_dict(), {}, {})


def test_the_norm_of_a_shared_channel_is_the_sum_over_its_writers():
    trained = start()
    stream = map_channels(build(), SHAPE).spaces["conv1"]
    writers = ("conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2")
    for number in range(16):
        expected = sum(float(trained.state[f"{name}.weight"][number].abs().double().sum()) for name in writers)
        assert float(channel_norms(stream, trained)[number]) == pytest.approx(expected)


def test_the_largest_norms_stay_and_ties_fall_to_the_last():
    assert strongest(torch.tensor([1.0, 3.0, 1.0, 2.0, 1.0]), 3) == [0, 1, 3]


def test_the_filters_with_the_smallest_norm_go():
    trained = start()
    trained.state["layer2.1.conv1.weight"][torch.tensor([4, 17, 30])] *= 1e-3
    change = ChannelMethod(fixed({"layer2.1.conv1": 29}), SHAPE).next_round(build, trained)
    assert change is not None
    kept = [channel for channel in range(32) if channel not in (4, 17, 30)]
    assert change.network.structure == (
        {"rewrite": "channels", "input_shape": [3, 16, 16], "kept": {"layer2.1.conv1": kept}},
    )
    assert change.lines == ("layer2.1.conv1: 32 -> 29 channels",)


def test_rounds_add_up_to_one_change_of_the_original_network():
    trained = start()
    method = ChannelMethod(fixed({"conv1": 12, "layer2.0.conv2": 20}, {"conv1": 7}), SHAPE)
    first = method.next_round(build, trained)
    assert first is not None
    second = method.next_round(build, first.network)
    assert second is not None and method.next_round(build, second.network) is None
    (entry,) = second.network.structure
    norms = channel_norms(map_channels(build(), SHAPE).spaces["conv1"], trained)
    assert entry["kept"]["conv1"] == strongest(norms, 7)
    assert len(entry["kept"]["layer2.0.conv2"]) == 20
    for name in ("conv1.weight", "layer1.1.conv2.weight", "bn1.running_var"):
        assert torch.equal(second.network.state[name], trained.state[name][entry["kept"]["conv1"]])
    assert second.network.rebuild(build)(torch.zeros(1, *SHAPE)).shape == (1, 10)


def test_later_rounds_see_the_network_as_it_stands():
    seen: list[Space] = []

    def targets(spaces: Sequence[Space]) -> Mapping[str, int]:
        seen.extend(space for space in spaces if space.name == "conv1")
        return {"conv1": 12, "layer2.0.conv1": 30} if len(seen) == 1 else {}

    method = ChannelMethod(targets, SHAPE)
    first = method.next_round(build, start())
    assert first is not None and method.next_round(build, first.network) is None
    assert [space.channels for space in seen] == [16, 12]
    shapes = {reader.name: reader for reader in seen[1].readers}
    assert (shapes["layer2.0.conv1"].in_channels, shapes["layer2.0.conv1"].out_channels) == (12, 30)


def test_masks_and_scales_are_cut_with_their_weights():
    trained = start()
    mask = (torch.rand(16, 16, 3, 3) > 0.5).float()
    scales = tuple(float(n + 1) for n in range(16))
    record = LayerQuantization("symmetric", 4, 4, False, 0.5, scales)
    shared = LayerQuantization("symmetric", 4, 4, False, 0.5, (0.25,))
    trained = TrainedNetwork(
        (), trained.state, {"layer1.0.conv1": mask}, {"layer1.0.conv1": record, "layer1.0.conv2": shared}
    )
    change = ChannelMethod(fixed({"conv1": 10, "layer1.0.conv1": 5}), SHAPE).next_round(build, trained)
    assert change is not None
    kept = change.network.structure[0]["kept"]
    assert torch.equal(change.network.masks["layer1.0.conv1"], mask[kept["layer1.0.conv1"]][:, kept["conv1"]])
    assert change.network.records["layer1.0.conv1"].weight_scale == tuple(scales[n] for n in kept["layer1.0.conv1"])
    assert change.network.records["layer1.0.conv2"] == shared


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"conv1": 0}, "conv1: 0 channels of 'conv1': 16 channels can be pruned to 1 or more."),
        ({"conv1": 17}, "conv1: 17 channels of 'conv1': 16 channels can be pruned to 1 or more."),
        (
            {"linear": 9},
            "linear: 9 channels of 'linear': outputs of the network, or of use to an operation that is not understood: "
            "all must stay.",
        ),
    ],
)
def test_targets_that_cannot_be_met_are_refused(targets: dict[str, int], message: str):
    with pytest.raises(PruningError) as caught:
        ChannelMethod(fixed(targets), SHAPE).next_round(build, start())
    assert str(caught.value) == message
