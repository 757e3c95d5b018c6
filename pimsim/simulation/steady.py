"""Finding what repeats, and jumping over it, exactly.

A state of a plan is what all that follows depends on: how far every stage, buffer and arbiter is, and those
remembered times that can still matter. When it equals an earlier one but for a common shift of time and, for each
stage, of finished windows, then what happened in between happens again, as long as the same services and the
same needs follow. Whole periods are then added to all times and counts, and the rest is played.

Three levels are searched: windows and rows of the first layer that is not finished, and images. Within an image some
layers may stand still: they have not begun, or are finished, or wait. They must keep standing still, and what they
hold must not hold back those that move. ``old`` is the earlier state everywhere.
"""

from __future__ import annotations

from typing import Any

from pimsim.compiling import kernel

# fmt: off
# isort: off
from pimsim.simulation.memory import (
    ACQUIRER, ARBITERS, ARBITER_COUNT, ARBITER_WIDTH, BLOCK, BY_ROWS, BY_STEP, CAPACITY, CAUSE_COUNT, COMPLETE,
    DECISION, DISTANCE, DONE, DONE_JOBS, FIRST_WATCHED, FIXED_END, FREE, GIVES, GIVE_LEAVE_WINDOW, HEADER_WIDTH,
    HELD, IMAGE, IMAGES, IMAGES_COMPLETE, IMAGE_DONE, IMAGE_LEVEL, IMAGE_PARTS, IMAGE_WATCHED, IS_LATE, IS_LOAD,
    IS_OUTPUT, LAST_WATCHED, LAYER, LAYERS, LAYER_COUNT, LAYER_WIDTH, LEAVE, LEFT, LEVELS, LEVEL_WIDTH, LONGEST,
    LONG_END, LONG_ROW, MARKS, MARK_COUNT, MARK_TIMES, NEEDS, NEVER, NEXT_MARK, NOT_BEFORE, OUTPUT, PENDING, PHASE,
    RECORD, RELEASED, RELEASERS, RELEASER_COUNT, REPEAT_FS, REPEAT_UNITS, REQUEST, ROW, ROW_LEVEL, SAVED_AT_FS,
    SAVES, SEARCH, SKIPPED, SLOTS, SLOT_COUNT, SLOT_WIDTH, STAGES, STAGE_COUNT, STAGE_WIDTH, STALLS, START, STARTED,
    START_RING, STEP, STEP_MASK, STEP_RING, STOP_AT_REPEAT, SUB, TAKEN, TOKEN_MASK, TOKEN_RING, TOTAL, TRIGGER,
    UNITS_SAVED, UNITS_SEEN, WAITING, WAIT_FROM, WAIT_TO, WINDOW, WINDOW_LEVEL, WINDOW_MASK, WINDOW_RING, WITHIN,
)
# isort: on
# fmt: on


