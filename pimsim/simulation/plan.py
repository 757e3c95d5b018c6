"""The plan of a run as data: stages, the resources they use, and the finite buffers between them.

Nothing here is SimPy or Numba. An engine must give every job of every stage exactly these times:

* a stage serves its jobs one at a time, in order: image after image, and in each image phase after phase;
* job k is *ready* when the jobs that it needs of every input stage are *done* (the same step, the same
  window, or the last step of the window, whichever the two granularities imply), and when the windows of other
  layers that its own window needs (`Dependency`) are done;
* it *starts* at the earliest time at or after ready, the *leave* of the stage's previous job, the moment its
  ``start`` slots are free, and the grant of its resource;
* it occupies the resource for ``occupancy_fs``, then waits, still holding it, until its ``end`` slots are
  free: that moment is its *leave*;
* it is *done* at max(leave, start + latency_fs, done of the previous job).

A resource that several stages use is an arbiter: first come, first served by request time (ready and start slots
held). Ties go to the later layer, then by `STAGE_ORDER` (the stage nearest the output first, so that a full pipeline
drains), then by stage index, that is by unit. Requests made at the same instant are all collected before one is
granted; arbiters that decide at the same instant do so in the order of their resources, and everything that follows
from one grant at that instant happens before the next.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Which stage goes first when requests for one resource tie.
STAGE_ORDER = (
    "edram_write", "router", "digital", "activation", "merge", "scatter", "shift_add", "adc", "array", "index", "bus",
    "edram_read",
)  # fmt: skip

#: Action counts by component name, for one window.
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

    ``occupancy_fs`` and ``latency_fs`` have one entry for all jobs or one for each of ``steps``; ``counts`` is what all
    of them do together; ``rows`` is the most that each unit drives in a step (arrays only). A unit that idles in a
    phase has one empty job a window and ``units`` 0.
    """

    steps: int
    occupancy_fs: tuple[int, ...]
    latency_fs: tuple[int, ...]
    counts: Counts = ()
    units: int = 1
    rows: int = 0

    def __post_init__(self) -> None:
        assert self.steps >= 1
        assert all(len(entries) in (1, self.steps) for entries in (self.occupancy_fs, self.latency_fs))

    def occupancy_total_fs(self) -> int:
        """Busy time of one unit for one window."""
        return self.steps // len(self.occupancy_fs) * sum(self.occupancy_fs)


@dataclass(frozen=True)
class Stage:
    """One pipeline stage of one unit (or of identical units in lockstep).

    ``inputs`` and ``resource`` index the plan; ``jobs`` has one entry per phase. ``tile``, ``macro`` and ``array``
    locate the first unit (-1 where a level does not apply); ``layer`` indexes the layers of a `NetworkPlan`.
    """

    name: str
    resource: int
    inputs: tuple[int, ...]
    jobs: tuple[Jobs, ...]
    stepped: bool = False
    tile: int = -1
    macro: int = -1
    array: int = -1
    layer: int = 0

    @property
    def units(self) -> int:
        """Units in lockstep, the most of any phase."""
        return max(jobs.units for jobs in self.jobs)


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
    """Everything an engine needs to play one layer; one image, if it is played alone.

    ``resources`` are names: layers of a network share those that are called the same. ``outputs`` are the stages
    whose windows, all done, mean that the window has left the layer; ``departure`` is the stage that sends a window
    to them, which waits there until the layers that read it have room. ``row`` is how many window slots cover whole
    rows of the output map (0: unknown), which is where what happens may begin to repeat.
    """

    name: str
    phases: tuple[Phase, ...]
    resources: tuple[str, ...]
    stages: tuple[Stage, ...]
    slots: tuple[Slots, ...]
    outputs: tuple[int, ...]
    departure: int = 0
    row: int = 0

    @property
    def windows(self) -> int:
        """Window slots over all phases of one image."""
        return sum(phase.windows for phase in self.phases)

    def named(self, name: str) -> tuple[Stage, ...]:
        """The stages of that name, in plan order."""
        return tuple(stage for stage in self.stages if stage.name == name)


