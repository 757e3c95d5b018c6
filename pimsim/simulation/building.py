"""Builds the plan of one layer from its work and the chip: services, buffers, lockstep groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import gcd

from pimsim.hardware.records import Chip, Unit
from pimsim.network.layers import DigitalOp
from pimsim.simulation.plan import Counts, Jobs, LayerPlan, Phase, Slots, Stage
from pimsim.simulation.services import (
    Activation,
    activations,
    bursts_in_flight,
    ceil_div,
    is_fused,
    is_serial,
    scatter_fs,
)
from pimsim.simulation.skipped_inputs import WindowSteps, window_jobs, window_steps
from pimsim.simulation.streams import IDLE, StreamJobs, has_index_stage, stream_jobs, stream_key
from pimsim.simulation.work import ArrayWork, LayerWork, Load, Round

Works = tuple[ArrayWork | None, ...]  # one array position: its work in each phase


def phases(work: LayerWork) -> tuple[tuple[Phase, int], ...]:
    """The phases of a layer, each with the index of its round.

    Replicas split the windows; what does not divide is a phase of its own. The last window stands alone where
    digital operations follow, because their counts need not divide by the windows. Where zero input bits are skipped,
    every window is a phase, with steps of its own.
    """
    slots, rest = divmod(work.windows, work.replication)
    result: list[tuple[Phase, int]] = []
    for number in range(len(work.rounds)):
        if work.driven is not None:
            result += [(Phase(1, work.replication), number)] * slots
        elif slots:
            result.append((Phase(slots, work.replication), number))
        if rest:
            result.append((Phase(1, rest), number))
    final, number = result[-1]
    if work.digital and final.windows > 1:
        result[-1:] = [(Phase(final.windows - 1, final.copies), number), (Phase(1, final.copies), number)]
    return tuple(result)


def row_slots(work: LayerWork) -> int:
    """Window slots that cover the fewest whole rows of windows."""
    across = work.placement.mapping.grid[1]
    return across // gcd(across, work.replication)


def build_plan(work: LayerWork, chip: Chip) -> LayerPlan:
    """The plan of one layer; see `pimsim.simulation.plan` for what its fields mean.

    Stages in order: for every hardware tile in use eDRAM read and bus, then its array groups (array, ADC,
    shift-add), then merge, activation, digital operations, router and eDRAM write.
    """
    builder = _Builder(work, chip, phases(work))
    builder.build()
    return builder.plan()


@dataclass
class _Builder:
    work: LayerWork
    chip: Chip
    phases: tuple[tuple[Phase, int], ...]
    stages: list[Stage] = field(default_factory=list)
    slots: list[Slots] = field(default_factory=list)
    resources: dict[str, int] = field(default_factory=dict)
    activations: dict[ArrayWork, Activation] = field(default_factory=dict)
    windows: dict[tuple[int, int], WindowSteps] = field(default_factory=dict)
    departure: int = -1
    outputs: tuple[int, ...] = ()

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        """The round of each phase, of as many replicas as work in it."""
        by_copies = {copies: self.work.rounds_of(copies) for copies in {phase.copies for phase, _ in self.phases}}
        return tuple(by_copies[phase.copies][number] for phase, number in self.phases)

    @property
    def tiles(self) -> tuple[int, ...]:
        """Hardware tiles that any round uses."""
        return self.work.tiles

    def plan(self) -> LayerPlan:
        return LayerPlan(
            self.work.layer.name,
            tuple(phase for phase, _ in self.phases),
            tuple(self.resources),
            tuple(self.stages),
            tuple(self.slots),
            self.outputs,
            self.departure,
            row_slots(self.work),
        )

    def build(self) -> None:
        shifts: list[int] = []
        arrays: dict[int, list[int]] = defaultdict(list)
        loads: dict[int, tuple[int, int]] = {}
        for tile in self.tiles:
            loads[tile] = self._add_load(tile)
            for lockstep in self._classes(tile):
                adc = self._resource("adc", *self._converter(lockstep[0][0]))
                for members in lockstep:
                    array, shift = self._add_stream(members, loads[tile][1], adc)
                    arrays[tile].append(array)
                    shifts.append(shift)
        self.departure = self._add_tail(shifts)
        ends = self._add_links(self.departure)
        self.outputs = tuple(self._add_write(tile, ends) for tile in self.tiles)
        self._add_window_slots(loads, arrays, shifts, ends)

    def _resource(self, *name: object) -> int:
        """A resource by its name in the whole chip: layers that stand in one tile share its port and its bus."""
        return self.resources.setdefault(" ".join(map(str, name)), len(self.resources))

    def _private(self, name: str) -> int:
        return self._resource(name, self.work.layer.name)

    def _add(self, stage: Stage) -> int:
        self.stages.append(stage)
        return len(self.stages) - 1

    def _take(
        self,
        name: str,
        capacity: int,
        acquire: int,
        at: str,
        release: Iterable[int],
        when: str,
        window: bool,
        cause: str,
    ) -> None:
        self.slots.append(Slots(name, capacity, acquire, at, tuple(release), when, window, cause))

    # Loads: buffer port, then bus and input registers.

    def _add_load(self, tile: int) -> tuple[int, int]:
        reads, transfers = [], []
        for round_ in self.rounds:
            load = next((load for load in round_.loads if load.tile == tile), Load(tile, 0, 0))
            partial = ceil_div(round_.partial_bytes_read, len(round_.loads)) if load.bytes else 0
            reads.append(self._read(load.bytes, partial))
            transfers.append(self._transfer(load, reads[-1].latency_fs[0]))
        read = self._add(Stage("edram_read", self._resource("buffer", tile), (), tuple(reads), tile=tile))
        bus = self._add(Stage("bus", self._resource("bus", tile), (read,), tuple(transfers), tile=tile))
        return read, bus

    def _accesses(self, count: int) -> int:
        return ceil_div(8 * count, self.chip.tile.buffer.port_bits)

    def _read(self, inputs: int, partial: int) -> Jobs:
        buffer = self.chip.tile.buffer
        accesses = self._accesses(inputs) + self._accesses(partial)
        if not accesses:
            return IDLE
        latency = buffer.latency_fs + (accesses - 1) * buffer.interval_fs
        return Jobs(1, (accesses * buffer.interval_fs,), (latency,), (("buffer", accesses),))

    def _transfer(self, load: Load, read_latency_fs: int) -> Jobs:
        """Bus and input-register write; read and transfer together take at least one pipeline stage."""
        if not load.bytes:
            return IDLE
        bus, register = self.chip.tile.bus, self.chip.macro.input_register
        transfers = ceil_div(8 * load.bytes, bus.width_bits)
        latency = bus.latency_fs + (transfers - 1) * bus.interval_fs + register.latency_fs
        floor = self.chip.timing.stage_fs - read_latency_fs
        counts = (("bus", load.bytes), ("input_register_write_bytes", load.register_bytes))
        return Jobs(1, (transfers * bus.interval_fs,), (max(latency, floor),), counts)

    # Array groups: arrays of one tile that do the same thing at the same time are one stream.

    def _classes(self, tile: int) -> list[list[list[Works]]]:
        """Lockstep classes of a tile: for each ADC position, the arrays (one `Works` each) that stand there."""
        positions: dict[tuple[int, int], list[ArrayWork | None]] = {}
        for number, arrays in enumerate(self._by_tile):
            for array in arrays.get(tile, ()):
                slot = positions.setdefault((array.macro, array.array), [None] * len(self.phases))
                slot[number] = array
        converters: dict[tuple[int, int], list[Works]] = defaultdict(list)
        for (macro, place), works in sorted(positions.items()):
            converters[macro, place // self.chip.macro.adc.arrays].append(tuple(works))
        lockstep: dict[tuple[object, ...], list[list[Works]]] = defaultdict(list)
        for members in converters.values():
            lockstep[tuple(map(self._key, members))].append(members)
        return [[list(column) for column in zip(*members, strict=True)] for members in lockstep.values()]

    @cached_property
    def _by_tile(self) -> list[dict[int, list[ArrayWork]]]:
        """The arrays of each phase by hardware tile."""
        phases: list[dict[int, list[ArrayWork]]] = []
        for round_ in self.rounds:
            phases.append(defaultdict(list))
            for array in round_.arrays:
                phases[-1][array.tile].append(array)
        return phases

    def _converter(self, members: Works) -> tuple[int, int, int]:
        """Tile, macro and number of the converter that the first array of a lockstep group uses."""
        first = next(work for work in members if work)
        return first.tile, first.macro, first.array // self.chip.macro.adc.arrays

    def _activation(self, array: ArrayWork) -> Activation:
        alike = replace(array, tile=0, macro=0, array=0, part=0, copy=0)
        if alike not in self.activations:
            self.activations[alike] = activations(alike, self.work.input_steps, self.chip, self._most_rows)
        return self.activations[alike]

    @cached_property
    def _most_rows(self) -> int:
        return self.work.most_rows

    def _key(self, works: Works) -> tuple[object, ...]:
        """Array positions with the same key take the same time in every step of every phase."""
        different = dict.fromkeys(work for work in works if work)
        keys = {work: self._array_key(work) for work in different}
        return (
            tuple(work and keys[work] for work in works)
            if len(different) > 1
            else (tuple(work is not None for work in works), *keys.values())
        )

    def _array_key(self, array: ArrayWork) -> tuple[object, ...]:
        if self.work.driven is not None:
            return self._windows(array).key
        return stream_key(self._activation(array), self.chip, self._indexed)

    @property
    def _indexed(self) -> bool:
        return self.work.gathered

    def _windows(self, array: ArrayWork) -> WindowSteps:
        where = array.part, array.copy
        if where not in self.windows:
            self.windows[where] = window_steps(array, self.work, self.chip)
        return self.windows[where]

    def _jobs(self, arrays: list[ArrayWork], number: int) -> StreamJobs:
        """What arrays in lockstep do in a window of a phase."""
        if self.work.driven is None:
            return stream_jobs([self._activation(array) for array in arrays], self.chip, self._indexed)
        return window_jobs([self._windows(array) for array in arrays], number % self._slots_a_round, self.chip)

    @property
    def _slots_a_round(self) -> int:
        return ceil_div(self.work.windows, self.work.replication)

    def _most_conversions(self, array: ArrayWork) -> int:
        """The most conversions that an ADC makes in a step."""
        if self.work.driven is not None:
            return max(each for each, _ in self._windows(array).kinds)
        return max(each for each, _, _ in self._activation(array).runs)

    def _add_stream(self, members: list[Works], bus: int, adc: int) -> tuple[int, int]:
        """Row selection, array, ADC and shift-add of a lockstep group; returns the array and the last stage."""
        per_phase = [[work for work in arrays if work] for arrays in zip(*members, strict=True)]
        different = list(dict.fromkeys(work for arrays in per_phase for work in arrays))
        place = {"tile": different[0].tile, "macro": different[0].macro, "array": different[0].array}
        jobs = [self._jobs(arrays, number) for number, arrays in enumerate(per_phase)]

        def add(name: str, resource: int, inputs: tuple[int, ...], of_phase: tuple[Jobs, ...]) -> int:
            return self._add(Stage(name, resource, inputs, of_phase, True, **place))

        own = {name: self._resource(name, *place.values()) for name in ("array", "shift_add")}
        inputs: tuple[int, ...] = (bus,)
        if has_index_stage(self.chip, self._indexed or self.work.driven is not None):
            index = add("index", self._resource("index", *place.values()), (bus,), tuple(j.index for j in jobs))
            inputs = bus, index
        array = source = add("array", own["array"], inputs, tuple(j.array for j in jobs))
        if not is_fused(self.chip):
            source = add("adc", adc, (array,), tuple(j.adc for j in jobs))
        shift = add("shift_add", own["shift_add"], (source,), tuple(j.shift_add for j in jobs))
        widest = max(map(self._most_conversions, different))
        in_flight = 1 if is_fused(self.chip) else bursts_in_flight(self.chip, widest)
        self._add_stream_slots(inputs[-1] if len(inputs) > 1 else array, array, source, shift, in_flight)
        return array, shift

    def _add_stream_slots(self, head: int, array: int, source: int, shift: int, in_flight: int) -> None:
        if head != array:  # the rows of the next step are selected while those of this one are read
            self._take("index", 1, head, "start", (array,), "start", False, "input")
        if source != array:
            depth = self.chip.macro.sample_hold.depth
            self._take("sample_hold", depth, array, "end", (source,), "leave", False, "adc")
        # Taken before the conversion starts: a converter shared by arrays must never wait while it is held.
        self._take("samples", in_flight, source, "start", (shift,), "start", False, "output")
        if is_serial(self.chip):
            self._take("step", 1, head, "start", (source,), "done", False, "adc")

    # Tail: scatter sums of moved columns, merge partial sums, finish outputs, send them through the mesh, write them.

    def _add_tail(self, inputs: list[int]) -> int:
        """Scatter, merge, activation and digital operations; the last of them is where a window departs."""
        rows = [self._tail_jobs(number) for number in range(len(self.phases))]
        source, index = tuple(inputs), -1
        for position, name in enumerate(("scatter", "merge", "activation", "digital")):
            jobs = tuple(row[position] for row in rows)
            if name in ("scatter", "digital") and all(job == IDLE for job in jobs):
                continue
            previous, index = index, self._add(Stage(name, self._private(name), source, jobs))
            if previous >= 0:
                self._take(name, self.chip.timing.output_slots, previous, "end", (index,), "start", True, "output")
            source = (index,)
        return index

    def _tail_jobs(self, number: int) -> tuple[Jobs, Jobs, Jobs, Jobs]:
        tile, round_ = self.chip.tile, self.rounds[number]
        merged = (("tile_shift_add", round_.tile_merges), ("output_register", round_.merges))
        bits = 2 * round_.outputs * self.work.output_bits
        finish = (("activation", round_.outputs), ("tile_output_register_bits", bits))
        return (
            self._scatter(round_),
            self._digital(tile.shift_add, round_.tile_merges, merged, round_),
            self._digital(tile.activation, round_.outputs, finish, round_),
            self._between_layers(round_, number),
        )

    def _scatter(self, round_: Round) -> Jobs:
        """Sums of moved columns to the outputs that the index names: one by one through the macro's adders."""
        if not self.work.scattered:
            return IDLE
        sums = sum(array.weight_columns for array in round_.arrays)
        counts = (("output_register", sums), ("index_decode", len(round_.arrays)))
        busy, latency = scatter_fs(self.chip, round_)
        return Jobs(1, (busy,), (latency,), counts)

    def _digital(self, unit: Unit, operations: int, counts: Counts, round_: Round) -> Jobs:
        """Operations shared by the units of the tiles in use; one pipeline stage at least."""
        units = unit.count * len(round_.loads)
        beats = ceil_div(operations, units)
        latency = unit.latency_fs + max(0, beats - 1) * unit.interval_fs if beats else 0
        return Jobs(1, (beats * unit.interval_fs,), (max(latency, self.chip.timing.stage_fs),), counts)

    def _between_layers(self, round_: Round, number: int) -> Jobs:
        """Residual additions and pooling, spread over the windows of the last round; the last window takes the rest."""
        totals = digital_operations(self.work.digital)
        if not any(totals.values()) or self.phases[number][1] != len(self.work.rounds) - 1:
            return IDLE
        slots = self._slots_a_round
        final = number == len(self.phases) - 1
        tile = self.chip.tile
        counts = tuple((name, n - (n // slots) * (slots - 1) if final else n // slots) for name, n in totals.items())
        units = {"tile_shift_add": tile.shift_add, "max_pool": tile.max_pool}
        spread = {name: ceil_div(n, slots) for name, n in totals.items()}
        busy = sum(ceil_div(n, units[k].count * len(round_.loads)) * units[k].interval_fs for k, n in spread.items())
        return Jobs(1, (busy,), (max(busy, self.chip.timing.stage_fs),), counts)

    def _add_links(self, departure: int) -> tuple[int, ...]:
        """One stage a link of the way to the readers; returns the stages behind which a window has arrived.

        The head of a message takes the router's latency at each link, and its flits follow without a gap (cut-through);
        it is whole at the end of a branch.
        """
        route, first = self.work.route, len(self.stages)
        inner = {link.after for link in route}
        for number, link in enumerate(route):
            source = departure if link.after < 0 else first + link.after
            jobs = tuple(self._flits(round_.outputs, number not in inner) for round_ in self.rounds)
            index = self._add(Stage("router", self._resource(link.name), (source,), jobs))
            self._take(link.name, self.chip.timing.output_slots, source, "end", (index,), "start", True, "output")
        return tuple(first + i for i in range(len(route)) if i not in inner) or (departure,)

    def _flits(self, outputs: int, is_end: bool) -> Jobs:
        """One link's share of a message."""
        router = self.chip.router
        flits = ceil_div(outputs * self.work.output_bits, router.flit_bits)
        if not flits:
            return IDLE
        latency = router.latency_fs + (flits - 1) * router.interval_fs * is_end
        return Jobs(1, (flits * router.interval_fs,), (latency,), (("router", flits),))

    def _add_write(self, tile: int, sources: tuple[int, ...]) -> int:
        jobs, share = [], len(self.tiles)
        for round_ in self.rounds:
            finished = ceil_div(round_.outputs * self.work.output_bits, 8 * share)
            partial = ceil_div(round_.partial_bytes_written, share)
            jobs.append(self._write(self._accesses(finished) + self._accesses(partial)))
        return self._add(Stage("edram_write", self._resource("buffer", tile), sources, tuple(jobs), tile=tile))

    def _write(self, accesses: int) -> Jobs:
        buffer = self.chip.tile.buffer
        latency = buffer.latency_fs + max(0, accesses - 1) * buffer.interval_fs if accesses else 0
        counts = (("buffer", accesses),)
        return Jobs(1, (accesses * buffer.interval_fs,), (max(latency, self.chip.timing.stage_fs),), counts)

    def _add_window_slots(
        self,
        loads: dict[int, tuple[int, int]],
        arrays: dict[int, list[int]],
        shifts: list[int],
        ends: tuple[int, ...],
    ) -> None:
        timing = self.chip.timing
        merge = next(i for i, stage in enumerate(self.stages) if stage.name == "merge")
        for tile, (read, bus) in loads.items():
            readers = arrays[tile] or [bus, merge]  # copies without a window of their own keep pace with the others
            self._take("input_register", timing.input_slots, read, "start", readers, "leave", True, "input")
            if is_serial(self.chip):
                self._take("window", 1, read, "start", self.outputs, "done", True, "input")
        for shift in shifts:
            self._take("output_register", timing.output_slots, shift, "start", (merge,), "leave", True, "output")
        for end in ends:
            self._take("outputs", timing.output_slots, end, "end", self.outputs, "start", True, "output")


#: What a digital operation between layers costs: adders take one operation an element, poolers one an input.
DIGITAL_UNITS = {"add": "tile_shift_add", "average_pool": "tile_shift_add", "max_pool": "max_pool"}


def digital_operations(digital: Iterable[DigitalOp]) -> Counter[str]:
    """Operations by unit: one an output for additions, one an input element for pooling; the rest is free."""
    totals: Counter[str] = Counter()
    for operation in digital:
        unit = DIGITAL_UNITS.get(operation.kind)
        if unit is not None:
            totals[unit] += operation.outputs if operation.kind == "add" else operation.inputs
    return totals
