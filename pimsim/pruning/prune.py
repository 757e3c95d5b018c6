"""Train a network for the crossbar and write its checkpoint: the command ``pimsim prune``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
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
from pimsim.pruning.admm import Admm, AdmmOptions, check_admm
from pimsim.pruning.checkpoint_writer import TrainingReport, write_card, write_checkpoint
from pimsim.pruning.command import plain_value, prune_command
from pimsim.pruning.fake_quantization import (
    QuantizationOptions,
    attach_quantizers,
    calibrate_quantizers,
    restore_quantizers,
    weight_layers,
)
from pimsim.pruning.hooks import TrainingHook
from pimsim.pruning.masks import layer_masks, mask_layers
from pimsim.pruning.methods.base import MaskMethod
from pimsim.pruning.plans import PruningPlan
from pimsim.pruning.recipe import EpochRecord, Recipe
from pimsim.pruning.registry import SHARED_OPTIONS, pruning_method, recorded_options
from pimsim.pruning.registry import method_options as known_options
from pimsim.pruning.trained import integer_weight
from pimsim.pruning.training import accuracy, calibration_images, train
from pimsim.pruning.windows import Windows, WindowSearch


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
    optimizer: str = "sgd",
    admm_epochs: int = 0,
    admm_warmup: int = 0,
    admm_rho: float = 0.01,
    admm_norm: str = "squared",
    normalize: Normalize | None = None,
    image_size: int | None = None,
    limit: int | None = None,
    data_name: str | None = None,
    show_progress: bool = True,
    windows: WindowSearch | None = None,
    **method_options: Any,
) -> PruneResult:
    """Train ``network`` ("file.py:callable") on ``data``, quantized and pruned; write ``out``.

    ``out`` is a .safetensors path; the card stands beside it (.md), the state of the run in the folder ``out`` with
    the ending .training, from which a killed run goes on. ``method`` and ``method_options`` are those of
    :func:`pruning_method`, the bits those of :class:`QuantizationOptions`, ``epochs`` to ``optimizer`` those of
    :class:`Recipe`, then :class:`AdmmOptions`; with 0 epochs the network is pruned and calibrated as it is. ``limit``
    keeps that many training and test images; ``data_name`` is what the card calls the data; ``windows`` finds the
    parallel windows for a method that counts rows.
    Raises a :class:`PimsimError` of the kind that fits the bad input.
    """
    options = {name: plain_value(value) for name, value in locals().items() if name not in _UNRECORDED}
    shared = {name: options[name] for name in SHARED_OPTIONS if name in known_options(method)}
    settings = {**method_options, **shared}
    options |= {**recorded_options(method, settings), **(windows.options if windows else {})}
    run = _Run(checked_target(out), _Choices.checked(options, settings), options, data_name, show_progress)
    model, source = _started(network, checkpoint, seed, run.choices.pruning)
    sets = data_sets(data, normalize, limit, image_size)
    if windows is not None:
        run = run.with_windows(windows(model.network, image_shape(sets[0])))
    return run.train(model, source, sets)


@dataclass(frozen=True)
class _Choices:
    """The options of a run, checked."""

    quantization: QuantizationOptions
    recipe: Recipe
    admm: AdmmOptions
    pruning: MaskMethod

    @classmethod
    def checked(cls, options: Mapping[str, Any], settings: Mapping[str, Any]) -> _Choices:
        """From plain values and the method's own options. Raises the error of what is wrong with them."""
        quantization = QuantizationOptions(**_fields_of(QuantizationOptions, options))
        training = options if options["epochs"] else {**options, "epochs": 1, "warmup_epochs": 0.0}
        recipe, admm = Recipe(**_fields_of(Recipe, training)), AdmmOptions(**_fields_of(AdmmOptions, options))
        check_admm(admm, recipe, options["method"])
        return cls(quantization, recipe, admm, pruning_method(options["method"], settings))


def _fields_of(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: options[field.name] for field in fields(kind)}


