"""What every engine takes and gives: who watches, what it reports, and why a plan cannot go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pimsim.errors import SimulationError
from pimsim.simulation.plan import NetworkPlan, Read, Slots
from pimsim.simulation.results import Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Probe = Callable[[Span], None]
#: The stages that load inputs, and the stall cause of an array that waits for them.
LOADS = {"edram_read": "buffer", "bus": "bus"}


@dataclass(frozen=True)
class Watch:
    """The jobs that a probe sees: of one layer or all (None), windows ``first`` to before ``last`` of one image.

    ``last`` None: all windows; ``image`` None: all images.
    """

    layer: str | None = None
    first: int = 0
    last: int | None = None
    image: int | None = None

    def takes(self, layer: str, image: int, window: int) -> bool:
        """Whether a job is seen."""
        return (
            self.layer in (None, layer)
            and self.image in (None, image)
            and self.first <= window
            and (self.last is None or window < self.last)
        )


EVERYTHING = Watch()


@dataclass(frozen=True)
class Repeat:
    """The steady state that an engine has proven: the machine was twice in the same state but for time and images.

    ``units`` images take ``period_fs``, for ever.
    """

    units: int
    period_fs: int


@dataclass(frozen=True)
class Played:
    """What an engine reports of a plan, times relative to its start.

    Attributes:
        window_done_fs: of each layer, when the windows of the first image that were asked for had left it.
        first_start_fs: of each layer, when its first job started.
        image_done_fs: when the last window of each image had left the last layer.
        jobs: finished jobs of each stage and phase, over all images.
        stall_fs: of each layer, the time that its arrays waited, by cause, over all images.
        repeat: the steady state, where the engine looked for it and found it.
        skipped: periods of windows, rows or images that were jumped over, which changes nothing else.
    """

    window_done_fs: tuple[tuple[int, ...], ...]
    first_start_fs: tuple[int, ...]
    image_done_fs: tuple[int, ...]
    jobs: tuple[tuple[int, ...], ...]
    stall_fs: tuple[dict[str, int], ...]
    repeat: Repeat | None = field(default=None, compare=False)
    skipped: int = field(default=0, compare=False)


def all_windows(plan: NetworkPlan) -> tuple[range, ...]:
    """Every window of the first image, for engines that are asked for the times of all."""
    return tuple(range(layer.windows) for layer in plan.layers)


def spans_of_job(plan: NetworkPlan, stage: int, window: int, step: int, start_fs: int, done_fs: int) -> Span | None:
    """One job as probes see it; None for an idle unit.

    Args:
        plan: the plan.
        stage: its index.
        window: counted over all images.
        step: within the window.
        start_fs, done_fs: absolute times.
    """
    spec = plan.stages[stage]
    layer = plan.layers[spec.layer]
    image, within = divmod(window, layer.windows)
    jobs = spec.jobs[phase_of(plan, spec.layer, within)]
    if not jobs.units:
        return None
    place = spec.tile, spec.macro, spec.array
    index = step if spec.stepped else -1
    return Span(layer.name, spec.name, *place, jobs.units, within, index, start_fs, done_fs, jobs.rows, image)


def phase_of(plan: NetworkPlan, layer: int, window: int) -> int:
    """The phase of a window within its image."""
    for number, phase in enumerate(plan.layers[layer].phases):
        if window < phase.windows:
            return number
        window -= phase.windows
    raise IndexError(window)


@dataclass(frozen=True)
class Progress:
    """How far a stage came before nothing could happen any more: finished windows, and jobs of the next one.

    ``started`` tells whether the next job holds its stage and waits for room to leave.
    """

    windows: int
    jobs: int
    started: bool


def deadlock(plan: NetworkPlan, progress: Sequence[Progress]) -> SimulationError:
    """The error for a plan that cannot go on; says which stages wait for what, and what would help."""
    left = min(progress[s].windows for outputs in plan.outputs for s in outputs)
    total = min(layer.windows for layer in plan.layers) * plan.images
    full = [read for read in plan.reads if _is_full(plan, read, progress)]
    starving = [read for read in full if _starves(plan, read, progress)]
    if full:
        return _full_buffers(plan, starving or full, progress)
    waiting = ", ".join(_waiting(plan, progress))
    return SimulationError(
        f"only {left} of {total} windows left the layer",
        f"the plan must not deadlock; waiting: {waiting}",
        plan.name,
        "Give the buffers between these stages more slots",
    )


def _is_full(plan: NetworkPlan, read: Read, progress: Sequence[Progress]) -> bool:
    """Whether a window waits to depart because the readers have not given back its room."""
    here = progress[read.departure]
    return here.started and here.windows - _given_back(plan, read, progress) >= read.dependency.capacity


def _starves(plan: NetworkPlan, read: Read, progress: Sequence[Progress]) -> bool:
    """Whether a reader of the buffer waits for windows, of this producer or of another."""
    for other in plan.reads:
        one = other.dependency
        if other.readers != read.readers:
            continue
        per_image = plan.layers[one.producer].windows
        for stage in other.readers:
            image, window = divmod(progress[stage].windows, len(one.needs))
            needed = image * per_image + int(one.needs[window])
            if image < plan.images and any(progress[source].windows <= needed for source in other.sources):
                return True
    return False


def _given_back(plan: NetworkPlan, read: Read, progress: Sequence[Progress]) -> int:
    """Windows of the producer, over all images, that every reader has finished with."""
    one = read.dependency
    return min(cumulative(one.freed, progress[s].windows, plan.layers[one.producer].windows) for s in read.readers)


def cumulative(freed: NDArray[np.int64], windows: int, per_image: int) -> int:
    """Producer windows given back over all images after that many windows of the consumer were read."""
    images, within = divmod(windows, len(freed))
    return images * per_image + (int(freed[within - 1]) if within else 0)


def _full_buffers(plan: NetworkPlan, full: Sequence[Read], progress: Sequence[Progress]) -> SimulationError:
    return SimulationError(
        f"the layers of {plan.name} wait for one another",
        "; ".join(_full_buffer(plan, read, progress) for read in full),
        plan.name,
        "Give the buffers between layers more rows with --line-buffer, or leave it out",
    )


def _full_buffer(plan: NetworkPlan, read: Read, progress: Sequence[Progress]) -> str:
    """What a full buffer holds, and what its reader waits for."""
    one = read.dependency
    producer, consumer = plan.layers[one.producer].name, plan.layers[one.consumer].name
    image, window = divmod(min(progress[s].windows for s in read.readers), len(one.needs))
    held = progress[read.departure].windows - _given_back(plan, read, progress)
    does = f"add them to its window {window}" if one.joins else f"read its window {window}"
    sources = "from every layer that it adds" if one.joins else "from every layer that it reads"
    return (
        f"the buffer between {producer} and {consumer} is full with {held} windows of {producer}, and {consumer} "
        f"cannot {does} of image {image} before {int(one.needs[window]) + 1} windows of the image are there {sources}"
    )


def _waiting(plan: NetworkPlan, progress: Sequence[Progress]) -> list[str]:
    """The stages that wait, with what for: a full buffer, or their inputs."""
    found = []
    for index, (stage, here) in enumerate(zip(plan.stages, progress, strict=True)):
        if here.windows >= plan.layers[stage.layer].windows * plan.images:
            continue
        buffers = [slots.name for slots in plan.slots if slots.acquire == index and _takes_now(slots, here)]
        cause = f" for {' or '.join(buffers)}" if buffers else ""
        found.append(f"{stage.name}[{index}] at window {here.windows}{cause}")
    return found


def _takes_now(slots: Slots, here: Progress) -> bool:
    return (slots.acquire_at == "end") == here.started
