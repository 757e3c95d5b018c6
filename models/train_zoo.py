"""Train the pruned ResNet-20 of the model zoo: all from the same dense network, with the same recipe and seed.

    OMP_NUM_THREADS=1 nice -n 19 python models/train_zoo.py FOLDER [NAME ...]

FOLDER is CIFAR-10 as an ImageFolder; NAME one of `ZOO`, all of them without. Networks that are there already are
skipped, and a killed run goes on from its last whole epoch: give the command again until it has nothing left to do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pimsim

MODELS = Path(__file__).parent
DENSE = "resnet20-cifar10jpeg-w4a4"
RECIPE: dict[str, Any] = {
    "network": "models/resnet20.py:resnet20",
    "checkpoint": f"models/{DENSE}.safetensors",
    "epochs": 8,
    "lr": 0.05,
    "warmup_epochs": 0.5,
    "normalize": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "data_name": "CIFAR-10 (JPEG)",
}
# What results/fair compares across families.
SHORT = {"epochs": 5}
# The array of the budgets of rows: windows of 5x5, 4x4 and 4x4 in the three stages.
ON_ARRAY = {"array": "512x256"}
# The columns of a 4-bit weight in 2-bit cells; arrays of 1-bit cells hold the same masks in twice the arrays.
IN_BLOCKS = {"array": "128x128", "columns_per_weight": 2, **SHORT}
# In the order of their worth, should time run out.
ZOO: dict[str, dict[str, Any]] = {
    "pairs6": {"method": "pairs", "entries": 6},
    "patdnn6": {"method": "patdnn", "entries": 6},
    "random6": {"method": "random", "entries": 6},
    "pairs4": {"method": "pairs", "entries": 4},
    "patdnn4": {"method": "patdnn", "entries": 4},
    "random4": {"method": "random", "entries": 4},
    "row6": {"method": "row", "entries": 6, **ON_ARRAY},
    "pairs8": {"method": "pairs", "entries": 8},
    "patdnn8": {"method": "patdnn", "entries": 8},
    "random8": {"method": "random", "entries": 8},
    "garos6": {"method": "garos", "entries": 6, **ON_ARRAY},
    "kerntrol-m": {"method": "kerntrol-m", "threshold": 0.25, **ON_ARRAY},
    "kerntrol-c": {"method": "kerntrol-c", "threshold": 0.25, **ON_ARRAY},
    "garos4": {"method": "garos", "entries": 4, **ON_ARRAY},
    "pimprune2": {"method": "pim-prune", "keep": 1 / 2, **IN_BLOCKS},
    "pimprune4": {"method": "pim-prune", "keep": 1 / 4, **IN_BLOCKS},
    "pimprune8": {"method": "pim-prune", "keep": 1 / 8, **IN_BLOCKS},
    "lowrank4g4": {"method": "low-rank", "rank": "1/4", "groups": 4, **SHORT},
    "lowrank8g4": {"method": "low-rank", "rank": "1/8", "groups": 4, **SHORT},
    "prap": {
        **SHORT,
        "method": "prap",
        # The shares of patterns of the three stages, as results/prap has them.
        "targets": (0.75,) * 6 + (0.5,) * 6 + (0.375,) * 6,
        "project": (2, 4),
        # The published 0.001 is for 50 epochs after 150.
        "mask_penalty": 0.05,
        "reuse_penalty": 0.01,
    },
}


def main(data: str, *names: str) -> None:
    for name in names or ZOO:
        out = Path("models") / f"{DENSE}-{name}.safetensors"
        if out.exists():
            continue
        result = pimsim.prune(data=data, out=out, **{**RECIPE, **ZOO[name]})
        print(f"{out.name}: top-1 {result.quantized_accuracy:.2%}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or not ZOO.keys() >= {*sys.argv[2:]} or Path.cwd() != MODELS.parent.resolve():
        sys.exit(f"From the folder above models: python models/train_zoo.py FOLDER [NAME ...], of {', '.join(ZOO)}")
    main(*sys.argv[1:])