@dataclass(frozen=True)
class _Run:
    """One run of `prune` before any weight is read."""

    target: Path
    choices: _Choices
    options: dict[str, Any]
    data_name: str | None
    show_progress: bool

    def with_windows(self, windows: Windows) -> _Run:
        """The same with a method that knows the parallel windows."""
        pruning = replace(self.choices.pruning, windows=windows)  # type: ignore[type-var]
        return replace(self, choices=replace(self.choices, pruning=pruning))

    def train(self, model: _Started, source: Checkpoint | None, sets: tuple[ImageDataset, ImageDataset]) -> PruneResult:
        """The trained network, its checkpoint and card written."""
        choices, folder = self.choices, self.target.with_suffix(".training")
        plan, hook = _pruned(model, choices)
        attach_quantizers(model.network, choices.quantization)
        if hook:
            hook.attached(model.network)
        if source and not choices.recipe.float_epochs:
            _restore_steps(model.network, source)
        if self.options["epochs"]:
            history = train(model.network, choices.recipe, *sets, folder, self.options, self.show_progress, hook)
        else:
            history = _without_training(model.network, sets[0], hook)
        if hook:
            plan = choices.pruning.describe(model.before, layer_masks(model.network, plan.masks))
        return self._finish(model.network, plan, sets, history, source.structure if source else [])

    def _finish(
        self, model: nn.Module, plan: PruningPlan, sets: tuple[ImageDataset, ImageDataset],
        history: tuple[EpochRecord, ...], structure: Sequence[RewriteRecord],
    ) -> PruneResult:  # fmt: skip
        train_set, test_set = sets
        quantized = accuracy(model, test_set)
        unquantized = next((r.test_accuracy for r in reversed(history) if r.phase == "float"), None)
        write_checkpoint(self.target, model, plan, self.options, structure)
        card = self.target.with_suffix(".md")
        source, out = "digits" if train_set.name == "digits" else "FOLDER", f"models/{self.target.name}"
        defaults = {**(prune.__kwdefaults__ or {}), **known_options(plan.method)}
        command = prune_command(self.options, source, out, self.data_name, defaults)
        report = TrainingReport(
            self.target.stem, self.data_name or train_set.name, len(train_set.classes), len(train_set), len(test_set),
            command, self.options, quantized, unquantized, history,
        )  # fmt: skip
        write_card(card, report, plan)
        return PruneResult(self.target, card, plan, quantized, unquantized, len(test_set), history)


@dataclass(frozen=True, eq=False)
class _Started:
    """A network with its first weights, a copy of it as it was then, and the masks that its checkpoint brought."""

    network: nn.Module
    before: nn.Module
    masks: dict[str, Tensor]


def _started(
    network: str, checkpoint: str | Path | None, seed: int, pruning: MaskMethod
) -> tuple[_Started, Checkpoint | None]:
    model = build_network(network, seed)
    source = load_checkpoint(checkpoint) if checkpoint is not None else None
    model = rebuild(model, source.structure if source else [], str(checkpoint))
    masks = _load_weights(model, source) if source else {}
    if source and source.quantization:
        _take_integers(model, source, masks, pruning.new_grids(model))
    return _Started(model, deepcopy(model), masks), source


def _pruned(model: _Started, choices: _Choices) -> tuple[PruningPlan, TrainingHook | None]:
    """Masks on the network; with a hook they come later, and a layer of the plan starts whole."""
    pruning, options = choices.pruning, choices.admm
    plan = pruning.plan(model.network)
    hook = pruning.training_hook(model.network, choices.recipe)
    if hook and options.admm_epochs:
        rule = "it changes weights in training in its own way"
        raise PruningError(f"--admm-epochs with the method '{pruning.name}'", rule, fix="Leave --admm-epochs out")
    if options.admm_epochs:
        hook = Admm(pruning.constraints(model.network), pruning.projection(model.network), options)
    if hook is None:
        # A layer that the plan leaves alone keeps the mask of the checkpoint.
        mask_layers(model.network, {**model.masks, **plan.masks})
        return plan, None
    mask_layers(model.network, {name: mask for name, mask in model.masks.items() if name not in plan.masks})
    return plan, hook


def _without_training(network: nn.Module, train_set: ImageDataset, hook: TrainingHook | None) -> tuple[()]:
    """Calibrate what has no steps yet, and do what the hook does in the end."""
    calibrate_quantizers(network, calibration_images(train_set), only_new=True)
    if hook:
        hook.before_epoch(network, 0)
        hook.after_epoch(network, 0)
    return ()


# What does not change the weights, or would put a machine's paths into a checkpoint.
_UNRECORDED = frozenset({"out", "data", "data_name", "show_progress", "method_options", "windows"})


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


@torch.no_grad()
def _take_integers(model: nn.Module, source: Checkpoint, masks: Mapping[str, Tensor], layers: Sequence[str]) -> None:
    """Weights of some layers as the integers of a quantized checkpoint stand for them."""
    for name in layers:
        if name in source.quantization:
            record = LayerQuantization.from_dict(source.quantization[name])
            weight = weight_layers(model)[name].weight
            weight.copy_(integer_weight(weight, record, masks.get(name)))


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
