"""The plan of one layer as data: stages, the resources they use, and the finite buffers between them.

Nothing here is SimPy. An engine must give every job of every stage exactly these times:

* a stage serves its jobs one at a time, in order;
* job k is *ready* when the jobs that it needs of every input stage are *done* (the same step, the same
  window, or the last step of the window, whichever the two granularities imply);
* it *starts* at the earliest time at or after ready, the *leave* of the stage's previous job, the moment its
  ``start`` slots are free, and the grant of its resource;
* it occupies the resource for ``occupancy_fs``, then waits, still holding it, until its ``end`` slots are
  free: that moment is its *leave*;
* it is *done* at max(leave, start + latency_fs, done of the previous job).

A resource that several stages use is an arbiter: first come, first served by request time (ready and start slots
held), ties by `STAGE_ORDER` (the stage nearest the output first, so that a full pipeline drains) and then by
stage index, that is by unit. Requests made at the same instant are all collected before one is granted.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Which stage goes first when requests for one resource tie.
STAGE_ORDER = (
    "edram_write", "router", "digital", "activation", "merge", "shift_add", "adc", "array", "bus", "edram_read",
)  # fmt: skip

#: Action counts by component name, for one job.
Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Phase:
    """A run of windows with constant services: a reprogramming round, or its remainder under replication.

    ``windows`` counts window slots; ``copies`` replicas work on different windows in each slot.
    """

    windows: int
    copies: int


@dataclass(frozen=True)
class Jobs:
    """What a stage does for one window of a phase.

    ``occupancy_fs``, ``latency_fs`` and ``counts`` have one entry for all jobs or one for each of ``steps``;
    ``rows`` is what each unit drives in a step (arrays only). A unit that idles in a phase has one empty job a window
    and ``units`` 0.
    """

    steps: int
    occupancy_fs: tuple[int, ...]
    latency_fs: tuple[int, ...]
    counts: tuple[Counts, ...] = ((),)
    units: int = 1
    rows: int = 0

    def __post_init__(self) -> None:
        assert self.steps >= 1 and all(
            len(entries) in (1, self.steps) for entries in (self.occupancy_fs, self.latency_fs, self.counts)
        )

    def occupancy_total_fs(self) -> int:
        """Busy time of one unit for one window."""
        return self.steps // len(self.occupancy_fs) * sum(self.occupancy_fs)


@dataclass(frozen=True)
class Stage:
    """One pipeline stage of one unit (or of identical units in lockstep).

    ``inputs`` and ``resource`` index the plan; ``jobs`` has one entry per phase. ``tile``, ``macro`` and ``array``
    locate the first unit (-1 where a level does not apply).
    """

    name: str
    resource: int
    inputs: tuple[int, ...]
    jobs: tuple[Jobs, ...]
    stepped: bool = False
    tile: int = -1
    macro: int = -1
    array: int = -1


@dataclass(frozen=True)
class Slots:
    """A finite buffer: ``capacity`` tokens, taken by one stage and given back by others.

    A token is taken by ``acquire`` at ``start`` or ``end`` of a job, and given back when every stage of
    ``release`` reaches ``release_at`` (``start`` or ``leave`` of the job, or ``done``). ``per_window`` tokens are taken
    by the first (at ``start``) or last (at ``end``) job of a window, and given back alike. ``cause``
    is what an array that waits for it waits for.
    """

    name: str
    capacity: int
    acquire: int
    acquire_at: str
    release: tuple[int, ...]
    release_at: str
    per_window: bool
    cause: str = "output"


@dataclass(frozen=True)
class LayerPlan:
    """Everything an engine needs to play one layer.

    ``outputs`` are the stages whose windows, all done, mean that the window has left the layer.
    """

    name: str
    phases: tuple[Phase, ...]
    resources: tuple[str, ...]
    stages: tuple[Stage, ...]
    slots: tuple[Slots, ...]
    outputs: tuple[int, ...]

    @property
    def windows(self) -> int:
        """Window slots over all phases."""
        return sum(phase.windows for phase in self.phases)

    def named(self, name: str) -> tuple[Stage, ...]:
        """The stages of that name, in plan order."""
        return tuple(stage for stage in self.stages if stage.name == name)
