"""The event engine: plays a plan with SimPy, one process per stage. The engine of record.

Order of simultaneous events: everything that happens at one instant happens before any arbiter grants at that
instant; an arbiter then grants by (request time, stage index). Times do not depend on any other order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass

import simpy
from simpy.events import Event, Timeout

from pimsim.errors import SimulationError
from pimsim.simulation.plan import Jobs, LayerPlan, Slots, Stage
from pimsim.simulation.results import STALL_CAUSES, Span

Probe = Callable[[Span], None]
_LATE = 2  # SimPy priority after URGENT (0) and NORMAL (1): arbiters decide when an instant is complete


@dataclass(frozen=True)
class Played:
    """What an engine reports of one layer, times relative to its start.

    ``window_done_fs`` has one entry per window slot; ``jobs`` counts finished jobs of each stage and phase.
    """

    window_done_fs: tuple[int, ...]
    jobs: tuple[tuple[int, ...], ...]
    stall_fs: dict[str, int]


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


class _Arbiter:
    """A resource that several stages use: first come, first served, ties by stage index."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.requests: list[tuple[int, int, _Player]] = []
        self.busy = False
        self.deciding = False

    def request(self, player: _Player) -> None:
        self.requests.append((self.env.now, player.index, player))
        self._decide_later()

    def release(self) -> None:
        self.busy = False
        self._decide_later()

    def _decide_later(self) -> None:
        if self.requests and not (self.busy or self.deciding):
            self.deciding = True
            event = Event(self.env)
            event._ok, event._value = True, None
            assert event.callbacks is not None
            event.callbacks.append(self._decide)
            self.env.schedule(event, priority=_LATE)  # type: ignore[arg-type]

    def _decide(self, _: Event) -> None:
        self.deciding = False
        request = min(self.requests)
        self.requests.remove(request)
        self.busy = True
        request[2].wake()


class _Player:
    """One stage being played."""

    def __init__(self, engine: _Engine, index: int, stage: Stage) -> None:
        self.engine, self.env = engine, engine.env
        self.index, self.stage = index, stage
        self.is_array = stage.name == "array"
        self.jobs_done = self.windows_done = self.last_done = 0
        self.phase_jobs = [0] * len(stage.jobs)
        self.spans: list[tuple[int, int]] = []
        self.hungry: Event | None = None
        self.blocked: Event | None = None
        self.by_window: list[_Player] = []
        self.by_step: list[_Player] = []
        self.consumers: list[_Player] = []
        self.take: dict[tuple[str, bool], list[_Slots]] = {}
        self.give: dict[tuple[str, bool], list[tuple[_Slots, int]]] = {}

    def wake(self) -> None:
        """Go on after a slot became free or an arbiter granted."""
        event, self.blocked = self.blocked, None
        if event is not None:
            event.succeed()

    def feed(self) -> None:
        """Go on after an input stage finished a job."""
        event, self.hungry = self.hungry, None
        if event is not None:
            event.succeed()

    def play(self) -> Generator[Event, object, None]:
        """Every job of every window, phase after phase (`pimsim.simulation.plan` states the rules)."""
        window = base = 0
        for number, phase in enumerate(self.engine.plan.phases):
            jobs = self.stage.jobs[number]
            for _ in range(phase.windows):
                for source in self.by_window:
                    while source.windows_done <= window:
                        yield from self._starved(source, window)
                yield from self._window(jobs, number, window, base)
                window += 1
                base += jobs.steps

    def _window(self, jobs: Jobs, phase: int, window: int, base: int) -> Generator[Event, object, None]:
        env, by_step = self.env, self.by_step
        take_start, take_end = self.take.get(("start", False)), self.take.get(("end", False))
        arbiter = self.engine.arbiters.get(self.stage.resource)
        occupancy, varying, last = jobs.occupancy_fs[0], len(jobs.occupancy_fs) > 1, jobs.steps - 1
        for step in range(jobs.steps):
            for source in by_step:
                while source.jobs_done <= base + step:
                    yield from self._starved(source, window)
            if step == 0:
                for slots in self.take.get(("start", True), ()):
                    yield from self._acquire(slots)
            for slots in take_start or ():
                if slots.free:
                    slots.free -= 1
                else:
                    yield from self._acquire(slots)
            if arbiter is not None:
                arbiter.request(self)
                self.blocked = Event(env)
                yield self.blocked
            start = env.now
            self._give("start", step == 0)
            if varying:
                occupancy = jobs.occupancy_fs[step]
            if occupancy:
                yield Timeout(env, occupancy)
            for slots in take_end or ():
                if slots.free:
                    slots.free -= 1
                else:
                    yield from self._acquire(slots)
            if arbiter is not None:
                arbiter.release()
            self._give("leave", step == last)
            self.phase_jobs[phase] += 1
            self._complete(jobs, phase, window, step, start)

    def _give(self, at: str, edge: bool) -> None:
        """Give back the tokens that are due at this point; ``edge`` is the first or last job of its window."""
        for slots, index in self.give.get((at, False), ()):
            slots.release(index)
        if edge:
            for slots, index in self.give.get((at, True), ()):
                slots.release(index)

    def _complete(self, jobs: Jobs, phase: int, window: int, step: int, start: int) -> None:
        """The job is done now, or when its latency has passed."""
        latency = jobs.latency_fs[step] if len(jobs.latency_fs) > 1 else jobs.latency_fs[0]
        now = self.env.now
        done = max(now, start + latency, self.last_done)
        self.last_done = done
        if done == now:
            self._finish(phase, window, step, start)
        else:
            event = Timeout(self.env, done - now)
            assert event.callbacks is not None
            event.callbacks.append(lambda _: self._finish(phase, window, step, start))

    def _finish(self, phase: int, window: int, step: int, start: int) -> None:
        jobs = self.stage.jobs[phase]
        last = step == jobs.steps - 1
        self.jobs_done += 1
        self.windows_done += last
        if self.give:
            self._give("done", last)
        for consumer in self.consumers:
            if consumer.hungry is not None:
                consumer.feed()
        if last:
            self.engine.window_done(self, start)
        if self.engine.probe is not None and jobs.units:
            self.engine.emit(self.stage, jobs, window, step, start)

    def _starved(self, source: _Player, window: int) -> Generator[Event, object, None]:
        since = self.env.now
        self.hungry = Event(self.env)
        yield self.hungry
        if self.is_array and self.jobs_done and source.windows_done > window:
            self.engine.starved(source, window, since)

    def _acquire(self, slots: _Slots) -> Generator[Event, object, None]:
        since = self.env.now
        while not slots.free:
            slots.waiting = self
            self.blocked = Event(self.env)
            yield self.blocked
            slots.waiting = None
        slots.free -= 1
        if self.is_array and self.env.now > since:
            self.engine.stall(slots.cause, self.env.now - since, self)


