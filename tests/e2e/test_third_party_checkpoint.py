"""A checkpoint that others trained, on real images: `resnet20-12fca82f.th` of akamaster/pytorch_resnet_cifar10.

The files stand beside the checkout and are never committed; without them the tests are skipped.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CHECKPOINT = DATA / "checkpoints" / "resnet20-12fca82f.th"
IMAGES = DATA / "cifar10-jpeg.tar.gz"
#: Images of each class: enough to calibrate on, and to see an accuracy.
WANTED = {"train": 10, "test": 40}
pytestmark = pytest.mark.skipif(
    not (CHECKPOINT.exists() and IMAGES.exists()),
    reason="the third-party checkpoint and images are not beside the checkout",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder with the first images of each class of CIFAR-10 (JPEG)."""
    folder = tmp_path_factory.mktemp("cifar10")
    taken: Counter[str] = Counter()
    with tarfile.open(IMAGES) as archive:
        for member in archive:
            split, _, rest = member.name.partition("/")
            kind = f"{split}/{rest.partition('/')[0]}"
            if member.isfile() and taken[kind] < WANTED[split]:
                taken[kind] += 1
                archive.extract(member, folder, filter="data")
    assert len(taken) == 20
    return folder


def run(pimsim, repository, images, *words):
    words = (
        *("run", "--network", f"{repository / 'models/resnet20.py'}:resnet20", "--checkpoint", CHECKPOINT),
        *("--data", images, "--normalize", "0.485,0.456,0.406/0.229,0.224,0.225", "--input-shape", "3,32,32"),
        *(
            "--weight-bits",
            8,
            "--activation-bits",
            8,
            "--hardware",
            "isaac-like-8b",
            "--trace",
            "none",
            "--json",
            *words,
        ),
    )
    finished = pimsim(*words)
    assert finished.code == 0, finished.err
    return json.loads(finished.out)


@pytest.mark.parametrize("mapping", ["im2col", "sdk", "vw-sdk"])
def test_every_output_of_64_images_is_right(pimsim, repository, images, tmp_path, mapping):
    printed = run(pimsim, repository, images, "--mapping", mapping, "--images", 64, "--results", tmp_path / "r")
    assert printed["check"]["outputs"] == 64 * 188_426
    assert printed["check"]["mismatches"] == 0


def test_eight_bits_keep_the_accuracy(pimsim, repository, images, tmp_path):
    """81.0 % in float on all 10,000 images; 400 of them are within a few points of that, and of each other."""
    options = "--images", 400, "--crossbar-images", 1, "--mapping", "vw-sdk", "--results", tmp_path / "r"
    check = run(pimsim, repository, images, *options)["check"]
    assert check["top1_float"] == pytest.approx(0.81, abs=0.06)
    assert check["top1_integer"] == pytest.approx(check["top1_float"], abs=0.02)
