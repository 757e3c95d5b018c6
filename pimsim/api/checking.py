"""The witness of a run: every crossbar output beside the integer reference, and the accuracies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from pimsim.api.preparing import Images, Prepared
from pimsim.api.progress import Progress
from pimsim.functional.crossbar import CrossbarMultiplier, ReadOut
from pimsim.functional.reference import reference_convolution
from pimsim.network.integer import integer_multiply
from pimsim.records.check import Check, LayerCheck

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pimsim.hardware.records import Chip
    from pimsim.network.layers import Layer
    from pimsim.network.program import Program

#: Images whose reference is the slow int64 one; later ones use the exact product that tests prove equal to it.
REFERENCE_IMAGES = 64
BATCH = 32


@dataclass
class Difference:
    """Outputs of one layer against the reference, added up over batches."""

    outputs: int = 0
    mismatches: int = 0
    signal: float = 0.0
    noise: float = 0.0

    def add(self, expected: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        """Compare one batch element by element."""
        error = (found - expected).astype(np.float64)
        self.outputs += expected.size
        self.mismatches += int(np.count_nonzero(error))
        self.signal += float((expected.astype(np.float64) ** 2).sum())
        self.noise += float((error**2).sum())

    def join(self, other: Difference) -> Difference:
        """The sums of two."""
        return Difference(
            self.outputs + other.outputs,
            self.mismatches + other.mismatches,
            self.signal + other.signal,
            self.noise + other.noise,
        )

    @property
    def snr_db(self) -> float | None:
        """10 log10(signal / noise); None when nothing differs or there is no signal."""
        return 10 * math.log10(self.signal / self.noise) if self.noise and self.signal else None


@dataclass
class Correct:
    """Correctly classified images; ``share`` is None when there were no labels."""

    images: int = 0
    correct: int = 0

    def add(self, logits: Tensor, labels: Tensor | None) -> None:
        """Count one batch of logits (n, classes)."""
        if labels is None:
            return
        self.images += len(labels)
        self.correct += int((logits.flatten(1).argmax(1) == labels).sum())

    @property
    def share(self) -> float | None:
        """Top-1, 0 to 1."""
        return self.correct / self.images if self.images else None


@dataclass
class _Witness:
    """Runs batches three ways and keeps the differences."""

    program: Program
    crossbar: CrossbarMultiplier
    differences: dict[str, Difference]
    has_float: bool
    float_: Correct = field(default_factory=Correct)
    integer: Correct = field(default_factory=Correct)
    on_arrays: Correct = field(default_factory=Correct)
    images: int = 0

    def only_integer(self, images: Tensor, labels: Tensor | None) -> None:
        """A batch that does not go through the arrays."""
        self._add_float(images, labels)
        self.integer.add(self.program.run(images, integer_multiply), labels)

    def all_three(self, images: Tensor, labels: Tensor | None) -> None:
        """A batch that does; every layer is compared on the inputs that it really gets."""
        reference = _reference if self.images < REFERENCE_IMAGES else _fast_reference
        before = self._mismatches()
        logits = self.program.run(images, self.crossbar, self._compare_with(reference))
        self.images += len(images)
        self.on_arrays.add(logits, labels)
        self._add_float(images, labels)
        # Layer by layer equal on equal inputs: then the integer network has the same outputs.
        same = self._mismatches() == before
        self.integer.add(logits if same else self.program.run(images, integer_multiply), labels)

    def _add_float(self, images: Tensor, labels: Tensor | None) -> None:
        if self.has_float and labels is not None:
            self.float_.add(self.program.run_float(images), labels)

    def _mismatches(self) -> int:
        return sum(difference.mismatches for difference in self.differences.values())

    def _compare_with(
        self, reference: Callable[[Layer, Tensor], NDArray[np.int64]]
    ) -> Callable[[Layer, Tensor, Tensor], None]:
        def compare(layer: Layer, inputs: Tensor, accumulators: Tensor) -> None:
            self.differences[layer.name].add(reference(layer, inputs), accumulators.numpy())

        return compare


def check_outputs(prepared: Prepared, crossbar_images: int | None, progress: Progress) -> Check:
    """The functional check of a network with weights.

    Args:
        prepared: network, placements, chip and images.
        crossbar_images: images that go through the arrays; None: all.
        progress: bars.

    Returns:
        Outputs are the accumulators of all crossbar layers. Accuracies of the float and integer network are over
        all images, that of the arrays over those that went through them.
    """
    assert prepared.images is not None
    network, placements = prepared.network, prepared.placements
    names = [layer.name for layer in network.layers]
    crossbar = CrossbarMultiplier(dict(zip(names, placements, strict=True)), read_out(prepared.chip))
    witness = _Witness(network.program, crossbar, {name: Difference() for name in names}, prepared.has_float)
    _walk(witness, prepared.images, crossbar_images or prepared.images.count, progress)
    return _check(witness, names)


def read_out(chip: Chip) -> ReadOut:
    """The converters and drivers around the chip's arrays."""
    return ReadOut(chip.crossbar, chip.macro.row_driver, chip.macro.adc)


def is_lossless(chip: Chip) -> bool:
    """Whether no column sum can be above the greatest code of the ADC."""
    conversion = read_out(chip).conversion
    return not conversion.stretched and conversion.limit >= conversion.full_scale


@torch.no_grad()
def _walk(witness: _Witness, images: Images, through_arrays: int, progress: Progress) -> None:
    with progress.bar(images.count, "checking outputs", "image") as bar:
        for batch, labels in images.batches(BATCH):
            left = max(through_arrays - witness.images, 0)
            for part, run in ((slice(None, left), witness.all_three), (slice(left, None), witness.only_integer)):
                if len(batch[part]):
                    run(batch[part], None if labels is None else labels[part])
            bar.update(len(batch))


def _check(witness: _Witness, names: list[str]) -> Check:
    total = Difference()
    for name in names:
        total = total.join(witness.differences[name])
    layers = tuple(_layer_check(name, witness) for name in names)
    return Check(
        images=witness.images,
        outputs=total.outputs,
        mismatches=total.mismatches,
        top1_float=witness.float_.share,
        top1_integer=witness.integer.share,
        top1_crossbar=witness.on_arrays.share,
        snr_db=total.snr_db,
        conversions_checked=sum(layer.conversions_checked for layer in layers),
        clipped_conversions=sum(layer.clipped_conversions for layer in layers),
        layers=layers,
    )


def _layer_check(name: str, witness: _Witness) -> LayerCheck:
    difference, seen = witness.differences[name], witness.crossbar.observations[name]
    return LayerCheck(
        name, difference.outputs, difference.mismatches, seen.conversions, seen.clipped, difference.snr_db
    )


def _reference(layer: Layer, inputs: Tensor) -> NDArray[np.int64]:
    return reference_convolution(layer, inputs.numpy())


def _fast_reference(layer: Layer, inputs: Tensor) -> NDArray[np.int64]:
    return np.asarray(integer_multiply(layer, inputs).numpy())
