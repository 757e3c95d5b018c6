"""Labelled images: ImageFolder roots, CIFAR batch folders and scikit-learn's digits.

Pixels stay bytes, in memory or on disk, until a batch is asked for: a data set of any
size can be walked through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pimsim.errors import DataError
from pimsim.network.cifar_batches import find_cifar, read_cifar

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff"})
# The folder names a split may have; ImageNet copies call their test images "val".
_SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val"), "val": ("val", "test")}
# Pixels of the digits run from 0 to 16.
_DIGITS_FULL_SCALE = 16
_DIGITS_SEED = 0
_DIGITS_TEST_IMAGES = 360

Normalize = tuple[tuple[float, ...], tuple[float, ...]]
ReadPixels = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images of one split.

    ``read_pixels`` turns indices (n,) into pixels (n, C, H, W) uint8 from 0 to
    ``full_scale``; ``labels`` is (N,) int64 and indexes ``classes``. ``normalize`` holds
    a mean and a standard deviation per channel, for pixels scaled to 0 .. 1. ``split``
    is the split that was really read: a folder with one split serves any request.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    labels: Tensor
    read_pixels: ReadPixels
    normalize: Normalize | None = None
    full_scale: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """Every image as float32 (N, C, H, W), normalized; needs the memory for all."""
        return self.to_float(self.pixels())

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of the first image, which stands for all."""
        return tuple(self.read_pixels(torch.arange(1)).shape[1:])

    def pixels(self) -> Tensor:
        """Every image as uint8 (N, C, H, W)."""
        return self.read_pixels(torch.arange(len(self)))

    def in_memory(self) -> ImageDataset:
        """The same images with their pixels decoded once and kept (1 byte a value)."""
        stored = self.pixels()
        return replace(self, read_pixels=lambda indices: stored[indices])

    def first(self, count: int) -> ImageDataset:
        """The first ``count`` images."""
        return replace(self, labels=self.labels[:count])

    def batches(self, size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalized float32 images and their labels, ``size`` at a time, in order."""
        for indices in torch.arange(len(self)).split(size):  # type: ignore[no-untyped-call]
            yield self.to_float(self.read_pixels(indices)), self.labels[indices]

    def to_float(self, pixels: Tensor) -> Tensor:
        """Float32 images of uint8 pixels (n, C, H, W), normalized."""
        images = pixels.float() / self.full_scale
        if self.normalize is None:
            return images
        means, deviations = (torch.tensor(v).reshape(1, -1, 1, 1) for v in self.normalize)
        return (images - means) / deviations


def load_dataset(
    source: str | Path,
    split: str = "test",
    normalize: Normalize | None = None,
    limit: int | None = None,
    size: int | None = None,
) -> ImageDataset:
    """The images of ``split`` in ``source``.

    ``source`` is ``"digits"``, a CIFAR folder (python or binary batches) or an
    ImageFolder root with ``train/`` and ``test/`` (or ``val/``; either alone will do),
    one folder a class, classes sorted by name. ``limit`` keeps that many images, evenly
    spaced so that every class stays present. ``size`` resizes the shorter side of files
    to ``size`` pixels and crops the centre square. Raises :class:`DataError`.
    """
    _check_request(split, limit, size)
    dataset = _open(source, split, size)
    _check_normalize(normalize, dataset)
    labels, read = dataset.labels, dataset.read_pixels
    if limit is not None and limit < len(labels):
        chosen = torch.arange(limit) * len(labels) // limit
        labels, read = labels[chosen], _subset(read, chosen)
    return replace(dataset, labels=labels, read_pixels=read, normalize=normalize)


def _open(source: str | Path, split: str, size: int | None) -> ImageDataset:
    if source == "digits":
        return _digits(split)
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(
            given=f"data source {str(source)!r}",
            rule="must be 'digits' or an existing folder",
            fix="Give an ImageFolder root or a CIFAR folder",
        )
    layout = find_cifar(folder)
    if layout is None:
        return _image_folder(folder, split, size)
    images = read_cifar(folder, layout, split)
    _check_labels(images.labels, len(images.classes), folder)
    name = "CIFAR-100" if layout.hundred else "CIFAR-10"
    pixels = torch.from_numpy(np.ascontiguousarray(images.pixels))
    return ImageDataset(name, split, images.classes, torch.from_numpy(images.labels), lambda chosen: pixels[chosen])


def _digits(split: str) -> ImageDataset:
    """scikit-learn's 1,797 digits, 360 of them (seeded, stratified) for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train, test = train_test_split(
        np.arange(len(digits.target)), test_size=_DIGITS_TEST_IMAGES,
        random_state=_DIGITS_SEED, stratify=digits.target,
    )  # fmt: skip
    chosen = np.sort(train if split == "train" else test)
    pixels = torch.from_numpy(digits.images[chosen, None].astype(np.uint8))
    labels = torch.from_numpy(digits.target[chosen].astype(np.int64))
    names = tuple(str(name) for name in digits.target_names)
    return ImageDataset(
        "digits", "train" if split == "train" else "test", names, labels,
        lambda indices: pixels[indices], full_scale=_DIGITS_FULL_SCALE,
    )  # fmt: skip


