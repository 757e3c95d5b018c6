"""What a training run is told, and what it reports of each epoch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pimsim.errors import PruningError

OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Recipe:
    """Options of training with a cosine learning rate.

    ``optimizer`` is ``sgd``, stochastic gradient descent with ``momentum``, or ``adam``, whose first beta it is.
    The first ``float_epochs`` epochs train without quantization (under bfloat16 autocast
    when ``bfloat16``), the rest with it. Images are padded by ``crop_padding`` pixels and
    cropped at random, and mirrored when ``flip``. Raises :class:`PruningError`.
    """

    epochs: int
    float_epochs: int = 0
    lr: float = 0.1
    batch: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    crop_padding: int = 4
    flip: bool = True
    bfloat16: bool = False
    seed: int = 0
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        rules = {
            "epochs must be at least 1": self.epochs >= 1,
            "float_epochs must be 0 or more and leave an epoch for quantization": (
                0 <= self.float_epochs < self.epochs
            ),
            "batch must be at least 1": self.batch >= 1,
            "lr must be positive": self.lr > 0,
            "momentum must be in [0, 1)": 0 <= self.momentum < 1,
            "weight_decay must not be negative": self.weight_decay >= 0,
            "warmup_epochs must be 0 or more and less than epochs": (0 <= self.warmup_epochs < self.epochs),
            "label_smoothing must be in [0, 1)": 0 <= self.label_smoothing < 1,
            f"optimizer must be one of {', '.join(OPTIMIZERS)}": self.optimizer in OPTIMIZERS,
            "crop_padding must not be negative": self.crop_padding >= 0,
        }
        for rule, holds in rules.items():
            if not holds:
                name = rule.split()[0]
                raise PruningError(given=f"{name}={getattr(self, name)}", rule=rule)

    def learning_rate(self, epoch: float) -> float:
        """The rate at a point of time in epochs: linear warm-up, then half a cosine to 0."""
        if epoch < self.warmup_epochs:
            return self.lr * epoch / self.warmup_epochs
        share = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class EpochRecord:
    """One line of the accuracy curve; accuracies are fractions, ``phase`` float or quantized, with a hook's name.

    ``unprojected_accuracy`` is that on the test images before the weights were projected, None where they were not.
    """

    epoch: int
    phase: str
    loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float
    unprojected_accuracy: float | None = None
