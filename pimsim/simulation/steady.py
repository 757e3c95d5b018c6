"""Finding the steady state and jumping over it, exactly.

When the whole state of a plan (every stage, buffer and arbiter, and every remembered time that can still matter)
equals an earlier one but for a common shift of time and of finished windows or images, everything that follows repeats
as well, as long as the same services follow. Whole periods are then added to all times and counts, and the tail is
played. Images are always alike; windows of a layer alone are alike within a phase.

The state that later ones are compared with is kept at 1, 2, 4, 8 ... finished units (Brent), so that any period is found.
"""

from __future__ import annotations

from typing import Any

from pimsim.compiling import kernel
from pimsim.simulation.memory import (
    ALONE,
    ARBITER_COUNT,
    ARBITER_WIDTH,
    ARBITERS,
    CAPACITY,
    CAUSE_COUNT,
    COMPLETE,
    DECISION,
    DONE,
    DONE_JOBS,
    FIRST_WATCHED,
    FOLLOWER,
    FREE,
    HELD,
    HISTORY,
    IMAGE,
    IMAGE_DONE,
    IMAGE_PARTS,
    IMAGE_WATCHED,
    IMAGES,
    IMAGES_COMPLETE,
    IS_LATE,
    IS_LOAD,
    IS_OUTPUT,
    LAST_WATCHED,
    LAYER,
    LAYER_COUNT,
    LAYER_WIDTH,
    LAYERS,
    LEAVE,
    LEFT,
    MARK_COUNT,
    MARK_TIMES,
    MARKS,
    NEVER,
    NEXT_MARK,
    PENDING,
    PHASE,
    RECORD,
    RELEASED,
    RELEASER_COUNT,
    RELEASERS,
    REPEAT_FS,
    REPEAT_UNITS,
    REQUEST,
    SAVED_AT_FS,
    SEARCH,
    SEARCH_PHASE,
    SKIPPED,
    SLOT_COUNT,
    SLOT_WIDTH,
    SLOTS,
    STAGE_COUNT,
    STAGE_WIDTH,
    STAGES,
    STALLS,
    START,
    START_RING,
    STARTED,
    STEP,
    STEP_MASK,
    STEP_RING,
    STOP_AT_REPEAT,
    SUB,
    TAKEN,
    TOKEN_MASK,
    TOKEN_RING,
    TRIGGER_COUNT,
    TRIGGERS,
    UNITS_SAVED,
    UNITS_SEEN,
    WAIT_FROM,
    WAIT_TO,
    WAITING,
    WINDOW,
    WINDOW_MASK,
    WINDOW_RING,
    WITHIN,
)  # fmt: skip


@kernel
def look_for_repeat(m: Any, saved: Any) -> Any:
    """Compare the state with an earlier one when another unit is finished, and jump; whether to stop the run."""
    if m[SEARCH] == 0:
        return False
    units = finished_units(m)
    if units <= m[UNITS_SEEN]:
        return False
    m[UNITS_SEEN] = units
    phase = m[m[STAGES] + m[m[TRIGGERS]] * STAGE_WIDTH + PHASE]
    if m[ALONE] == 1 and phase != m[SEARCH_PHASE]:
        # Another round of the layer: look anew.
        m[SEARCH_PHASE], m[UNITS_SAVED] = phase, 0
    period = units - m[UNITS_SAVED]
    if m[UNITS_SAVED] > 0 and period > 0 and (m[ALONE] == 0 or period < HISTORY):
        shift = last_time(m) - m[SAVED_AT_FS]
        if shift > 0 and is_repeat(m, saved, period, shift):
            m[REPEAT_UNITS], m[REPEAT_FS] = period, shift
            if m[STOP_AT_REPEAT] == 1:
                return True
            jump(m, saved, period, shift)
            return False
    if m[UNITS_SAVED] == 0 or units >= 2 * m[UNITS_SAVED] or (m[ALONE] == 1 and period >= HISTORY - 1):
        save(m, saved, units)
    return False


@kernel
def save(m: Any, saved: Any, units: Any) -> None:
    """Keep the present state."""
    m[UNITS_SAVED], m[SAVED_AT_FS] = units, last_time(m)
    for i in range(len(m)):
        saved[i] = m[i]


