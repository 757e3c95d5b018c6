"""From a workload to what can be simulated: chip, network, images and one placement for each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.api.placing import place_network
from pimsim.api.progress import Progress
from pimsim.errors import DataError
from pimsim.hardware.encodings import POLARISED
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.convention import with_convention
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Network, Precision
from pimsim.network.shapes import load_shapes
from pimsim.workload import Workload

if TYPE_CHECKING:
    from torch import Tensor

    from pimsim.network.checkpoints import Checkpoint
    from pimsim.network.datasets import ImageDataset

Build = Callable[[], Any]
#: Images that are checked when the workload does not say how many.
SEEDED_IMAGES, LABELLED_IMAGES = 8, 256
#: Images that set the activation scales when the workload does not say how many: the most, the values that
#: they may hold together, and the fewest.
CALIBRATION_IMAGES, CALIBRATION_VALUES, FEWEST_CALIBRATION_IMAGES = 256, 2**22, 16
#: Values of all seeded images together: 4 GiB of float32.
LARGEST_INPUT = 2**30


@dataclass(frozen=True, eq=False)
class Images:
    """Test images: a labelled data set, or seeded normal numbers.

    ``tensor`` gives float images (n, C, H, W) and their labels (n,) or None, a batch at a time.
    """

    count: int
    dataset: ImageDataset | None
    seeded: Tensor | None

    def batches(self, size: int) -> Any:
        """Pairs of float images and labels (None without a data set), in order."""
        if self.dataset is not None:
            return self.dataset.batches(size)
        assert self.seeded is not None
        return ((part, None) for part in self.seeded.split(size))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that a run needs.

    Attributes:
        chip: with the workload's changes.
        network: integer layers; without weights for a shape table.
        placements: one for each layer.
        images: test images; None for a shape table.
        has_float: whether the weights mean anything in float: a network trained quantized has learned to be
            clipped, and is not the same without.
        notes: what the user should know.
    """

    chip: Chip
    network: Network
    placements: tuple[Placement, ...]
    images: Images | None
    notes: tuple[str, ...]
    has_float: bool = True


@dataclass(frozen=True, eq=False)
class Inputs:
    """What runs through a network: test images, float calibration images (N, C, H, W), and notes for the user."""

    images: Images
    calibration: Tensor
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Imported:
    """A network before it is placed on a chip; attributes as in `Prepared`."""

    network: Network
    images: Images | None
    notes: tuple[str, ...]
    has_float: bool = True


def prepare(workload: Workload, progress: Progress, module: Build | None = None) -> Prepared:
    """Chip, network, images and placements of a workload.

    Raises:
        PimsimError: whatever is wrong with any of them.
    """
    workload.check_names()
    chip = load_chip(workload.hardware, workload.set)
    if workload.shapes is None:
        return place_imported(import_workload(workload, read_inputs(workload), module), workload, chip, progress)
    notes = ("a shape table is timed for one image; no images run through it",) if workload.images else ()
    return place_imported(Imported(_shape_network(workload, chip), None, notes), workload, chip, progress)


def place_imported(imported: Imported, workload: Workload, chip: Chip, progress: Progress) -> Prepared:
    """A network placed on the chip as the workload asks. Raises `MappingError`."""
    network = imported.network
    placements = place_network(network.layers, workload, chip, progress)
    notes = (*chip.notes, *_encoding_notes(chip), *network.notes, *imported.notes)
    return Prepared(chip, network, placements, imported.images, notes, imported.has_float)


def _encoding_notes(chip: Chip) -> tuple[str, ...]:
    """What an encoding needs beside the cells and nobody charges."""
    if chip.crossbar.encoding != POLARISED:
        return ()
    return (f"encoding '{POLARISED}': the sign bit of each fragment, and adding or subtracting by it, are not charged",)


def read_inputs(workload: Workload) -> Inputs:
    """The images of ``data``, or the seeded ones without it. Raises `DataError`."""
    return Inputs(*(_seeded(workload) if workload.data is None else _from_data(workload)))


