"""Whole windows at once: array, converter and shift-add of one group, with what they did before as a memory.

Such a chain shares nothing. What a window of it does depends on how its times lie to one another when the window's
inputs are there, and on nothing else; times before that moment cannot matter, so they count as that moment. A
window that finds the chain as an earlier one found it does the same, later: one comparison instead of dozens of
jobs. Windows that are watched are played job by job.
"""

from __future__ import annotations

from typing import Any

from pimsim.compiling import kernel
from pimsim.simulation.kernels import begin, end_window, finish, give, missing, starved, token_time, window_inputs

# fmt: off
# isort: off
from pimsim.simulation.memory import (
    BLOCK, CAPACITY, CAUSE_COUNT, CHAIN_LENGTH, CHAIN_SLOTS, CHAIN_SLOT_COUNT, CHAIN_STAGES, COMPLETE, DONE,
    DONE_JOBS, FIRST_START, FIRST_WATCHED, GIVE_DONE_WINDOW, GIVE_LEAVE_WINDOW, GIVE_START_WINDOW, IMAGE,
    IMAGE_WATCHED, IS_ARRAY, IS_LATE, JOBS, JOBS_WIDTH, KEY_LENGTH, LAST_HIT, LAST_WATCHED, LAYER, LEAVE, MEMORY,
    NEXT_ENTRY, PHASE, READY, RECORD, RELEASED, RELEASERS, REMEMBERED, SLOTS, SLOT_WIDTH, STAGES, STAGE_COUNT,
    STAGE_WIDTH, STALLS, START, START_WINDOW, STEP, STEPS, SUB, TAKEN, TAKES, TOKEN_MASK, TOKEN_RING, TOTAL,
    VALUE_LENGTH, WAITING, WAIT_FROM, WAIT_TO, WHOLE_WINDOWS, WINDOW, WINDOW_START, WITHIN,
)
# isort: on
# fmt: on


@kernel(inner=True)
def run_chain(m: Any, c: Any) -> None:
    """Let a chain go on as far as it can: by whole windows where it may, else job by job."""
    first, length = m[c + CHAIN_STAGES], m[c + CHAIN_LENGTH]
    moving = True
    while moving:
        moving = False
        for place in range(first, first + length):
            if advance_alone(m, m[place]):
                moving = True
        if stands_together(m, c) and play_window(m, c):
            moving = True


@kernel(inner=True)
def is_whole(m: Any, b: Any) -> Any:
    """Whether the stage stands before a window that its chain plays as a whole."""
    whole = m[m[b + JOBS] + m[b + PHASE] * JOBS_WIDTH + WHOLE_WINDOWS] == 1
    return whole and m[b + SUB] == READY and m[b + STEP] == 0


@kernel(inner=True)
def advance_alone(m: Any, s: Any) -> Any:
    """Let one stage of a chain go on job by job up to the next window that is played as a whole; whether it moved."""
    b = m[STAGES] + s * STAGE_WIDTH
    moved = False
    while not is_whole(m, b):
        if m[b + SUB] == WAITING:
            break
        could = begin(m, s, b) if m[b + SUB] == READY else finish(m, s, b)
        if not could:
            break
        moved = True
    return moved


@kernel(inner=True)
def stands_together(m: Any, c: Any) -> Any:
    """Whether all stages stand before the same window, one that is played as a whole."""
    first, length = m[c + CHAIN_STAGES], m[c + CHAIN_LENGTH]
    window = m[m[STAGES] + m[first] * STAGE_WIDTH + WINDOW]
    for place in range(first, first + length):
        b = m[STAGES] + m[place] * STAGE_WIDTH
        if m[b + WINDOW] != window or m[b + WINDOW] == m[b + TOTAL] or not is_whole(m, b):
            return False
    return True


@kernel(inner=True)
def play_window(m: Any, c: Any) -> Any:
    """Play the next window of a chain, if all that it waits for is known; whether it was."""
    head, tail = m[m[c + CHAIN_STAGES]], m[m[c + CHAIN_STAGES] + m[c + CHAIN_LENGTH] - 1]
    b, last = m[STAGES] + head * STAGE_WIDTH, m[STAGES] + tail * STAGE_WIDTH
    time = window_inputs(m, b, m[b + LEAVE])
    if time < 0:
        m[b + BLOCK] = -1 - time
        return False
    q = missing(m, last, START_WINDOW)
    if q >= 0:
        m[last + BLOCK] = m[STAGE_COUNT] + q
        return False
    for place in range(m[c + CHAIN_STAGES], m[c + CHAIN_STAGES] + m[c + CHAIN_LENGTH]):
        await_inputs(m, m[STAGES] + m[place] * STAGE_WIDTH)  # nothing of the chain starts earlier
    if is_watched(m, b):
        play_jobs(m, c)
        return True
    write_key(m, c, time)
    entry = find(m, c)
    if entry >= 0:
        replay(m, c, entry + m[c + KEY_LENGTH], time)
    else:
        entry = keep_key(m, c)
        add_stalls(m, b, entry + m[c + KEY_LENGTH] + m[c + VALUE_LENGTH] - CAUSE_COUNT, -1)
        play_jobs(m, c)
        write_value(m, c, entry + m[c + KEY_LENGTH], time)
    return True