@kernel
def finished_units(m: Any) -> Any:
    """Windows that have left the layer that is played alone, or images that are complete."""
    if m[ALONE] == 0:
        return m[IMAGES_COMPLETE]
    least = NEVER
    for place in range(m[TRIGGERS], m[TRIGGERS] + m[TRIGGER_COUNT]):
        least = min(least, m[m[STAGES] + m[place] * STAGE_WIDTH + WINDOW])
    return least


@kernel
def last_time(m: Any) -> Any:
    """When the first output stage last finished a window: the moment from which times of a state are counted."""
    place = m[TRIGGERS] + m[TRIGGER_COUNT] - 1
    return m[m[STAGES] + m[place] * STAGE_WIDTH + DONE]


# Equality of two states.


@kernel
def is_repeat(m: Any, saved: Any, period: Any, shift: Any) -> Any:
    """Whether the state is the saved one, ``period`` units and ``shift`` femtoseconds later."""
    for a in range(m[ARBITER_COUNT]):
        r = m[ARBITERS] + a * ARBITER_WIDTH
        if m[r + HELD] != saved[r + HELD] or m[r + PENDING] != saved[r + PENDING]:
            return False
        if m[r + FREE] - saved[r + FREE] != shift or not is_later(m, saved, r + DECISION, shift):
            return False
    for s in range(m[STAGE_COUNT]):
        if not same_stage(m, saved, m[STAGES] + s * STAGE_WIDTH, period, shift):
            return False
    for q in range(m[SLOT_COUNT]):
        if not same_buffer(m, saved, m[SLOTS] + q * SLOT_WIDTH, shift):
            return False
    return True


@kernel
def is_later(m: Any, saved: Any, place: Any, shift: Any) -> Any:
    """Whether a time has moved by the shift, or is never in both states."""
    if saved[place] == NEVER or m[place] == NEVER:
        return m[place] == saved[place]
    return m[place] - saved[place] == shift


@kernel
def same_stage(m: Any, saved: Any, b: Any, period: Any, shift: Any) -> Any:
    """Whether a stage is as far within its period, and all its times have moved by the shift."""
    if m[b + SUB] != saved[b + SUB] or m[b + STEP] != saved[b + STEP] or m[b + PHASE] != saved[b + PHASE]:
        return False
    if m[ALONE] == 1:
        if m[b + WINDOW] - saved[b + WINDOW] != period or m[b + IMAGE] > 0:
            return False
    elif m[b + WITHIN] != saved[b + WITHIN] or m[b + IMAGE] - saved[b + IMAGE] != period:
        return False
    if m[b + LEAVE] - saved[b + LEAVE] != shift or m[b + DONE] - saved[b + DONE] != shift:
        return False
    if m[b + SUB] == STARTED and m[b + START] - saved[b + START] != shift:
        return False
    if m[b + SUB] == WAITING and m[b + REQUEST] - saved[b + REQUEST] != shift:
        return False
    waits = m[b + WAIT_TO] - m[b + WAIT_FROM]
    if waits != saved[b + WAIT_TO] - saved[b + WAIT_FROM]:
        return False
    if waits > 0 and m[b + WAIT_TO] - saved[b + WAIT_TO] != shift:
        return False
    count, old = m[b + WINDOW], saved[b + WINDOW]
    if not same_ring(m, saved, m[b + WINDOW_RING], m[b + WINDOW_MASK], count, old, shift):
        return False
    if m[b + IS_LOAD] > 0 and not same_ring(m, saved, m[b + START_RING], m[b + WINDOW_MASK], count, old, shift):
        return False
    return same_steps(m, saved, b, shift)


@kernel
def same_steps(m: Any, saved: Any, b: Any, shift: Any) -> Any:
    """Whether as many finished steps wait for the stage that follows, and were done as much later."""
    if m[b + FOLLOWER] < 0:
        return True
    f = m[STAGES] + m[b + FOLLOWER] * STAGE_WIDTH
    waiting = m[b + DONE_JOBS] - m[f + DONE_JOBS]
    if waiting != saved[b + DONE_JOBS] - saved[f + DONE_JOBS]:
        return False
    ring, mask = m[b + STEP_RING], m[b + STEP_MASK]
    for back in range(1, waiting + 1):
        now, then = ring + ((m[b + DONE_JOBS] - back) & mask), ring + ((saved[b + DONE_JOBS] - back) & mask)
        if m[now] - saved[then] != shift:
            return False
    return True


