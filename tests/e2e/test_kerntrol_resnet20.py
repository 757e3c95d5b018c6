"""KERNTROL on the trained ResNet-20 without training: pruned, saved, and run on two arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

#: Rows of one layer of each stage at 512x256: mapped, left out with a threshold of 0.25 (`pruning-sdk.md` 9).
STAGES = {"layer1.1.conv1": (25, 12, 16), "layer2.1.conv1": (16, 4, 32), "layer3.1.conv1": (16, 4, 64)}


@pytest.fixture
def images(tmp_path):
    """An ImageFolder of noise: no epoch is trained."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / "0.png")
    return tmp_path / "images"


@pytest.mark.parametrize("method", ["kerntrol-m", "kerntrol-c"])
def test_pruned_saved_and_run(pimsim, repository, images, tmp_path, method):
    out = tmp_path / "x.safetensors"
    network = f"{repository / 'models/resnet20.py'}:resnet20"
    done = pimsim(
        "prune", "--network", network, "--checkpoint", repository / "models/resnet20-cifar10jpeg-w4a4.safetensors",
        "--data", images, "--method", method, "--array", "512x256", "--epochs", 0, "--out", out,
    )  # fmt: skip
    assert done.code == 0, done.err
    for name, (pixels, omitted, channels) in STAGES.items():
        line = next(line for line in done.out.splitlines() if f"{name}: " in line)
        assert f"{omitted * channels} of {pixels * channels} rows left out" in line
    for size, mapping in ((128, "sdk"), (512, "sdk"), (512, "im2col")):
        ran = pimsim(
            "run", "--network", network, "--checkpoint", out, "--input-shape", "3,32,32", "--images", 1,
            "--set", f"tile.macro.crossbar.rows={size}", "--set", f"tile.macro.crossbar.columns={size}",
            "--set", "tile.macro.adc.bits=10", "--mapping", mapping, "--skip", "row", "--trace", "none",
            "--results", tmp_path / f"{mapping}{size}", "--json",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        found = json.loads(ran.out)
        assert found["check"]["mismatches"] == 0
        layers = {layer["name"]: layer for layer in found["layers"]}
        for name, (pixels, omitted, channels) in STAGES.items():
            column_tiles, rest = divmod(layers[name]["rows_mapped"], pixels * channels)
            assert rest == 0
            # Columns of some phases only have more rows without a weight.
            assert layers[name]["rows_skipped"] >= omitted * channels * column_tiles
            if column_tiles == 1:
                assert layers[name]["rows_skipped"] == omitted * channels
                assert layers[name]["skip_ratio"] == pytest.approx(omitted / pixels)
