"""The event engine: plays a plan with SimPy, one process per stage. The engine of record.

Order of simultaneous events: everything that happens at one instant happens before any arbiter grants at that
instant; an arbiter then grants by (request time, stage order, unit index), where the stage nearest the output
comes first (`STAGE_ORDER`). Times do not depend on any other order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

import simpy
from simpy.events import NORMAL, Event

from pimsim.errors import SimulationError
from pimsim.simulation.plan import STAGE_ORDER, Jobs, LayerPlan, Slots, Stage
from pimsim.simulation.results import STALL_CAUSES, Span

Probe = Callable[[Span], None]
#: SimPy priorities: woken stages (NORMAL) first, then services that end, downstream stages first, so that a freed
#: slot is seen at once; arbiters last, when the instant is complete.
_SERVICE = NORMAL + 1
_ARBITER = _SERVICE + len(STAGE_ORDER)
#: The stages that load inputs, and the stall cause of an array that waits for them.
_LOADS = {"edram_read": "buffer", "bus": "bus"}


@dataclass(frozen=True)
class Played:
    """What an engine reports of one layer, times relative to its start.

    ``window_done_fs`` has one entry per window slot; ``jobs`` counts finished jobs of each stage and phase.
    """

    window_done_fs: tuple[int, ...]
    jobs: tuple[tuple[int, ...], ...]
    stall_fs: dict[str, int]


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
    """A finite buffer being played: free tokens, and who waits for one."""

    def __init__(self, slots: Slots) -> None:
        self.free = slots.capacity
        self.cause = slots.cause
        self.waiting: _Player | None = None
        self.released = [0] * len(slots.release)
        self.complete = 0

    def release(self, index: int) -> None:
        """One of the releasing stages has finished with its oldest token."""
        self.released[index] += 1
        complete = min(self.released) if len(self.released) > 1 else self.released[0]
        if complete > self.complete:
            self.complete = complete
            self.free += 1
            if self.waiting is not None:
                self.waiting.wake()


def _release(due: list[tuple[_Slots, int]]) -> None:
    for slots, index in due:
        slots.release(index)


class _Arbiter:
    """A resource that several stages use: first come, first served, ties by stage order, then unit."""

    def __init__(self, env: _Environment) -> None:
        self.env = env
        self.requests: list[tuple[int, int, int, _Player]] = []
        self.busy = False
        self.deciding = False

    def request(self, player: _Player) -> None:
        self.requests.append((self.env.now, player.rank, player.index, player))
        self._decide_later()

    def release(self) -> None:
        self.busy = False
        self._decide_later()

    def _decide_later(self) -> None:
        if self.requests and not (self.busy or self.deciding):
            self.deciding = True
            moment = _Moment(self.env, 0, _ARBITER)
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
        self.units = max(jobs.units for jobs in stage.jobs)
        self.last_done = 0
        self.jobs_done = [0] * len(stage.jobs)
        self.steps_at: deque[int] = deque()  # when finished steps are done, for the one stage that follows step by step
        self.window_at: list[int] = []  # when each finished window is done
        self.spans: list[tuple[int, int]] = []
        self.blocked: Event | None = None
        self.waits_for: str | None = None
        self.hungry: Event | None = None
        self.hungry_for: _Player | None = None
        self.by_window: list[_Player] = []
        self.by_step: _Player | None = None
        self.followers: list[_Player] = []
        self.take: dict[tuple[str, bool], list[_Slots]] = {}
        self.give: dict[tuple[str, bool], list[tuple[_Slots, int]]] = {}

    def wake(self) -> None:
        """Go on after a slot became free or an arbiter granted."""
        event, self.blocked = self.blocked, None
        if event is not None:
            event.succeed()

    def play(self) -> Generator[Event, object, None]:
        """Every job of every window, phase after phase (`pimsim.simulation.plan` states the rules)."""
        window = 0
        for number, phase in enumerate(self.engine.plan.phases):
            jobs = self.stage.jobs[number]
            for _ in range(phase.windows):
                for source in self.by_window:
                    if len(source.window_at) <= window or source.window_at[window] > self.env.now:
                        yield from self._await_window(source, window)
                for slots in self.take.get(("start", True), ()):
                    if slots.free:
                        slots.free -= 1
                    else:
                        yield from self._acquire(slots)
                yield from self._window(jobs, number, window)
                window += 1

    def _window(self, jobs: Jobs, phase: int, window: int) -> Generator[Event, object, None]:
        """The jobs of one window. The hot loop of the engine: everything that does not change stands outside."""
        env, source, last, priority = self.env, self.by_step, jobs.steps - 1, _SERVICE + self.rank
        take_start, take_end = self.take.get(("start", False), ()), self.take.get(("end", False), ())
        take_last = self.take.get(("end", True), ())
        give_start, give_leave = self.give.get(("start", False), ()), self.give.get(("leave", False), ())
        arbiter = self.engine.arbiters.get(self.stage.resource)
        varying, occupancy, latency = len(jobs.occupancy_fs) > 1, jobs.occupancy_fs[0], jobs.latency_fs[0]
        for step in range(jobs.steps):
            if source is not None:
                if not source.steps_at:
                    yield self._hunger(source)
                ready = source.steps_at.popleft()
                if ready > env.now:
                    yield _Moment(env, ready - env.now, NORMAL)
            for slots in take_start:
                if slots.free:
                    slots.free -= 1
                else:
                    yield from self._acquire(slots)
            if arbiter is not None:
                arbiter.request(self)
                self.blocked = Event(env)
                yield self.blocked
            start = env.now
            for slots, index in give_start:
                slots.release(index)
            if step == 0:
                for slots, index in self.give.get(("start", True), ()):
                    slots.release(index)
            if varying:
                occupancy, latency = jobs.occupancy_fs[step], jobs.latency_fs[step]
            if occupancy:
                yield _Moment(env, occupancy, priority)
            for slots in take_end if step < last else (*take_end, *take_last):
                if slots.free:
                    slots.free -= 1
                else:
                    yield from self._acquire(slots)
            if arbiter is not None:
                arbiter.release()
            for slots, index in give_leave:
                slots.release(index)
            done = max(env.now, start + latency, self.last_done)
            self.last_done = done
            if step == last:
                self._window_leaves(start, done)
            elif self.followers and self.followers[0].by_step is self:
                self._step_leaves(done)
            self._note(jobs, phase, window, step, start, done)

    def _step_leaves(self, done: int) -> None:
        self.steps_at.append(done)
        follower = self.followers[0]
        if follower.hungry_for is self:
            follower.sate(done)

    def _window_leaves(self, start: int, done: int) -> None:
        for slots, index in self.give.get(("leave", True), ()):
            slots.release(index)
        self.window_at.append(done)
        self.engine.window_leaves(self, start, done)
        for follower in self.followers:
            if follower.by_step is self:
                self.steps_at.append(done)
            if follower.hungry_for is self:
                follower.sate(done)

    def _note(self, jobs: Jobs, phase: int, window: int, step: int, start: int, done: int) -> None:
        """Count the job, tell the probe, and give back what is due when it is done."""
        self.jobs_done[phase] += 1
        if self.engine.probe is not None and jobs.units:
            self.engine.emit(self.stage, jobs, window, step, start, done)
        due = [*self.give.get(("done", False), ())]
        if step == jobs.steps - 1:
            due += self.give.get(("done", True), ())
        if due:
            moment = _Moment(self.env, done - self.env.now, NORMAL)
            assert moment.callbacks is not None
            moment.callbacks.append(lambda _: _release(due))

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
            slots.waiting, self.waits_for = self, slots.cause
            self.blocked = Event(self.env)
            yield self.blocked
            slots.waiting, self.waits_for = None, None
        slots.free -= 1
        if self.stage.name == "array" and self.env.now > since:
            self.engine.stall(slots.cause, self.env.now - since, self)


class _Engine:
    """A plan being played."""

    def __init__(self, plan: LayerPlan, probe: Probe | None, start_fs: int) -> None:
        self.plan, self.probe, self.start_fs = plan, probe, start_fs
        self.env = _Environment()
        self.stalls = dict.fromkeys(STALL_CAUSES, 0)
        self.players = [_Player(self, i, stage) for i, stage in enumerate(plan.stages)]
        used = Counter(stage.resource for stage in plan.stages)
        self.arbiters = {resource: _Arbiter(self.env) for resource, users in used.items() if users > 1}
        self.outputs = [self.players[i] for i in plan.outputs]
        self._connect()

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
            slots = _Slots(spec)
            self.players[spec.acquire].take.setdefault((spec.acquire_at, spec.per_window), []).append(slots)
            for i, index in enumerate(spec.release):
                give = self.players[index].give.setdefault((spec.release_at, spec.per_window), [])
                give.append((slots, i))

    def run(self) -> Played:
        """Play to the end.

        Raises:
            SimulationError: the plan deadlocks; says which stages wait.
        """
        for player in self.players:
            self.env.process(player.play())
        self.env.run()
        left = min(len(p.window_at) for p in self.outputs)
        if left < self.plan.windows:
            waiting = [p for p in self.players if p.hungry or p.blocked]
            stuck = ", ".join(f"{p.stage.name}[{p.index}] at window {len(p.window_at)}" for p in waiting)
            raise SimulationError(
                f"only {left} of {self.plan.windows} windows left the layer",
                f"the plan must not deadlock; waiting: {stuck}",
                self.plan.name,
                "Give the buffers between these stages more slots",
            )
        windows = tuple(map(max, zip(*(p.window_at for p in self.outputs), strict=True)))
        return Played(windows, tuple(tuple(p.jobs_done) for p in self.players), self.stalls)

    def window_leaves(self, player: _Player, start: int, done: int) -> None:
        """Remember when loads were served, for the causes of stalls."""
        if player.stage.name in _LOADS:
            player.spans.append((start, done))

    def stall(self, cause: str, duration: int, player: _Player) -> None:
        """Arrays waited for a finite buffer."""
        converters = [p for p in player.followers if p.stage.name == "adc"]
        if cause == "adc" and converters and converters[0].waits_for == "output":
            cause = "output"
        self.stalls[cause] += duration * player.units

    def starved(self, array: _Player, source: _Player, window: int, since: int) -> None:
        """Arrays waited for their input: split the time into bus, buffer, and what came before."""
        now = self.env.now
        remaining = now - since
        for player in (source, *source.by_window):
            cause = _LOADS.get(player.stage.name)
            if cause is None:
                continue
            begin, end = player.spans[window]
            served = max(0, min(now, end) - max(since, begin))
            self.stalls[cause] += served * array.units
            remaining -= served
        self.stalls["input"] += remaining * array.units

    def emit(self, stage: Stage, jobs: Jobs, window: int, step: int, start: int, done: int) -> None:
        """Tell the probe of a job, in absolute time."""
        assert self.probe is not None
        begin, end = self.start_fs + start, self.start_fs + done
        place = (stage.tile, stage.macro, stage.array)
        index = step if stage.stepped else -1
        self.probe(Span(self.plan.name, stage.name, *place, jobs.units, window, index, begin, end, jobs.rows))


def play(plan: LayerPlan, probe: Probe | None = None, start_fs: int = 0) -> Played:
    """Play a layer's plan event by event.

    Args:
        plan: what to play.
        probe: called with the `Span` of every finished job; it cannot change timing.
        start_fs: added to the times that the probe sees.

    Raises:
        SimulationError: the plan deadlocks.
    """
    return _Engine(plan, probe, start_fs).run()