@kernel(inner=True)
def await_inputs(m: Any, b: Any) -> None:
    """Let a stage of a chain wait for the inputs of its next window, which are known."""
    time = window_inputs(m, b, m[b + LEAVE])
    if m[b + IS_ARRAY] == 1 and m[b + WINDOW] > 0 and time > m[b + LEAVE]:
        starved(m, b, m[b + LEAVE], time)
    m[b + LEAVE] = time


@kernel(inner=True)
def is_watched(m: Any, b: Any) -> Any:
    """Whether jobs of the next window are to be recorded."""
    if m[b + RECORD] == 0 or (m[IMAGE_WATCHED] >= 0 and m[b + IMAGE] != m[IMAGE_WATCHED]):
        return False
    return m[FIRST_WATCHED] <= m[b + WITHIN] < m[LAST_WATCHED]


@kernel(inner=True)
def play_jobs(m: Any, c: Any) -> None:
    """Play one window job by job; everything that it waits for is known."""
    first, length = m[c + CHAIN_STAGES], m[c + CHAIN_LENGTH]
    end = m[m[STAGES] + m[first] * STAGE_WIDTH + WINDOW] + 1
    left = True
    while left:
        left = False
        for place in range(first, first + length):
            s = m[place]
            b = m[STAGES] + s * STAGE_WIDTH
            moving = True
            while moving and m[b + WINDOW] < end:
                moving = begin(m, s, b) if m[b + SUB] == READY else finish(m, s, b)
            left = left or m[b + WINDOW] < end


# The key: how the times of the chain lie to the moment at which the window can begin.


@kernel(inner=True)
def write_key(m: Any, c: Any, time: Any) -> None:
    """Write the key of the next window behind the entries."""
    place = m[c + MEMORY] + REMEMBERED * (m[c + KEY_LENGTH] + m[c + VALUE_LENGTH])
    first, length = m[c + CHAIN_STAGES], m[c + CHAIN_LENGTH]
    b = m[STAGES] + m[first] * STAGE_WIDTH
    m[place] = m[b + PHASE]
    place += 1
    for stage in range(first, first + length):
        b = m[STAGES] + m[stage] * STAGE_WIDTH
        m[place], m[place + 1] = max(m[b + LEAVE] - time, 0), max(m[b + DONE] - time, 0)
        place += 2
    room = 0
    for token in range(m[m[b + TAKES] + START_WINDOW], m[m[b + TAKES] + START_WINDOW + 1]):
        room = max(room, token_time(m, m[token]) - time)
    m[place] = room
    write_tokens(m, c, place + 1, time, True)


@kernel(inner=True)
def write_tokens(m: Any, c: Any, place: Any, time: Any, clip: Any) -> None:
    """Write when the tokens of the inner buffers were freed, and the waits before, after ``time``."""
    for slot in range(m[c + CHAIN_SLOTS], m[c + CHAIN_SLOTS] + m[c + CHAIN_SLOT_COUNT]):
        q = m[SLOTS] + m[slot] * SLOT_WIDTH
        ring, mask = m[q + TOKEN_RING], m[q + TOKEN_MASK]
        for token in range(m[q + TAKEN] - m[q + CAPACITY], m[q + TAKEN]):
            for part in range(3 if m[q + IS_LATE] == 1 else 1):
                value = m[ring + part * (mask + 1) + (token & mask)] - time if token >= 0 else -time
                m[place] = max(value, 0) if clip else value
                place += 1


@kernel(inner=True)
def find(m: Any, c: Any) -> Any:
    """The entry with the key just written; -1 for none."""
    width, length = m[c + KEY_LENGTH] + m[c + VALUE_LENGTH], m[c + KEY_LENGTH]
    key = m[c + MEMORY] + REMEMBERED * width
    for turn in range(REMEMBERED):
        number = (m[c + LAST_HIT] + turn) % REMEMBERED
        entry = m[c + MEMORY] + number * width
        i = 0
        while i < length and m[entry + i] == m[key + i]:
            i += 1
        if i == length:
            m[c + LAST_HIT] = number
            return entry
    return -1