class _Engine:
    """A plan being played."""

    def __init__(self, plan: LayerPlan, probe: Probe | None, start_fs: int) -> None:
        self.plan, self.probe, self.start_fs = plan, probe, start_fs
        self.env = simpy.Environment()
        self.stalls = dict.fromkeys(STALL_CAUSES, 0)
        self.players = [_Player(self, i, stage) for i, stage in enumerate(plan.stages)]
        used = Counter(stage.resource for stage in plan.stages)
        self.arbiters = {resource: _Arbiter(self.env) for resource, users in used.items() if users > 1}
        self.outputs = [self.players[i] for i in plan.outputs]
        self.left: list[int] = []
        self._connect()

    def _connect(self) -> None:
        for player in self.players:
            for index in player.stage.inputs:
                source = self.players[index]
                both_stepped = player.stage.stepped and source.stage.stepped
                (player.by_step if both_stepped else player.by_window).append(source)
                source.consumers.append(player)
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
        if len(self.left) < self.plan.windows:
            stuck = [f"{p.stage.name}[{p.index}] at window {p.windows_done}" for p in self.players if p.hungry or p.blocked]
            raise SimulationError(
                f"only {len(self.left)} of {self.plan.windows} windows left the layer",
                f"the plan must not deadlock; waiting: {', '.join(stuck)}",
                self.plan.name,
                "Give the buffers between these stages more slots",
            )
        return Played(tuple(self.left), tuple(tuple(p.phase_jobs) for p in self.players), self.stalls)

    def window_done(self, player: _Player, start: int) -> None:
        """Note the windows that have left the layer, and when loads were served (for stall causes)."""
        if player in self.outputs and min(p.windows_done for p in self.outputs) > len(self.left):
            self.left.append(self.env.now)
        if player.stage.name in ("edram_read", "bus"):
            player.spans.append((start, self.env.now))

    def stall(self, cause: str, duration: int, player: _Player) -> None:
        """An array waited for a finite buffer."""
        if cause == "adc":
            converter = next(p for p in player.consumers if p.stage.name == "adc")
            cause = "output" if converter.blocked is not None and converter.stage.resource not in self.arbiters else cause
        self.stalls[cause] += duration

    def starved(self, bus: _Player, window: int, since: int) -> None:
        """An array waited for its input: split the time into bus, buffer, and what came before."""
        now = self.env.now
        remaining = now - since
        for player, cause in ((bus, "bus"), (bus.by_window[0], "buffer")):
            begin, end = player.spans[window]
            served = max(0, min(now, end) - max(since, begin))
            self.stalls[cause] += served
            remaining -= served
        self.stalls["input"] += remaining

    def emit(self, stage: Stage, jobs: Jobs, window: int, step: int, start: int) -> None:
        """Tell the probe of a finished job, in absolute time."""
        assert self.probe is not None
        begin, end = self.start_fs + start, self.start_fs + int(self.env.now)
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
