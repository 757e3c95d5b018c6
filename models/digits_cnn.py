"""A small CNN for the 8x8 grey digits that scikit-learn ships (10 classes)."""

import torch
from torch import Tensor, nn


class DigitsCnn(nn.Module):
    """Four 3x3 convolutions, one halving of the image, one linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, 32, 3, padding=1)
        self.linear = nn.Linear(32, classes)

    def forward(self, images: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(images)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = torch.relu(self.conv3(self.pool(out)))
        out = torch.relu(self.conv4(out))
        return self.linear(out.mean(dim=(2, 3)))


def digits_cnn(classes: int = 10) -> DigitsCnn:
    """The digits network: 4 convolutions and one linear layer, 17 thousand parameters."""
    return DigitsCnn(classes)
