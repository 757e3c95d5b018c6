"""Train a network whose structure is pruned: rounds of change and fine-tuning, then checkpoint and card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import nn

from pimsim.errors import PruningError
from pimsim.network.checkpoints import load_checkpoint
from pimsim.network.datasets import ImageDataset
from pimsim.network.rewrites import RewriteRecord
from pimsim.pruning.checkpoint_writer import TrainingReport, write_card, write_checkpoint
from pimsim.pruning.fake_quantization import QuantizationOptions, calibrate_quantizers
from pimsim.pruning.plans import PruningPlan
from pimsim.pruning.prune import PruneResult, build_network
from pimsim.pruning.recipe import EpochRecord, Recipe
from pimsim.pruning.trained import Round, TrainedNetwork, read_trained, take_trained, trainable
from pimsim.pruning.training import accuracy, calibration_images, is_quantized, train


class StructureMethod(Protocol):
    """A frozen record of options that changes a trained network, one round at a time."""

    def next_round(self, build: Callable[[], nn.Module], trained: TrainedNetwork) -> Round | None:
        """The next change; None when there is nothing left to do."""
        ...  # pragma: no cover


@dataclass(frozen=True)
class RoundReport:
    """One round: what changed, and top-1 (a fraction) right after it and after ``epochs`` of fine-tuning."""

    lines: tuple[str, ...]
    pruned_accuracy: float
    accuracy: float
    epochs: int

    def heading(self) -> str:
        """Both accuracies in a few words."""
        tuned = f", {self.accuracy:.2%} after {self.epochs} epochs of fine-tuning" if self.epochs else ""
        return f"top-1 {self.pruned_accuracy:.2%} pruned{tuned}"


@dataclass(frozen=True, eq=False, repr=False)
class StructurePlan(PruningPlan):
    """What the rounds did to a network.

    Attributes:
        structure: rewrites of the network, for the metadata.
        rounds: in order; empty when nothing was to be done.
        dense_accuracy: top-1 of the network that was started from, a fraction.
        ending: why there was no further round.
    """

    heading: ClassVar[str] = "Changes of structure"
    structure: tuple[RewriteRecord, ...] = ()
    rounds: tuple[RoundReport, ...] = ()
    dense_accuracy: float = 0.0
    ending: str = ""

    def picture(self) -> str:
        """A block of lines for each round, with its accuracies."""
        lines = [f"start: top-1 {self.dense_accuracy:.2%}"]
        for number, done in enumerate(self.rounds, 1):
            lines += [f"round {number}: {done.heading()}"]
            lines += [f"  {line}" for line in done.lines]
        return "\n".join([*lines, f"end: {self.ending}"])


@dataclass(frozen=True)
class StructureRequest:
    """What `prune_structure` is asked for.

    Attributes:
        name: of the method, for the records.
        network: ``FILE.py:CALLABLE``.
        checkpoint: trained weights to start from.
        quantization: bits; those of a quantized checkpoint.
        recipe: of the fine-tuning of each round; None for no training.
        accuracy_drop: another round starts only while top-1 (a fraction) has lost at most this.
        seed: of everything that is drawn.
        options: every option, as plain values for the records.
        command: the command line, for the card.
        data_name: what the card calls the data.
        show_progress: progress bars on standard error.
    """

    name: str
    network: str
    checkpoint: str | Path
    quantization: QuantizationOptions
    recipe: Recipe | None
    accuracy_drop: float
    seed: int
    options: Mapping[str, Any]
    command: str
    data_name: str | None = None
    show_progress: bool = True


def prune_structure(
    request: StructureRequest, method: StructureMethod, data: tuple[ImageDataset, ImageDataset], target: Path
) -> PruneResult:
    """Rounds of pruning and fine-tuning up to the fixed point or the accuracy limit; checkpoint and card in the end.

    Each round keeps its training state in ``target`` with the ending .training, so that a killed run goes on.

    Args:
        request: what to start from and how to train.
        method: what to change.
        data: training and test images.
        target: checkpoint to write, .safetensors.

    Raises:
        PimsimError: of the kind that fits the bad input; nothing is written.
    """
    session = _Session(request, data, target.with_suffix(".training"))
    trained = read_trained(load_checkpoint(request.checkpoint), session.build)
    network, rounds = session.start(trained), list[RoundReport]()
    dense, ending = session.accuracy(network), "nothing is left to prune"
    while (change := method.next_round(session.build, trained)) is not None:
        network, report = session.run_round(change, len(rounds) + 1)
        trained = take_trained(network, change.network.structure)
        rounds.append(report)
        if change.final:
            ending = "one round does it all"
            break
        if dense - report.accuracy > request.accuracy_drop:
            ending = f"top-1 has lost more than {100 * request.accuracy_drop:g} points"
            break
    plan = StructurePlan(request.name, {}, (), trained.structure, tuple(rounds), dense, ending)
    return session.finish(network, plan, target)


@dataclass
class _Session:
    """The rounds of one run share data, recipe and history."""

    request: StructureRequest
    data: tuple[ImageDataset, ImageDataset]
    folder: Path
    history: list[EpochRecord] = field(default_factory=list)

    def build(self) -> nn.Module:
        """The user's network, anew."""
        return build_network(self.request.network, self.request.seed)

    def start(self, trained: TrainedNetwork) -> nn.Module:
        """The network of the checkpoint, as it is."""
        return trainable(trained, self.build, self.request.quantization)

    def accuracy(self, network: nn.Module) -> float:
        """Top-1 on the test images."""
        return accuracy(network, self.data[1])

    def run_round(self, change: Round, number: int) -> tuple[nn.Module, RoundReport]:
        """The changed network, fine-tuned where a recipe is given."""
        recipe = self.request.recipe
        keeps_steps = bool(change.network.records) and not (recipe and recipe.float_epochs)
        network = trainable(change.network, self.build, self.request.quantization, keeps_steps)
        if keeps_steps or recipe is None:
            calibrate_quantizers(network, calibration_images(self.data[0]), only_new=True)
        pruned = self.accuracy(network)
        if recipe is not None:
            self._train(network, recipe, number)
        tuned = self.accuracy(network) if recipe else pruned
        return network, RoundReport(change.lines, pruned, tuned, recipe.epochs if recipe else 0)

    def _train(self, network: nn.Module, recipe: Recipe, number: int) -> None:
        train_set, test_set = self.data
        options = {**self.request.options, "round": number}
        folder = self.folder / f"round-{number}"
        done = train(network, recipe, train_set, test_set, folder, options, self.request.show_progress)
        self.history += [replace(record, epoch=len(self.history) + record.epoch) for record in done]

    def finish(self, network: nn.Module, plan: StructurePlan, target: Path) -> PruneResult:
        """Checkpoint and card, and what to tell."""
        if not is_quantized(network):
            calibrate_quantizers(network, calibration_images(self.data[0]), only_new=True)
        train_set, test_set = self.data
        quantized = self.accuracy(network)
        unquantized = next((r.test_accuracy for r in reversed(self.history) if r.phase == "float"), None)
        report = TrainingReport(
            target.stem, self.request.data_name or train_set.name, len(train_set.classes), len(train_set),
            len(test_set), self.request.command, self.request.options, quantized, unquantized, tuple(self.history),
        )  # fmt: skip
        write_checkpoint(target, network, plan, self.request.options, plan.structure)
        card = target.with_suffix(".md")
        write_card(card, report, plan)
        return PruneResult(target, card, plan, quantized, unquantized, len(test_set), tuple(self.history))


def fine_tuning(epochs: int, **options: Any) -> Recipe | None:
    """The recipe of every round; None for 0 epochs. Raises `PruningError`."""
    if epochs == 0:
        return None
    if epochs < 0:
        raise PruningError(f"epochs={epochs}", "epochs must be at least 0")
    return Recipe(epochs, **options)
