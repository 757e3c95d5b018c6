"""A plan as one array of integers, which is what the compiled engine works on.

Every table has a row of named fields for each entry, and its place stands in the header. Constants below are
offsets: ``memory[memory[STAGES] + stage * STAGE_WIDTH + WINDOW]`` is how many windows a stage has finished.
`pimsim.simulation.kernels` reads and writes these; nothing else does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pimsim.simulation.plan import NetworkPlan, Read, Slots
from pimsim.simulation.playing import LOADS, Watch
from pimsim.simulation.results import STALL_CAUSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Later than every time.
NEVER = 2**62
#: Windows whose completion times an output stage remembers, so that marked ones among those jumped over have theirs.
HISTORY = 64


def _fields(count: int, first: int = 0) -> range:
    return range(first, first + count)


def _choices(count: int) -> list[np.int64]:
    """Constants that kernels pass on to one another: numba would compile a function anew for each Python integer."""
    return list(np.arange(count))


# The header: places of tables, how many rows they have, and the state of the whole run. What stands before FIXED_END is
# no part of the state; long rings follow, up to LONG_END, then short ones and the tables.
(
    STAGES, STAGE_COUNT, SLOTS, SLOT_COUNT, ARBITERS, ARBITER_COUNT, LAYERS, LAYER_COUNT, STALLS, HEAP, FIXED_END,
    STACK, STACK_SIZE, IMAGES, IMAGE_DONE, IMAGE_PARTS, IMAGES_COMPLETE, OUTPUT_COUNT, LEVELS, SEARCH, TRIGGER, BY_ROWS,
    STOP_AT_REPEAT, REPEAT_UNITS, REPEAT_FS, SKIPPED, FIRST_WATCHED, LAST_WATCHED, IMAGE_WATCHED, LONG_END,
) = _fields(30)  # fmt: skip
HEADER_WIDTH = 30

# Levels at which a repetition is searched: finished units that were looked at last and that are saved, when, the
# distance at which the next state is saved, how often it was, and the units before which it is no use to look.
WINDOW_LEVEL, ROW_LEVEL, IMAGE_LEVEL = _choices(3)
UNITS_SEEN, UNITS_SAVED, SAVED_AT_FS, DISTANCE, SAVES, NOT_BEFORE = _fields(6)
LEVEL_WIDTH = 6
#: The longest period that is searched for, in windows or rows.
LONGEST = 64
#: Windows of a row from which on it pays to look for what repeats along it, where layers run at the same time.
LONG_ROW = 128

# A stage: what it is ...
(
    LAYER, ARBITER, BY_STEP, FOLLOWER, IS_ARRAY, IS_LOAD, UNITS, JOBS, PHASES, PHASE_COUNT, TOTAL, IS_OUTPUT,
    WINDOW_RING, WINDOW_MASK, START_RING, STEP_RING, STEP_MASK, RECORD, NEEDS, WAKES, TAKES, GIVES, CHAIN, TURN,
    MOMENTS,
) = _fields(25)  # fmt: skip
# ... and how far it is. LEFT counts windows of the phase; SUB is one of the three below; BLOCK is what it waits for.
(
    IMAGE, PHASE, LEFT, WITHIN, WINDOW, STEP, DONE_JOBS, SUB, START, LEAVE, DONE, REQUEST, WAIT_FROM, WAIT_TO,
    FIRST_START, BLOCK, STACKED, RECORDED, NEXT_MARK, WINDOW_START,
) = _fields(20, 25)  # fmt: skip
STAGE_WIDTH = 45
READY, WAITING, STARTED = 0, 1, 2

# A finite buffer.
CAPACITY, ACQUIRER, TOKEN_RING, TOKEN_MASK, RELEASERS, RELEASER_COUNT, CAUSE, IS_LATE, TAKEN, COMPLETE, RELEASED = (
    _fields(11)
)
SLOT_WIDTH = 11
# Moments at which a stage takes tokens, and gives them back: lists in this order, with their ends. MOMENTS has a bit
# for each list that is not empty, those of taking first.
START_WINDOW, START_JOB, END_JOB, END_WINDOW = _choices(4)
GIVE_START_JOB, GIVE_START_WINDOW, GIVE_LEAVE_JOB, GIVE_LEAVE_WINDOW, GIVE_DONE_JOB, GIVE_DONE_WINDOW = _choices(6)
_TAKE_AT = {("start", True): 0, ("start", False): 1, ("end", False): 2, ("end", True): 3}
_GIVE_AT = {
    ("start", False): 0, ("start", True): 1, ("leave", False): 2, ("leave", True): 3, ("done", False): 4,
    ("done", True): 5,
}  # fmt: skip

# An arbiter: who holds the resource, since when it is free, when it decides next, how many wait and who, and where it
# stands in the heap of decisions.
HELD, FREE, DECISION, PENDING, QUEUE, HEAP_PLACE = _fields(6)
ARBITER_WIDTH = 6

# A layer: windows of one image and of a row of them, one of its output stages, and the marked windows of the first
# image with their times.
WINDOWS, ROW, OUTPUT, MARKS, MARK_TIMES, MARK_COUNT = _fields(6)
LAYER_WIDTH = 6

# The jobs of a stage in a phase: steps of a window, place of occupancies and latencies, 1 where they vary by step, and
# 1 where whole windows of its chain are evaluated at once.
STEPS, SERVICES, VARIES, WHOLE_WINDOWS = _fields(4)
JOBS_WIDTH = 4

# A chain: up to three stages that follow one another step by step, its buffers, and the windows that it remembers.
CHAIN_STAGES, CHAIN_LENGTH, CHAIN_SLOTS, CHAIN_SLOT_COUNT, MEMORY, KEY_LENGTH, VALUE_LENGTH, LAST_HIT, NEXT_ENTRY = (
    _fields(9)
)
CHAIN_WIDTH = 9
#: Different windows that a chain remembers.
REMEMBERED = 8

CAUSES = {cause: i for i, cause in enumerate(STALL_CAUSES)}
ADC_STALL, BUFFER_STALL, BUS_STALL, INPUT_STALL, OUTPUT_STALL = (
    CAUSES[name] for name in ("adc", "buffer", "bus", "input", "output")
)
CAUSE_COUNT = len(STALL_CAUSES)
#: What `IS_LOAD` holds: the stall cause of an array that waits for this stage, plus one.
_LOAD_CAUSES = {name: CAUSES[cause] + 1 for name, cause in LOADS.items()}


@dataclass
class _Memory:
    """Appends tables to one growing row of integers."""

    parts: list[NDArray[np.int64]] = field(default_factory=list)
    size: int = 0
    _small: list[int] = field(default_factory=list)

    def add(self, values: Sequence[int] | NDArray[np.int64]) -> int:
        """Append values; gives their place."""
        place, self.size = self.size, self.size + len(values)
        if isinstance(values, np.ndarray):
            self._flush()
            self.parts.append(values)
        else:
            self._small.extend(values)
        return place

    def room(self, count: int, value: int = 0) -> int:
        """Append that many equal values; gives their place."""
        return self.add([value] * count if count < 512 else np.full(count, value, dtype=np.int64))

    def whole(self) -> NDArray[np.int64]:
        """All that was appended."""
        self._flush()
        return np.concatenate(self.parts)

    def _flush(self) -> None:
        # Thousands of short lists: one array for all that stand together.
        self.parts.append(np.array(self._small, dtype=np.int64))
        self._small = []


def ring(least: int) -> int:
    """Size of a ring that holds at least that many entries: a power of two."""
    return 1 << max(0, int(least) - 1).bit_length()


class Packer:
    """Lays a plan out; ``memory`` is the array, ready to be played.

    Args:
        plan: what to play.
        marks: windows of each layer's first image whose times are wanted, sorted.
        watch: the jobs to record; None: none.
        search: whether to look for the steady state and jump over it.
        stop_at_repeat: whether to stop when it is found.
    """

    def __init__(
        self,
        plan: NetworkPlan,
        marks: Sequence[Sequence[int]],
        watch: Watch | None,
        search: bool,
        stop_at_repeat: bool,
    ) -> None:
        self.plan, self.watch = plan, watch
        self._memory = _Memory()
        self._memory.room(HEADER_WIDTH)
        self.behind = _reachable(plan)
        self.readers: list[list[int]] = [[] for _ in plan.stages]
        for index, stage in enumerate(plan.stages):
            for source in stage.inputs:
                self.readers[source].append(index)
        self.slots_of: dict[int, list[Slots]] = defaultdict(list)
        for slots in plan.slots:
            self.slots_of[slots.acquire].append(slots)
        self.header = dict.fromkeys(range(HEADER_WIDTH), 0)
        self.tokens = [self._token_ring(slots) for slots in plan.slots]
        self._add_fixed()
        self._add_long_rings()
        self._add_buffers()
        self._add_layers(marks)
        self._add_arbiters()
        self._add_stages()
        self._add_run(search, stop_at_repeat)
        self.memory = self._memory.whole()
        for place, value in self.header.items():
            self.memory[place] = value

    def _add_fixed(self) -> None:
        """What never changes, and what chains remember: no part of the state."""
        self.places = [
            (self._memory.add(read.dependency.needs), self._memory.add(read.dependency.freed))
            for read in self.plan.reads
        ]
        self.phases = [self._memory.add([phase.windows for phase in layer.phases]) for layer in self.plan.layers]
        self.takes, self.gives = self._takes(), self._gives()
        self.needs, self.wakes = self._inputs()
        self.chains = self._chains()
        self.jobs = [self._jobs(index) for index in range(len(self.plan.stages))]
        self.header[FIXED_END] = self._memory.size

    def _add_long_rings(self) -> None:
        """Rings too long to be saved often: they keep some more entries, so that an old state can be read off them."""
        outputs = {stage for layer in self.plan.outputs for stage in layer}
        least = [max(self._window_ring(i), HISTORY if i in outputs else 0) for i in range(len(self.plan.stages))]
        self.window_rings = [self._long(size) for size in least]
        self.read_rings = [self._long(self._read_ring(read)) for read in self.plan.reads]
        self.header[LONG_END] = self._memory.size

    def _long(self, least: int) -> tuple[int, int]:
        """Place and size of a ring; place 0 for a short one, which gets its room later."""
        size = ring(least)
        if size <= HISTORY:
            return 0, size
        size = ring(least + LONGEST)
        return self._memory.room(size), size

    def _read_ring(self, read: Read) -> int:
        """Tokens of a buffer between layers; the consumer may give back what it never needs before it is there."""
        one = read.dependency
        return one.capacity + self.plan.layers[one.producer].windows - int(one.needs[-1]) + 1

    # Buffers: those inside the layers, then one for each dependency between layers.

    def _token_ring(self, slots: Slots) -> int:
        """Tokens between the oldest that can still be taken and the newest given back."""
        if all(self.behind[slots.acquire, r] for r in slots.release):
            return ring(slots.capacity + 2)
        layer = self.plan.stages[slots.acquire].layer
        return ring(slots.capacity + 2 + self._tokens_of(slots.release, layer, slots.per_window))

    def _tokens_of(self, stages: Sequence[int], layer: int, per_window: bool) -> int:
        windows = self.plan.layers[layer].windows * self.plan.images
        if per_window:
            return windows
        return max((self._jobs_total(stage) for stage in stages), default=0)

    def _jobs_total(self, stage: int) -> int:
        spec = self.plan.stages[stage]
        phases = self.plan.layers[spec.layer].phases
        return self.plan.images * sum(p.windows * j.steps for p, j in zip(phases, spec.jobs, strict=True))

    def _add_buffers(self) -> None:
        rows = []
        for slots, size in zip(self.plan.slots, self.tokens, strict=True):
            cause = CAUSES[slots.cause]
            # Behind the times of the tokens stand, where an array may wait for them, two more of each: `IS_LATE`.
            place = self._memory.room(size * (3 if cause == ADC_STALL else 1))
            rows.append(self._buffer(slots.capacity, slots.acquire, (place, size), len(slots.release), cause))
        for read, (place, size) in zip(self.plan.reads, self.read_rings, strict=True):
            room = place or self._memory.room(size)
            readers = len(read.readers)
            rows.append(self._buffer(read.dependency.capacity, read.departure, (room, size), readers, OUTPUT_STALL))
        self.header[SLOTS] = self._memory.add([value for row in rows for value in row])
        self.header[SLOT_COUNT] = len(rows)

    def _buffer(self, capacity: int, acquirer: int, tokens: tuple[int, int], releasers: int, cause: int) -> list[int]:
        place, size = tokens
        counts = self._memory.room(releasers)
        return [capacity, acquirer, place, size - 1, counts, releasers, cause, int(cause == ADC_STALL), 0, 0, 0]

    # Layers and arbiters.

    def _add_layers(self, marks: Sequence[Sequence[int]]) -> None:
        rows: list[int] = []
        for layer, outputs, wanted in zip(self.plan.layers, self.plan.outputs, marks, strict=True):
            windows = self._memory.add(wanted)
            times = self._memory.room(len(wanted))
            rows += [layer.windows, layer.row, outputs[-1], windows, times, len(wanted)]
        self.header[LAYERS], self.header[LAYER_COUNT] = self._memory.add(rows), len(self.plan.layers)
        self.header[STALLS] = self._memory.room(len(self.plan.layers) * CAUSE_COUNT)

    def _add_arbiters(self) -> None:
        self.arbiter_of = {resource: i for i, resource in enumerate(sorted(self.plan.shared))}
        users: dict[int, list[int]] = defaultdict(list)
        for index, stage in enumerate(self.plan.stages):
            users[stage.resource].append(index)
        rows: list[int] = []
        self.turns: dict[int, int] = {}
        for number, resource in enumerate(self.arbiter_of):
            ranked = sorted(users[resource], key=self.plan.rank)
            self.turns |= {stage: turn for turn, stage in enumerate(ranked)}
            rows += [-1, 0, NEVER, 0, self._memory.room(len(ranked)), number]
        self.header[ARBITERS], self.header[ARBITER_COUNT] = self._memory.add(rows), len(self.arbiter_of)
        self.header[HEAP] = self._memory.add(range(len(self.arbiter_of)))

    # Stages.

    def _add_stages(self) -> None:
        plan, rows = self.plan, []
        outputs = {stage for layer in plan.outputs for stage in layer}
        by_step = [self._step_source(index) for index in range(len(plan.stages))]
        follower = {source: index for index, source in enumerate(by_step) if source >= 0}
        for index, stage in enumerate(plan.stages):
            layer = plan.layers[stage.layer]
            place, windows = self.window_rings[index]
            steps = ring(self._step_ring(index, follower[index])) if index in follower else 1
            rows += [
                stage.layer, self.arbiter_of.get(stage.resource, -1), by_step[index], follower.get(index, -1),
                int(stage.name == "array"), _LOAD_CAUSES.get(stage.name, 0), stage.units, self.jobs[index],
                self.phases[stage.layer], len(layer.phases), layer.windows * plan.images, int(index in outputs),
                place or self._memory.room(windows), windows - 1,
                self._memory.room(windows) if stage.name in LOADS else 0, self._memory.room(steps), steps - 1,
                self._record(index), self.needs[index], self.wakes[index], self.takes[index], self.gives[index],
                self.chains.get(index, 0), self.turns.get(index, 0), self.moments[index],
            ]  # fmt: skip
            rows += [0, 0, layer.phases[0].windows, *[0] * 11, -1, -1, 0, 0, 0, 0]
        self.header[STAGES], self.header[STAGE_COUNT] = self._memory.add(rows), len(plan.stages)

    def _jobs(self, index: int) -> int:
        rows: list[int] = []
        for jobs in self.plan.stages[index].jobs:
            length = max(len(jobs.occupancy_fs), len(jobs.latency_fs))
            occupancy, latency = (t * (length // len(t)) for t in (jobs.occupancy_fs, jobs.latency_fs))
            pairs = [value for pair in zip(occupancy, latency, strict=True) for value in pair]
            rows += [jobs.steps, self._memory.add(pairs), int(length > 1), self._is_whole(index, jobs.steps)]
        return self._memory.add(rows)

    # Chains.

    def _chains(self) -> dict[int, int]:
        """Place of the chain of every stage that belongs to one; see `pimsim.simulation.chains`."""
        self.slack: dict[int, int] = {}
        places: dict[int, int] = {}
        for index, stage in enumerate(self.plan.stages):
            if stage.stepped and self._step_source(index) < 0:
                members = self._followers(index)
                inner = self._inner_buffers(members)
                if inner is not None:
                    place = self._add_chain(members, inner)
                    places |= dict.fromkeys(members, place)
                    self.slack |= dict.fromkeys(members, sum(self.plan.slots[q].capacity for q in inner))
        return places

    def _followers(self, index: int) -> list[int]:
        """A stage and those that follow it step by step, as long as each feeds nothing else."""
        members = [index]
        while len(self.readers[members[-1]]) == 1 and self._step_source(self.readers[members[-1]][0]) == members[-1]:
            members.append(self.readers[members[-1]][0])
        return members

    def _inner_buffers(self, members: list[int]) -> list[int] | None:
        """The buffers between stages of a chain; None where it cannot be evaluated window by window.

        All of its resources are its own; every stage is held back by the one that follows it, step by step; none
        needs windows that the first does not; and only the last is held back from outside, once a window: then the
        last step of the first stage depends on all that a window of the chain waits for (`_is_whole`), and nothing
        outside sees anything earlier.
        """
        private = all(self.plan.stages[s].resource not in self.plan.shared for s in members)
        same = len({tuple(jobs.steps for jobs in self.plan.stages[s].jobs) for s in members}) == 1
        if len(members) < 2 or not (private and same and self._first_waits_for_all(members)):
            return None
        inner, held = [], set()
        for number, slots in enumerate(self.plan.slots):
            if slots.acquire not in members:
                continue
            if slots.per_window:
                if slots.acquire != members[-1] or slots.acquire_at != "start":
                    return None
                continue
            if not set(slots.release) <= set(members) or len(slots.release) != 1:
                return None
            inner.append(number)
            if members.index(slots.release[0]) == members.index(slots.acquire) + 1:
                held.add(slots.acquire)
        departs = any(read.departure in members for read in self.plan.reads)
        return inner if held >= set(members[:-1]) and not departs else None

    def _first_waits_for_all(self, members: list[int]) -> bool:
        inputs = [{i for i in self.plan.stages[s].inputs if not self.plan.stages[i].stepped} for s in members]
        return all(needed <= inputs[0] for needed in inputs)

    def _is_whole(self, index: int, steps: int) -> int:
        """Whether a window has so many steps that the first stage cannot leave before the last has begun."""
        return int(index in self.slack and steps > self.slack[index])

    def _add_chain(self, members: list[int], inner: list[int]) -> int:
        tokens = sum(self.plan.slots[q].capacity * (3 if self.plan.slots[q].cause == "adc" else 1) for q in inner)
        key, value = 2 * len(members) + tokens + 2, 4 * len(members) + tokens + CAUSE_COUNT
        stages, buffers = self._memory.add(members), self._memory.add(inner)
        entries = self._memory.room((REMEMBERED + 1) * (key + value), -1)
        return self._memory.add([stages, len(members), buffers, len(inner), entries, key, value, 0, 0])

    def _step_source(self, index: int) -> int:
        """The stage that this one follows step by step, the last of them as in the event engine; -1 for none."""
        stages = self.plan.stages
        found = [i for i in stages[index].inputs if stages[i].stepped] if stages[index].stepped else []
        return found[-1] if found else -1

    def _takes(self) -> list[int]:
        lists: list[list[list[int]]] = [[[] for _ in range(4)] for _ in self.plan.stages]
        for number, slots in enumerate(self.plan.slots):
            lists[slots.acquire][_TAKE_AT[slots.acquire_at, slots.per_window]].append(number)
        for number, read in enumerate(self.plan.reads, len(self.plan.slots)):
            lists[read.departure][END_WINDOW].append(number)
        self.moments = [sum(1 << moment for moment, found in enumerate(each) if found) for each in lists]
        return [self._lists(each) for each in lists]

    def _gives(self) -> list[int]:
        lists: list[list[list[int]]] = [[[] for _ in range(6)] for _ in self.plan.stages]
        for number, slots in enumerate(self.plan.slots):
            moment = _GIVE_AT.get((slots.release_at, slots.per_window))
            for releaser, stage in enumerate(slots.release):
                if moment is not None:
                    lists[stage][moment] += [number, releaser, 0, 0]
        for number, read in enumerate(self.plan.reads, len(self.plan.slots)):
            freed = self.places[number - len(self.plan.slots)][1]
            per_image = self.plan.layers[read.dependency.producer].windows
            for releaser, stage in enumerate(read.readers):
                lists[stage][GIVE_LEAVE_WINDOW] += [number, releaser, freed, per_image]
        for index, each in enumerate(lists):
            self.moments[index] += sum(1 << (4 + moment) for moment, found in enumerate(each) if found)
        return [self._lists(each) for each in lists]

    def _lists(self, lists: Sequence[Sequence[int]]) -> int:
        """Several lists behind one another; their places and the end of the last stand in front."""
        head = self._memory.size
        end = head + len(lists) + 1
        ends = [end]
        for one in lists:
            end += len(one)
            ends.append(end)
        self._memory.add(ends)
        self._memory.add([value for one in lists for value in one])
        return head

    def _inputs(self) -> tuple[list[int], list[int]]:
        """For each stage what its windows need (source, place of needs, windows of an image), and whom it wakes."""
        stages = self.plan.stages
        needs: list[list[int]] = [[] for _ in stages]
        wakes: list[list[int]] = [[] for _ in stages]
        for index, stage in enumerate(stages):
            for source in stage.inputs:
                if not (stage.stepped and stages[source].stepped):
                    needs[index] += [source, 0, 0]
                wakes[source].append(index)
        for read, (place, _) in zip(self.plan.reads, self.places, strict=True):
            self._add_read(read, place, needs, wakes)
        return [self._lists([one]) for one in needs], [self._lists([sorted(set(one))]) for one in wakes]

    def _add_read(self, read: Read, place: int, needs: list[list[int]], wakes: list[list[int]]) -> None:
        per_image = self.plan.layers[read.dependency.producer].windows
        for reader in read.readers:
            for source in read.sources:
                needs[reader] += [source, place, per_image]
                wakes[source].append(reader)

    def _window_ring(self, index: int) -> int:
        """Finished windows that some stage may still ask for."""
        readers = list(self.readers[index])
        if self.plan.stages[index].name in LOADS:
            # An array that waits for its input looks back at when the loads in front of it were served.
            loads = [reader for reader in readers if self.plan.stages[reader].name in LOADS]
            readers += [behind for reader in loads for behind in self.readers[reader]]
        across = [read.dependency.capacity + 2 for read in self.plan.reads if index in read.sources]
        return max([1, *across, *(self._ahead(index, reader) for reader in readers)])

    def _ahead(self, index: int, reader: int) -> int:
        """Windows by which a stage can be ahead of one that reads them: what a buffer around both holds.

        The buffer that the stage itself takes from is looked at first, then those of the stages in front of it.
        """
        front, layer = [index], self.plan.stages[index].layer
        while front:
            around = [
                slots.capacity + 2
                for stage in front
                for slots in self.slots_of[stage]
                if any(self.behind[reader, r] for r in slots.release)
            ]
            if around:
                return min(around)
            front = sorted({source for stage in front for source in self.plan.stages[stage].inputs})
        return self.plan.layers[layer].windows * self.plan.images

    def _step_ring(self, index: int, follower: int) -> int:
        """Finished steps that the following stage has not taken."""
        between = [
            slots.capacity + 2 for slots in self.slots_of[index] if not slots.per_window and follower in slots.release
        ]
        return min([*between, self._jobs_total(index)])

    # Recording and the run as a whole.

    def _record(self, index: int) -> int:
        """Room for the start and end of every watched job of a stage; 0 for none."""
        count = len(watched_jobs(self.plan, index, self.watch)) if self.watch is not None else 0
        return self._memory.room(2 * count) if count else 0

    def _add_run(self, search: bool, stop_at_repeat: bool) -> None:
        plan, header, watch = self.plan, self.header, self.watch
        header[STACK] = self._memory.room(len(plan.stages))
        header[IMAGES], header[IMAGE_DONE] = plan.images, self._memory.room(plan.images)
        header[IMAGE_PARTS] = self._memory.room(plan.images)
        header[OUTPUT_COUNT], header[TRIGGER] = sum(map(len, plan.outputs)), plan.outputs[0][-1]
        header[LEVELS], header[BY_ROWS] = self._memory.add([-1, -1, 0, 1, 0, 0] * 3), -1
        header[SEARCH], header[STOP_AT_REPEAT] = int(search), int(stop_at_repeat)
        if watch is not None:
            header[FIRST_WATCHED], header[IMAGE_WATCHED] = watch.first, -1 if watch.image is None else watch.image
            header[LAST_WATCHED] = NEVER if watch.last is None else watch.last


def watched_jobs(plan: NetworkPlan, index: int, watch: Watch) -> list[tuple[int, int]]:
    """(window over all images, step) of every job of a stage that is watched, in order."""
    stage = plan.stages[index]
    layer = plan.layers[stage.layer]
    steps = [jobs.steps for phase, jobs in zip(layer.phases, stage.jobs, strict=True) for _ in range(phase.windows)]
    images = range(plan.images) if watch.image is None else range(watch.image, min(watch.image + 1, plan.images))
    return [
        (image * layer.windows + window, step)
        for image in images
        for window in range(watch.first, min(layer.windows, watch.last if watch.last is not None else layer.windows))
        if watch.takes(layer.name, image, window)
        for step in range(steps[window])
    ]


def _reachable(plan: NetworkPlan) -> NDArray[np.bool_]:
    """Whether a stage is another, or stands behind it in the same layer: ``[front, behind]``."""
    count = len(plan.stages)
    behind = np.eye(count, dtype=np.bool_)
    for index, stage in enumerate(plan.stages):  # inputs stand before what they feed
        for source in stage.inputs:
            behind[:, index] |= behind[:, source]
    return behind
