"""Simulates a whole network on a chip, one image, layers one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pimsim.errors import SimulationError, nearest
from pimsim.hardware.records import DISCIPLINES, Chip
from pimsim.mapping.placement import Placement
from pimsim.network.layers import DigitalOp, Network
from pimsim.simulation.building import build_plan
from pimsim.simulation.costs import ACTIONS, Item, dynamic_energy_j, inventory
from pimsim.simulation.counting import engine_counts, formula_counts
from pimsim.simulation.event import Played, Probe, play
from pimsim.simulation.plan import LayerPlan
from pimsim.simulation.results import STALL_CAUSES, ComponentResult, LayerResult, SimulationResult
from pimsim.simulation.services import ceil_div
from pimsim.simulation.work import LayerWork, layer_work
from pimsim.units import seconds

Engine = Callable[[LayerPlan, Probe | None, int], Played]

#: Engines by name; each plays a `LayerPlan` and must agree with the others on every span.
ENGINES: dict[str, Engine] = {"event": play}


def simulate(
    network: Network,
    placements: Sequence[Placement],
    chip: Chip,
    *,
    arrays: int | None = None,
    replication: int = 1,
    discipline: str | None = None,
    engine: str = "event",
    probe: Probe | None = None,
    crossbar_energy_j: Mapping[str, float] | None = None,
    progress: Callable[[str], None] | None = None,
) -> SimulationResult:
    """Latency, energy and use of one image on a chip, layers one after another.

    Args:
        network: the layers, in execution order.
        placements: one for each layer.
        chip: the accelerator.
        arrays: crossbar arrays available to a layer at a time; None: every array tile stays resident if the
            chip has enough, otherwise layers take turns on all arrays of the chip (a note says so).
        replication: copies of every layer, which share its windows.
        discipline: overrides the chip's ``timing.discipline``.
        engine: a name in `ENGINES`.
        probe: sees every `Span`; never changes timing.
        crossbar_energy_j: read energy by layer for one image, measured from real data
            (``read_energy: data-dependent``), instead of the fixed energy per cell.
        progress: called with each layer's name before it is played.

    Raises:
        SimulationError: unknown names, counts that do not match layers, or a plan that deadlocks.
    """
    chip = _with_discipline(chip, discipline)
    if engine not in ENGINES:
        raise SimulationError(f"engine '{engine}'", "no such engine", fix=nearest(engine, ENGINES))
    if len(placements) != len(network.layers):
        raise SimulationError(
            f"{len(placements)} placements for {len(network.layers)} layers", "every layer needs one placement"
        )
    for name, value in (("arrays", arrays), ("replication", replication)):
        if value is not None and value < 1:
            raise SimulationError(f"{name}={value}", "at least 1 is needed", name)
    works, notes = _assign(network, placements, chip, arrays, replication)
    layers, now = [], 0
    for work in works:
        if progress is not None:
            progress(work.layer.name)
        measured = (crossbar_energy_j or {}).get(work.layer.name)
        layers.append(simulate_layer(work, chip, ENGINES[engine], probe, now, measured))
        now = layers[-1].end_fs
    return _collect(chip, engine, works, tuple(layers), notes)


def _with_discipline(chip: Chip, discipline: str | None) -> Chip:
    if discipline is None:
        return chip
    if discipline not in DISCIPLINES:
        raise SimulationError(f"discipline '{discipline}'", "no such discipline", fix=nearest(discipline, DISCIPLINES))
    return replace(chip, timing=replace(chip.timing, discipline=discipline))


def _assign(
    network: Network, placements: Sequence[Placement], chip: Chip, arrays: int | None, replication: int
) -> tuple[list[LayerWork], tuple[str, ...]]:
    """Give every layer its arrays: side by side while they fit, else one layer after another on the same ones."""
    needed = sum(len(placement.tiles) for placement in placements) * replication
    notes: list[str] = []
    limit = arrays
    if arrays is None and needed > chip.arrays:
        limit = max(1, chip.arrays // replication)
        notes.append(
            f"{needed} arrays are needed and the chip has {chip.arrays}: layers take turns on them; "
            "programming time and energy are reported apart"
        )
    firsts, first = [], 0
    for placement in placements:
        firsts.append(first if limit is None else 0)
        first += len(placement.tiles) * replication
    works = []
    for i, (layer, placement) in enumerate(zip(network.layers, placements, strict=True)):
        hops = _hops(chip, firsts[i], firsts[i + 1]) if i + 1 < len(firsts) else 0
        digital = _digital_after(network, layer.name)
        options = {"first_array": firsts[i], "arrays": limit, "replication": replication}
        works.append(layer_work(layer, placement, chip, digital=digital, hops=hops, **options))  # type: ignore[arg-type]
    floating = [op.name for op in network.digital if op.kind == "float"]
    if floating:
        notes.append(f"not costed, computed in float on the digital side: {', '.join(floating)}")
    return works, tuple(notes)


def _digital_after(network: Network, name: str) -> tuple[DigitalOp, ...]:
    return tuple(operation for operation in network.digital if operation.after == name)


def _hops(chip: Chip, here: int, there: int) -> int:
    """XY mesh distance between the routers of two arrays' tiles; routers fill a square mesh row by row."""
    per_router = chip.macro.arrays * chip.tile.macros * chip.router.tiles
    routers = ceil_div(chip.tiles, chip.router.tiles)
    side = next(n for n in range(1, routers + 1) if n * n >= routers)
    (y0, x0), (y1, x1) = divmod(here // per_router, side), divmod(there // per_router, side)
    return abs(y0 - y1) + abs(x0 - x1)


@dataclass(frozen=True)
class _Times:
    """Times of the windows of a layer, round after round, relative to its start."""

    done: tuple[int, ...]
    rounds: int

    @property
    def first_output_fs(self) -> int:
        """When the first window is complete: in the last round, for what earlier rounds write are partial sums."""
        return self.done[-(len(self.done) // self.rounds)]

    @property
    def interval_fs(self) -> int:
        """Steady-state time between two windows: the mean over the second half, rounded; 0 for one window."""
        last = len(self.done) - 1
        middle = last // 2
        return round((self.done[last] - self.done[middle]) / (last - middle)) if last else 0


def simulate_layer(
    work: LayerWork,
    chip: Chip,
    engine: Engine = play,
    probe: Probe | None = None,
    start_fs: int = 0,
    crossbar_energy_j: float | None = None,
) -> LayerResult:
    """Plan and play one layer; its counts are checked against the formulas.

    Raises:
        SimulationError: the plan deadlocks, or (a defect) the counts differ.
    """
    if not work.placement.tiles:
        return _nothing(work, start_fs)
    plan = build_plan(work, chip)
    played = engine(plan, probe, start_fs)
    counts = engine_counts(plan, played.jobs)
    expected = formula_counts(work, chip)
    if +counts != +expected:
        differing = sorted(name for name in {*counts, *expected} if counts[name] != expected[name])
        raise SimulationError(f"counts of {', '.join(differing)}", "engine and formula must agree", work.layer.name)
    counts["index_bytes"] = ceil_div(work.placement.index_bits, 8) * work.replication
    energy = dynamic_energy_j(counts, chip)
    if crossbar_energy_j is not None:
        energy["crossbar"] = crossbar_energy_j
    return _layer_result(work, chip, plan, played, counts, energy, start_fs)


def _nothing(work: LayerWork, start_fs: int) -> LayerResult:
    """A layer pruned to nothing costs nothing: its outputs are its biases."""
    geometry, placement = work.layer.geometry, work.placement
    return LayerResult(
        name=geometry.name, kind=geometry.kind, cycles=0, windows=work.windows, arrays=0, rounds=0, steps=0,
        array_steps=0, rows_mapped=placement.rows_mapped, rows_skipped=placement.rows_skipped, conversions=0,
        macs=geometry.macs, start_fs=start_fs, first_output_fs=start_fs, end_fs=start_fs, interval_fs=0, fill_fs=0,
        dynamic_energy_j={}, counts={}, stall_fs=dict.fromkeys(STALL_CAUSES, 0), busy_fs={}, units={},
        cell_utilisation=0.0, program_time_fs=0, program_energy_j=0.0, index_bits=placement.index_bits,
        mapping=placement.mapping.method, window=placement.mapping.window,
    )  # fmt: skip


def _layer_result(
    work: LayerWork,
    chip: Chip,
    plan: LayerPlan,
    played: Played,
    counts: Counter[str],
    energy: dict[str, float],
    start_fs: int,
) -> LayerResult:
    geometry, placement = work.layer.geometry, work.placement
    times = _Times(played.window_done_fs, len(work.rounds))
    busy, units = _use(plan, played)
    programmed, program_time_fs = _programming(work, chip)
    return LayerResult(
        name=geometry.name,
        kind=geometry.kind,
        cycles=placement.cycles,
        windows=work.windows,
        arrays=len(placement.tiles) * work.replication,
        rounds=len(work.rounds),
        steps=max(jobs.steps for stage in plan.named("array") for jobs in stage.jobs),
        array_steps=counts["array_steps"],
        rows_mapped=placement.rows_mapped,
        rows_skipped=placement.rows_skipped,
        conversions=counts["adc"],
        macs=geometry.macs,
        start_fs=start_fs,
        first_output_fs=start_fs + times.first_output_fs,
        end_fs=start_fs + times.done[-1],
        interval_fs=times.interval_fs,
        fill_fs=times.done[0],
        dynamic_energy_j=energy,
        counts=dict(sorted((+counts).items())),
        stall_fs=played.stall_fs,
        busy_fs=busy,
        units=units,
        cell_utilisation=placement.cell_utilisation,
        program_time_fs=program_time_fs,
        program_energy_j=programmed * chip.crossbar.program_energy_per_cell_j,
        index_bits=placement.index_bits,
        mapping=placement.mapping.method,
        window=placement.mapping.window,
    )


def _use(plan: LayerPlan, played: Played) -> tuple[dict[str, int], dict[str, int]]:
    """Busy time summed over units, and the number of units, by stage name."""
    busy: Counter[str] = Counter()
    units: Counter[str] = Counter()
    for stage, finished in zip(plan.stages, played.jobs, strict=True):
        units[stage.name] += max(jobs.units for jobs in stage.jobs)
        for jobs, done in zip(stage.jobs, finished, strict=True):
            busy[stage.name] += done // jobs.steps * jobs.occupancy_total_fs() * jobs.units
    return dict(busy), dict(units)


def _programming(work: LayerWork, chip: Chip) -> tuple[int, int]:
    """Cells written, and the time of it: rows of an array one after another, arrays of a round together."""
    crossbar = chip.crossbar
    cells = sum(array.rows * array.columns for round_ in work.rounds for array in round_.arrays) * work.replication
    rows = sum(max(array.rows for array in round_.arrays) for round_ in work.rounds)
    return cells, rows * crossbar.program_time_per_row_fs


def _collect(
    chip: Chip, engine: str, works: list[LayerWork], layers: tuple[LayerResult, ...], notes: tuple[str, ...]
) -> SimulationResult:
    last = max((array.tile for work in works for round_ in work.rounds for array in round_.arrays), default=-1)
    latency = layers[-1].end_fs
    components = tuple(_component(item, layers, latency) for item in inventory(chip, last + 1))
    return SimulationResult(
        chip, engine, layers, components, latency, layers[-1].first_output_fs, latency, last + 1, notes
    )


def _component(item: Item, layers: tuple[LayerResult, ...], latency_fs: int) -> ComponentResult:
    busy = sum(layer.busy_fs.get(stage, 0) for layer in layers for stage in item.busy)
    available = item.units * latency_fs
    action = ACTIONS.get(item.component, item.component)
    return ComponentResult(
        item.component,
        item.level,
        item.units,
        sum(layer.counts.get(action, 0) for layer in layers),
        sum(layer.dynamic_energy_j.get(item.component, 0.0) for layer in layers),
        item.static_power_w * item.units * seconds(latency_fs),
        item.area_m2 * item.units,
        busy,
        busy / available if item.busy and available else None,
    )
