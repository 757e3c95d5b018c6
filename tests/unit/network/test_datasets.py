"""Every kind of data source, read and refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pimsim.errors import DataError
from pimsim.network.datasets import load_dataset


def image_folder(root: Path, split: str = "test", classes: tuple[str, ...] = ("b", "a"), each: int = 3) -> Path:
    for label, name in enumerate(classes):
        folder = root / split / name
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = np.full((6, 8, 3), 40 * label + number, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def cifar_pixels(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 3072), dtype=np.uint8)


def python_cifar(root: Path, count: int = 4) -> np.ndarray:
    pixels = cifar_pixels(count)
    batch = {"data": pixels, "labels": [n % 10 for n in range(count)]}
    (root / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    return pixels


def test_image_folder_classes_are_sorted_and_pixels_arrive_unchanged(tmp_path: Path) -> None:
    data = load_dataset(image_folder(tmp_path), "test")
    assert data.classes == ("a", "b")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.shape == (3, 6, 8)
    # "b" was written first, with the values 0, 1, 2.
    assert data.pixels()[:, 0, 0, 0].tolist() == [40, 41, 42, 0, 1, 2]
    assert data.images.shape == (6, 3, 6, 8)


def test_batches_cover_the_images_in_order(tmp_path: Path) -> None:
    data = load_dataset(image_folder(tmp_path), "test")
    parts = list(data.batches(4))
    assert [len(images) for images, _ in parts] == [4, 2]
    assert torch.equal(torch.cat([images for images, _ in parts]), data.images)
    assert torch.equal(torch.cat([labels for _, labels in parts]), data.labels)


def test_files_are_read_only_when_asked_for(tmp_path: Path) -> None:
    root = image_folder(tmp_path)
    data = load_dataset(root, "test")
    kept = data.in_memory()
    (root / "test" / "a" / "0.png").unlink()
    assert kept.pixels().shape[0] == 6
    with pytest.raises(DataError, match="no readable image"):
        next(data.batches(2))


def test_normalization_is_per_channel(tmp_path: Path) -> None:
    means, deviations = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    plain = load_dataset(image_folder(tmp_path), "test")
    data = load_dataset(tmp_path, "test", normalize=(means, deviations))
    for channel in range(3):
        expected = (plain.images[:, channel] - means[channel]) / deviations[channel]
        assert torch.allclose(data.images[:, channel], expected)


def test_limit_keeps_every_class(tmp_path: Path) -> None:
    assert load_dataset(image_folder(tmp_path), "test", limit=2).labels.tolist() == [0, 1]
    assert len(load_dataset(tmp_path, "test", limit=99)) == 6


def test_size_resizes_the_shorter_side_and_crops_the_centre(tmp_path: Path) -> None:
    folder = tmp_path / "test" / "a"
    folder.mkdir(parents=True)
    pixels = np.zeros((4, 12, 3), dtype=np.uint8)
    pixels[:, 4:8] = 255
    Image.fromarray(pixels).save(folder / "wide.png")
    data = load_dataset(tmp_path, "test", size=4)
    assert data.images.shape == (1, 3, 4, 4)
    assert data.images.min() == 1


@pytest.mark.parametrize(("present", "asked"), [("val", "test"), ("test", "val"), ("train", "test")])
def test_a_single_split_serves_every_request_and_says_so(tmp_path: Path, present: str, asked: str) -> None:
    assert load_dataset(image_folder(tmp_path, present), asked).split == present


def test_cifar_python_batches(tmp_path: Path) -> None:
    pixels = python_cifar(tmp_path)
    names = [f"class {n}" for n in range(10)]
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    data = load_dataset(tmp_path, "test")
    assert np.array_equal(data.pixels().numpy().reshape(4, -1), pixels)
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert data.classes == tuple(names)


def test_cifar_binary_batches(tmp_path: Path) -> None:
    pixels = cifar_pixels(3)
    labels = np.array([[5], [0], [9]], dtype=np.uint8)
    np.concatenate([labels, pixels], axis=1).tofile(tmp_path / "test_batch.bin")
    data = load_dataset(tmp_path, "test")
    assert np.array_equal(data.pixels().numpy().reshape(3, -1), pixels)
    assert data.labels.tolist() == [5, 0, 9]


def test_cifar_100_takes_the_fine_label(tmp_path: Path) -> None:
    labels = np.array([[1, 77]], dtype=np.uint8)
    np.concatenate([labels, cifar_pixels(1)], axis=1).tofile(tmp_path / "test.bin")
    data = load_dataset(tmp_path, "test")
    assert (data.labels.tolist(), len(data.classes)) == ([77], 100)


class Attack:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def test_a_malicious_batch_is_refused_and_does_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    batch = {"data": Attack(witness), "labels": [0]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.system"):
        load_dataset(tmp_path, "test")
    assert not witness.exists()
    # The attack is a real one: an ordinary unpickler runs it.
    pickle.loads((tmp_path / "test_batch").read_bytes())
    assert witness.exists()


def test_a_truncated_batch_is_refused(tmp_path: Path) -> None:
    python_cifar(tmp_path)
    path = tmp_path / "test_batch"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="CIFAR python batches may hold numbers"):
        load_dataset(tmp_path, "test")


def test_a_truncated_binary_batch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(b"\0" * 3072)
    with pytest.raises(DataError, match="3072 bytes are not whole records of 3073 bytes"):
        load_dataset(tmp_path, "test")


def test_a_missing_train_batch_is_named(tmp_path: Path) -> None:
    python_cifar(tmp_path)
    with pytest.raises(DataError, match="data_batch_1"):
        load_dataset(tmp_path, "train")


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    labels = np.array([[10]], dtype=np.uint8)
    np.concatenate([labels, cifar_pixels(1)], axis=1).tofile(tmp_path / "test_batch.bin")
    with pytest.raises(DataError, match="labels must be 0 to 9"):
        load_dataset(tmp_path, "test")


def test_digits_are_split_once_and_for_all() -> None:
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    assert (len(train), len(test), test.images.shape[1:]) == (1437, 360, (1, 8, 8))
    assert test.images.max() == 1.0
    assert torch.equal(test.labels, load_dataset("digits", "test").labels)
    counts = torch.bincount(test.labels)
    assert counts.min() >= 34, "the test digits are stratified"
    seen = {tuple(image.flatten().tolist()) for image in train.pixels()}
    repeated = sum(tuple(image.flatten().tolist()) in seen for image in test.pixels())
    assert repeated == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "nowhere"}, "data source 'nowhere': must be 'digits' or an existing folder."),
        ({"source": "digits", "split": "dev"}, "split 'dev': must be train, test or val."),
        ({"source": "digits", "limit": 0}, "limit=0: must be at least 1."),
        ({"source": "digits", "normalize": ((0.0,) * 3, (1.0,) * 3)}, "1 means and 1 positive standard deviations"),
        ({"source": "digits", "normalize": ((0.0,), (0.0,))}, "1 means and 1 positive standard deviations"),
    ],
)  # fmt: skip
def test_a_bad_request_names_the_rule(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(**arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_folder_of_classes_without_splits_is_explained(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"a folder without test or val.*Give the folder that contains train/"):
        load_dataset(tmp_path, "test")


def test_a_folder_without_images_is_explained(tmp_path: Path) -> None:
    (tmp_path / "test" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="1 class folders without any image"):
        load_dataset(tmp_path, "test")


def test_images_of_different_sizes_need_a_size(tmp_path: Path) -> None:
    root = image_folder(tmp_path)
    Image.fromarray(np.zeros((3, 3, 3), dtype=np.uint8)).save(root / "test" / "a" / "small.png")
    with pytest.raises(DataError, match="Give size=N"):
        next(load_dataset(root, "test").batches())
    assert load_dataset(root, "test", size=5).images.shape == (7, 3, 5, 5)
