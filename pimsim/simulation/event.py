"""The event engine: plays a plan with SimPy, one process per stage. The engine of record.

Order of simultaneous events: everything that happens at one instant happens before any arbiter grants at that
instant; arbiters then grant in the order of their resources, each by (request time, later layer, stage order, unit
index), where the stage nearest the output comes first (`STAGE_ORDER`). Times do not depend on any other order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence

import simpy
from simpy.events import NORMAL, Event

from pimsim.simulation.plan import STAGE_ORDER, Dependency, Jobs, NetworkPlan, Slots, Stage
from pimsim.simulation.playing import EVERYTHING, LOADS, Played, Probe, Progress, Watch, all_windows, deadlock
from pimsim.simulation.results import STALL_CAUSES, Span

#: SimPy priorities: woken stages (NORMAL) first, then services that end, downstream stages first, so that a freed
#: slot is seen at once; arbiters last, when the instant is complete.
_SERVICE = NORMAL + 1
_ARBITER = _SERVICE + len(STAGE_ORDER)


class _Environment(simpy.Environment):
    """SimPy's environment with integer time."""

    @property
    def now(self) -> int:
        """The current time in femtoseconds; delays are integers, so it stays one."""
        return self._now  # type: ignore[return-value]


class _Moment(Event):
    """An event that happens after a delay; SimPy's `Timeout` with a priority."""

    def __init__(self, env: _Environment, delay: int, priority: int) -> None:
        self.env = env
        self.callbacks = []
        self._value, self._ok, self._defused = None, True, False
        env.schedule(self, priority, delay)  # type: ignore[arg-type]


class _Slots:
    """A finite buffer being played: free tokens, who waits for one, and why those that gave them back were late."""

    def __init__(self, capacity: int, releasers: int, cause: str) -> None:
        self.free = capacity
        self.cause = cause
        self.waiting: _Player | None = None
        self.released = [0] * releasers
        self.complete = 0
        self.lateness: deque[tuple[int, int]] | None = deque([(0, 0)] * capacity) if cause == "adc" else None

    def release(self, index: int, waited: tuple[int, int] = (0, 0), tokens: int = 1) -> None:
        """One of the releasing stages has finished with its oldest tokens; it ``waited`` for its output before."""
        self.released[index] += tokens
        complete = min(self.released) if len(self.released) > 1 else self.released[0]
        if complete > self.complete:
            if self.lateness is not None:
                self.lateness.extend([waited] * (complete - self.complete))
            self.free += complete - self.complete
            self.complete = complete
            if self.waiting is not None:
                self.waiting.wake()

    def take(self) -> tuple[int, int]:
        """Take a free token; gives when its last holder waited for its own output."""
        self.free -= 1
        return self.lateness.popleft() if self.lateness is not None else (0, 0)


def _release(due: list[tuple[_Slots, int]], waited: tuple[int, int]) -> None:
    for slots, index in due:
        slots.release(index, waited)


class _Arbiter:
    """A resource that several stages use: first come, first served, ties by layer, stage order and unit."""

    def __init__(self, env: _Environment, resource: int) -> None:
        self.env = env
        self.priority = _ARBITER + resource
        self.requests: list[tuple[int, tuple[int, int, int], _Player]] = []
        self.busy = False
        self.deciding = False

    def request(self, player: _Player) -> None:
        self.requests.append((self.env.now, player.turn, player))
        self._decide_later()

    def release(self) -> None:
        self.busy = False
        self._decide_later()

    def _decide_later(self) -> None:
        if self.requests and not (self.busy or self.deciding):
            self.deciding = True
            moment = _Moment(self.env, 0, self.priority)
            assert moment.callbacks is not None
            moment.callbacks.append(self._decide)

    def _decide(self, _: Event) -> None:
        self.deciding = False
        request = min(self.requests)
        self.requests.remove(request)
        self.busy = True
        request[-1].wake()


