"""The compiled engine: evaluates a plan by numba kernels, and jumps over its steady state exactly.

It gives the start and end of every job that the event engine gives (`pimsim.simulation.event`), which the tests and
``pimsim run --verify-engine`` prove on random and on real plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pimsim.compiling import interruptible
from pimsim.simulation import memory as fields
from pimsim.simulation.memory import Packer, watched_jobs
from pimsim.simulation.plan import NetworkPlan
from pimsim.simulation.playing import (
    EVERYTHING,
    Played,
    Probe,
    Progress,
    Repeat,
    Watch,
    all_windows,
    deadlock,
    spans_of_job,
)
from pimsim.simulation.results import STALL_CAUSES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def play(
    plan: NetworkPlan,
    probe: Probe | None = None,
    start_fs: int = 0,
    watch: Watch = EVERYTHING,
    marks: Sequence[Sequence[int]] | None = None,
    *,
    jump: bool = True,
    stop_at_repeat: bool = False,
) -> Played:
    """Play a plan with compiled code.

    Args:
        plan: what to play.
        probe: called with the `Span` of every job that ``watch`` takes, stage after stage; watched jobs are never
            jumped over.
        start_fs: added to the times that the probe sees.
        watch: the jobs that the probe sees.
        marks: windows of each layer whose times are reported; None: all.
        jump: whether to jump over the steady state; times are the same without.
        stop_at_repeat: stop as soon as the steady state is proven; only ``repeat`` of what is reported is then whole.

    Raises:
        SimulationError: the plan deadlocks, or numba does not work here.
    """
    from pimsim.simulation.loop import play_all

    wanted = all_windows(plan) if marks is None else [sorted(set(each)) for each in marks]
    packed = Packer(plan, wanted, watch if probe is not None else None, jump or stop_at_repeat, stop_at_repeat)
    interruptible(play_all, packed.memory, np.empty((3, len(packed.memory)), dtype=np.int64))
    state = _State(plan, packed.memory)
    if not (stop_at_repeat and state.repeat) and not state.is_finished:
        raise deadlock(plan, state.progress)
    if probe is not None:
        _tell(plan, state, probe, start_fs, watch)
    return state.played(wanted if marks is None else marks)


class _State:
    """The array of a played plan, read back."""

    def __init__(self, plan: NetworkPlan, memory: NDArray[np.int64]) -> None:
        self.plan, self.memory = plan, memory
        self.stages = self._table(fields.STAGES, fields.STAGE_COUNT, fields.STAGE_WIDTH)
        self.layers = self._table(fields.LAYERS, fields.LAYER_COUNT, fields.LAYER_WIDTH)

    def _table(self, place: int, count: int, width: int) -> NDArray[np.int64]:
        first, rows = int(self.memory[place]), int(self.memory[count])
        return self.memory[first : first + rows * width].reshape(rows, width)

    @property
    def is_finished(self) -> bool:
        return bool((self.stages[:, fields.WINDOW] == self.stages[:, fields.TOTAL]).all())

    @property
    def repeat(self) -> Repeat | None:
        units, period = int(self.memory[fields.REPEAT_UNITS]), int(self.memory[fields.REPEAT_FS])
        return Repeat(units, period) if units else None

    @property
    def progress(self) -> list[Progress]:
        columns = self.stages[:, [fields.WINDOW, fields.STEP, fields.SUB]].tolist()
        return [Progress(window, step, sub == fields.STARTED) for window, step, sub in columns]

    def played(self, marks: Sequence[Sequence[int]]) -> Played:
        """What an engine reports."""
        memory, done = self.memory, int(self.memory[fields.IMAGE_DONE])
        return Played(
            tuple(tuple(self._times(layer, wanted)) for layer, wanted in enumerate(marks)),
            tuple(self._first_starts()),
            tuple(memory[done : done + self.plan.images].tolist()),
            tuple(self._jobs(index) for index in range(len(self.plan.stages))),
            tuple(self._stalls(layer) for layer in range(len(self.plan.layers))),
            self.repeat,
            int(memory[fields.SKIPPED]),
        )

    def _times(self, layer: int, wanted: Sequence[int]) -> list[int]:
        windows, times, count = (
            int(self.layers[layer, field]) for field in (fields.MARKS, fields.MARK_TIMES, fields.MARK_COUNT)
        )
        found = dict(
            zip(
                self.memory[windows : windows + count].tolist(),
                self.memory[times : times + count].tolist(),
                strict=True,
            )
        )
        return [found[window] for window in wanted]

    def _first_starts(self) -> list[int]:
        starts = self.stages[:, fields.FIRST_START]
        return [
            int(starts[first:last].min())
            for first, last in zip(self.plan.first_stage, self.plan.first_stage[1:], strict=False)
        ]

    def _jobs(self, index: int) -> tuple[int, ...]:
        """Finished jobs by phase; a plan that was played to its end has finished them all."""
        stage = self.plan.stages[index]
        phases = self.plan.layers[stage.layer].phases
        return tuple(
            self.plan.images * phase.windows * jobs.steps for phase, jobs in zip(phases, stage.jobs, strict=True)
        )

    def _stalls(self, layer: int) -> dict[str, int]:
        first = int(self.memory[fields.STALLS]) + layer * fields.CAUSE_COUNT
        return dict(zip(STALL_CAUSES, self.memory[first : first + fields.CAUSE_COUNT].tolist(), strict=True))


def _tell(plan: NetworkPlan, state: _State, probe: Probe, start_fs: int, watch: Watch) -> None:
    for index, row in enumerate(state.stages):
        first, count = int(row[fields.RECORD]), int(row[fields.RECORDED])
        if not count:
            continue
        times = state.memory[first : first + 2 * count].reshape(count, 2).tolist()
        for (window, step), (start, done) in zip(watched_jobs(plan, index, watch), times, strict=False):
            span = spans_of_job(plan, index, window, step, start_fs + start, start_fs + done)
            if span is not None:
                probe(span)
