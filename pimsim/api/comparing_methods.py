"""Several methods side by side on a chip: the numbers behind ``pimsim compare --checkpoints`` and ``--methods``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.api.comparison_entries import Entry, Request, of_checkpoints, of_methods, read_comparison
from pimsim.api.outcomes import outcome_of
from pimsim.api.preparing import Images, Imported, Inputs, Prepared, import_workload, place_imported, read_inputs
from pimsim.api.progress import Progress
from pimsim.errors import ConfigError
from pimsim.hardware.loading import load_chip
from pimsim.records.method_comparison import MethodComparison
from pimsim.records.outcomes import MEASURED, RECORDED, Outcome, Top1
from pimsim.workload import Workload

if TYPE_CHECKING:
    from pimsim.network.checkpoints import Checkpoint
    from pimsim.pruning.windows import Windows
    from pimsim.records.check import Check

#: Test images together that stay decoded in memory while checkpoints are compared, in bytes.
_MOST_PIXELS = 2**30
_BATCH = 64
#: Keys of a workload that decide what its images are, and what its integer network is.
_INPUT_KEYS = ("data", "normalize", "image_size", "input_shape", "images", "calibration_images", "seed")
_NETWORK_KEYS = (*_INPUT_KEYS, "network", "checkpoint", "weight_bits", "activation_bits", "quantizer")


def compare_methods(
    file: str | Path | None = None,
    *,
    checkpoints: Sequence[str] = (),
    methods: Sequence[str] = (),
    entries: Sequence[int] = (),
    baseline: str | None = None,
    name: str | None = None,
    train: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    check: bool = True,
    progress: bool = False,
    **common: Any,
) -> MethodComparison:
    """Pruning methods side by side on one chip, or on several with the same number of cells.

    Args:
        file: a comparison file; or ``checkpoints``, or ``methods``.
        checkpoints: files, each as ``PATH`` or ``LABEL=PATH``.
        methods: masks to be made here on the dense ``checkpoint``; names with options after colons.
        entries: kept kernel positions for each method that has them; none: 8, 6 and 4.
        baseline: label of the entry that gains are measured against; None: the first dense one.
        name: of the comparison and its files.
        train: options of training, ``epochs`` among them: methods are fine-tuned before they are compared; see
            `pimsim.api.trained_entries.train_entries`. None: their masks are compared as they are.
        folder: where trained checkpoints go.
        check: run images through the arrays and compare every output.
        progress: bars on standard error.
        common: keys of `pimsim.workload.Workload` for all entries; they win over the file.

    Raises:
        PimsimError: anything wrong with what was given.
    """
    given = {key: value for key, value in common.items() if value is not None}
    request = _request(file, checkpoints, methods, entries, given, name, baseline)
    request = request if name is None else replace(request, name=name)
    if train is not None:
        from pimsim.api.trained_entries import train_entries

        request = train_entries(request, train, folder, progress)
    return compare_entries(request, check=check, progress=progress)


def _request(
    file: str | Path | None, checkpoints: Sequence[str], methods: Sequence[str], entries: Sequence[int],
    common: Mapping[str, Any], name: str | None, baseline: str | None,
) -> Request:  # fmt: skip
    """The entries of the one source that was given. Raises `ConfigError` for none or several."""
    sources = {"a comparison file": file, "--checkpoints": checkpoints, "--methods": methods}
    chosen = [source for source, value in sources.items() if value]
    if len(chosen) != 1:
        given = " and ".join(chosen) or "nothing to compare"
        rule = "a comparison file, --checkpoints or --methods is needed, one of them"
        fix = "Give --checkpoints A.safetensors B.safetensors, or --shapes FILE to compare mappers"
        raise ConfigError(given, rule, None, fix)
    if entries and not methods:
        raise ConfigError("--entries without --methods", "it says what those keep", "--entries", "Leave it out")
    if file is not None:
        return read_comparison(file, common, baseline)
    if methods:
        return of_methods(methods, entries or (8, 6, 4), common, name or "methods", baseline)
    if "checkpoint" in common:
        fix = "Name all files after --checkpoints"
        raise ConfigError(
            "both --checkpoint and --checkpoints", "--checkpoint goes with --methods", "--checkpoint", fix
        )
    return of_checkpoints(checkpoints, common, name or "comparison", baseline)


def compare_entries(request: Request, *, check: bool = True, progress: bool = False) -> MethodComparison:
    """Every entry imported, placed, timed and checked; what several share is read once. Raises `PimsimError`."""
    bench = _Bench(Progress(progress), check)
    bench.make_masks(request.entries)
    outcomes = []
    with bench.bars.bar(len(request.entries), "comparing", "entry") as bar:
        for entry in request.entries:
            outcomes.append(bench.outcome(entry))
            bar.update()
    notes, outcomes = _shared_notes(outcomes)
    dense = request.baseline or next((outcome.label for outcome in outcomes if outcome.is_dense), None)
    return MethodComparison(request.name, tuple(outcomes), dense, (*notes, *_warnings(outcomes)))


@dataclass(eq=False)
class _Known:
    """A network as imported, and its accuracy once it is known."""

    checkpoint: Checkpoint
    imported: Imported
    top1: Top1 | None


@dataclass(eq=False)
class _Bench:
    """Runs entries one after another and keeps what they share: images, and networks with their accuracies."""

    bars: Progress
    check: bool
    inputs: dict[str, Inputs] = field(default_factory=dict)
    networks: dict[str, _Known] = field(default_factory=dict)
    masks: dict[str, Checkpoint] = field(default_factory=dict)

    def make_masks(self, entries: Iterable[Entry]) -> None:
        """All masks before anything that takes long, so that what a method refuses is said at once."""
        for entry in entries:
            if entry.method is not None:
                self._checkpoint(entry)

    def outcome(self, entry: Entry) -> Outcome:
        """One entry. Raises `PimsimError`."""
        from pimsim.api.running import adc_notes, chosen_engine, simulate_prepared

        workload, silent = entry.workload, Progress()
        workload.check_names()
        engine, engine_notes = chosen_engine(workload, False, self.bars)
        chip = load_chip(workload.hardware, workload.set)
        known = self._network(entry)
        prepared = place_imported(known.imported, workload, chip, silent)
        simulation = simulate_prepared(workload, prepared, silent, engine, False)
        checked = self._checked(workload, prepared) if self.check else None
        notes = (*engine_notes, *prepared.notes, *simulation.notes, *adc_notes(chip))
        return outcome_of(entry, known.checkpoint, prepared, simulation, known.top1, checked, notes)

    def _inputs(self, workload: Workload) -> Inputs:
        key = _key(workload, _INPUT_KEYS)
        if key not in self.inputs:
            self.inputs[key] = _in_memory(read_inputs(workload))
        return self.inputs[key]

    def _network(self, entry: Entry) -> _Known:
        """The integer network of an entry, imported once for all entries that share it."""
        workload = entry.workload
        key = _network_key(entry)
        if key not in self.networks:
            checkpoint = self._checkpoint(entry)
            imported = import_workload(workload, self._inputs(workload), checkpoint=checkpoint)
            self.networks[key] = _Known(checkpoint, imported, _top1(entry, imported))
        return self.networks[key]

    def _checkpoint(self, entry: Entry) -> Checkpoint:
        """The weights of an entry, with the masks that are made here."""
        from pimsim.api.method_masks import masked_checkpoint
        from pimsim.network.checkpoints import load_checkpoint

        workload, key = entry.workload, _network_key(entry)
        if workload.checkpoint is None:
            rule = "the weights are what is compared"
            raise ConfigError(f"entry '{entry.label}' without a checkpoint", rule, entry.where, "Give it one")
        if entry.method is None:
            return load_checkpoint(workload.checkpoint)
        if key not in self.masks:
            dense = load_checkpoint(workload.checkpoint)
            windows = self._windows(replace(entry, method=None, options={}))
            self.masks[key] = masked_checkpoint(workload.network or "", dense, entry.method, entry.options, windows)
        return self.masks[key]

    def _windows(self, dense: Entry) -> Windows:
        """The windows in which the mapper of an entry lays out its layers."""
        from pimsim.pruning.windows import Windows

        chip = load_chip(dense.workload.hardware, dense.workload.set)
        prepared = place_imported(self._network(dense).imported, dense.workload, chip, Progress())
        layers = zip(prepared.network.layers, prepared.placements, strict=True)
        return Windows({layer.name: placement.mapping.window for layer, placement in layers})

    def _checked(self, workload: Workload, prepared: Prepared) -> Check:
        """Some images through the arrays, every output compared."""
        from pimsim.api.checking import check_outputs

        assert prepared.images is not None
        images = _first(prepared.images, workload.crossbar_images or prepared.images.count)
        return check_outputs(replace(prepared, images=images), None, Progress())


def _key(workload: Workload, names: Iterable[str]) -> str:
    return json.dumps(workload.model_dump(mode="json", include=set(names)), sort_keys=True)


def _network_key(entry: Entry) -> str:
    """What decides the integer network of an entry; masks made here also follow from the windows of its layout."""
    key = _key(entry.workload, _NETWORK_KEYS)
    if entry.method is None:
        return key
    layout = _key(entry.workload, ("hardware", "set", "mapping", "mapping_options"))
    return key + layout + repr((entry.method, sorted(entry.options.items())))


def _in_memory(inputs: Inputs) -> Inputs:
    """The same with test images decoded once, where they are not too many."""
    dataset = inputs.images.dataset
    if dataset is None or len(dataset) * prod(dataset.shape) > _MOST_PIXELS:
        return inputs
    return replace(inputs, images=replace(inputs.images, dataset=dataset.in_memory()))


def _first(images: Images, count: int) -> Images:
    """The first images."""
    count = min(count, images.count)
    if images.dataset is None:
        assert images.seeded is not None
        return Images(count, None, images.seeded[:count])
    return Images(count, images.dataset.first(count), None)


def _top1(entry: Entry, imported: Imported) -> Top1 | None:
    """Top-1 of the integer network on labelled images; without them the one that the card records."""
    if entry.workload.data is not None:
        return _measured(imported)
    if entry.method is not None or entry.workload.checkpoint is None:
        return None
    from pimsim.pruning.checkpoint_writer import read_card

    card = read_card(entry.workload.checkpoint)
    return None if card is None else Top1(card.share, card.images, RECORDED)


def _measured(imported: Imported) -> Top1 | None:
    from pimsim.api.checking import Correct
    from pimsim.network.integer import integer_multiply

    assert imported.images is not None
    correct = Correct()
    for batch, labels in imported.images.batches(_BATCH):
        correct.add(imported.network.program.run(batch, integer_multiply), labels)
    return None if correct.share is None else Top1(correct.share, correct.images, MEASURED)


def _shared_notes(outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], list[Outcome]]:
    """Notes that all entries have, and the outcomes with only their own."""
    shared = [note for note in outcomes[0].notes if all(note in outcome.notes for outcome in outcomes)]
    own = [replace(o, notes=tuple(note for note in o.notes if note not in shared)) for o in outcomes]
    return tuple(dict.fromkeys(shared)), own


def _warnings(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """What a reader must know before comparing, and each entry's own notes."""
    budgets = {outcome.cell_budget for outcome in outcomes}
    if len(budgets) > 1:
        each = ", ".join(f"{outcome.label} {outcome.cell_budget:,}" for outcome in outcomes)
        yield f"the entries do not have the same number of cells ({each}): change tiles or arrays until they have"
    masked = [outcome.label for outcome in outcomes if outcome.training == "mask only"]
    if masked:
        yield f"no training: {', '.join(masked)} are masks on the dense weights; top-1 is that before any fine-tuning"
    if len({outcome.top1_source for outcome in outcomes if outcome.top1 is not None}) > 1:
        yield "some accuracies are measured here and some are recorded ones: they are not of the same images"
    unskipped = [outcome.label for outcome in outcomes if outcome.skip == "none" and outcome.weights_pruned]
    if unskipped:
        yield f"skip is 'none' for {', '.join(unskipped)}: no zero is left out; ask for skip row"
    for outcome in outcomes:
        if outcome.mismatches:
            kind = "although the ADC is lossless" if outcome.is_lossless else "because its ADC loses the highest sums"
            yield f"{outcome.label}: {outcome.mismatches:,} of {outcome.outputs:,} outputs differ {kind}"
        yield from (f"{outcome.label}: {note}" for note in outcome.notes)
