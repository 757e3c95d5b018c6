"""Entries of a comparison that are trained before they are compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pimsim.api.comparison_entries import Entry, Request
from pimsim.api.layer_windows import MapperWindows
from pimsim.api.mapping import array_of_chip
from pimsim.errors import ConfigError, nearest
from pimsim.hardware.loading import load_chip
from pimsim.pruning.windows import WindowSearch

#: Options of `pimsim prune` that all methods share, as far as a comparison does not say them already.
TRAINING_OPTIONS = (
    "epochs", "lr", "warmup_epochs", "batch", "momentum", "weight_decay", "label_smoothing", "crop_padding", "flip",
    "seed", "optimizer", "float_epochs", "bfloat16", "admm_epochs", "admm_warmup", "admm_rho", "admm_norm",
    "weight_quantizer", "weight_bits", "activation_bits", "first_last_bits", "limit", "data_name",
)  # fmt: skip


def train_entries(
    request: Request, training: Mapping[str, Any], folder: str | Path | None, progress: bool = False
) -> Request:
    """The same entries, each method with the checkpoint that it gets by fine-tuning instead of a mask.

    All start from the dense checkpoint of their entry, with one recipe. Each checkpoint is written into ``folder`` with
    its card; a run that was killed goes on when it is asked for again.

    Args:
        request: entries of methods and of checkpoints; the latter stay as they are.
        training: options of `pimsim prune`, some of `TRAINING_OPTIONS`, ``epochs`` among them.
        folder: where checkpoints go.
        progress: bars on standard error.

    Raises:
        ConfigError: nothing to train, no images, no folder, or an unknown option.
        PimsimError: what `pimsim.pruning.prune.prune` refuses.
    """
    _check(request, training, folder)
    return replace(
        request,
        entries=tuple(
            entry if entry.method is None else _trained(entry, request.name, training, Path(folder or ""), progress)
            for entry in request.entries
        ),
    )


def _trained(entry: Entry, name: str, training: Mapping[str, Any], folder: Path, progress: bool) -> Entry:
    from pimsim.pruning.prune import prune

    workload = entry.workload
    target = folder / f"{name}-{re.sub(r'[^A-Za-z0-9.]+', '-', entry.label).strip('-')}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    done = prune(
        workload.network or "", workload.data or "", target, checkpoint=workload.checkpoint, method=entry.method or "",
        normalize=workload.normalize, image_size=workload.image_size, show_progress=progress,
        windows=_windows(entry, training), **{**training, **entry.options},
    )  # fmt: skip
    trained = workload.model_copy(update={"checkpoint": str(done.checkpoint)})
    return replace(entry, workload=trained, method=None, options={})


def _windows(entry: Entry, training: Mapping[str, Any]) -> WindowSearch | None:
    """The windows of the mapper on the chip of the entry, for a method that counts rows."""
    from pimsim.pruning.registry import method_options

    workload = entry.workload
    if "windows" not in method_options(entry.method or ""):
        return None
    chip = load_chip(workload.hardware, workload.set)
    array = array_of_chip(chip, int(training.get("weight_bits", 4)))
    shape = f"{array.rows}x{array.columns}"
    asked = {"array": shape, "columns_per_weight": array.columns_per_weight, "hardware": None}
    return MapperWindows(array, workload.mapping, {**asked, "mapping": workload.mapping})


def _check_types(training: Mapping[str, Any]) -> None:
    """Refuses a value of another kind than the option has. Raises `ConfigError`."""
    from pimsim.pruning.prune import prune

    defaults = prune.__kwdefaults__ or {}
    for option, value in training.items():
        kind = {"limit": int, "data_name": str}.get(option, type(defaults[option]))
        fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not fits or (kind is not bool and isinstance(value, bool)):
            rule = f"it is {_KINDS[kind]}"
            raise ConfigError(f"{option}={value}", rule, "--train", f"Write it like {option}={_EXAMPLES[kind]}")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
_EXAMPLES = {int: "8", float: "0.05", bool: "true", str: "adam"}


def _check(request: Request, training: Mapping[str, Any], folder: str | Path | None) -> None:
    where = "--train"
    for option in training:
        if option not in TRAINING_OPTIONS:
            rule = "training in a comparison has no such option"
            raise ConfigError(f"'{option}'", rule, where, nearest(option, TRAINING_OPTIONS))
    _check_types(training)
    if "epochs" not in training:
        raise ConfigError("no number of epochs", "training needs one", where, "Give --train epochs=8")
    if not any(entry.method for entry in request.entries):
        rule = "checkpoints are compared as they are"
        raise ConfigError("--train without a method", rule, where, "Give --methods, or leave --train out")
    if folder is None:
        raise ConfigError("--train without --out", "trained checkpoints need a folder", where, "Give --out FOLDER")
    if any(entry.method and entry.workload.data is None for entry in request.entries):
        raise ConfigError("--train without --data", "training needs images", where, "Give --data FOLDER")