class _Player:
    """One stage being played."""

    def __init__(self, engine: _Engine, index: int, stage: Stage) -> None:
        self.engine, self.env = engine, engine.env
        self.index, self.stage = index, stage
        self.rank = STAGE_ORDER.index(stage.name)
        self.turn = engine.plan.rank(index)
        self.layer = engine.plan.layers[stage.layer]
        self.stalls = engine.stalls[stage.layer]
        self.units = stage.units
        self.last_done = 0
        self.jobs_done = [0] * len(stage.jobs)
        self.jobs_of_window = 0
        self.started = False
        self.first_start: int | None = None
        self.steps_at: deque[int] = deque()  # when finished steps are done, for the one stage that follows step by step
        self.window_at: list[int] = []  # when each finished window is done
        self.spans: list[tuple[int, int]] = []
        self.output_wait = (0, 0)  # when the present job waited for room behind it, before it started
        self.blocked: Event | None = None
        self.hungry: Event | None = None
        self.hungry_for: _Player | None = None
        self.by_window: list[_Player] = []
        self.by_step: _Player | None = None
        self.reads: list[tuple[list[_Player], Dependency, int]] = []
        self.frees: list[tuple[_Slots, int, Dependency, int]] = []
        self.followers: list[_Player] = []
        self.take: dict[tuple[str, bool], list[_Slots]] = {}
        self.give: dict[tuple[str, bool], list[tuple[_Slots, int]]] = {}

    @property
    def progress(self) -> Progress:
        """How far it came."""
        return Progress(len(self.window_at), self.jobs_of_window, self.started)

    def wake(self) -> None:
        """Go on after a slot became free or an arbiter granted."""
        event, self.blocked = self.blocked, None
        if event is not None:
            event.succeed()

    def play(self) -> Generator[Event, object, None]:
        """Every job of every window, image after image (`pimsim.simulation.plan` states the rules)."""
        window = 0
        for image in range(self.engine.plan.images):
            first = window
            for number, phase in enumerate(self.layer.phases):
                jobs = self.stage.jobs[number]
                for _ in range(phase.windows):
                    yield from self._ready(image, window, window - first)
                    for slots in self.take.get(("start", True), ()):
                        if slots.free:
                            slots.take()
                        else:
                            yield from self._acquire(slots)
                    yield from self._window(jobs, number, image, window - first)
                    window += 1

    def _ready(self, image: int, window: int, within: int) -> Generator[Event, object, None]:
        """Wait for the windows that this one needs."""
        for source in self.by_window:
            if len(source.window_at) <= window or source.window_at[window] > self.env.now:
                yield from self._await_window(source, window)
        for sources, one, per_image in self.reads:
            needed = image * per_image + int(one.needs[within])
            for source in sources:
                while len(source.window_at) <= needed:
                    yield self._hunger(source)
                if needed >= 0 and source.window_at[needed] > self.env.now:
                    yield _Moment(self.env, source.window_at[needed] - self.env.now, NORMAL)

    def _window(self, jobs: Jobs, phase: int, image: int, within: int) -> Generator[Event, object, None]:
        """The jobs of one window. The hot loop of the engine: everything that does not change stands outside."""
        env, source, last, priority = self.env, self.by_step, jobs.steps - 1, _SERVICE + self.rank
        take_start, take_end = self.take.get(("start", False), ()), self.take.get(("end", False), ())
        take_last = self.take.get(("end", True), ())
        give_start, give_leave = self.give.get(("start", False), ()), self.give.get(("leave", False), ())
        arbiter = self.engine.arbiters.get(self.stage.resource)
        varying, occupancy, latency = len(jobs.occupancy_fs) > 1, jobs.occupancy_fs[0], jobs.latency_fs[0]
        for step in range(jobs.steps):
            self.output_wait = (0, 0)
            if source is not None:
                if not source.steps_at:
                    yield self._hunger(source)
                ready = source.steps_at.popleft()
                if ready > env.now:
                    yield _Moment(env, ready - env.now, NORMAL)
            for slots in take_start:
                if slots.free:
                    slots.take()
                else:
                    yield from self._acquire(slots)
            if arbiter is not None:
                arbiter.request(self)
                self.blocked = Event(env)
                yield self.blocked
            start, self.started = env.now, True
            if self.first_start is None:
                self.first_start = start
            for slots, index in give_start:
                slots.release(index, self.output_wait)
            if step == 0:
                for slots, index in self.give.get(("start", True), ()):
                    slots.release(index, self.output_wait)
            if varying:
                occupancy, latency = jobs.occupancy_fs[step], jobs.latency_fs[step]
            if occupancy:
                yield _Moment(env, occupancy, priority)
            for slots in take_end if step < last else (*take_end, *take_last):
                if slots.free:
                    slots.take()
                else:
                    yield from self._acquire(slots)
            if arbiter is not None:
                arbiter.release()
            for slots, index in give_leave:
                slots.release(index, self.output_wait)
            done = max(env.now, start + latency, self.last_done)
            self.last_done, self.started = done, False
            if step == last:
                self._window_leaves(start, done, image, within)
            elif self.followers and self.followers[0].by_step is self:
                self._step_leaves(done)
            self._note(jobs, phase, image, within, step, start, done)

    def _step_leaves(self, done: int) -> None:
        self.steps_at.append(done)
        follower = self.followers[0]
        if follower.hungry_for is self:
            follower.sate(done)

    def _window_leaves(self, start: int, done: int, image: int, within: int) -> None:
        for slots, index in self.give.get(("leave", True), ()):
            slots.release(index, self.output_wait)
        for slots, index, one, per_image in self.frees:
            freed = image * per_image + int(one.freed[within]) - slots.released[index]
            slots.release(index, tokens=freed)
        self.window_at.append(done)
        if self.stage.name in LOADS:
            self.spans.append((start, done))
        for follower in self.followers:
            if follower.by_step is self:
                self.steps_at.append(done)
            if follower.hungry_for is self:
                follower.sate(done)

    def _note(self, jobs: Jobs, phase: int, image: int, within: int, step: int, start: int, done: int) -> None:
        """Count the job, tell the probe, and give back what is due when it is done."""
        self.jobs_done[phase] += 1
        self.jobs_of_window = 0 if step == jobs.steps - 1 else step + 1
        if self.engine.probe is not None and jobs.units:
            self.engine.emit(self, jobs, image, within, step, start, done)
        due = [*self.give.get(("done", False), ())]
        if step == jobs.steps - 1:
            due += self.give.get(("done", True), ())
        if due:
            moment = _Moment(self.env, done - self.env.now, NORMAL)
            assert moment.callbacks is not None
            waited = self.output_wait
            moment.callbacks.append(lambda _: _release(due, waited))

    def _hunger(self, source: _Player) -> Event:
        """An event for the next job of an input stage."""
        self.hungry, self.hungry_for = Event(self.env), source
        return self.hungry

    def sate(self, done: int) -> None:
        """The awaited job left its stage and is done at that time: go on then."""
        event, self.hungry, self.hungry_for = self.hungry, None, None
        assert event is not None
        event._ok, event._value = True, None
        self.env.schedule(event, NORMAL, done - self.env.now)

    def _await_window(self, source: _Player, window: int) -> Generator[Event, object, None]:
        since = self.env.now
        if len(source.window_at) <= window:
            yield self._hunger(source)
        if source.window_at[window] > self.env.now:
            yield _Moment(self.env, source.window_at[window] - self.env.now, NORMAL)
        if self.stage.name == "array" and window:
            self.engine.starved(self, source, window, since)

    def _acquire(self, slots: _Slots) -> Generator[Event, object, None]:
        since = self.env.now
        while not slots.free:
            slots.waiting = self
            self.blocked = Event(self.env)
            yield self.blocked
            slots.waiting = None
        now = self.env.now
        late = slots.take()
        if self.stage.name == "array":
            self._stall(slots.cause, since, now, late)
        elif slots.cause == "output" and now > since:
            self.output_wait = (since, now)

    def _stall(self, cause: str, since: int, now: int, late: tuple[int, int]) -> None:
        """Arrays waited for a finite buffer; while their converter waited for room itself, for the output."""
        behind = max(0, min(now, late[1]) - max(since, late[0]))
        self.stalls["output"] += behind * self.units
        self.stalls[cause] += (now - since - behind) * self.units