@kernel
def same_ring(m: Any, saved: Any, ring: Any, mask: Any, count: Any, old: Any, shift: Any) -> Any:
    """Whether the last entries of a ring have moved by the shift, counted back from its newest."""
    if mask == 0:
        return True
    if old <= mask:
        return False
    for back in range(1, mask + 2):
        if m[ring + ((count - back) & mask)] - saved[ring + ((old - back) & mask)] != shift:
            return False
    return True


@kernel
def same_buffer(m: Any, saved: Any, c: Any, shift: Any) -> Any:
    """Whether as many tokens are out, and those that can still be taken were freed as much later."""
    moved = m[c + TAKEN] - saved[c + TAKEN]
    if m[c + COMPLETE] - saved[c + COMPLETE] != moved or m[c + RELEASED] - saved[c + RELEASED] != moved:
        return False
    for releaser in range(m[c + RELEASER_COUNT]):
        if m[m[c + RELEASERS] + releaser] - saved[m[c + RELEASERS] + releaser] != moved:
            return False
    first = saved[c + TAKEN] - saved[c + CAPACITY]
    if first < 0:
        return False
    ring, mask = m[c + TOKEN_RING], m[c + TOKEN_MASK]
    for token in range(first, saved[c + RELEASED]):
        now, then = ring + ((token + moved) & mask), ring + (token & mask)
        if m[now] - saved[then] != shift:
            return False
        if m[c + IS_LATE] == 1:
            from_now, from_then = now + mask + 1, then + mask + 1
            waits = m[from_now + mask + 1] - m[from_now]
            if waits != saved[from_then + mask + 1] - saved[from_then]:
                return False
            if waits > 0 and m[from_now] - saved[from_then] != shift:
                return False
    return True


# The jump.


@kernel
def jump(m: Any, saved: Any, period: Any, shift: Any) -> None:
    """Skip as many whole periods as leave every stage before the end of what repeats."""
    times = periods_left(m, saved, period)
    if times <= 0:
        return
    units, later = times * period, times * shift
    for place in range(m[STALLS], m[STALLS] + m[LAYER_COUNT] * CAUSE_COUNT):
        m[place] += times * (m[place] - saved[place])
    if m[ALONE] == 0:
        move_images(m, units, later, period, shift)
    for s in range(m[STAGE_COUNT]):
        move_stage(m, saved, m[STAGES] + s * STAGE_WIDTH, times, units, later, period, shift)
    for q in range(m[SLOT_COUNT]):
        move_buffer(m, saved, m[SLOTS] + q * SLOT_WIDTH, times, later)
    for a in range(m[ARBITER_COUNT]):
        r = m[ARBITERS] + a * ARBITER_WIDTH
        m[r + FREE] += later
        if m[r + DECISION] != NEVER:
            m[r + DECISION] += later
    m[SKIPPED] += units
    m[UNITS_SEEN] += units
    m[UNITS_SAVED] = 0


