"""One training loop: any network, float epochs first if wanted, then quantized ones.

After every epoch the whole state is written in one atomic step. A run that was killed
goes on from the last whole epoch and ends with the same weights as an undisturbed one:
every draw of an epoch comes from a generator seeded with (seed, epoch).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from pimsim.errors import CheckpointError, PruningError
from pimsim.network.datasets import ImageDataset
from pimsim.pruning.augmentation import crop_and_flip, pad_border
from pimsim.pruning.fake_quantization import LayerQuantizer, calibrate_quantizers, hold_steps
from pimsim.pruning.hooks import TrainingHook
from pimsim.pruning.recipe import EpochRecord, Recipe

LAST_STATE, BEST_STATE = "last.pt", "best.pt"
_CALIBRATION_IMAGES = 512
_TEST_BATCH = 500
# Adam's, as everybody has it.
_SECOND_BETA = 0.999
# Seeds of neighbouring runs must not share an epoch's draws.
_SEED_STRIDE = 1_000_003

TrainingState = dict[str, Any]


def train(
    network: nn.Module,
    recipe: Recipe,
    train_set: ImageDataset,
    test_set: ImageDataset,
    folder: Path,
    options: Mapping[str, Any],
    show_progress: bool = True,
    hook: TrainingHook | None = None,
) -> tuple[EpochRecord, ...]:
    """Train ``network`` in place, on a GPU if there is one, and give the accuracy curve, one record an epoch.

    The network carries masks and quantizers already. ``folder`` keeps the last and the
    best state; where it holds the state of a run with the same ``options`` (plain values
    that identify the run, the recipe among them), the run goes on. ``hook`` is what the
    pruning method adds to training. Raises :class:`PruningError` when the options differ.
    """
    hook = hook or TrainingHook()
    network.to(device=training_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, recipe)
    run = _Run(network, recipe, optimizer, hook)
    history = _resume(run, options, folder)
    padded = pad_border(train_set.pixels(), recipe.crop_padding)
    batches = -(-len(train_set) // recipe.batch)
    with tqdm(
        total=recipe.epochs * batches, initial=len(history) * batches,
        unit="batch", disable=not show_progress, mininterval=1.0,
    ) as bar:  # fmt: skip
        for epoch in range(len(history), recipe.epochs):
            started = time.monotonic()
            if epoch == recipe.float_epochs and not is_quantized(network):
                _calibrate(network, train_set)
            hook.before_epoch(network, epoch)
            loss, correct = _run_epoch(run, epoch, train_set, padded, bar)
            before = accuracy(network, test_set) if hook.changes_weights(epoch) else None
            hook.after_epoch(network, epoch)
            record = EpochRecord(
                epoch + 1, f"{hook.phase} {_precision(network)}".strip(), loss, correct,
                accuracy(network, test_set), round(time.monotonic() - started, 1), before,
            )  # fmt: skip
            history.append(record)
            bar.set_postfix(loss=f"{loss:.3f}", test=f"{100 * record.test_accuracy:.2f}%")
            _keep(run, options, history, folder)
    network.cpu()
    return tuple(history)


def training_device() -> torch.device:
    """The GPU if there is one that torch can use, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _precision(network: nn.Module) -> str:
    return "quantized" if is_quantized(network) else "float"


@dataclass(frozen=True)
class _Run:
    """What the steps of one training share."""

    network: nn.Module
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    hook: TrainingHook


def _calibrate(network: nn.Module, train_set: ImageDataset) -> None:
    # Scales are searched in numpy: on the processor.
    device = next(network.parameters()).device
    calibrate_quantizers(network.cpu(), calibration_images(train_set))
    network.to(device)


@torch.no_grad()
def accuracy(network: nn.Module, dataset: ImageDataset) -> float:
    """Top-1 accuracy as a fraction, in evaluation mode; the mode is restored."""
    was_training = network.training
    network.eval()
    correct = 0
    device = next(network.parameters()).device
    for images, labels in dataset.batches(_TEST_BATCH):
        images = images.to(device=device, memory_format=torch.channels_last)
        correct += int((network(images).argmax(1).cpu() == labels).sum())
    network.train(was_training)
    return correct / len(dataset)


def quantizers(network: nn.Module) -> list[LayerQuantizer]:
    """The quantizers that hang in the network's layers, in definition order."""
    return [module for module in network.modules() if isinstance(module, LayerQuantizer)]


def is_quantized(network: nn.Module) -> bool:
    """Whether the quantizers are switched on."""
    return all(quantizer.is_enabled for quantizer in quantizers(network))


