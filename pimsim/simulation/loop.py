"""The compiled event loop: plays a whole plan.

Nothing here counts time in steps. A job is evaluated as soon as everything that it waits for is known; only
arbiters decide in the order of time, for a decision needs every request made before it. A decision at time t can lead
to requests at t or later, never earlier, so deciding in the order of (time, resource) is exact.
"""

from __future__ import annotations

from typing import Any

from pimsim.compiling import kernel
from pimsim.simulation.chains import run_chain
from pimsim.simulation.kernels import advance, decide, push

# fmt: off
# isort: off
from pimsim.simulation.memory import (
    ARBITERS, ARBITER_COUNT, ARBITER_WIDTH, CHAIN, DECISION, HEAP, NEVER, STACK, STACKED, STACK_SIZE, STAGES,
    STAGE_COUNT, STAGE_WIDTH,
)
# isort: on
# fmt: on
from pimsim.simulation.steady import look_for_repeat


@kernel(inner=True)
def settle(m: Any) -> None:
    """Let every stage go on that can."""
    while m[STACK_SIZE] > 0:
        m[STACK_SIZE] -= 1
        s = m[m[STACK] + m[STACK_SIZE]]
        b = m[STAGES] + s * STAGE_WIDTH
        m[b + STACKED] = 0
        if m[b + CHAIN] > 0:
            run_chain(m, m[b + CHAIN])
        else:
            advance(m, s)


@kernel
def play_all(m: Any, saved: Any) -> None:
    """Play a plan to its end, or until nothing can go on.

    Args:
        m: the plan, int64; afterwards its final state.
        saved: (3, len(m)), room for the states that later ones are compared with, by level.
    """
    for s in range(m[STAGE_COUNT]):
        push(m, s)
    settle(m)
    while m[ARBITER_COUNT] > 0:
        a = m[m[HEAP]]
        if m[m[ARBITERS] + a * ARBITER_WIDTH + DECISION] == NEVER:
            break
        decide(m, a)
        settle(m)
        if look_for_repeat(m, saved):
            break
