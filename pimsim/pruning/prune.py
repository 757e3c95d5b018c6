"""Train a network for the crossbar and write its checkpoint: the command ``pimsim prune``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pimsim.errors import DataError, PruningError
from pimsim.network.checkpoints import Checkpoint, load_checkpoint
from pimsim.network.datasets import ImageDataset, Normalize, load_dataset
from pimsim.network.modules import load_module
from pimsim.network.quantizers import LayerQuantization
from pimsim.network.rewrites import RewriteRecord, rebuild
from pimsim.network.state_matching import match
from pimsim.pruning.checkpoint_writer import TrainingReport, write_card, write_checkpoint
from pimsim.pruning.fake_quantization import (
    QuantizationOptions,
    attach_quantizers,
    restore_quantizers,
)
from pimsim.pruning.masks import mask_layers
from pimsim.pruning.plans import PruningPlan
from pimsim.pruning.recipe import EpochRecord, Recipe
from pimsim.pruning.registry import method_options as known_options
from pimsim.pruning.registry import pruning_method, recorded_options
from pimsim.pruning.training import accuracy, train
from pimsim.pruning.windows import WindowSearch


@dataclass(frozen=True)
class PruneResult:
    """What a run of :func:`prune` left: two files, the plan, accuracies as fractions.

    ``float_accuracy`` is that after the last float epoch, None in a run without any.
    """

    checkpoint: Path
    card: Path
    plan: PruningPlan
    quantized_accuracy: float
    float_accuracy: float | None
    test_images: int
    history: tuple[EpochRecord, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the accuracy curve."""
        return {
            "checkpoint": str(self.checkpoint), "card": str(self.card),
            "method": self.plan.method, "keep": dict(self.plan.keep),
            "top1_quantized": self.quantized_accuracy, "top1_float": self.float_accuracy,
            "test_images": self.test_images, "epochs": len(self.history),
        }  # fmt: skip


def prune(
    network: str,
    data: str | Path,
    out: str | Path,
    *,
    checkpoint: str | Path | None = None,
    method: str = "none",
    weight_quantizer: str = "symmetric",
    weight_bits: int = 4,
    activation_bits: int = 4,
    first_last_bits: int = 8,
    epochs: int = 30,
    float_epochs: int = 0,
    lr: float = 0.1,
    batch: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup_epochs: float = 1.0,
    label_smoothing: float = 0.0,
    crop_padding: int = 4,
    flip: bool = True,
    bfloat16: bool = False,
    seed: int = 0,
    normalize: Normalize | None = None,
    image_size: int | None = None,
    limit: int | None = None,
    data_name: str | None = None,
    show_progress: bool = True,
    windows: WindowSearch | None = None,
    **method_options: Any,
) -> PruneResult:
    """Train ``network`` ("file.py:callable") on ``data``, quantized and pruned; write ``out``.

    ``out`` is a .safetensors path; the card stands beside it (.md), the state of the run
    in the folder ``out`` with the ending .training, from which a killed run goes on.
    ``method`` and ``method_options`` are those of :func:`pruning_method`, the bits those of
    :class:`QuantizationOptions`, ``epochs`` to ``seed`` those of :class:`Recipe`. ``limit``
    keeps that many training and test images; ``data_name`` is what the card calls the data;
    ``windows`` finds the parallel windows for a method that counts rows.
    Raises a :class:`PimsimError` of the kind that fits the bad input.
    """
    options = {name: plain_value(value) for name, value in locals().items() if name not in _UNRECORDED}
    settings = {**method_options, **({"seed": seed} if "seed" in known_options(method) else {})}
    options |= {**recorded_options(method, settings), **(windows.options if windows else {})}
    quantization = QuantizationOptions(weight_quantizer, weight_bits, activation_bits, first_last_bits)
    recipe = Recipe(
        epochs, float_epochs, lr, batch, momentum, weight_decay, warmup_epochs, label_smoothing,
        crop_padding, flip, bfloat16, seed,
    )  # fmt: skip
    target = checked_target(out)
    pruning = pruning_method(method, settings)
    model = build_network(network, seed)
    source = load_checkpoint(checkpoint) if checkpoint is not None else None
    structure = source.structure if source else []
    model = rebuild(model, structure, str(checkpoint))
    masks = _load_weights(model, source) if source else {}
    train_set, test_set = data_sets(data, normalize, limit, image_size)
    if windows is not None:
        pruning = replace(pruning, windows=windows(model, image_shape(train_set)))  # type: ignore[type-var]
    plan = pruning.plan(model)
    # A layer that the plan leaves alone keeps the mask of the checkpoint.
    mask_layers(model, {**masks, **plan.masks})
    attach_quantizers(model, quantization)
    if source and not float_epochs:
        _restore_steps(model, source)
    history = train(model, recipe, train_set, test_set, target.with_suffix(".training"), options, show_progress)
    return _finish(target, model, plan, options, data_name, train_set, test_set, history, structure)


