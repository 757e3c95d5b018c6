"""Random plans: one layer with every kind of stage, buffer and shared resource, and layers that feed one another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import strategies as st

from pimsim.simulation.dependencies import least_capacities
from pimsim.simulation.plan import Dependency, Jobs, LayerPlan, NetworkPlan, Phase, Slots, Stage

#: Few and small times, so that much happens at the same instant.
OCCUPANCIES = st.sampled_from([0, 0, 1, 2, 3, 5, 9])
LATENCIES = st.sampled_from([0, 1, 4, 12])
CAPACITIES = st.sampled_from([1, 1, 2, 3])
IDLE = Jobs(1, (0,), (0,), units=0)


def alone(layer: LayerPlan, images: int = 1) -> NetworkPlan:
    """The plan of one layer that runs alone."""
    return NetworkPlan(layer.name, (layer,), images=images)


@dataclass
class _Draft:
    """A layer being drawn; ``steps`` has one entry for each phase."""

    draw: st.DrawFn
    phases: tuple[Phase, ...]
    steps: tuple[int, ...]
    private: str
    crowded: bool = False
    stages: list[Stage] = field(default_factory=list)
    slots: list[Slots] = field(default_factory=list)
    resources: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, inputs: tuple[int, ...], jobs: tuple[Jobs, ...], shared: str = "") -> int:
        """Add a stage; ``shared`` names a resource that others may use, all of them where it is crowded."""
        resource = shared or f"{self.private} {name} {len(self.stages)}"
        if shared and self.crowded:
            resource = shared.split()[0]
        number = self.resources.setdefault(resource, len(self.resources))
        self.stages.append(Stage(name, number, inputs, jobs, name in ("index", "array", "adc", "shift_add")))
        return len(self.stages) - 1

    def hold(
        self,
        name: str,
        stage: int,
        at: str,
        release: tuple[int, ...],
        when: str,
        window: bool,
        cause: str = "output",
        capacity: int = 0,
    ) -> None:
        """Add a buffer of a drawn capacity."""
        found = capacity or self.draw(CAPACITIES)
        self.slots.append(Slots(name, found, stage, at, release, when, window, cause))

    def jobs(self, steps: int, units: int = 1) -> Jobs:
        """Services of a window, all alike or one for each step."""
        length = self.draw(st.sampled_from([1, steps]))
        occupancy, latency = (
            tuple(self.draw(st.lists(times, min_size=length, max_size=length))) for times in (OCCUPANCIES, LATENCIES)
        )
        return Jobs(steps, occupancy, latency, units=units)

    def whole(self) -> tuple[Jobs, ...]:
        """Services of a stage that works on whole windows."""
        return tuple(self.jobs(1) for _ in self.phases)

    def stepped(self, idle: tuple[bool, ...], units: int) -> tuple[Jobs, ...]:
        """Services of a stage that works step by step, and is idle in some phases."""
        return tuple(IDLE if off else self.jobs(n, units) for n, off in zip(self.steps, idle, strict=True))


@st.composite
def layer_plans(
    draw: st.DrawFn,
    windows: int = 3,
    steps: int = 3,
    phases: int = 2,
    *,
    least: int = 1,
    name: str = "random",
    shared: bool = True,
) -> LayerPlan:
    """Loads -> streams of (read, convert, add) -> merge -> ways -> writes, with the buffers of the builder and others.

    Args:
        draw: by hypothesis.
        windows, steps, phases: the most of each.
        least: windows of a phase.
        name: of the layer.
        shared: whether ports, buses, links and converters may be shared, in the layer and with others.
    """
    count = draw(st.integers(1, phases))
    lengths = tuple(Phase(draw(st.integers(least, windows)), 1) for _ in range(count))
    per_phase = tuple(draw(st.lists(st.integers(1, steps), min_size=count, max_size=count)))
    draft = _Draft(
        draw, lengths, per_phase if draw(st.booleans()) else per_phase[:1] * count, name, draw(st.booleans())
    )
    loads = [_add_load(draft, number, shared) for number in range(draw(st.integers(1, 2)))]
    streams = [_add_stream(draft, draw(st.sampled_from(loads))[1], shared) for _ in range(draw(st.integers(1, 3)))]
    departure, ends = _add_tail(draft, tuple(shift for _, shift in streams), shared)
    ports = [f"port {number}" if shared and draw(st.booleans()) else "" for number in range(draw(st.integers(1, 2)))]
    writes = tuple(draft.add("edram_write", ends, draft.whole(), port) for port in ports)
    _add_window_buffers(draft, loads, streams, ends, writes)
    if draw(st.integers(0, 3)) == 3:
        _add_wild_buffer(draft)
    return LayerPlan(name, lengths, tuple(draft.resources), tuple(draft.stages), tuple(draft.slots), writes, departure)


def _add_load(draft: _Draft, number: int, shared: bool) -> tuple[int, int]:
    share = draft.draw(st.tuples(st.booleans(), st.booleans())) if shared else (False, False)
    read = draft.add("edram_read", (), draft.whole(), f"port {number}" * share[0])
    return read, draft.add("bus", (read,), draft.whole(), f"bus {number}" * share[1])


def _add_stream(draft: _Draft, bus: int, shared: bool) -> tuple[int, int]:
    """Row selection (or none), array, converter (or none: columns are sensed in turn) and shift-add; array and last."""
    draw = draft.draw
    idle = tuple(draw(st.integers(0, 4)) == 4 for _ in draft.phases)
    units = draw(st.sampled_from([1, 3]))
    inputs, index = (bus,), -1
    if draw(st.integers(0, 2)) == 2:
        index = draft.add("index", (bus,), draft.stepped(idle, units))
        inputs = bus, index
    array = source = draft.add("array", inputs, draft.stepped(idle, units))
    if index >= 0 and draw(st.integers(0, 3)) < 3:
        draft.hold("index", index, "start", (array,), draw(st.sampled_from(["start", "leave"])), False, "input")
    if draw(st.integers(0, 4)) < 4:
        converter = "adc 0" if shared and draw(st.booleans()) else ""
        source = draft.add("adc", (array,), draft.stepped(idle, units), converter)
        draft.hold("sample_hold", array, "end", (source,), "leave", False, "adc")
    shift = draft.add("shift_add", (source,), draft.stepped(idle, units))
    if draw(st.integers(0, 5)) < 5:
        draft.hold("samples", source, draw(st.sampled_from(["start", "start", "end"])), (shift,), "start", False)
    if draw(st.integers(0, 5)) == 5:
        draft.hold("step", array, "start", (source,), "done", False, "adc", 1)
    return array, shift


def _add_tail(draft: _Draft, inputs: tuple[int, ...], shared: bool) -> tuple[int, tuple[int, ...]]:
    """Merge and what follows, and a tree of links; the stage where a window departs, and the ends of the ways."""
    draw = draft.draw
    departure = draft.add("merge", inputs, draft.whole())
    for name in draw(st.sampled_from([(), ("activation",), ("activation", "digital")])):
        following = draft.add(name, (departure,), draft.whole())
        draft.hold(name, departure, "end", (following,), "start", True)
        departure = following
    links: list[int] = []
    inner = set()
    for number in range(draw(st.integers(0, 3))):
        source = draw(st.sampled_from([departure, *links]))
        inner.add(source)
        link = draft.add("router", (source,), draft.whole(), f"link {number}" * (shared and draw(st.booleans())))
        draft.hold("link", source, "end", (link,), "start", True)
        links.append(link)
    return departure, tuple(link for link in links if link not in inner) or (departure,)


def _add_window_buffers(
    draft: _Draft,
    loads: list[tuple[int, int]],
    streams: list[tuple[int, int]],
    ends: tuple[int, ...],
    writes: tuple[int, ...],
) -> None:
    draw = draft.draw
    merge = next(i for i, stage in enumerate(draft.stages) if stage.name == "merge")
    for read, bus in loads:
        arrays = tuple(array for array, _ in streams if bus in draft.stages[array].inputs)
        if arrays:
            draft.hold("input_register", read, "start", arrays, "leave", True, "input")
        if draw(st.integers(0, 5)) == 5:
            draft.hold("window", read, "start", writes, "done", True, "input", 1)
    for _, shift in streams:
        if draw(st.integers(0, 5)) < 5:
            draft.hold("output_register", shift, "start", (merge,), "leave", True)
    for end in ends:
        draft.hold("outputs", end, "end", writes, draw(st.sampled_from(["start", "leave", "done"])), True)


def _add_wild_buffer(draft: _Draft) -> None:
    """Any two stages with a window buffer between them, the second at or behind the first."""
    draw = draft.draw
    first = draw(st.integers(0, len(draft.stages) - 1))
    last = draw(st.integers(first, len(draft.stages) - 1))
    when = draw(st.sampled_from(["start", "leave", "done"] if last > first else ["leave", "done"]))
    at = draw(st.sampled_from(["start", "end"])) if last > first else "start"
    draft.hold("wild", first, at, (last,), when, True, draw(st.sampled_from(["input", "output"])))


@st.composite
def network_plans(
    draw: st.DrawFn, layers: int = 3, images: int = 4, windows: int = 4, phases: int = 2, least: int = 1
) -> NetworkPlan:
    """Random layers that read one another's windows; buffers of the least capacity, larger, or one too small."""
    made = tuple(
        draw(layer_plans(windows, phases=phases, least=least, name=f"l{number}"))
        for number in range(draw(st.integers(1, layers)))
    )
    found = [
        _dependency(draw, made, producer, consumer)
        for consumer in range(1, len(made))
        for producer in range(consumer)
        if producer == consumer - 1 or draw(st.booleans())
    ]
    least = least_capacities(found, len(made))
    more = draw(st.lists(st.sampled_from([0, 0, 1, 2, -1]), min_size=len(found), max_size=len(found)))
    dependencies = tuple(
        replace(one, capacity=max(1, room + extra)) for one, room, extra in zip(found, least, more, strict=True)
    )
    return NetworkPlan("random", made, dependencies, draw(st.integers(1, images)))


def _dependency(draw: st.DrawFn, layers: tuple[LayerPlan, ...], producer: int, consumer: int) -> Dependency:
    """Needs as a strided layer has them, or any that never fall."""
    there, here = layers[producer].windows, layers[consumer].windows
    if draw(st.booleans()):
        ahead, kept_for = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        needs = [min(there, (k + 1) * there // here + ahead) - 1 for k in range(here)]
        freed = [max(0, (k + 1) * there // here - kept_for) for k in range(here)]
    else:
        needs = sorted(draw(st.lists(st.integers(-1, there - 1), min_size=here, max_size=here)))
        freed = sorted(draw(st.lists(st.integers(0, there), min_size=here, max_size=here)))
    kept = np.maximum.accumulate([min(a, b + 1) for a, b in zip(freed, needs, strict=True)])
    kept[-1] = there
    return Dependency(producer, consumer, np.array(needs, dtype=np.int64), kept.astype(np.int64), 0)