def _image_folder(root: Path, split: str, size: int | None) -> ImageDataset:
    folder = _split_folder(root, split)
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not files:
        raise DataError(
            given=f"{len(classes)} class folders without any image",
            rule=f"an ImageFolder holds CLASS/FILE with one of {', '.join(sorted(IMAGE_SUFFIXES))}",
            where=str(folder),
        )
    paths = [path for path, _ in files]
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    return ImageDataset(root.name, folder.name, classes, labels, _file_reader(paths, size))


def _split_folder(root: Path, split: str) -> Path:
    for name in _SPLIT_FOLDERS[split]:
        if (root / name).is_dir():
            return root / name
    # A root with one split only serves every request, whatever that split is called.
    present = [root / name for name in ("train", "test", "val") if (root / name).is_dir()]
    if len(present) == 1:
        return present[0]
    raise DataError(
        given=f"a folder without {' or '.join(_SPLIT_FOLDERS[split])}",
        rule="an ImageFolder root holds train/ and test/ (or val/), with a folder for each class",
        where=str(root),
        fix="Give the folder that contains train/ and test/, or a CIFAR folder with its batch files",
    )


def _file_reader(paths: list[Path], size: int | None) -> ReadPixels:
    def read(indices: Tensor) -> Tensor:
        pixels = [_read_image(paths[int(index)], size) for index in indices]
        shapes = {tuple(image.shape) for image in pixels}
        if len(shapes) > 1:
            raise DataError(
                given=f"images of {len(shapes)} different sizes, such as {sorted(shapes)[:2]}",
                rule="all images of a batch have one size",
                where=str(paths[int(indices[0])].parent),
                fix="Give size=N to resize and crop them",
            )
        return torch.stack(pixels)

    return read


def _read_image(path: Path, size: int | None) -> Tensor:
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(
            given=f"a file that is no readable image ({error})",
            rule="every image of the folder must open",
            where=str(path),
        ) from error
    pixels = np.asarray(image if size is None else _centre_square(image, size))
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _centre_square(image: Image.Image, size: int) -> Image.Image:
    ratio = size / min(image.size)
    width, height = (max(size, round(side * ratio)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def _subset(read: ReadPixels, chosen: Tensor) -> ReadPixels:
    return lambda indices: read(chosen[indices])


def _check_request(split: str, limit: int | None, size: int | None) -> None:
    if split not in _SPLIT_FOLDERS:
        raise DataError(given=f"split {split!r}", rule="must be train, test or val")
    for name, value in (("limit", limit), ("size", size)):
        if value is not None and value < 1:
            raise DataError(given=f"{name}={value}", rule="must be at least 1")


def _check_labels(labels: np.ndarray, classes: int, folder: Path) -> None:
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            given=f"labels from {labels.min()} to {labels.max()}",
            rule=f"labels must be 0 to {classes - 1}",
            where=str(folder),
        )


def _check_normalize(normalize: Normalize | None, dataset: ImageDataset) -> None:
    if normalize is None:
        return
    channels = dataset.read_pixels(torch.tensor([0])).shape[1]
    means, deviations = normalize
    if not len(means) == len(deviations) == channels or min(deviations) <= 0:
        raise DataError(
            given=f"normalize={normalize}",
            rule=f"{channels} means and {channels} positive standard deviations, one a channel",
        )