@kernel
def periods_left(m: Any, saved: Any, period: Any) -> Any:
    """Whole periods that can be skipped: no stage comes to the end of its images (phase), or to watched jobs."""
    least = NEVER
    for s in range(m[STAGE_COUNT]):
        b = m[STAGES] + s * STAGE_WIDTH
        left, here, watched = m[IMAGES] - m[b + IMAGE] - 1, m[b + IMAGE], m[IMAGE_WATCHED]
        past = watched >= 0 and here > watched
        if m[ALONE] == 1:
            left, here, watched = m[b + LEFT] - 1, m[b + WITHIN], m[FIRST_WATCHED]
            past = here >= m[LAST_WATCHED]
        if m[b + RECORD] > 0 and not past:
            left = min(left, watched - here - 1)
        least = min(least, left // period)
    return least


@kernel
def move_images(m: Any, units: Any, later: Any, period: Any, shift: Any) -> None:
    """Images that are on their way finish later; those jumped over finish a period after one another."""
    done, parts, complete, count = m[IMAGE_DONE], m[IMAGE_PARTS], m[IMAGES_COMPLETE], m[IMAGES]
    for image in range(count - 1, complete + units - 1, -1):
        m[parts + image] = m[parts + image - units]
        time = m[done + image - units]
        m[done + image] = time + later if time > 0 else 0
    for image in range(complete, complete + units):
        m[done + image] = m[done + image - period] + shift
        m[parts + image] = m[parts + image - period]
    m[IMAGES_COMPLETE] += units


@kernel
def move_stage(m: Any, saved: Any, b: Any, times: Any, units: Any, later: Any, period: Any, shift: Any) -> None:
    """A stage as it is after the skipped periods."""
    windows = times * (m[b + WINDOW] - saved[b + WINDOW])
    if m[ALONE] == 1 and m[b + IS_OUTPUT] == 1:
        mark_skipped(m, b, units, period, shift)
    move_ring(m, saved, m[b + WINDOW_RING], m[b + WINDOW_MASK], m[b + WINDOW], windows, later)
    if m[b + IS_LOAD] > 0:
        move_ring(m, saved, m[b + START_RING], m[b + WINDOW_MASK], m[b + WINDOW], windows, later)
    jobs = times * (m[b + DONE_JOBS] - saved[b + DONE_JOBS])
    move_ring(m, saved, m[b + STEP_RING], m[b + STEP_MASK], m[b + DONE_JOBS], jobs, later)
    m[b + WINDOW] += windows
    m[b + DONE_JOBS] += jobs
    if m[ALONE] == 1:
        m[b + WITHIN] += windows
        m[b + LEFT] -= windows
    else:
        m[b + IMAGE] += units
    m[b + LEAVE] += later
    m[b + DONE] += later
    m[b + START] += later
    m[b + REQUEST] += later
    if m[b + WAIT_TO] > m[b + WAIT_FROM]:
        m[b + WAIT_FROM] += later
        m[b + WAIT_TO] += later


@kernel
def move_ring(m: Any, saved: Any, ring: Any, mask: Any, count: Any, moved: Any, later: Any) -> None:
    """The newest entries of a ring, as the newest after ``moved`` more; ``saved`` serves as scratch."""
    for back in range(1, mask + 2):
        saved[ring + ((count - back) & mask)] = m[ring + ((count - back) & mask)]
    for back in range(1, mask + 2):
        m[ring + ((count + moved - back) & mask)] = saved[ring + ((count - back) & mask)] + later


@kernel
def move_buffer(m: Any, saved: Any, c: Any, times: Any, later: Any) -> None:
    """A buffer as it is after the skipped periods."""
    moved = times * (m[c + TAKEN] - saved[c + TAKEN])
    ring, mask, count = m[c + TOKEN_RING], m[c + TOKEN_MASK], m[c + RELEASED]
    move_ring(m, saved, ring, mask, count, moved, later)
    if m[c + IS_LATE] == 1:
        move_waits(m, saved, ring, mask, count, moved, later)
    m[c + TAKEN] += moved
    m[c + COMPLETE] += moved
    m[c + RELEASED] += moved
    for releaser in range(m[c + RELEASER_COUNT]):
        m[m[c + RELEASERS] + releaser] += moved


@kernel
def move_waits(m: Any, saved: Any, ring: Any, mask: Any, count: Any, moved: Any, later: Any) -> None:
    """The waits behind the tokens of a ring; tokens that nobody waited for keep two equal times."""
    begin, end = ring + mask + 1, ring + 2 * (mask + 1)
    move_ring(m, saved, begin, mask, count, moved, later)
    move_ring(m, saved, end, mask, count, moved, later)


@kernel
def mark_skipped(m: Any, b: Any, units: Any, period: Any, shift: Any) -> None:
    """Times of marked windows among those jumped over: a window's are those of the last one like it, shifted."""
    layer = m[LAYERS] + m[b + LAYER] * LAYER_WIDTH
    here = m[b + WINDOW]
    while m[b + NEXT_MARK] < m[layer + MARK_COUNT]:
        window = m[m[layer + MARKS] + m[b + NEXT_MARK]]
        if window >= here + units:
            break
        periods = (window - here) // period + 1
        time = m[m[b + WINDOW_RING] + ((window - periods * period) & m[b + WINDOW_MASK])] + periods * shift
        place = m[layer + MARK_TIMES] + m[b + NEXT_MARK]
        m[place] = max(m[place], time)
        m[b + NEXT_MARK] += 1