# What does not change the weights, or would put a machine's paths into a checkpoint.
_UNRECORDED = frozenset({"out", "data", "data_name", "show_progress", "method_options", "windows"})


# How windows are asked for when nothing else is said: `pimsim.api.pruning.WINDOW_OPTIONS`.
_WINDOW_DEFAULTS = MappingProxyType({"columns_per_weight": 1, "mapping": "sdk"})


def prune_command(
    options: Mapping[str, Any], data: str, out: str, data_name: str | None = None,
    more_defaults: Mapping[str, Any] = MappingProxyType({}),
) -> str:  # fmt: skip
    """The command line of a run: every option that :func:`prune`, or ``more_defaults``, does not default to."""
    defaults = {**(prune.__kwdefaults__ or {}), **_WINDOW_DEFAULTS, **more_defaults}
    words = ["pimsim", "prune", "--network", options["network"], "--data", data, "--out", out]
    for name, value in options.items():
        if name != "network" and (name == "method" or value != plain_value(defaults.get(name))):
            words += _option_words("--" + name.replace("_", "-"), value)
    return shlex.join([*words, *(["--data-name", data_name] if data_name else [])])


def _option_words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag[2:]]
    if flag == "--normalize":
        return [flag, "/".join(",".join(f"{part:g}" for part in parts) for parts in value)]
    if isinstance(value, list):
        return [word for item in value for word in (flag, str(item))]
    return [flag, str(value)]


def build_network(network: str, seed: int) -> nn.Module:
    """The network as its callable builds it, drawn with ``seed``. Raises `NetworkError`."""
    # Forked, so that a caller's own random numbers do not change under its feet.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return load_module(network)


def _load_weights(model: nn.Module, source: Checkpoint) -> dict[str, Tensor]:
    """Put the weights of ``source`` into ``model``; the masks that it brings, by layer."""
    fitted = match(source.state, model, str(source.path))
    model.load_state_dict(fitted.state)
    return {name.removesuffix(".weight"): mask for name, mask in fitted.masks.items()}


def _restore_steps(model: nn.Module, source: Checkpoint) -> None:
    records = {n: LayerQuantization.from_dict(v) for n, v in source.quantization.items()}
    if records:
        restore_quantizers(model, records)


def data_sets(
    data: str | Path, normalize: Normalize | None, limit: int | None, size: int | None
) -> tuple[ImageDataset, ImageDataset]:
    """Training and test images in memory. Raises `DataError`, also for data without both."""
    sets = [load_dataset(data, split, normalize, limit, size) for split in ("train", "test")]
    if sets[0].split == sets[1].split:
        raise DataError(
            given=f"a data folder with the split {sets[0].split} only",
            rule="training needs train/ and test/ (or val/)",
            where=str(data),
        )
    # Every epoch reads all images: decode them once.
    return sets[0].in_memory(), sets[1].in_memory()


def _finish(
    target: Path, model: nn.Module, plan: PruningPlan, options: dict[str, Any],
    data_name: str | None, train_set: ImageDataset, test_set: ImageDataset,
    history: tuple[EpochRecord, ...], structure: Sequence[RewriteRecord],
) -> PruneResult:  # fmt: skip
    quantized = accuracy(model, test_set)
    unquantized = next((r.test_accuracy for r in reversed(history) if r.phase == "float"), None)
    write_checkpoint(target, model, plan, options, structure)
    card = target.with_suffix(".md")
    source = "digits" if train_set.name == "digits" else "FOLDER"
    command = prune_command(options, source, f"models/{target.name}", data_name, known_options(plan.method))
    report = TrainingReport(
        target.stem, data_name or train_set.name, len(train_set.classes), len(train_set), len(test_set), command,
        options, quantized, unquantized, history,
    )  # fmt: skip
    write_card(card, report, plan)
    return PruneResult(target, card, plan, quantized, unquantized, len(test_set), history)


def image_shape(dataset: ImageDataset) -> tuple[int, int, int]:
    """(C, H, W) of the images of a data set in memory."""
    channels, height, width = dataset.pixels().shape[1:]
    return channels, height, width


def checked_target(out: str | Path) -> Path:
    """The path of a checkpoint to write. Raises `PruningError` for another ending than .safetensors."""
    target = Path(out)
    if target.suffix != ".safetensors":
        raise PruningError(
            given=f"output file {str(out)!r}",
            rule="a checkpoint is written as .safetensors",
            fix=f"Use {target.with_suffix('.safetensors').name}",
        )
    return target


def plain_value(value: Any) -> Any:
    """JSON's version of an option: tuples as lists, of an absolute path only the name."""
    if isinstance(value, (str, Path)):
        return Path(value).name if Path(value).is_absolute() else str(value)
    return [plain_value(item) for item in value] if isinstance(value, (tuple, list)) else value