class _Engine:
    """A plan being played."""

    def __init__(self, plan: NetworkPlan, probe: Probe | None, start_fs: int, watch: Watch) -> None:
        self.plan, self.probe, self.start_fs, self.watch = plan, probe, start_fs, watch
        self.env = _Environment()
        self.stalls = [dict.fromkeys(STALL_CAUSES, 0) for _ in plan.layers]
        self.players = [_Player(self, i, stage) for i, stage in enumerate(plan.stages)]
        self.arbiters = {resource: _Arbiter(self.env, resource) for resource in plan.shared}
        self._connect()
        self._connect_layers()

    def _connect(self) -> None:
        for player in self.players:
            for index in player.stage.inputs:
                source = self.players[index]
                if player.stage.stepped and source.stage.stepped:
                    player.by_step = source
                else:
                    player.by_window.append(source)
                source.followers.append(player)
        for spec in self.plan.slots:
            self._add_slots(spec)

    def _add_slots(self, spec: Slots) -> None:
        slots = _Slots(spec.capacity, len(spec.release), spec.cause)
        self.players[spec.acquire].take.setdefault((spec.acquire_at, spec.per_window), []).append(slots)
        for i, index in enumerate(spec.release):
            give = self.players[index].give.setdefault((spec.release_at, spec.per_window), [])
            give.append((slots, i))

    def _connect_layers(self) -> None:
        for read in self.plan.reads:
            per_image = self.plan.layers[read.dependency.producer].windows
            slots = _Slots(read.dependency.capacity, len(read.readers), "output")
            self.players[read.departure].take.setdefault(("end", True), []).append(slots)
            sources = [self.players[i] for i in read.sources]
            for number, index in enumerate(read.readers):
                reader = self.players[index]
                reader.reads.append((sources, read.dependency, per_image))
                reader.frees.append((slots, number, read.dependency, per_image))
                for source in sources:
                    source.followers.append(reader)

    def run(self, marks: Sequence[Sequence[int]]) -> Played:
        """Play to the end.

        Raises:
            SimulationError: the plan deadlocks; says which stages wait.
        """
        for player in self.players:
            self.env.process(player.play())
        self.env.run()
        if any(len(p.window_at) < p.layer.windows * self.plan.images for p in self.players):
            raise deadlock(self.plan, [player.progress for player in self.players])
        return Played(
            tuple(tuple(self._left(layer, w) for w in wanted) for layer, wanted in enumerate(marks)),
            tuple(self._first_start(layer) for layer in range(len(self.plan.layers))),
            tuple(self._image_done(image) for image in range(self.plan.images)),
            tuple(tuple(p.jobs_done) for p in self.players),
            tuple(self.stalls),
        )

    def _left(self, layer: int, window: int) -> int:
        """When a window had left all output stages of its layer."""
        return max(self.players[i].window_at[window] for i in self.plan.outputs[layer])

    def _first_start(self, layer: int) -> int:
        starts = (p.first_start for p in self.players if p.stage.layer == layer)
        return min(start for start in starts if start is not None)

    def _image_done(self, image: int) -> int:
        layers = enumerate(self.plan.layers)
        return max(self._left(number, (image + 1) * layer.windows - 1) for number, layer in layers)

    def starved(self, array: _Player, source: _Player, window: int, since: int) -> None:
        """Arrays waited for their input: split the time into bus, buffer, and what came before."""
        now = self.env.now
        remaining = now - since
        for player in (source, *source.by_window):
            cause = LOADS.get(player.stage.name)
            if cause is None:
                continue
            begin, end = player.spans[window]
            served = max(0, min(now, end) - max(since, begin))
            array.stalls[cause] += served * array.units
            remaining -= served
        array.stalls["input"] += remaining * array.units

    def emit(self, player: _Player, jobs: Jobs, image: int, within: int, step: int, start: int, done: int) -> None:
        """Tell the probe of a job that it watches, in absolute time."""
        stage = player.stage
        if self.probe is None or not self.watch.takes(player.layer.name, image, within):
            return
        begin, end = self.start_fs + start, self.start_fs + done
        place = (stage.tile, stage.macro, stage.array)
        index = step if stage.stepped else -1
        self.probe(Span(player.layer.name, stage.name, *place, jobs.units, within, index, begin, end, jobs.rows, image))


def play(
    plan: NetworkPlan,
    probe: Probe | None = None,
    start_fs: int = 0,
    watch: Watch = EVERYTHING,
    marks: Sequence[Sequence[int]] | None = None,
) -> Played:
    """Play a plan event by event.

    Args:
        plan: what to play.
        probe: called with the `Span` of every finished job that ``watch`` takes; it cannot change timing.
        start_fs: added to the times that the probe sees.
        watch: the jobs that the probe sees.
        marks: windows of each layer whose times are reported; None: all.

    Raises:
        SimulationError: the plan deadlocks.
    """
    return _Engine(plan, probe, start_fs, watch).run(all_windows(plan) if marks is None else marks)
