"""The event engine against an independent evaluation of the rules, and its behaviour at the edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chip import NS, chip

from pimsim.errors import SimulationError
from pimsim.simulation.event import play
from pimsim.simulation.plan import Jobs, LayerPlan, Phase, Slots, Stage
from pimsim.simulation.results import Span

Times = dict[tuple[int, int], tuple[int, int, int]]


def fixed_point(plan: LayerPlan) -> Times:
    """(start, leave, done) of every (stage, job) by iterating the rules of `plan.py` until nothing moves.

    Written for plans whose stages share no resource; slow and without any queue or event.
    """
    stages = plan.stages
    jobs = [_job_list(plan, stage) for stage in stages]
    times: Times = {(s, k): (0, 0, 0) for s in range(len(stages)) for k in range(len(jobs[s]))}
    while True:
        moved = False
        for (s, k), old in list(times.items()):
            _window, _step, _steps, occupancy, latency = jobs[s][k]
            before = times[s, k - 1] if k else (0, 0, 0)
            needed = [times[i, _needed(stages, jobs, s, i, k)][2] for i in stages[s].inputs]
            start = max([before[1], *needed, *_slot_times(plan, jobs, times, s, k, "start")])
            leave = max([start + occupancy, *_slot_times(plan, jobs, times, s, k, "end")])
            new = (start, leave, max(leave, start + latency, before[2]))
            moved |= new != old
            times[s, k] = new
        if not moved:
            return times


def _job_list(plan: LayerPlan, stage: Stage) -> list[tuple[int, int, int, int, int]]:
    result, window = [], 0
    for phase, jobs in zip(plan.phases, stage.jobs, strict=True):
        for _ in range(phase.windows):
            for step in range(jobs.steps):
                occupancy = jobs.occupancy_fs[step % len(jobs.occupancy_fs)]
                result.append((window, step, jobs.steps, occupancy, jobs.latency_fs[step % len(jobs.latency_fs)]))
            window += 1
    return result


def _needed(stages: tuple[Stage, ...], jobs: list[list[tuple[int, ...]]], s: int, i: int, k: int) -> int:
    if stages[s].stepped and stages[i].stepped:
        return k
    window = jobs[s][k][0]
    return max(index for index, job in enumerate(jobs[i]) if job[0] == window)


def _slot_times(plan: LayerPlan, jobs: list[list[tuple[int, ...]]], times: Times, s: int, k: int, at: str) -> list[int]:
    """When the token that job k of stage s takes there was given back by its previous holder."""
    result = []
    window, step, steps = jobs[s][k][:3]
    for slots in plan.slots:
        edge = step == (0 if at == "start" else steps - 1)
        if slots.acquire != s or slots.acquire_at != at or (slots.per_window and not edge):
            continue
        token = (window if slots.per_window else k) - slots.capacity
        if token < 0:
            continue
        for r in slots.release:
            if slots.per_window:
                mine = [i for i, job in enumerate(jobs[r]) if job[0] == token]
                job = mine[0] if slots.release_at == "start" else mine[-1]
            else:
                job = token
            result.append(times[r, job][{"start": 0, "leave": 1, "done": 2}[slots.release_at]])
    return result


@st.composite
def plans(draw: st.DrawFn) -> LayerPlan:
    """Random pipelines: load -> 1..3 streams of (read, convert, add) with buffers -> merge -> write."""
    phases = tuple(Phase(draw(st.integers(1, 3)), 1) for _ in range(draw(st.integers(1, 2))))
    steps = draw(st.integers(1, 3))

    def service(stepped: bool) -> tuple[Jobs, ...]:
        count = steps if stepped else 1
        length = draw(st.sampled_from([1, count]))
        entries = [(draw(st.integers(0, 9)), draw(st.integers(0, 12))) for _ in range(length)]
        return tuple(
            Jobs(count, tuple(o for o, _ in entries), tuple(la for _, la in entries), ((),) * 1) for _ in phases
        )

    stages = [Stage("bus", 0, (), service(False))]
    slots, firsts, lasts = [], [], []
    for _ in range(draw(st.integers(1, 3))):
        base = len(stages)
        stages.append(Stage("array", base, (0,), service(True), True))
        stages.append(Stage("adc", base + 1, (base,), service(True), True))
        stages.append(Stage("shift_add", base + 2, (base + 1,), service(True), True))
        slots.append(Slots("hold", draw(st.integers(1, 2)), base, "end", (base + 1,), "leave", False, "adc"))
        slots.append(Slots("samples", draw(st.integers(1, 2)), base + 1, "end", (base + 2,), "start", False))
        firsts.append(base)
        lasts.append(base + 2)
    merge = len(stages)
    stages.append(Stage("merge", merge, tuple(lasts), service(False)))
    stages.append(Stage("edram_write", merge + 1, (merge,), service(False)))
    slots.append(Slots("input", draw(st.integers(1, 2)), 0, "start", tuple(firsts), "leave", True, "input"))
    slots += [Slots("output", draw(st.integers(1, 2)), last, "start", (merge,), "leave", True) for last in lasts]
    slots.append(Slots("merged", draw(st.integers(1, 2)), merge, "end", (merge + 1,), "start", True))
    names = tuple(str(i) for i in range(len(stages)))
    return LayerPlan("random", phases, names, tuple(stages), tuple(slots), (merge + 1,))


@given(plans())
@settings(max_examples=150, deadline=None)
def test_every_span_equals_the_fixed_point_of_the_rules(plan: LayerPlan) -> None:
    spans: list[Span] = []
    played = play(plan, spans.append)
    times = fixed_point(plan)
    last = len(plan.stages) - 1
    assert played.window_done_fs == tuple(times[last, k][2] for k in range(plan.windows))
    expected: dict[str, list[tuple[int, int]]] = {}
    for (s, _), (start, _, done) in sorted(times.items()):
        expected.setdefault(plan.stages[s].name, []).append((start, done))
    for name, wanted in expected.items():
        assert sorted((x.start_fs, x.end_fs) for x in spans if x.stage == name) == sorted(wanted), name


def single(name: str, resource: int, inputs: tuple[int, ...], occupancy: int, windows: int = 1) -> Stage:
    return Stage(name, resource, inputs, (Jobs(1, (occupancy,), (occupancy,)),))


def test_ties_for_a_resource_go_to_the_stage_nearest_the_output() -> None:
    """At 10 the read of window 1 and the write of window 0 ask for the same port: the write goes first."""
    stages = (single("edram_read", 0, (), 10), single("array", 1, (0,), 0), single("edram_write", 0, (1,), 10))
    plan = LayerPlan("tie", (Phase(2, 1),), ("port", "array"), stages, (), (2,))
    spans: list[Span] = []
    play(plan, spans.append)
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
    assert play(plan, spans.append).window_done_fs == (13,)
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
    assert play(plan).window_done_fs == (14,)


def test_deadlock_is_explained() -> None:
    stages = (single("bus", 0, (), 1), single("array", 1, (0,), 1))
    slots = (Slots("never", 1, 0, "start", (1,), "done", False),)
    broken = LayerPlan(
        "stuck", (Phase(3, 1),), ("a", "b"), stages, (replace(slots[0], release=(0,), release_at="end"),), (1,)
    )
    with pytest.raises(
        SimulationError, match="only 1 of 3 windows left the layer: the plan must not deadlock; waiting: bus"
    ):
        play(broken)


def test_probe_times_are_absolute() -> None:
    spans: list[Span] = []
    play(LayerPlan("one", (Phase(1, 1),), ("a",), (single("bus", 0, (), 5),), (), (0,)), spans.append, start_fs=100)
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
    assert play(pipeline(5, 7, units)).stall_fs == {"adc": units * 6, "buffer": 0, "bus": 0, "input": 0, "output": 0}


@pytest.mark.parametrize("units", [1, 3])
def test_slow_loads_stall_the_arrays(units: int) -> None:
    """Windows come every 9: after a read of 5, an array waits 3 for the buffer and 1 for the bus, three times."""
    expected = {"adc": 0, "buffer": units * 9, "bus": units * 3, "input": 0, "output": 0}
    assert play(pipeline(5, 2, units, load=9)).stall_fs == expected