@kernel(inner=True)
def look_for_repeat(m: Any, saved: Any) -> Any:
    """Compare the state with earlier ones when a window, a row or an image is finished; whether to stop the run."""
    if m[SEARCH] == 0:
        return False
    several = m[IMAGES] > 1 and m[IMAGES_COMPLETE] > 0
    if several and search(m, saved[IMAGE_LEVEL], IMAGE_LEVEL, m[IMAGES_COMPLETE]) and m[STOP_AT_REPEAT] == 1:
        return True
    b = trigger(m)
    if b < 0:
        return False
    row = m[m[LAYERS] + m[b + LAYER] * LAYER_WIDTH + ROW]
    if row > 1 and m[b + WITHIN] % row == 0:
        if m[BY_ROWS] != m[b + WINDOW]:
            m[BY_ROWS] = m[b + WINDOW]
            forget(m, WINDOW_LEVEL)  # what repeats along a row does not go on in the next
        search(m, saved[ROW_LEVEL], ROW_LEVEL, m[b + WINDOW] // row)
    if m[LAYER_COUNT] == 1 or row >= LONG_ROW:
        search(m, saved[WINDOW_LEVEL], WINDOW_LEVEL, m[b + WINDOW])
    return False


@kernel(inner=True)
def trigger(m: Any) -> Any:
    """Place of an output stage of the first layer that is not finished; -1 when all are."""
    b = m[STAGES] + m[TRIGGER] * STAGE_WIDTH
    while m[b + WINDOW] == m[b + TOTAL]:
        layer = m[b + LAYER] + 1
        if layer == m[LAYER_COUNT]:
            return -1
        m[TRIGGER] = m[m[LAYERS] + layer * LAYER_WIDTH + OUTPUT]
        b = m[STAGES] + m[TRIGGER] * STAGE_WIDTH
        forget(m, WINDOW_LEVEL)
        forget(m, ROW_LEVEL)
    return b


@kernel(inner=True)
def forget(m: Any, level: Any) -> None:
    """Begin the search of a level anew."""
    v = m[LEVELS] + level * LEVEL_WIDTH
    m[v + UNITS_SAVED], m[v + DISTANCE], m[v + SAVES], m[v + NOT_BEFORE] = -1, 1, 0, 0


@kernel(inner=True)
def search(m: Any, old: Any, level: Any, units: Any) -> Any:
    """Compare with the saved state of a level if another unit is finished; whether it repeats."""
    v = m[LEVELS] + level * LEVEL_WIDTH
    if units == m[v + UNITS_SEEN] or units < m[v + NOT_BEFORE]:
        return False
    m[v + UNITS_SEEN] = units
    shift, period = clock(m, level) - m[v + SAVED_AT_FS], units - m[v + UNITS_SAVED]
    if m[v + UNITS_SAVED] >= 0 and period > 0 and shift > 0 and is_repeat(m, old, level, shift):
        repeats(m, old, level, units, period, shift)
        return True
    if m[v + UNITS_SAVED] < 0 or period >= m[v + DISTANCE]:
        save(m, old, level, units)
    return False


@kernel(inner=True)
def repeats(m: Any, old: Any, level: Any, units: Any, period: Any, shift: Any) -> None:
    """Jump as far as the repetition goes."""
    if level == IMAGE_LEVEL:
        m[REPEAT_UNITS], m[REPEAT_FS] = period, shift
        if m[STOP_AT_REPEAT] == 1:
            return
    times = periods_left(m, old, level)
    if times > 0:
        jump(m, old, level, times, shift, period)
        forget(m, WINDOW_LEVEL)
    forget(m, level)
    if times <= 0:
        # What repeats is about to end: wait until it has.
        m[m[LEVELS] + level * LEVEL_WIDTH + NOT_BEFORE] = units + period


@kernel(inner=True)
def save(m: Any, old: Any, level: Any, units: Any) -> None:
    """Keep the state of a level, at distances of 1, 2, 4 ... units (Brent), images at each of them several times."""
    v = m[LEVELS] + level * LEVEL_WIDTH
    m[v + SAVES] += 1
    if m[v + UNITS_SAVED] < 0 or m[v + DISTANCE] >= LONGEST:
        m[v + DISTANCE] = 1
    elif level != IMAGE_LEVEL or m[v + SAVES] % 8 == 0:
        m[v + DISTANCE] *= 2
    m[v + UNITS_SAVED], m[v + SAVED_AT_FS] = units, clock(m, level)
    for i in range(HEADER_WIDTH):
        old[i] = m[i]
    for i in range(m[LONG_END] if level == WINDOW_LEVEL else m[FIXED_END], len(m)):
        old[i] = m[i]


@kernel(inner=True)
def clock(m: Any, level: Any) -> Any:
    """The moment from which the times of a state are counted: when the stage that set off the search was last done."""
    if level == IMAGE_LEVEL:
        return m[m[STAGES] + m[m[LAYERS] + (m[LAYER_COUNT] - 1) * LAYER_WIDTH + OUTPUT] * STAGE_WIDTH + DONE]
    return m[m[STAGES] + m[TRIGGER] * STAGE_WIDTH + DONE]


# Equality of two states.


@kernel(inner=True)
def is_repeat(m: Any, old: Any, level: Any, shift: Any) -> Any:
    """Whether the state is the old one, ``shift`` femtoseconds later."""
    for a in range(m[ARBITER_COUNT]):
        if not same_arbiter(m, old, m[ARBITERS] + a * ARBITER_WIDTH, level, shift):
            return False
    for s in range(m[STAGE_COUNT]):
        if not same_stage(m, old, m[STAGES] + s * STAGE_WIDTH, level, shift):
            return False
    for s in range(m[STAGE_COUNT]):
        b = m[STAGES] + s * STAGE_WIDTH
        if m[b + WINDOW] > old[b + WINDOW] and not (
            same_inputs(m, old, b, level, shift) and same_steps(m, old, b, shift) and same_loads(m, old, b, shift)
        ):
            return False
    for q in range(m[SLOT_COUNT]):  # noqa: SIM110 (compiled code has no generators)
        if not same_buffer(m, old, m[SLOTS] + q * SLOT_WIDTH, level, shift):
            return False
    return True


@kernel(inner=True)
def same_arbiter(m: Any, old: Any, r: Any, level: Any, shift: Any) -> Any:
    """Whether an arbiter is in the same state, later, or was not used at all."""
    if m[r + HELD] != old[r + HELD] or m[r + PENDING] != old[r + PENDING]:
        return False
    if m[r + DECISION] == NEVER or old[r + DECISION] == NEVER:
        if m[r + DECISION] != old[r + DECISION]:
            return False
    elif m[r + DECISION] - old[r + DECISION] != shift:
        return False
    still = level != IMAGE_LEVEL and m[r + FREE] == old[r + FREE] and m[r + PENDING] == 0
    return still or m[r + FREE] - old[r + FREE] == shift


@kernel(inner=True)
def same_stage(m: Any, old: Any, b: Any, level: Any, shift: Any) -> Any:
    """Whether a stage is as far within its window, and all its times have moved by the shift, or it stood still."""
    if m[b + SUB] != old[b + SUB] or m[b + STEP] != old[b + STEP] or m[b + PHASE] != old[b + PHASE]:
        return False
    moved, later = m[b + WINDOW] - old[b + WINDOW], shift
    if moved == 0:
        if level == IMAGE_LEVEL or m[b + SUB] == WAITING or m[b + DONE_JOBS] != old[b + DONE_JOBS]:
            return False
        later = 0
    elif level == IMAGE_LEVEL:
        if m[b + WITHIN] != old[b + WITHIN]:
            return False
    elif m[b + IMAGE] != old[b + IMAGE]:
        return False
    if m[b + LEAVE] - old[b + LEAVE] != later or m[b + DONE] - old[b + DONE] != later:
        return False
    if m[b + SUB] == STARTED and m[b + START] - old[b + START] != later:
        return False
    if m[b + SUB] == WAITING and m[b + REQUEST] - old[b + REQUEST] != later:
        return False
    return same_wait(m, old, b + WAIT_FROM, b + WAIT_TO, later)


@kernel(inner=True)
def same_wait(m: Any, old: Any, begin: Any, end: Any, later: Any) -> Any:
    """Whether a wait is as long and as much later; waits of no length are all alike."""
    length = m[end] - m[begin]
    if length != old[end] - old[begin]:
        return False
    return length == 0 or m[end] - old[end] == later


@kernel(inner=True)
def needed(m: Any, state: Any, b: Any, place: Any) -> Any:
    """The window of a source that the next window of a stage needs."""
    if m[place + 2] == 0:
        return state[b + WINDOW]
    if state[b + WINDOW] == state[b + TOTAL]:
        return m[IMAGES] * m[place + 2] - 1
    return state[b + IMAGE] * m[place + 2] + m[m[place + 1] + state[b + WITHIN]]


@kernel(inner=True)
def past(m: Any, old: Any, level: Any, ring: Any, mask: Any, entry: Any, count: Any) -> Any:
    """An entry of a ring as it was; long rings are not saved along a row, and may have lost it: NEVER."""
    if level == WINDOW_LEVEL and ring < m[LONG_END]:
        return NEVER if count - entry > mask + 1 else m[ring + (entry & mask)]
    return old[ring + (entry & mask)]


@kernel(inner=True)
def same_inputs(m: Any, old: Any, b: Any, level: Any, shift: Any) -> Any:
    """Whether the windows that a moving stage has still to read were finished as much later, or long ago."""
    head = m[b + NEEDS]
    for place in range(m[head], m[head + 1], 3):
        c = m[STAGES] + m[place] * STAGE_WIDTH
        moved, ring, mask = m[c + WINDOW] - old[c + WINDOW], m[c + WINDOW_RING], m[c + WINDOW_MASK]
        count = old[c + WINDOW]
        if moved == 0:
            if count > 0 and m[ring + ((count - 1) & mask)] > old[b + LEAVE]:
                return False
            continue
        first = needed(m, old, b, place)
        if needed(m, m, b, place) - first != moved or count - first > mask + 1:
            return False
        for window in range(count - 1, max(first, 0) - 1, -1):
            now = m[ring + ((window + moved) & mask)]
            before = past(m, old, level, ring, mask, window, m[c + WINDOW])
            if now <= m[b + LEAVE] and before <= old[b + LEAVE]:
                break  # finished before the reader last left, as all before it: they hold back nothing
            if now - before != shift:
                return False
    return True


@kernel(inner=True)
def same_steps(m: Any, old: Any, b: Any, shift: Any) -> Any:
    """Whether as many steps of the stage in front wait for a moving stage, and were done as much later."""
    if m[b + BY_STEP] < 0:
        return True
    c = m[STAGES] + m[b + BY_STEP] * STAGE_WIDTH
    waiting = m[c + DONE_JOBS] - m[b + DONE_JOBS]
    if waiting != old[c + DONE_JOBS] - old[b + DONE_JOBS]:
        return False
    ring, mask = m[c + STEP_RING], m[c + STEP_MASK]
    for back in range(1, waiting + 1):
        now, then = ring + ((m[c + DONE_JOBS] - back) & mask), ring + ((old[c + DONE_JOBS] - back) & mask)
        if m[now] - old[then] != shift:
            return False
    return True


@kernel(inner=True)
def same_loads(m: Any, old: Any, b: Any, shift: Any) -> Any:
    """Whether the loads that an array may look back at were served as much later."""
    if m[b + IS_LOAD] == 0:
        return True
    mask = m[b + WINDOW_MASK]
    if old[b + WINDOW] <= mask:
        return False
    for back in range(1, mask + 2):
        now, then = (m[b + WINDOW] - back) & mask, (old[b + WINDOW] - back) & mask
        if m[m[b + START_RING] + now] - old[m[b + START_RING] + then] != shift:
            return False
        if m[m[b + WINDOW_RING] + now] - old[m[b + WINDOW_RING] + then] != shift:
            return False
    return True


@kernel(inner=True)
def same_buffer(m: Any, old: Any, c: Any, level: Any, shift: Any) -> Any:
    """Whether a buffer is as full and its tokens were freed as much later; or only one side of it moves, unhindered."""
    taken, complete = m[c + TAKEN] - old[c + TAKEN], m[c + COMPLETE] - old[c + COMPLETE]
    released = m[c + RELEASED] - old[c + RELEASED]
    for releaser in range(m[c + RELEASER_COUNT]):
        if m[m[c + RELEASERS] + releaser] - old[m[c + RELEASERS] + releaser] != released:
            return False
    if complete != released:
        return False
    b = m[STAGES] + m[c + ACQUIRER] * STAGE_WIDTH
    if taken == released:
        return taken == 0 or same_tokens(m, old, c, b, level, shift)
    if level == IMAGE_LEVEL:
        return False
    return taken == 0 or (released == 0 and old_tokens(m, old, c, b))


@kernel(inner=True)
def same_tokens(m: Any, old: Any, c: Any, b: Any, level: Any, shift: Any) -> Any:
    """Whether the tokens that can be taken were freed as much later, or hold back nobody in either state."""
    ring, mask, moved = m[c + TOKEN_RING], m[c + TOKEN_MASK], m[c + TAKEN] - old[c + TAKEN]
    for token in range(old[c + RELEASED] - 1, old[c + TAKEN] - old[c + CAPACITY] - 1, -1):
        now = ring + ((token + moved) & mask)
        freed, before = m[now] if token + moved >= 0 else 0, 0
        if token >= 0:
            before = past(m, old, level, ring, mask, token, m[c + RELEASED])
        if freed <= m[b + LEAVE] and before <= old[b + LEAVE]:
            if token < old[c + COMPLETE]:
                break  # all before it were freed earlier
            continue
        if freed - before != shift:
            return False
        then = ring + (token & mask)
        if m[c + IS_LATE] == 1 and not same_late(m, old, now + mask + 1, then + mask + 1, mask + 1, shift):
            return False
    return True


@kernel(inner=True)
def same_late(m: Any, old: Any, now: Any, then: Any, size: Any, shift: Any) -> Any:
    """Whether the wait behind a token is as long and as much later."""
    length = m[now + size] - m[now]
    return length == old[then + size] - old[then] and (length == 0 or m[now] - old[then] == shift)


@kernel(inner=True)
def old_tokens(m: Any, old: Any, c: Any, b: Any) -> Any:
    """Whether all free tokens were freed before the stage that takes them last left: they cannot hold it back."""
    ring, mask = m[c + TOKEN_RING], m[c + TOKEN_MASK]
    for token in range(max(old[c + TAKEN] - old[c + CAPACITY], 0), m[c + COMPLETE]):
        if m[ring + (token & mask)] > old[b + LEAVE]:
            return False
    return True


# How often the period can be repeated.


@kernel(inner=True)
def periods_left(m: Any, old: Any, level: Any) -> Any:
    """Whole periods that can be skipped: nothing else happens in them."""
    least = NEVER
    for s in range(m[STAGE_COUNT]):
        b = m[STAGES] + s * STAGE_WIDTH
        if m[b + WINDOW] == old[b + WINDOW]:
            least = min(least, still_blocked(m, old, b))
        else:
            least = min(least, same_services(m, old, b, level))
    if level == IMAGE_LEVEL:
        return least
    for q in range(m[SLOT_COUNT]):
        c = m[SLOTS] + q * SLOT_WIDTH
        taken = m[c + TAKEN] - old[c + TAKEN]
        if taken > 0 and m[c + RELEASED] == old[c + RELEASED]:
            least = min(least, (m[c + COMPLETE] - m[c + TAKEN] + m[c + CAPACITY] - 1) // taken)
    for s in range(m[STAGE_COUNT]):
        if least <= 0:
            return 0
        b = m[STAGES] + s * STAGE_WIDTH
        if m[b + WINDOW] > old[b + WINDOW]:
            least = same_needs(m, old, b, least)
    return least


@kernel(inner=True)
def same_services(m: Any, old: Any, b: Any, level: Any) -> Any:
    """Periods in which a moving stage stays in its phase (or before the last image) and is not watched."""
    moved = m[b + WINDOW] - old[b + WINDOW]
    if level == IMAGE_LEVEL:
        period = m[b + IMAGE] - old[b + IMAGE]
        left = m[IMAGES] - m[b + IMAGE] - 1
        if m[b + RECORD] > 0 and (m[IMAGE_WATCHED] < 0 or m[b + IMAGE] <= m[IMAGE_WATCHED]):
            left = min(left, m[IMAGE_WATCHED] - m[b + IMAGE] - 1)
        return left // period
    left = m[b + LEFT] - 1
    watched = m[IMAGE_WATCHED] < 0 or m[b + IMAGE] == m[IMAGE_WATCHED]
    if m[b + RECORD] > 0 and watched and m[b + WITHIN] < m[LAST_WATCHED]:
        left = min(left, m[FIRST_WATCHED] - m[b + WITHIN] - 1)
    layer = m[LAYERS] + m[b + LAYER] * LAYER_WIDTH
    marked = m[b + IS_OUTPUT] == 1 and m[b + IMAGE] == 0 and m[b + NEXT_MARK] < m[layer + MARK_COUNT]
    if marked and moved > m[b + WINDOW_MASK] + 1:
        # Marked windows are read off the last period, which the ring does not hold.
        left = min(left, m[m[layer + MARKS] + m[b + NEXT_MARK]] - m[b + WITHIN])
    return left // moved


@kernel(inner=True)
def still_blocked(m: Any, old: Any, b: Any) -> Any:
    """Periods in which a stage that stands still keeps waiting for the same."""
    event = m[b + BLOCK]
    if event < 0:
        return NEVER
    if event >= m[STAGE_COUNT]:
        c = m[SLOTS] + (event - m[STAGE_COUNT]) * SLOT_WIDTH
        moved = m[c + COMPLETE] - old[c + COMPLETE]
        return (m[c + TAKEN] - m[c + CAPACITY] - m[c + COMPLETE]) // moved if moved > 0 else NEVER
    s = m[STAGES] + event * STAGE_WIDTH
    moved = m[s + WINDOW] - old[s + WINDOW]
    if moved == 0:
        return NEVER
    least = 0
    head = m[b + NEEDS]
    for place in range(m[head], m[head + 1], 3):
        if m[place] == event:
            least = max(least, (needed(m, m, b, place) - m[s + WINDOW]) // moved)
    return least


@kernel(inner=True)
def same_needs(m: Any, old: Any, b: Any, times: Any) -> Any:
    """Of so many periods, those in which a moving stage needs, and gives back, windows of other layers alike."""
    moved, within = m[b + WINDOW] - old[b + WINDOW], m[b + WITHIN]
    head = m[b + NEEDS]
    for place in range(m[head], m[head + 1], 3):
        if m[place + 2] > 0:
            c = m[STAGES] + m[place] * STAGE_WIDTH
            produced = m[c + WINDOW] - old[c + WINDOW]
            if produced == 0:
                last = m[c + WINDOW] - m[b + IMAGE] * m[place + 2]
                while times > 0 and m[m[place + 1] + within + times * moved] >= last:
                    times -= 1
            else:
                times = regular(m, m[place + 1], old[b + WITHIN], within, moved, produced, times)
    head = m[b + GIVES] + GIVE_LEAVE_WINDOW
    for place in range(m[head], m[head + 1], 4):
        if m[place + 3] > 0:
            c = m[SLOTS] + m[place] * SLOT_WIDTH
            count = m[c + RELEASERS] + m[place + 1]
            times = regular(m, m[place + 2], old[b + WITHIN], within, moved, m[count] - old[count], times)
    return times


@kernel(inner=True)
def regular(m: Any, table: Any, first: Any, within: Any, moved: Any, growth: Any, times: Any) -> Any:
    """Of so many periods, those in which a table grows by ``growth`` over every ``moved`` windows."""
    for window in range(first, within + (times - 1) * moved + 1):
        if m[table + window + moved] - m[table + window] != growth:
            return max(0, (window - within) // moved)
    return times


# The jump.


@kernel(inner=True)
def jump(m: Any, old: Any, level: Any, times: Any, shift: Any, period: Any) -> None:
    """Skip so many periods: what moves moves on, and what stands still stays."""
    later = times * shift
    for place in range(m[STALLS], m[STALLS] + m[LAYER_COUNT] * CAUSE_COUNT):
        m[place] += times * (m[place] - old[place])
    if level == IMAGE_LEVEL:
        move_images(m, times * period, later, period, shift)
    for a in range(m[ARBITER_COUNT]):
        r = m[ARBITERS] + a * ARBITER_WIDTH
        if m[r + FREE] != old[r + FREE]:
            m[r + FREE] += later
        if m[r + DECISION] != NEVER:
            m[r + DECISION] += later
    for q in range(m[SLOT_COUNT]):
        move_buffer(m, old, m[SLOTS] + q * SLOT_WIDTH, times, shift)
    for s in range(m[STAGE_COUNT]):
        b = m[STAGES] + s * STAGE_WIDTH
        if m[b + WINDOW] > old[b + WINDOW]:
            move_stage(m, old, b, level, times, shift)
    m[SKIPPED] += times


@kernel(inner=True)
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


@kernel(inner=True)
def move_stage(m: Any, old: Any, b: Any, level: Any, times: Any, shift: Any) -> None:
    """A stage as it is after the skipped periods."""
    moved, later = m[b + WINDOW] - old[b + WINDOW], times * shift
    if level != IMAGE_LEVEL and m[b + IS_OUTPUT] == 1 and m[b + IMAGE] == 0:
        mark_skipped(m, b, moved, times, shift)
    move_ring(m, old, m[b + WINDOW_RING], m[b + WINDOW_MASK], m[b + WINDOW], moved, times, shift)
    if m[b + IS_LOAD] > 0:
        move_ring(m, old, m[b + START_RING], m[b + WINDOW_MASK], m[b + WINDOW], moved, times, shift)
    jobs = m[b + DONE_JOBS] - old[b + DONE_JOBS]
    move_ring(m, old, m[b + STEP_RING], m[b + STEP_MASK], m[b + DONE_JOBS], jobs, times, shift)
    if level == IMAGE_LEVEL:
        m[b + IMAGE] += times * (m[b + IMAGE] - old[b + IMAGE])
    else:
        m[b + WITHIN] += times * moved
        m[b + LEFT] -= times * moved
    m[b + WINDOW] += times * moved
    m[b + DONE_JOBS] += times * jobs
    m[b + LEAVE] += later
    m[b + DONE] += later
    m[b + START] += later
    m[b + REQUEST] += later
    if m[b + WAIT_TO] > m[b + WAIT_FROM]:
        m[b + WAIT_FROM] += later
        m[b + WAIT_TO] += later


@kernel(inner=True)
def move_ring(m: Any, old: Any, ring: Any, mask: Any, count: Any, moved: Any, times: Any, shift: Any) -> None:
    """The newest entries of a ring after ``times`` periods of ``moved`` entries more; ``old`` serves as scratch.

    A new entry is the one a period (or as many as bring it among those that are there) before, shifted.
    """
    if moved == 0:
        return
    for slot in range(mask + 1):
        old[ring + slot] = m[ring + slot]
    end = count + times * moved
    for entry in range(max(count, end - mask - 1), end):
        periods = times if moved > mask + 1 else (entry - count) // moved + 1
        m[ring + (entry & mask)] = old[ring + ((entry - periods * moved) & mask)] + periods * shift


@kernel(inner=True)
def move_buffer(m: Any, old: Any, c: Any, times: Any, shift: Any) -> None:
    """A buffer as it is after the skipped periods."""
    count, ring, mask = m[c + RELEASED], m[c + TOKEN_RING], m[c + TOKEN_MASK]
    moved = count - old[c + RELEASED]
    for part in range(3 if m[c + IS_LATE] == 1 else 1):
        move_ring(m, old, ring + part * (mask + 1), mask, count, moved, times, shift)
    m[c + TAKEN] += times * (m[c + TAKEN] - old[c + TAKEN])
    m[c + COMPLETE] += times * moved
    m[c + RELEASED] += times * moved
    for releaser in range(m[c + RELEASER_COUNT]):
        m[m[c + RELEASERS] + releaser] += times * moved


@kernel(inner=True)
def mark_skipped(m: Any, b: Any, moved: Any, times: Any, shift: Any) -> None:
    """Times of marked windows among those jumped over: a window's are those of the last one like it, shifted."""
    layer = m[LAYERS] + m[b + LAYER] * LAYER_WIDTH
    here = m[b + WINDOW]
    while m[b + NEXT_MARK] < m[layer + MARK_COUNT]:
        window = m[m[layer + MARKS] + m[b + NEXT_MARK]]
        if window >= here + times * moved:
            break
        periods = (window - here) // moved + 1
        time = m[m[b + WINDOW_RING] + ((window - periods * moved) & m[b + WINDOW_MASK])] + periods * shift
        place = m[layer + MARK_TIMES] + m[b + NEXT_MARK]
        m[place] = max(m[place], time)
        m[b + NEXT_MARK] += 1
