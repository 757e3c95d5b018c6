"""Spans arranged on tracks: one track a unit, grouped tile, macro, array; counters of active rows.

Both trace formats are written from these events. Slices on one track never overlap: a unit whose jobs
overlap (latency longer than interval) gets further lanes. Lockstep spans stand on the track of their first
unit, with the number of units beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pimsim.simulation.results import Span

#: Femtoseconds shown as one nanosecond: viewers count whole nanoseconds, and an ADC sample takes 0.78.
FS_PER_SHOWN_NS = 1000
TIME_NOTE = "times are shown x1000: read us as ns and ns as ps; exact femtoseconds stand with each slice"

#: Order of stages within a unit, from the buffer to the next layer.
STAGE_ORDER = (
    *("edram_read", "bus", "index", "array", "adc", "shift_add"),
    *("scatter", "merge", "activation", "digital", "router", "edram_write"),
)


@dataclass(frozen=True)
class Unit:
    """One unit of the chip: its place (-1 where a level does not apply) and its stage."""

    tile: int
    macro: int
    array: int
    stage: str

    @property
    def path(self) -> tuple[str, ...]:
        """Names of the groups around it, outermost first."""
        levels = (("tile", self.tile), ("macro", self.macro), ("array", self.array))
        return tuple(f"{name} {index}" for name, index in levels if index >= 0) or ("chip",)

    @property
    def rank(self) -> int:
        """Position of its track within its group."""
        return STAGE_ORDER.index(self.stage) if self.stage in STAGE_ORDER else len(STAGE_ORDER)


@dataclass(frozen=True)
class Slice:
    """A span on lane ``lane`` of its unit, counted from 0."""

    unit: Unit
    lane: int
    span: Span


@dataclass(frozen=True)
class Sample:
    """``active_rows`` of an array (per unit in lockstep) from ``time_fs`` on."""

    unit: Unit
    time_fs: int
    active_rows: int


def slice_name(span: Span) -> str:
    """What a viewer writes on a slice, such as ``conv2 w12 s3`` (window 12, step 3)."""
    step = f" s{span.step}" if span.step >= 0 else ""
    return f"{span.layer} w{span.window}{step}"


def shown_ns(time_fs: int) -> int:
    """The whole nanosecond at which a viewer shows a time, rounded down: see `TIME_NOTE`."""
    return time_fs // FS_PER_SHOWN_NS


def events(spans: Iterable[Span]) -> Iterator[Slice | Sample]:
    """Slices and counter samples of a stream of spans.

    On one track slices come in order of time and do not overlap, whatever the order of the spans. Holds one
    entry per lane, never the spans.
    """
    lanes: dict[Unit, list[int]] = {}
    counters: dict[Unit, _Counter] = {}
    for span in spans:
        unit = Unit(span.tile, span.macro, span.array, span.stage)
        yield Slice(unit, _lane(lanes.setdefault(unit, []), span), span)
        if span.stage == "array":
            yield from counters.setdefault(unit, _Counter(unit)).start(span)
    for counter in counters.values():
        yield from counter.stop()


def _lane(ends: list[int], span: Span) -> int:
    """The first lane that is free at the start of a span; a new one when none is."""
    for lane, end in enumerate(ends):
        if end <= span.start_fs:
            ends[lane] = span.end_fs
            return lane
    ends.append(span.end_fs)
    return len(ends) - 1


class _Counter:
    """Active rows of one array: back to zero when it idles, silent when nothing changes."""

    def __init__(self, unit: Unit) -> None:
        self.unit, self.rows, self.end_fs = unit, 0, 0

    def start(self, span: Span) -> Iterator[Sample]:
        """Samples for a step that begins."""
        if span.start_fs > self.end_fs:
            yield from self.stop()
        if span.active_rows != self.rows:
            yield Sample(self.unit, span.start_fs, span.active_rows)
        self.rows, self.end_fs = span.active_rows, max(self.end_fs, span.end_fs)

    def stop(self) -> Iterator[Sample]:
        """The sample at which the array idles."""
        if self.rows:
            yield Sample(self.unit, self.end_fs, 0)
        self.rows = 0
