"""Residual networks in torchvision's layout, and those of the CIFAR papers, as plain PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def conv(ic: int, oc: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(ic, oc, kernel, stride, kernel // 2, groups=groups, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (ResNet-18 and -34)."""

    expansion = 1

    def __init__(self, ic: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(ic, planes, 3, stride), nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = conv(planes, planes, 3), nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the channels (ResNet-50)."""

    expansion = 4

    def __init__(self, ic: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(ic, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = conv(planes, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """Four stages at 56, 28, 14 and 7 pixels (for 224)."""

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], blocks: list[int], classes: int = 1000) -> None:
        super().__init__()
        self.channels = 64
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        for stage, count in enumerate(blocks):
            setattr(self, f"layer{stage + 1}", self._stage(block, 64 << stage, count, 1 if stage == 0 else 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(self.channels, classes)

    def _stage(self, block: type[BasicBlock] | type[Bottleneck], planes: int, count: int, stride: int) -> nn.Module:
        oc = planes * block.expansion
        downsample = None
        if stride != 1 or self.channels != oc:
            downsample = nn.Sequential(conv(self.channels, oc, 1, stride), nn.BatchNorm2d(oc))
        first = block(self.channels, planes, stride, downsample)
        self.channels = oc
        return nn.Sequential(first, *[block(oc, planes, 1, None) for _ in range(count - 1)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18() -> nn.Module:
    return ResNet(BasicBlock, [2, 2, 2, 2])


def resnet18_cifar() -> nn.Module:
    """The same blocks behind a 3x3 first convolution of stride 1, without pooling."""
    network = ResNet(BasicBlock, [2, 2, 2, 2], classes=10)
    network.conv1, network.maxpool = conv(3, 64, 3), nn.Identity()
    return network


def resnet34() -> nn.Module:
    return ResNet(BasicBlock, [3, 4, 6, 3])


def resnet50() -> nn.Module:
    return ResNet(Bottleneck, [3, 4, 6, 3])


class CifarBlock(nn.Module):
    """Two 3x3 convolutions around a 1x1 shortcut; with ``early`` batch norms in front of the layers (wide ResNet)."""

    def __init__(self, ic: int, oc: int, stride: int, early: bool) -> None:
        super().__init__()
        self.conv1, self.conv2, self.early = conv(ic, oc, 3, stride), conv(oc, oc, 3), early
        self.bn1, self.bn2 = nn.BatchNorm2d(ic if early else oc), nn.BatchNorm2d(oc)
        self.shortcut = conv(ic, oc, 1, stride) if stride != 1 or ic != oc else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.early:
            x = torch.relu(self.bn1(x))
            out = self.conv1(x)
            short = self.shortcut(x)
            return self.conv2(torch.relu(self.bn2(out))) + short
        out = torch.relu(self.bn1(self.conv1(x)))
        short = self.shortcut(x)
        return torch.relu(self.bn2(self.conv2(out)) + short)


def cifar(width: int, wide: int, blocks: int, classes: int, early: bool) -> Callable[[], nn.Module]:
    """A network of three stages for 32x32 images that starts with ``width`` channels and is ``wide`` times as wide."""

    def build() -> nn.Module:
        stages, channels = list[nn.Module](), width
        for stage in range(3):
            oc = (width * wide) << stage
            for block in range(blocks):
                stages.append(CifarBlock(channels, oc, 2 if stage and not block else 1, early))
                channels = oc
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        return nn.Sequential(conv(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), *stages, nn.ReLU(), *head)

    return build


class InvertedResidual(nn.Module):
    """Expansion, depthwise and linear projection (MobileNetV2), around an identity where sizes allow one."""

    def __init__(self, ic: int, oc: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = ic * expand
        first = [conv(ic, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU6()] if expand > 1 else []
        self.conv = nn.Sequential(
            *first,
            *(conv(hidden, hidden, 3, stride, groups=hidden), nn.BatchNorm2d(hidden), nn.ReLU6()),
            *(conv(hidden, oc, 1), nn.BatchNorm2d(oc)),
        )
        self.is_residual = stride == 1 and ic == oc

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)


def mobilenet_v2() -> nn.Module:
    """Table 2 of Sandler et al., CVPR 2018 (width 1.0)."""
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    blocks, channels = list[nn.Module](), 32
    for expand, oc, count, stride in rows:
        for index in range(count):
            blocks.append(InvertedResidual(channels, oc, 1 if index else stride, expand))
            channels = oc
    return nn.Sequential(
        conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6(), *blocks,
        conv(320, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(1280, 1000),
    )  # fmt: skip
