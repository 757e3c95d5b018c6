"""Checkpoints of trained networks: one safetensors file and a card beside it.

The file holds the network's ordinary state dict; a pruned weight is the pair
``NAME_orig``, ``NAME_mask`` of ``torch.nn.utils.prune``. Its metadata entry ``pimsim``
is JSON with the integer side: a :class:`LayerQuantization` per layer, the pruning
method, the keep pattern of each pruned layer, the recipe, and the changes of structure
where there are any.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from pimsim.network.quantizers import LayerQuantization
from pimsim.network.rewrites import RewriteRecord
from pimsim.pruning.fake_quantization import trained_layers
from pimsim.pruning.plans import PruningPlan
from pimsim.pruning.recipe import EpochRecord
from pimsim.pruning.training import training_device

METADATA_KEY = "pimsim"
#: The line of a card that holds the accuracy of the integers.
TOP1_ROW = "top-1, quantized"


@dataclass(frozen=True)
class TrainingReport:
    """What a card tells of a run: data, command, options, accuracies, the curve.

    Accuracies are fractions of the test images; ``float_accuracy`` is that after the last
    float epoch, None in a run without any.
    """

    title: str
    data: str
    classes: int
    train_images: int
    test_images: int
    command: str
    options: Mapping[str, Any]
    quantized_accuracy: float
    float_accuracy: float | None
    history: tuple[EpochRecord, ...]


def layer_records(network: nn.Module) -> dict[str, LayerQuantization]:
    """The quantization of every layer as it stands, by dotted layer name."""
    return {
        name: layer.quantizer.record(layer.weight_orig.detach(), layer.weight_mask)
        for name, layer in trained_layers(network).items()
    }


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict without quantizers; masks are bytes, and those that keep everything are taken off."""
    state = network.state_dict()
    unpruned = [n for n, layer in trained_layers(network).items() if bool(layer.weight_mask.all())]
    kept = {
        # torch brings a mask to the type of its weight when it loads one.
        key: (value.bool() if key.endswith(".weight_mask") else value.detach()).contiguous().clone()
        for key, value in state.items()
        if "quantizer" not in key.split(".")
    }
    for name in unpruned:
        del kept[f"{name}.weight_mask"]
        kept[f"{name}.weight"] = kept.pop(f"{name}.weight_orig")
    return kept


def write_checkpoint(
    path: Path, network: nn.Module, plan: PruningPlan, options: Mapping[str, Any],
    structure: Sequence[RewriteRecord] = (),
) -> None:  # fmt: skip
    """Write the weights and the integer side of a trained network, in one atomic step."""
    records = {name: record.to_dict() for name, record in layer_records(network).items()}
    content = {
        "quantization": records, "method": plan.method,
        "keep": dict(plan.keep), "recipe": dict(options), **({"structure": list(structure)} if structure else {}),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    # `save_file` would make it readable for its owner only.
    partial.write_bytes(save(plain_state(network), metadata={METADATA_KEY: json.dumps(content)}))
    os.replace(partial, path)


def write_card(path: Path, report: TrainingReport, plan: PruningPlan) -> None:
    """Write the markdown card of a checkpoint, in one atomic step."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(card_text(report, plan), encoding="utf-8")
    os.replace(partial, path)


def card_text(report: TrainingReport, plan: PruningPlan) -> str:
    """The card: data, accuracy, command, options, kept patterns and the accuracy curve."""
    options = "\n".join(f"| {name} | {_cell(value)} |" for name, value in report.options.items())
    curve = "\n".join(_curve_line(record) for record in report.history)
    return f"""# {report.title}

| | |
|---|---|
| data | {report.data}: {report.train_images} training and {report.test_images} test images, {report.classes} classes |
| {TOP1_ROW} | {100 * report.quantized_accuracy:.2f} % of the test images (weights of the last epoch) |
| top-1, after the last float epoch | {_percent(report.float_accuracy)} |
| software | {_software()} |

The weights are those of the last epoch; no epoch was chosen by its test accuracy. Float
epochs come first, at a high learning rate: their accuracy is no float baseline. Another
number of threads sums in another order and gives slightly other weights.

## Command

    {report.command}

## Recipe

| option | value |
|---|---|
{options}

## {plan.heading}

    {plan.picture().replace(chr(10), chr(10) + "    ")}

## Accuracy curve

| epoch | phase | training loss | training top-1 % | test top-1 % | seconds |
|---|---|---|---|---|---|
{curve}
"""


@dataclass(frozen=True)
class RecordedTop1:
    """The accuracy in a card: the share (0 to 1), and how many test images it is of (None: not said)."""

    share: float
    images: int | None


def read_card(checkpoint: str | Path) -> RecordedTop1 | None:
    """The accuracy that the card beside a checkpoint records; None without a card, or a card without one."""
    card = Path(checkpoint).with_suffix(".md")
    if not card.is_file():
        return None
    text = card.read_text(encoding="utf-8", errors="replace")
    found = re.search(rf"^\| {TOP1_ROW} \| ([0-9.]+) %", text, re.MULTILINE)
    images = re.search(r"^\| data \|.* (\d+) test images", text, re.MULTILINE)
    return None if found is None else RecordedTop1(float(found[1]) / 100, int(images[1]) if images else None)


def _curve_line(record: EpochRecord) -> str:
    before = record.unprojected_accuracy
    projected = "" if before is None else f" ({100 * before:.2f} before the projection)"
    return (
        f"| {record.epoch} | {record.phase} | {record.loss:.4f} "
        f"| {100 * record.train_accuracy:.2f} | {100 * record.test_accuracy:.2f}{projected} "
        f"| {record.seconds:.1f} |"
    )


def _software() -> str:
    threads = torch.get_num_threads()
    processor = f"CPU, {threads} thread{'' if threads == 1 else 's'}" if training_device().type == "cpu" else "GPU"
    return f"torch {torch.__version__.split('+')[0]}, {processor}"


def _percent(share: float | None) -> str:
    return "no float epochs in this run" if share is None else f"{100 * share:.2f} %"


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
