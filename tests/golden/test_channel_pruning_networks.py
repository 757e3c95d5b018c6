"""CNN-8 as a real PyTorch network: the channel vectors that VWC-SDK publishes come out of pruning it.

djwhsdj/VWC-SDK, README and example/test_SVHN.py (`mapping.md` 1.6 and 3.2).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pimsim.api.channel_targets import ChannelTargets
from pimsim.mapping.arrays import ArrayShape
from pimsim.pruning.channel_rounds import ChannelMethod
from pimsim.pruning.trained import TrainedNetwork


class Cnn8(nn.Module):
    """Seven convolutions on 40x40 images and a classifier, as the authors train it on SVHN."""

    def __init__(self) -> None:
        super().__init__()
        shapes = [(3, 24, 5, 0), (24, 32, 3, 1), (32, 32, 3, 1), (32, 64, 3, 0), (64, 64, 3, 1), (64, 64, 3, 0),
                  (64, 256, 5, 0)]  # fmt: skip
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, padding=p, bias=i == 3) for i, o, k, p in shapes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _, _ in shapes)
        self.pool, self.dropout, self.fc = nn.MaxPool2d(2), nn.Dropout(0.5), nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        out = images
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            out = torch.relu(norm(conv(out)))
            if number in (0, 2):
                out = self.pool(out)
        return self.fc(self.dropout(torch.flatten(out, 1)))


def build() -> nn.Module:
    torch.manual_seed(0)
    return Cnn8().eval()


def rounds(search: str) -> list[list[int]]:
    """Output channels of the seven convolutions after each round, read off the pruned modules."""
    method = ChannelMethod(ChannelTargets(ArrayShape(256, 512), search, "valid"), (3, 40, 40))
    trained, found = TrainedNetwork((), build().state_dict(), {}, {}), list[list[int]]()
    while (change := method.next_round(build, trained)) is not None:
        trained = change.network
        network: Any = trained.rebuild(build)
        assert network(torch.zeros(1, 3, 40, 40)).shape == (1, 10)
        found.append([conv.weight.shape[0] for conv in network.convs])
    return found


@pytest.mark.parametrize(
    ("search", "published"),
    [
        ("as-published", [[18, 21, 27, 60, 60, 60, 256], [18, 18, 27, 60, 60, 60, 256]]),
        # The true minimum of conv3 is a 6x6 window with 7 channels, which 21 channels fill: one round less.
        ("exact", [[18, 21, 27, 60, 60, 60, 256]]),
    ],
)
def test_cnn8_is_pruned_to_the_published_channels(search: str, published: list[list[int]]) -> None:
    found = rounds(search)
    assert found == published
