"""Two engines on the same plan: everything they report must be equal, and the spans that are looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields

from pimsim.errors import SimulationError
from pimsim.simulation.plan import NetworkPlan
from pimsim.simulation.playing import Played, Probe, Watch
from pimsim.simulation.results import Span

Play = Callable[[NetworkPlan, Probe | None, int, Watch], Played]


@dataclass(frozen=True)
class Agreement:
    """What two engines agreed on: jobs, windows whose completion was compared, and spans."""

    jobs: int = 0
    windows: int = 0
    spans: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        """Both together."""
        return Agreement(self.jobs + other.jobs, self.windows + other.windows, self.spans + other.spans)

    @property
    def line(self) -> str:
        """One sentence for the user."""
        return (
            f"event and compiled engine agree on {self.jobs:,} jobs: the times of {self.windows:,} windows, every "
            f"stall and busy time, and start and end of {self.spans:,} spans"
        )


def verify(plan: NetworkPlan, one: Play, other: Play, watch: Watch) -> Agreement:
    """Play a plan with two engines and compare.

    Args:
        plan: what to play.
        one, other: the engines.
        watch: the jobs whose spans are compared; all windows, stalls and totals are in any case.

    Raises:
        SimulationError: (a defect) they differ; says in what, and where first.
    """
    first, second = Counter[Span](), Counter[Span]()
    ones = one(plan, lambda span: first.update((span,)), 0, watch)
    others = other(plan, lambda span: second.update((span,)), 0, watch)
    if ones != others or first != second:
        raise SimulationError(
            _difference(plan, ones, others) or _span_difference(first, second),
            "the event and the compiled engine must agree; this is a defect of pimsim, please report it",
            plan.name,
            "Use --engine event, which is the engine of record",
        )
    jobs = sum(done for stage in ones.jobs for done in stage)
    return Agreement(jobs, sum(len(windows) for windows in ones.window_done_fs), first.total())


def _difference(plan: NetworkPlan, one: Played, other: Played) -> str:
    for field in fields(Played):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.compare and a != b:
            layers = (
                [plan.layers[i].name for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y][:3]
                if len(a) == len(plan.layers)
                else []
            )
            where = f" of {', '.join(layers)}" if layers else ""
            return f"{field.name}{where}"
    return ""


def _span_difference(one: Counter[Span], other: Counter[Span]) -> str:
    span = min((one - other) + (other - one), key=lambda span: (span.start_fs, span.layer, span.stage))
    return f"span {span}"
