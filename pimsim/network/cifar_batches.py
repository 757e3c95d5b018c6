"""CIFAR-10 and CIFAR-100 batch files, python or binary version, read as data only.

The python version is a pickle. It is read by an unpickler that can build numpy arrays
and nothing else, so that a batch file cannot run code.
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pimsim.errors import DataError

_PIXELS = 3 * 32 * 32
# What an array inside a batch file is rebuilt from; nothing else may be looked up.
_ALLOWED_GLOBALS = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }
)


class CifarFolder(NamedTuple):
    """The files of one CIFAR folder: batch files of both splits and the class names file."""

    binary: bool
    hundred: bool
    batches: dict[str, tuple[str, ...]]
    names: str


class CifarImages(NamedTuple):
    """Pixels (N, 3, 32, 32) uint8, labels (N,) int64 and the class names in label order."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


_TEN = tuple(f"data_batch_{number}" for number in range(1, 6))
FOLDERS = (
    CifarFolder(False, False, {"train": _TEN, "test": ("test_batch",)}, "batches.meta"),
    CifarFolder(
        True, False,
        {"train": tuple(f"{name}.bin" for name in _TEN), "test": ("test_batch.bin",)},
        "batches.meta.txt",
    ),
    CifarFolder(False, True, {"train": ("train",), "test": ("test",)}, "meta"),
    CifarFolder(
        True, True, {"train": ("train.bin",), "test": ("test.bin",)}, "fine_label_names.txt"
    ),
)  # fmt: skip


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler whose only globals are those that rebuild a numpy array."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"the file asks for {module}.{name}")
        return super().find_class(module, name)


def find_cifar(folder: Path) -> CifarFolder | None:
    """Which CIFAR version ``folder`` holds, or None where it holds no batch file."""
    for layout in FOLDERS:
        present = (folder / name for files in layout.batches.values() for name in files)
        if any(path.is_file() for path in present):
            return layout
    return None


def read_cifar(folder: Path, layout: CifarFolder, split: str) -> CifarImages:
    """Every image of ``split`` ("train" or "test"); raises :class:`DataError`."""
    if split not in layout.batches:
        raise DataError(
            given=f"split {split!r}",
            rule="a CIFAR folder has the splits train and test",
            where=str(folder),
        )
    read = _read_binary if layout.binary else _read_python
    parts = [read(folder / name, layout.hundred) for name in layout.batches[split]]
    pixels = np.concatenate([part[0] for part in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([part[1] for part in parts])
    return CifarImages(pixels, labels, _class_names(folder, layout))


def read_pickle(path: Path) -> dict[Any, Any]:
    """The dict of a CIFAR python file; raises :class:`DataError` for anything else."""
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise _unreadable(path, str(error)) from error
    # A damaged pickle may raise nearly anything while it is taken apart.
    except Exception as error:
        raise DataError(
            given=f"a batch file that is not plain arrays ({error})",
            rule="CIFAR python batches may hold numbers, text and numpy arrays only",
            where=str(path),
            fix="Download the batch again, or use the binary version",
        ) from error
    if not isinstance(content, dict):
        raise _unreadable(path, f"it holds a {type(content).__name__}, not a dict")
    return content


def _read_python(path: Path, hundred: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = read_pickle(path)
    key = "fine_labels" if hundred else "labels"
    if "data" not in content or key not in content:
        raise _unreadable(path, f"it lacks the entry 'data' or {key!r}")
    pixels, labels = np.asarray(content["data"]), np.asarray(content[key], dtype=np.int64)
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _PIXELS):
        raise _unreadable(path, f"its data are {pixels.dtype} of shape {pixels.shape}")
    return pixels, labels


def _read_binary(path: Path, hundred: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # A CIFAR-100 record starts with the coarse label, the fine one follows.
    label_bytes = 2 if hundred else 1
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise _unreadable(path, str(error)) from error
    if content.size == 0 or content.size % (label_bytes + _PIXELS):
        raise _unreadable(path, f"{content.size} bytes are not whole records of {label_bytes + _PIXELS} bytes")
    records = content.reshape(-1, label_bytes + _PIXELS)
    return records[:, label_bytes:], records[:, label_bytes - 1].astype(np.int64)


def _class_names(folder: Path, layout: CifarFolder) -> tuple[str, ...]:
    path, count = folder / layout.names, 100 if layout.hundred else 10
    if not path.is_file():
        return tuple(str(number) for number in range(count))
    if layout.binary:
        return tuple(path.read_text(encoding="utf-8").split())[:count]
    content = read_pickle(path)
    names = content.get("fine_label_names" if layout.hundred else "label_names", ())
    return tuple(str(name) for name in names)


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(
        given=f"a CIFAR batch file that cannot be used: {reason}",
        rule="batch files have the published CIFAR layout",
        where=str(path),
    )
