"""The event engine against an independent evaluation of the rules, and its behaviour at the edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plans import alone, layer_plans, network_plans
from small_chip import NS, chip

from pimsim.errors import SimulationError
from pimsim.simulation.event import play
from pimsim.simulation.plan import Jobs, LayerPlan, NetworkPlan, Phase, Slots, Stage
from pimsim.simulation.results import Span

Moments = dict[tuple[int, int, str], int]


@dataclass(frozen=True)
class Job:
    """One job of a stage: its window over all images, its step of so many, and its services."""

    window: int
    step: int
    steps: int
    occupancy: int
    latency: int


@dataclass(frozen=True)
class Waits:
    """The moments that job ``at`` needs before it is ready, and before it leaves."""

    at: tuple[int, int]
    job: Job
    ready: tuple[tuple[int, int, str], ...]
    leave: tuple[tuple[int, int, str], ...]


def fixed_point(plan: NetworkPlan) -> Moments:
    """When every job of every stage is ready (asks for its resource), starts, leaves and is done.

    The rules of `plan.py`, iterated until nothing moves: a moment is known once everything that it waits for is, and
    when nothing is left but requests for shared resources, the earliest grant is made. Slow, and without any
    queue, process or event. Moments that are missing in the end never happen.
    """
    jobs = [_job_list(plan, stage) for stage in plan.stages]
    todo = [_waits(plan, jobs, s, k) for s in range(len(jobs)) for k in range(len(jobs[s]))]
    known: Moments = {}
    held = dict.fromkeys(plan.shared, (0, -1, -1))  # free since, or held by which stage and job
    while True:
        while sum(_settle(plan, known, waits) for waits in todo):
            todo = [waits for waits in todo if (*waits.at, "done") not in known]
        for resource, (_, s, k) in held.items():
            if s >= 0 and (s, k, "leave") in known:
                held[resource] = known[s, k, "leave"], -1, -1
        grants = [grant for resource in plan.shared for grant in _grants(plan, known, held, resource)]
        if not grants:
            return known
        time, resource, _, _, s, k = min(grants)
        known[s, k, "start"] = time
        held[resource] = time, s, k


def _grants(plan: NetworkPlan, known: Moments, held: dict[int, tuple[int, int, int]], resource: int) -> Iterator:
    """What a free resource may grant, those of the same instant by request, layer, stage order and unit."""
    since, holder, _ = held[resource]
    users = [s for s, stage in enumerate(plan.stages) if stage.resource == resource]
    asked = [(known[at], *at[:2]) for at in known if at[0] in users and at[2] == "ready"]
    waiting = [one for one in asked if (*one[1:], "start") not in known]
    if holder < 0 and waiting:
        time = max(since, min(waiting)[0])
        yield from ((time, resource, asked, plan.rank(s), s, k) for asked, s, k in waiting if asked <= time)


def _settle(plan: NetworkPlan, known: Moments, waits: Waits) -> bool:
    """Add the moments of a job that follow from those that are known; whether there was one."""
    (s, k), before = waits.at, len(known)
    if (s, k, "ready") not in known and all(at in known for at in waits.ready):
        known[s, k, "ready"] = max([0, *(known[at] for at in waits.ready)])
    if plan.stages[s].resource not in plan.shared and (s, k, "ready") in known:
        known[s, k, "start"] = known[s, k, "ready"]
    if (s, k, "start") in known and all(at in known for at in waits.leave):
        start, last = known[s, k, "start"], known[s, k - 1, "done"] if k else 0
        known[s, k, "leave"] = max([start + waits.job.occupancy, *(known[at] for at in waits.leave)])
        known[s, k, "done"] = max(known[s, k, "leave"], start + waits.job.latency, last)
    return len(known) > before


def _waits(plan: NetworkPlan, jobs: list[list[Job]], s: int, k: int) -> Waits:
    before = [(s, k - 1, "leave")] if k else []
    ready = (*before, *_inputs(plan, jobs, s, k), *_tokens(plan, jobs, s, k, "start"))
    return Waits((s, k), jobs[s][k], ready, tuple(_tokens(plan, jobs, s, k, "end")))


def _job_list(plan: NetworkPlan, stage: Stage) -> list[Job]:
    found: list[Job] = []
    windows = [
        jobs
        for _ in range(plan.images)
        for phase, jobs in zip(plan.layers[stage.layer].phases, stage.jobs, strict=True)
        for _ in range(phase.windows)
    ]
    for window, jobs in enumerate(windows):
        for step in range(jobs.steps):
            services = (times[step % len(times)] for times in (jobs.occupancy_fs, jobs.latency_fs))
            found.append(Job(window, step, jobs.steps, *services))
    return found


def _last_job(jobs: list[Job], window: int) -> int:
    return max(index for index, job in enumerate(jobs) if job.window == window)


def _inputs(plan: NetworkPlan, jobs: list[list[Job]], s: int, k: int) -> Iterator[tuple[int, int, str]]:
    """The jobs of input stages, and of other layers, that must be done."""
    job, stage = jobs[s][k], plan.stages[s]
    for i in stage.inputs:
        yield i, k if stage.stepped and plan.stages[i].stepped else _last_job(jobs[i], job.window), "done"
    image, within = divmod(job.window, plan.layers[stage.layer].windows)
    for read in (read for read in plan.reads if s in read.readers):
        needed = image * plan.layers[read.dependency.producer].windows + int(read.dependency.needs[within])
        if needed >= 0:
            yield from ((source, _last_job(jobs[source], needed), "done") for source in read.sources)


def _tokens(plan: NetworkPlan, jobs: list[list[Job]], s: int, k: int, at: str) -> Iterator[tuple[int, int, str]]:
    """When the tokens that a job takes at its start or end were given back by their previous holders."""
    job = jobs[s][k]
    for slots in plan.slots:
        edge = job.step == (0 if at == "start" else job.steps - 1)
        if slots.acquire != s or slots.acquire_at != at or (slots.per_window and not edge):
            continue
        token = (job.window if slots.per_window else k) - slots.capacity
        for r in slots.release if token >= 0 else ():
            mine = [i for i, other in enumerate(jobs[r]) if other.window == token] if slots.per_window else [token]
            yield r, mine[0] if slots.release_at == "start" else mine[-1], slots.release_at
    for read in plan.reads if at == "end" and job.step == job.steps - 1 else ():
        token = job.window - read.dependency.capacity
        if s == read.departure and token >= 0:
            per_image = plan.layers[read.dependency.producer].windows
            freed = [image * per_image + int(n) for image in range(plan.images) for n in read.dependency.freed]
            window = next(window for window, count in enumerate(freed) if count > token)
            yield from ((reader, _last_job(jobs[reader], window), "leave") for reader in read.readers)


def check_against_fixed_point(plan: NetworkPlan) -> None:
    """Every span and every completion of the event engine as the rules say; a deadlock where they say one."""
    spans: list[Span] = []
    moments = fixed_point(plan)
    jobs = [_job_list(plan, stage) for stage in plan.stages]
    if any((s, len(each) - 1, "done") not in moments for s, each in enumerate(jobs)):
        with pytest.raises(SimulationError):
            play(plan)
        return
    played = play(plan, spans.append)
    expected = sorted(
        (stage.layer, stage.name, job.window, job.step, moments[s, k, "start"], moments[s, k, "done"])
        for s, stage in enumerate(plan.stages)
        for k, job in enumerate(jobs[s])
        if _served(plan, stage, job.window).units
    )
    names = {layer.name: number for number, layer in enumerate(plan.layers)}
    seen = sorted(
        (n, x.stage, x.image * plan.layers[n].windows + x.window, max(x.step, 0), x.start_fs, x.end_fs)
        for x, n in ((x, names[x.layer]) for x in spans)
    )
    assert seen == expected
    for number, outputs in enumerate(plan.outputs):
        left = [
            max(moments[s, _last_job(jobs[s], w), "done"] for s in outputs)
            for w in range(jobs[outputs[0]][-1].window + 1)
        ]
        assert played.window_done_fs[number] == tuple(left[: plan.layers[number].windows])
        assert all(
            done >= left[(image + 1) * plan.layers[number].windows - 1]
            for image, done in enumerate(played.image_done_fs)
        )


def _served(plan: NetworkPlan, stage: Stage, window: int) -> Jobs:
    layer = plan.layers[stage.layer]
    served = [jobs for phase, jobs in zip(layer.phases, stage.jobs, strict=True) for _ in range(phase.windows)]
    return served[window % layer.windows]


@given(layer_plans(shared=False), st.integers(1, 2))
@settings(max_examples=100, deadline=None)
def test_every_span_equals_the_fixed_point_of_the_rules(layer: LayerPlan, images: int) -> None:
    """One layer without shared resources, whose images follow without a gap."""
    check_against_fixed_point(alone(layer, images))


@given(layer_plans())
@settings(max_examples=60, deadline=None)
def test_shared_resources_are_granted_as_the_rules_say(layer: LayerPlan) -> None:
    """Ports, buses, converters and links that several stages of a layer use, with many requests at one instant."""
    check_against_fixed_point(alone(layer))


@given(network_plans())
@settings(max_examples=40, deadline=None)
def test_layers_wait_for_one_another_as_the_rules_say(plan: NetworkPlan) -> None:
    """Windows of other layers, finite buffers between them, resources that layers share, and several images."""
    check_against_fixed_point(plan)


def single(name: str, resource: int, inputs: tuple[int, ...], occupancy: int, windows: int = 1) -> Stage:
    return Stage(name, resource, inputs, (Jobs(1, (occupancy,), (occupancy,)),))


def test_ties_for_a_resource_go_to_the_stage_nearest_the_output() -> None:
    """At 10 the read of window 1 and the write of window 0 ask for the same port: the write goes first."""
    stages = (single("edram_read", 0, (), 10), single("array", 1, (0,), 0), single("edram_write", 0, (1,), 10))
    plan = LayerPlan("tie", (Phase(2, 1),), ("port", "array"), stages, (), (2,))
    spans: list[Span] = []
    play(alone(plan), spans.append)
    assert [(s.stage, s.window, s.start_fs) for s in sorted(spans, key=lambda s: s.start_fs) if s.stage != "array"] == [
        ("edram_read", 0, 0),
        ("edram_write", 0, 10),
        ("edram_read", 1, 20),
        ("edram_write", 1, 30),
    ]


def test_ties_between_equal_stages_go_by_unit() -> None:
    stages = (single("adc", 0, (), 7), single("adc", 0, (), 5), single("merge", 1, (0, 1), 1))
    plan = LayerPlan("tie", (Phase(1, 1),), ("adc", "merge"), stages, (), (2,))
    spans: list[Span] = []
    assert play(alone(plan), spans.append).window_done_fs == ((13,),)
    assert [(s.start_fs, s.end_fs) for s in spans if s.stage == "adc"] == [(0, 7), (7, 12)]


def test_a_resource_serves_first_come_first_served() -> None:
    """The later request waits although its stage stands nearer the output."""
    stages = (
        single("edram_read", 0, (), 10),
        single("array", 1, (), 3),
        single("edram_write", 0, (1,), 4),
        single("merge", 2, (0, 2), 0),
    )
    plan = LayerPlan("fifo", (Phase(1, 1),), ("port", "array", "merge"), stages, (), (3,))
    assert play(alone(plan)).window_done_fs == ((14,),)


def test_deadlock_is_explained() -> None:
    stages = (single("bus", 0, (), 1), single("array", 1, (0,), 1))
    slots = (Slots("never", 1, 0, "start", (1,), "done", False),)
    broken = LayerPlan(
        "stuck", (Phase(3, 1),), ("a", "b"), stages, (replace(slots[0], release=(0,), release_at="end"),), (1,)
    )
    with pytest.raises(
        SimulationError, match="only 1 of 3 windows left the layer: the plan must not deadlock; waiting: bus"
    ):
        play(alone(broken))


def test_probe_times_are_absolute() -> None:
    spans: list[Span] = []
    plan = LayerPlan("one", (Phase(1, 1),), ("a",), (single("bus", 0, (), 5),), (), (0,))
    play(alone(plan), spans.append, start_fs=100)
    assert [(s.start_fs, s.end_fs) for s in spans] == [(100, 105)]


def test_chip_factory_is_isaac_by_default() -> None:
    assert chip().timing.stage_fs == 100 * NS


def pipeline(read: int, convert: int, units: int = 1, load: int = 0, windows: int = 4) -> LayerPlan:
    """edram -> bus -> array -> adc -> merge, one step a window, sample-and-hold of depth 1."""
    stages = (
        single("edram_read", 0, (), load),
        single("bus", 1, (0,), 1),
        Stage("array", 2, (1,), (Jobs(1, (read,), (read,), units=units),), True),
        Stage("adc", 3, (2,), (Jobs(1, (convert,), (convert,), units=units),), True),
        single("merge", 4, (3,), 0),
    )
    hold = Slots("hold", 1, 2, "end", (3,), "leave", False, "adc")
    return LayerPlan("pipeline", (Phase(windows, 1),), tuple("abcde"), stages, (hold,), (4,))


@pytest.mark.parametrize("units", [1, 3])
def test_a_slow_converter_stalls_the_arrays(units: int) -> None:
    """Each of the last three reads is held 7 - 5 longer, once the sample-and-hold is full: 0, 2 + 2 + 2."""
    expected = {"adc": units * 6, "buffer": 0, "bus": 0, "input": 0, "output": 0}
    assert play(alone(pipeline(5, 7, units))).stall_fs == (expected,)


@pytest.mark.parametrize("units", [1, 3])
def test_slow_loads_stall_the_arrays(units: int) -> None:
    """Windows come every 9: after a read of 5, an array waits 3 for the buffer and 1 for the bus, three times."""
    expected = {"adc": 0, "buffer": units * 9, "bus": units * 3, "input": 0, "output": 0}
    assert play(alone(pipeline(5, 2, units, load=9))).stall_fs == (expected,)
