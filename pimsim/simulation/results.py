"""What a simulation found: plain records, one per layer and component, with units in their names."""

from __future__ import annotations

from dataclasses import dataclass, field

from pimsim.hardware.records import Chip

#: Why an array waits (`Stall`): its converters, the buffer, the bus, an input not there yet, a full output.
STALL_CAUSES = ("adc", "buffer", "bus", "input", "output")


@dataclass(frozen=True)
class Span:
    """One job of one unit, as probes see it.

    ``tile``, ``macro`` and ``array`` locate the unit (-1 where a level does not apply; ``array`` counts
    within its macro). ``stage`` is the pipeline stage (``edram_read``, ``bus``, ``array``, ``adc``, ``shift_add``,
    ``merge``, ``activation``, ``router``, ``edram_write``). ``step`` is -1 for stages that work on whole
    windows. ``units`` counts units in lockstep that share this span; ``active_rows`` is what they drive each.
    ``window`` counts window slots within ``image``.
    """

    layer: str
    stage: str
    tile: int
    macro: int
    array: int
    units: int
    window: int
    step: int
    start_fs: int
    end_fs: int
    active_rows: int = 0
    image: int = 0


@dataclass(frozen=True)
class SkippedSteps:
    """Array steps of a layer for one image, by what is skipped.

    Attributes:
        dense: nothing.
        weights: zero weights, as placed.
        inputs: zero input bits on the dense layout; None where inputs were not measured.
        both: what is played.
    """

    dense: int
    weights: int
    inputs: int | None
    both: int


@dataclass(frozen=True)
class LayerResult:
    """Time, energy and use of one crossbar layer for one image.

    Attributes:
        name, kind: of the layer (``conv`` or ``linear``).
        cycles: computing cycles, parallel windows x array tiles left after skipping.
        windows: parallel-window positions of one image.
        arrays: array tiles in use (programmed), times replication.
        rounds: times the available arrays are reprogrammed (1: all resident).
        steps: array activations of one window (input steps x row groups x column groups).
        array_steps: activations over all arrays and windows.
        rows_mapped, rows_skipped: rows over the dense array tiles, and those not driven.
        conversions: ADC conversions.
        macs: dense multiply-accumulates.
        start_fs, first_output_fs, end_fs: absolute times; ``latency_fs`` is end - start. The first output is a
            complete window: with several rounds, one of the last.
        interval_fs: steady-state time between two windows leaving the layer (0 when there is only one).
        fill_fs: latency of the first window of the first round.
        dynamic_energy_j: joules by component, for one image.
        counts: action counts by component, as gathered by the engine.
        stall_fs: time that arrays waited after their first step, by cause (`STALL_CAUSES`), summed over arrays and over
            all images of the run.
        busy_fs: busy time by resource kind, summed over units.
        units: number of units by resource kind that this layer uses.
        cell_utilisation: cells holding a nonzero-able weight / cells of the arrays in use.
        program_time_fs, program_energy_j: writing the weights, reported apart.
        index_bits: storage of the row index.
        mapping: name of the mapper.
        window: height and width of the parallel window in input pixels.
        replication: copies of the layer, which share its windows.
        skipped_steps: array steps with and without skipping.
    """

    name: str
    kind: str
    cycles: int
    windows: int
    arrays: int
    rounds: int
    steps: int
    array_steps: int
    rows_mapped: int
    rows_skipped: int
    conversions: int
    macs: int
    start_fs: int
    first_output_fs: int
    end_fs: int
    interval_fs: int
    fill_fs: int
    dynamic_energy_j: dict[str, float]
    counts: dict[str, int]
    stall_fs: dict[str, int]
    busy_fs: dict[str, int]
    units: dict[str, int]
    cell_utilisation: float
    program_time_fs: int
    program_energy_j: float
    index_bits: int
    mapping: str
    window: tuple[int, int]
    replication: int = 1
    skipped_steps: SkippedSteps = SkippedSteps(0, 0, None, 0)

    @property
    def latency_fs(self) -> int:
        """From the layer's first read to its last output written."""
        return self.end_fs - self.start_fs


@dataclass(frozen=True)
class ComponentResult:
    """One component over the whole run of one image.

    ``static_energy_j`` is static power x run time over the allocated units; ``area_m2`` over the allocated
    units; ``utilisation`` is busy time / (units x run time), None where busy time has no meaning.
    """

    component: str
    level: str
    units: int
    actions: int
    dynamic_energy_j: float
    static_energy_j: float
    area_m2: float
    busy_fs: int
    utilisation: float | None


@dataclass(frozen=True)
class SimulationResult:
    """A whole network on a chip: times from the start of the run, energy of one image.

    Attributes:
        first_output_fs: the first window of the last layer is written, for the first image.
        latency_fs: the last window of the first image is written.
        interval_fs: steady-state time between two images that follow without a gap, whatever the batch (layers
            sequential: the latency); None where it is not known.
        tiles: hardware tiles in use.
        schedule: ``sequential`` or ``pipelined`` layers.
        image_done_fs: when the last window of each image of the batch is written.
    """

    chip: Chip
    engine: str
    layers: tuple[LayerResult, ...]
    components: tuple[ComponentResult, ...]
    latency_fs: int
    first_output_fs: int
    interval_fs: int | None
    tiles: int
    notes: tuple[str, ...] = ()
    spans: tuple[Span, ...] = field(default=(), repr=False)
    schedule: str = "sequential"
    image_done_fs: tuple[int, ...] = field(default=(), repr=False)

    @property
    def images(self) -> int:
        """Images of the batch."""
        return max(1, len(self.image_done_fs))

    @property
    def makespan_fs(self) -> int:
        """From the start until the last image of the batch is written."""
        return self.image_done_fs[-1] if self.image_done_fs else self.latency_fs

    @property
    def dynamic_energy_j(self) -> float:
        """Sum over components, in their order."""
        return sum(component.dynamic_energy_j for component in self.components)

    @property
    def static_energy_j(self) -> float:
        """Sum over components, in their order."""
        return sum(component.static_energy_j for component in self.components)

    @property
    def array_utilisation(self) -> float:
        """Arrays that hold weights at a time / arrays of the tiles in use; 0 when nothing is placed."""
        at_once = [-(-layer.arrays // layer.rounds) for layer in self.layers if layer.rounds]
        resident = all(layer.rounds <= 1 for layer in self.layers)
        used = sum(at_once) if resident else max(at_once)
        return used / (self.tiles * self.chip.tile.macros * self.chip.macro.arrays) if used else 0.0

    @property
    def area_m2(self) -> float:
        """Area of the allocated units."""
        return sum(component.area_m2 for component in self.components)