@kernel(inner=True)
def keep_key(m: Any, c: Any) -> Any:
    """Make the oldest entry one for the key just written."""
    width = m[c + KEY_LENGTH] + m[c + VALUE_LENGTH]
    key, entry = m[c + MEMORY] + REMEMBERED * width, m[c + MEMORY] + m[c + NEXT_ENTRY] * width
    for i in range(m[c + KEY_LENGTH]):
        m[entry + i] = m[key + i]
    for i in range(m[c + KEY_LENGTH], width):
        m[entry + i] = 0
    m[c + NEXT_ENTRY] = (m[c + NEXT_ENTRY] + 1) % REMEMBERED
    return entry


# The value: what the window did, in times after that moment.


@kernel(inner=True)
def add_stalls(m: Any, b: Any, place: Any, sign: Any) -> None:
    """Add (or take away) the stalls of the layer so far."""
    stalls = m[STALLS] + m[b + LAYER] * CAUSE_COUNT
    for cause in range(CAUSE_COUNT):
        m[place + cause] += sign * m[stalls + cause]


@kernel(inner=True)
def write_value(m: Any, c: Any, place: Any, time: Any) -> None:
    """Write what the window that was just played did."""
    first, length = m[c + CHAIN_STAGES], m[c + CHAIN_LENGTH]
    for stage in range(first, first + length):
        b = m[STAGES] + m[stage] * STAGE_WIDTH
        m[place], m[place + 1] = m[b + WINDOW_START] - time, m[b + START] - time
        m[place + 2], m[place + 3] = m[b + LEAVE] - time, m[b + DONE] - time
        place += 4
    write_tokens(m, c, place, time, False)
    end = place + token_length(m, c)
    add_stalls(m, m[STAGES] + m[first] * STAGE_WIDTH, end, 1)


@kernel(inner=True)
def token_length(m: Any, c: Any) -> Any:
    """Entries that the tokens of the inner buffers take."""
    return m[c + VALUE_LENGTH] - 4 * m[c + CHAIN_LENGTH] - CAUSE_COUNT


@kernel(inner=True)
def replay(m: Any, c: Any, place: Any, time: Any) -> None:
    """Do what the remembered window did."""
    first, length = m[c + CHAIN_STAGES], m[c + CHAIN_LENGTH]
    b = m[STAGES] + m[first] * STAGE_WIDTH
    steps = m[m[b + JOBS] + m[b + PHASE] * JOBS_WIDTH + STEPS]
    replay_tokens(m, c, place + 4 * length, steps, time)
    stalls = m[STALLS] + m[b + LAYER] * CAUSE_COUNT
    for cause in range(CAUSE_COUNT):
        m[stalls + cause] += m[place + 4 * length + token_length(m, c) + cause]
    last = m[STAGES] + m[first + length - 1] * STAGE_WIDTH
    for slot in range(m[m[last + TAKES] + START_WINDOW], m[m[last + TAKES] + START_WINDOW + 1]):
        m[m[SLOTS] + m[slot] * SLOT_WIDTH + TAKEN] += 1
    for stage in range(first, first + length):
        replay_stage(m, m[stage], place, steps, time)
        place += 4


@kernel(inner=True)
def replay_stage(m: Any, s: Any, place: Any, steps: Any, time: Any) -> None:
    """One stage at the end of the window, and what others see of it."""
    b = m[STAGES] + s * STAGE_WIDTH
    if m[b + FIRST_START] < 0:
        m[b + FIRST_START] = time + m[place]
    m[b + WINDOW_START], m[b + START] = time + m[place], time + m[place + 1]
    m[b + LEAVE], m[b + DONE] = time + m[place + 2], time + m[place + 3]
    m[b + DONE_JOBS] += steps
    m[b + WAIT_FROM], m[b + WAIT_TO] = 0, 0
    give(m, b, GIVE_START_WINDOW, m[b + WINDOW_START])
    give(m, b, GIVE_LEAVE_WINDOW, m[b + LEAVE])
    give(m, b, GIVE_DONE_WINDOW, m[b + DONE])
    end_window(m, s, b, m[b + DONE])


@kernel(inner=True)
def replay_tokens(m: Any, c: Any, place: Any, steps: Any, time: Any) -> None:
    """The inner buffers at the end of the window: every token is back."""
    for slot in range(m[c + CHAIN_SLOTS], m[c + CHAIN_SLOTS] + m[c + CHAIN_SLOT_COUNT]):
        q = m[SLOTS] + m[slot] * SLOT_WIDTH
        ring, mask = m[q + TOKEN_RING], m[q + TOKEN_MASK]
        m[q + TAKEN] += steps
        m[q + COMPLETE] += steps
        m[q + RELEASED] += steps
        m[m[q + RELEASERS]] += steps
        for token in range(m[q + TAKEN] - m[q + CAPACITY], m[q + TAKEN]):
            for part in range(3 if m[q + IS_LATE] == 1 else 1):
                m[ring + part * (mask + 1) + (token & mask)] = m[place] + time
                place += 1