def load_state(network: nn.Module, path: Path) -> TrainingState:
    """Put a state written by :func:`train` into ``network``; raises :class:`CheckpointError`."""
    try:
        state: TrainingState = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
    except Exception as error:
        raise CheckpointError(
            given=f"a training state that cannot be used ({error})",
            rule="must be a state that this run wrote",
            where=str(path),
            fix="Remove the file to start the run from the beginning",
        ) from error
    for quantizer in quantizers(network):
        quantizer.refresh()
    return state


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Decay pulls weights towards zero; for a step, a bias or a batch norm that is no prior.
    decayed = {
        parameter
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
        for name, parameter in module.named_parameters(recurse=False)
        if name.startswith("weight")
    }
    others = [parameter for parameter in network.parameters() if parameter not in decayed]
    ordered = [parameter for parameter in network.parameters() if parameter in decayed]
    groups = [
        {"params": ordered, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, betas=(recipe.momentum, _SECOND_BETA))
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)


def _run_epoch(run: _Run, epoch: int, train_set: ImageDataset, padded: Tensor, bar: Any) -> tuple[float, float]:
    """Mean loss, without penalties, and training accuracy of one pass over the data."""
    recipe = run.recipe
    generator = torch.Generator().manual_seed(recipe.seed * _SEED_STRIDE + epoch)
    order = torch.randperm(len(train_set), generator=generator).split(recipe.batch)  # type: ignore[no-untyped-call]
    run.network.train()
    loss_sum, correct = 0.0, 0
    # A network's own dropout draws from the global generator: seed it for this epoch only.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed * _SEED_STRIDE + epoch)
        for number, indices in enumerate(order):
            rate = recipe.learning_rate(epoch + number / len(order))
            pixels = crop_and_flip(padded, indices, recipe.crop_padding, recipe.flip, generator)
            labels = train_set.labels[indices]
            loss, outputs = _step(run, rate, train_set.to_float(pixels), labels)
            loss_sum += float(loss) * len(indices)
            correct += int((outputs.argmax(1).cpu() == labels).sum())
            bar.update()
    return loss_sum / len(train_set), correct / len(train_set)


def _step(run: _Run, rate: float, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    network, device = run.network, next(run.network.parameters()).device
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    # Rounding to codes wants float32; bfloat16 only speeds the float epochs up.
    with torch.autocast(device.type, torch.bfloat16, run.recipe.bfloat16 and not is_quantized(network)):
        outputs = network(images.to(device))
    smoothing = run.recipe.label_smoothing
    loss = functional.cross_entropy(outputs.float(), labels.to(device), label_smoothing=smoothing)
    if not torch.isfinite(loss):
        raise PruningError(
            given=f"a loss of {float(loss.detach())} at the learning rate {rate:.4g}",
            rule="training must stay finite",
            fix="Lower the learning rate",
        )
    penalty = run.hook.penalty(network)
    run.optimizer.zero_grad()
    (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
    run.optimizer.step()
    hold_steps(network)
    return loss.detach(), outputs.detach()


def calibration_images(dataset: ImageDataset) -> Tensor:
    """Up to 512 float images of a data set, spread over its classes."""
    count = min(_CALIBRATION_IMAGES, len(dataset))
    # Evenly spaced, because folders are sorted by class.
    chosen = torch.arange(count) * len(dataset) // count
    return dataset.to_float(dataset.read_pixels(chosen))


def _resume(run: _Run, options: Mapping[str, Any], folder: Path) -> list[EpochRecord]:
    path = folder / LAST_STATE
    if not path.is_file():
        return []
    state = load_state(run.network, path)
    if state["options"] != dict(options):
        changed = sorted(k for k in options if state["options"].get(k) != options[k])
        raise PruningError(
            given=f"a folder with the state of a run with other options ({', '.join(changed)})",
            rule="a run can only be resumed with the options that it was started with",
            where=str(path),
            fix="Use the same options, or remove the folder to start over",
        )
    run.optimizer.load_state_dict(state["optimizer"])
    run.hook.load(_moved(state["hook"], next(run.network.parameters()).device))
    return [EpochRecord(**record) for record in state["history"]]


def _moved(value: Any, device: torch.device) -> Any:
    """Nested lists and dicts with their tensors on a device."""
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, device) for item in value]
    return value.to(device) if isinstance(value, Tensor) else value


def _keep(run: _Run, options: Mapping[str, Any], history: list[EpochRecord], folder: Path) -> None:
    state: TrainingState = {
        "network": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "hook": run.hook.state(),
        "options": dict(options),
        "history": [asdict(record) for record in history],
    }
    same_phase = [record for record in history if record.phase == history[-1].phase]
    if max(same_phase, key=lambda record: record.test_accuracy) is history[-1]:
        _save_atomically(state, folder / BEST_STATE)
    _save_atomically(state, folder / LAST_STATE)


def _save_atomically(state: TrainingState, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)