def import_workload(
    workload: Workload, inputs: Inputs, module: Build | None = None, checkpoint: Checkpoint | None = None
) -> Imported:
    """The integer network of a workload.

    Args:
        workload: names network and checkpoint, bits and quantizer.
        inputs: from `read_inputs`.
        module: builds the network instead of the file that the workload names.
        checkpoint: instead of the file that the workload names.

    Raises:
        PimsimError: the network cannot be imported, or its checkpoint does not fit.
    """
    from pimsim.network.checkpoints import load_checkpoint
    from pimsim.network.importer import import_network

    loaded = checkpoint
    if loaded is None and workload.checkpoint is not None:
        loaded = load_checkpoint(workload.checkpoint)
    network = import_network(
        module or workload.network or "",
        loaded,
        workload.input_shape,
        workload.weight_bits,
        workload.activation_bits,
        inputs.calibration,
        workload.quantizer,
        name=workload.name,
    )
    notes, has_float = inputs.notes, not _is_trained_quantized(loaded, network)
    if not has_float and workload.data is not None:
        notes = (*notes, "the checkpoint was trained quantized: there is no float network to compare it with")
    return Imported(network, inputs.images, notes, has_float)


def _is_trained_quantized(checkpoint: Checkpoint | None, network: Network) -> bool:
    """Whether the layers use the quantization that the checkpoint records."""
    if checkpoint is None or network.program is None:
        return False
    from pimsim.network.calibration import read_records

    recorded = read_records(checkpoint.quantization)
    used = network.program.records
    return bool(recorded) and all(used[name] == recorded.get(name.partition("@")[0]) for name in used)


def _shape_network(workload: Workload, chip: Chip) -> Network:
    assert workload.shapes is not None
    network = load_shapes(workload.shapes, Precision(chip.weight_bits, chip.activation_bits))
    layers = tuple(
        replace(
            layer,
            geometry=with_convention(layer.geometry, workload.convention),
            precision=Precision(
                workload.weight_bits or layer.precision.weight_bits,
                workload.activation_bits or layer.precision.activation_bits,
                layer.precision.activation_signed,
            ),
        )
        for layer in network.layers
    )
    return replace(network, layers=layers)


def _seeded(workload: Workload) -> tuple[Images, Tensor, tuple[str, ...]]:
    """Standard normal numbers, as normalized images have; calibration draws from the same generator first."""
    import torch

    assert workload.input_shape is not None
    count = workload.images or SEEDED_IMAGES
    calibrating = workload.calibration_images or calibration_count(workload.input_shape)
    _check_memory(workload.input_shape, calibrating + count)
    generator = torch.Generator().manual_seed(workload.seed)
    calibration = torch.randn(calibrating, *workload.input_shape, generator=generator)
    images = torch.randn(count, *workload.input_shape, generator=generator)
    return Images(count, None, images), calibration, (f"inputs are seeded normal numbers (seed {workload.seed})",)


def calibration_count(shape: tuple[int, ...]) -> int:
    """How many images of ``shape`` (C, H, W) set the activation scales when nobody says."""
    return max(min(CALIBRATION_IMAGES, CALIBRATION_VALUES // prod(shape)), FEWEST_CALIBRATION_IMAGES)


def _check_memory(shape: tuple[int, int, int], images: int) -> None:
    """Refuses seeded inputs that no memory holds. Raises `DataError`."""
    if images * prod(shape) > LARGEST_INPUT:
        given = f"{images} images of {'x'.join(map(str, shape))}"
        fix = "Make the images smaller, or ask for fewer --images and --calibration-images"
        raise DataError(given, f"seeded inputs hold at most {LARGEST_INPUT:,} values", "--input-shape", fix)


def _from_data(workload: Workload) -> tuple[Images, Tensor, tuple[str, ...]]:
    """Test images, and calibration images of the training split (evenly spaced over its classes)."""
    from pimsim.network.datasets import load_dataset

    assert workload.data is not None
    source, size = workload.data, workload.image_size
    test = load_dataset(source, "test", workload.normalize, workload.images or LABELLED_IMAGES, size)
    _check_count(workload, len(test))
    calibrating = workload.calibration_images or calibration_count(test.shape)
    train = load_dataset(source, "train", workload.normalize, calibrating, size)
    notes = () if train.split == "train" else (f"calibrated on the {train.split} images: the data has no train/",)
    return Images(len(test), test, None), train.images, notes


def _check_count(workload: Workload, found: int) -> None:
    if workload.images is not None and workload.images > found:
        given = f"images={workload.images}"
        raise DataError(given, f"the data has {found} test images", str(workload.data), "Ask for fewer images")


def input_files(workload: Workload) -> dict[str, Path]:
    """The files that a run reads, by role; their digests go into the manifest."""
    from pimsim.hardware.presets import preset_path

    named = {
        "network": workload.network and workload.network.rpartition(":")[0],
        "checkpoint": workload.checkpoint,
        "shapes": workload.shapes,
        "hardware": preset_path(workload.hardware) or workload.hardware,
    }
    return {role: Path(file) for role, file in named.items() if file}
