"""Simulates a whole network on a chip: its layers one after another, or all at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Protocol

from pimsim.compiling import why_not
from pimsim.errors import SimulationError, nearest
from pimsim.hardware.records import DISCIPLINES, Chip
from pimsim.mapping.driven import DrivenRows
from pimsim.mapping.placement import Placement
from pimsim.network.layers import Network
from pimsim.simulation import compiled, event
from pimsim.simulation.assigning import assign
from pimsim.simulation.building import build_plan
from pimsim.simulation.costs import ACTIONS, Item, inventory
from pimsim.simulation.layer_results import LayerPlay, layer_result, marks_of, nothing
from pimsim.simulation.pipeline import build_network_plan
from pimsim.simulation.plan import NetworkPlan
from pimsim.simulation.playing import EVERYTHING, Played, Probe, Watch
from pimsim.simulation.replication import Replication
from pimsim.simulation.results import ComponentResult, LayerResult, SimulationResult
from pimsim.simulation.skipped_inputs import check_input_skipping
from pimsim.simulation.verifying import Agreement, verify
from pimsim.simulation.work import LayerWork
from pimsim.units import seconds


class Engine(Protocol):
    """Plays a plan; every engine gives the same start and end of every job."""

    def __call__(
        self,
        plan: NetworkPlan,
        probe: Probe | None = None,
        start_fs: int = 0,
        watch: Watch = EVERYTHING,
        marks: Sequence[Sequence[int]] | None = None,
    ) -> Played:
        """What the engine found; see `pimsim.simulation.event.play`."""
        ...


#: Engines by name. ``event`` is the engine of record; ``compiled`` is proven to agree with it.
ENGINES: dict[str, Engine] = {"compiled": compiled.play, "event": event.play}
#: Whether layers run one after another or at the same time.
SCHEDULES = ("sequential", "pipelined")
#: Images in which a steady state must show; networks of the size of ResNet take a handful.
STEADY_IMAGES = 512


@dataclass(frozen=True)
class Options:
    """How a network is played.

    Attributes:
        layers: one of `SCHEDULES`.
        batch: images that go through one after another; all are there at the start.
        arrays: crossbar arrays available to a layer at a time; None: every array tile stays resident if the chip has
            enough, otherwise layers take turns on all arrays of the chip (a note says so).
        replication: copies of every layer, by name, or a rule; see `pimsim.simulation.replication`.
        array_budget: arrays that the rules of replication may use; None: the chip's.
        tile_placement: ``packed``, or ``tile``: every layer begins with a tile of its own.
        line_buffer: output rows that a buffer between pipelined layers holds; None: as many as are needed.
        discipline: overrides the chip's ``timing.discipline``.
        engine: a name in `ENGINES`.
        verify: play every plan with both engines, and compare all that they report.
    """

    layers: str = "sequential"
    batch: int = 1
    arrays: int | None = None
    replication: Replication = 1
    array_budget: int | None = None
    tile_placement: str = "packed"
    line_buffer: int | None = None
    discipline: str | None = None
    engine: str = "compiled"
    verify: bool = False

    def __post_init__(self) -> None:
        for given, name, known in (("engine", self.engine, ENGINES), ("layers", self.layers, SCHEDULES)):
            if name not in known:
                raise SimulationError(f"{given} '{name}'", f"no such {given}", given, nearest(name, known))
        if self.batch < 1:
            raise SimulationError(f"batch={self.batch}", "at least 1 is needed", "batch")
        if self.line_buffer is not None and self.layers == "sequential":
            rule = "only pipelined layers hand rows on through buffers"
            raise SimulationError(f"line_buffer={self.line_buffer}", rule, "line_buffer", "Use layers 'pipelined'")


def simulate(
    network: Network,
    placements: Sequence[Placement],
    chip: Chip,
    options: Options | None = None,
    *,
    probe: Probe | None = None,
    watch: Watch = EVERYTHING,
    crossbar_energy_j: Mapping[str, float] | None = None,
    driven: Mapping[str, DrivenRows] | None = None,
    progress: Callable[[str], None] | None = None,
) -> SimulationResult:
    """Latency, energy and use of a network on a chip.

    Args:
        network: the layers, in execution order, and what feeds them.
        placements: one for each layer.
        chip: the accelerator.
        options: how it is played; None: layers one after another, one image.
        probe: sees every `Span` that ``watch`` takes; never changes timing.
        watch: the jobs that the probe sees.
        crossbar_energy_j: read energy by layer for one image, measured from real data
            (``read_energy: data-dependent``), instead of the fixed energy per cell.
        driven: measured inputs of the played image, by layer: rows whose input bits are zero are not driven. Layers
            that are missing drive all rows.
        progress: called with each layer's name before it is played.

    Raises:
        SimulationError: unknown names, counts that do not match layers, layers that do not fit, or a plan that
            deadlocks; where the compiled engine is asked for, a numba that does not work.
    """
    options = options or Options()
    chip = with_discipline(chip, options.discipline)
    if driven:
        check_input_skipping(chip, options.batch)
    assignment = assign(
        network,
        placements,
        chip,
        arrays=options.arrays,
        replication=options.replication,
        array_budget=options.array_budget,
        tile_placement=options.tile_placement,
        resident=options.layers == "pipelined",
        driven=driven,
    )
    run = _Run(network, chip, options, assignment.works, crossbar_energy_j or {}, probe, watch)
    result = run.pipelined() if options.layers == "pipelined" else run.sequential(progress)
    return replace(result, notes=(*assignment.notes, *run.notes))


def with_discipline(chip: Chip, discipline: str | None) -> Chip:
    """The chip with another discipline of its stages. Raises `SimulationError`."""
    if discipline is None:
        return chip
    if discipline not in DISCIPLINES:
        raise SimulationError(f"discipline '{discipline}'", "no such discipline", fix=nearest(discipline, DISCIPLINES))
    return replace(chip, timing=replace(chip.timing, discipline=discipline))


def simulate_layer(
    work: LayerWork, chip: Chip, engine: Engine = event.play, probe: Probe | None = None, start_fs: int = 0
) -> LayerResult:
    """Plan and play one layer alone.

    Raises:
        SimulationError: the plan deadlocks, or (a defect) its counts differ from the formulas.
    """
    if not work.placement.tiles:
        return nothing(work, start_fs)
    plan = build_plan(work, chip)
    alone = NetworkPlan(plan.name, (plan,))
    played = engine(alone, probe, start_fs, EVERYTHING, (marks_of(work, plan),))
    return layer_result(work, chip, _layer_play(alone, played, 0), start_fs)


def _layer_play(plan: NetworkPlan, played: Played, layer: int) -> LayerPlay:
    first, end = plan.first_stage[layer], plan.first_stage[layer + 1]
    return LayerPlay(
        plan.layers[layer],
        plan.images,
        played.first_start_fs[layer],
        played.window_done_fs[layer],
        played.jobs[first:end],
        played.stall_fs[layer],
    )


class _Run:
    """One network being played."""

    def __init__(
        self,
        network: Network,
        chip: Chip,
        options: Options,
        works: tuple[LayerWork, ...],
        measured: Mapping[str, float],
        probe: Probe | None,
        watch: Watch,
    ) -> None:
        self.network, self.chip, self.options, self.works = network, chip, options, works
        self.measured, self.probe, self.watch = measured, probe, watch
        self.agreement = Agreement()
        self.notes: list[str] = []

    def _play(self, plan: NetworkPlan, works: Sequence[LayerWork], start_fs: int = 0) -> Played:
        marks = tuple(marks_of(work, layer) for work, layer in zip(works, plan.layers, strict=True))
        if self.options.verify:
            self.agreement += verify(plan, ENGINES["event"], ENGINES["compiled"], self.watch)
        return ENGINES[self.options.engine](plan, self.probe, start_fs, self.watch, marks)

    # Layers one after another: each has the chip to itself, image after image.

    def sequential(self, progress: Callable[[str], None] | None) -> SimulationResult:
        layers: list[LayerResult] = []
        now = 0
        for work in self.works:
            if progress is not None:
                progress(work.layer.name)
            layers.append(self._alone(work, now))
            now = layers[-1].end_fs
        done = tuple(now * (image + 1) for image in range(self.options.batch))
        return self._collect(tuple(layers), done, now)

    def _alone(self, work: LayerWork, start_fs: int) -> LayerResult:
        if not work.placement.tiles:
            return nothing(work, start_fs)
        layer = build_plan(work, self.chip)
        plan = NetworkPlan(layer.name, (layer,))
        played = self._play(plan, (work,), start_fs)
        measured = self.measured.get(layer.name)
        return layer_result(work, self.chip, _layer_play(plan, played, 0), start_fs, measured)

    # Layers at the same time.

    def pipelined(self) -> SimulationResult:
        present = [work for work in self.works if work.placement.tiles]
        if not present:
            return self.sequential(None)
        options = self.options
        plan = build_network_plan(self.network, self.works, self.chip, options.batch, options.line_buffer)
        played = self._play(plan, present)
        results = {
            work.layer.name: layer_result(
                work, self.chip, _layer_play(plan, played, i), 0, self.measured.get(work.layer.name)
            )
            for i, work in enumerate(present)
        }
        layers = tuple(results.get(work.layer.name) or nothing(work, 0) for work in self.works)
        return self._collect(layers, played.image_done_fs, self._interval(plan))

    def _interval(self, plan: NetworkPlan) -> int | None:
        """Steady-state time between two images, whatever the batch; None where it cannot be proven."""
        reason = why_not()
        if reason is not None:
            self.notes.append(f"no steady-state interval: it takes the compiled engine, and {reason}")
            return None
        endless = replace(plan, images=STEADY_IMAGES)
        repeat = compiled.play(endless, marks=[()] * len(plan.layers), stop_at_repeat=True).repeat
        if repeat is None:
            self.notes.append(f"no steady-state interval: {STEADY_IMAGES} images do not repeat themselves")
            return None
        if repeat.units > 1:
            common = gcd(repeat.units, repeat.period_fs)
            images, period = repeat.units // common, repeat.period_fs // common
            if images > 1:
                self.notes.append(f"steady state: {repeat.units} images every {repeat.period_fs:,} fs; mean interval")
            return round(period / images)
        return repeat.period_fs

    def _collect(
        self, layers: tuple[LayerResult, ...], done_fs: tuple[int, ...], interval_fs: int | None
    ) -> SimulationResult:
        last = max((tile for work in self.works for tile in work.tiles), default=-1)
        images = self.options.batch
        components = tuple(_component(item, layers, done_fs[-1], images) for item in inventory(self.chip, last + 1))
        if self.options.verify:
            self.notes.append(self.agreement.line)
        return SimulationResult(
            self.chip,
            self.options.engine,
            layers,
            components,
            done_fs[0],
            layers[-1].first_output_fs,
            interval_fs,
            last + 1,
            schedule=self.options.layers,
            image_done_fs=done_fs,
        )


def _component(item: Item, layers: tuple[LayerResult, ...], makespan_fs: int, images: int) -> ComponentResult:
    """One component for one image; what it leaks in the whole run is shared by the images."""
    busy = sum(layer.busy_fs.get(stage, 0) for layer in layers for stage in item.busy)
    available = item.units * makespan_fs
    action = ACTIONS.get(item.component, item.component)
    return ComponentResult(
        item.component,
        item.level,
        item.units,
        sum(layer.counts.get(action, 0) for layer in layers),
        sum(layer.dynamic_energy_j.get(item.component, 0.0) for layer in layers),
        item.static_power_w * item.units * seconds(makespan_fs) / images,
        item.area_m2 * item.units,
        busy,
        busy * images / available if item.busy and available else None,
    )
