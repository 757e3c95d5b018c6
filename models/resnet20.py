"""ResNet-20 for 32x32 images with 10 classes (He et al. 2016, section 4.2).

The shortcuts are the parameter-free "option A" of the paper: where a stage halves
the image, the identity is subsampled and padded with zero channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ShrinkingShortcut(nn.Module):
    """Every second pixel of the input, with zero channels added on both sides."""

    def __init__(self, added_channels: int) -> None:
        super().__init__()
        self.side = added_channels // 2

    def forward(self, images: Tensor) -> Tensor:
        return functional.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = ShrinkingShortcut(out_channels - in_channels)

    def forward(self, images: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(images)))
        out = self.bn2(self.conv2(out))
        return torch.relu(out + self.shortcut(images))


class ResNet(nn.Module):
    """Three stages of basic blocks with 16, 32 and 64 channels."""

    def __init__(self, blocks_per_stage: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(16, 16, blocks_per_stage, stride=1)
        self.layer2 = stage(16, 32, blocks_per_stage, stride=2)
        self.layer3 = stage(32, 64, blocks_per_stage, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = functional.adaptive_avg_pool2d(out, 1)
        return self.linear(torch.flatten(out, 1))


def stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """One stage: the first block changes the size, the others keep it."""
    first = BasicBlock(in_channels, out_channels, stride)
    rest = [BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def resnet20(classes: int = 10) -> ResNet:
    """ResNet-20: 19 convolutions and one linear layer, 0.27 million parameters."""
    return ResNet(blocks_per_stage=3, classes=classes)