@dataclass(frozen=True, eq=False)
class Dependency:
    """How the windows of one layer need those of another, and the finite buffer between them.

    Attributes:
        producer, consumer: indices of layers.
        needs: int64 (window slots of the consumer's image,), the last window slot of the producer's image that must be
            written before the slot starts; never falls.
        freed: int64 (the same,), how many window slots of the producer's image no later slot needs once this one has
            been read; never falls, and ends at all of them.
        capacity: window slots of the producer that the buffer holds.
        joins: whether the consumer adds what it gets to its own outputs, where a window departs, instead of reading
            it as its input.
    """

    producer: int
    consumer: int
    needs: NDArray[np.int64] = field(repr=False)
    freed: NDArray[np.int64] = field(repr=False)
    capacity: int
    joins: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dependency) and (
            (self.producer, self.consumer, self.capacity, self.joins)
            == (other.producer, other.consumer, other.capacity, other.joins)
            and np.array_equal(self.needs, other.needs)
            and np.array_equal(self.freed, other.freed)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    @property
    def least_capacity(self) -> int:
        """Window slots that the buffer must hold lest the consumer waits for ever; joins may need more."""
        kept_from = np.concatenate(([0], self.freed[:-1]))
        return max(1, int((self.needs + 1 - kept_from).max()))


@dataclass(frozen=True)
class Read:
    """A `Dependency` between stages: what the consumer's ``readers`` wait for and give back.

    Every reader waits until the ``sources`` are done with the windows that its own window needs, and gives back at
    its *leave* what is no longer needed; ``departure`` takes a token at the end of each window.
    """

    dependency: Dependency
    sources: tuple[int, ...]
    readers: tuple[int, ...]
    departure: int


@dataclass(frozen=True)
class NetworkPlan:
    """Layers that run at the same time, image after image, or one layer alone.

    Layers hand windows on through ``dependencies``; stages of different layers whose resource has the same name
    share it.
    """

    name: str
    layers: tuple[LayerPlan, ...]
    dependencies: tuple[Dependency, ...] = ()
    images: int = 1

    @cached_property
    def first_stage(self) -> tuple[int, ...]:
        """Index in `stages` of the first stage of each layer, and the number of all stages."""
        firsts = [0]
        for layer in self.layers:
            firsts.append(firsts[-1] + len(layer.stages))
        return tuple(firsts)

    @cached_property
    def resources(self) -> tuple[str, ...]:
        """The distinct resources of all layers."""
        return tuple(dict.fromkeys(name for layer in self.layers for name in layer.resources))

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of all layers, with inputs and resources that index the network."""
        known = {name: i for i, name in enumerate(self.resources)}
        return tuple(
            replace(
                stage,
                resource=known[layer.resources[stage.resource]],
                inputs=tuple(first + i for i in stage.inputs),
                layer=number,
            )
            for number, (layer, first) in enumerate(zip(self.layers, self.first_stage, strict=False))
            for stage in layer.stages
        )

    @cached_property
    def slots(self) -> tuple[Slots, ...]:
        """The buffers inside the layers, with stages that index the network."""
        return tuple(
            replace(slots, acquire=first + slots.acquire, release=tuple(first + i for i in slots.release))
            for layer, first in zip(self.layers, self.first_stage, strict=False)
            for slots in layer.slots
        )

    @cached_property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """The output stages of each layer."""
        return tuple(
            tuple(first + i for i in layer.outputs) for layer, first in zip(self.layers, self.first_stage, strict=False)
        )

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """The dependencies between stages."""
        return tuple(
            Read(
                one,
                self.outputs[one.producer],
                self._readers(one),
                self.first_stage[one.producer] + self.layers[one.producer].departure,
            )
            for one in self.dependencies
        )

    def _readers(self, one: Dependency) -> tuple[int, ...]:
        """The stages that read a layer's inputs, which have none of their own; or the one where parts are joined."""
        layer = one.consumer
        first = self.first_stage[layer]
        if one.joins:
            return (first + self.layers[layer].departure,)
        return tuple(first + i for i, stage in enumerate(self.layers[layer].stages) if not stage.inputs)

    @cached_property
    def shared(self) -> frozenset[int]:
        """Resources that several stages use, which need an arbiter."""
        used = Counter(stage.resource for stage in self.stages)
        return frozenset(resource for resource, users in used.items() if users > 1)

    def rank(self, stage: int) -> tuple[int, int, int]:
        """The order of simultaneous requests for one resource: the lowest goes first."""
        found = self.stages[stage]
        return -found.layer, STAGE_ORDER.index(found.name), stage
