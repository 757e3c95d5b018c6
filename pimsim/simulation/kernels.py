"""The rules of `pimsim.simulation.plan` for one job, as kernels on the array of `pimsim.simulation.memory`.

``m`` is that array everywhere, ``s`` a stage, ``b`` where its row begins, ``q`` a buffer, ``a`` an arbiter.
"""

from __future__ import annotations

from typing import Any

from pimsim.compiling import kernel

# fmt: off
# isort: off
from pimsim.simulation.memory import (
    ACQUIRER, ARBITER, ARBITERS, ARBITER_COUNT, ARBITER_WIDTH, BLOCK, BY_STEP, CAPACITY, CAUSE, CAUSE_COUNT,
    COMPLETE, DECISION, DONE, DONE_JOBS, END_JOB, END_WINDOW, FIRST_START, FIRST_WATCHED, FOLLOWER, FREE, GIVES,
    GIVE_DONE_JOB, GIVE_DONE_WINDOW, GIVE_LEAVE_JOB, GIVE_LEAVE_WINDOW, GIVE_START_JOB, GIVE_START_WINDOW, HEAP,
    HEAP_PLACE, HELD, IMAGE, IMAGES, IMAGES_COMPLETE, IMAGE_DONE, IMAGE_PARTS, IMAGE_WATCHED, INPUT_STALL, IS_ARRAY,
    IS_LATE, IS_LOAD, IS_OUTPUT, JOBS, JOBS_WIDTH, LAST_WATCHED, LAYER, LAYERS, LAYER_WIDTH, LEAVE, LEFT, MARKS,
    MARK_COUNT, MARK_TIMES, MOMENTS, NEEDS, NEVER, NEXT_MARK, OUTPUT_COUNT, OUTPUT_STALL, PENDING, PHASE, PHASES,
    PHASE_COUNT, QUEUE, READY, RECORD, RECORDED, RELEASED, RELEASERS, RELEASER_COUNT, REQUEST, SERVICES, SLOTS,
    SLOT_WIDTH, STACK, STACKED, STACK_SIZE, STAGES, STAGE_COUNT, STAGE_WIDTH, STALLS, START, STARTED, START_JOB,
    START_RING, START_WINDOW, STEP, STEPS, STEP_MASK, STEP_RING, SUB, TAKEN, TAKES, TOKEN_MASK, TOKEN_RING, TOTAL,
    TURN, UNITS, VARIES, WAITING, WAIT_FROM, WAIT_TO, WAKES, WINDOW, WINDOWS, WINDOW_MASK, WINDOW_RING,
    WINDOW_START, WITHIN,
)
# isort: on
# fmt: on

# Waking: a stage that cannot go on says what it waits for, and is put on the stack when that happens.


@kernel(inner=True)
def push(m: Any, s: Any) -> None:
    """Put a stage on the stack of those that may go on, once."""
    b = m[STAGES] + s * STAGE_WIDTH
    if m[b + STACKED] == 0:
        m[b + STACKED] = 1
        m[m[STACK] + m[STACK_SIZE]] = s
        m[STACK_SIZE] += 1


@kernel(inner=True)
def wake(m: Any, s: Any, event: Any) -> None:
    """Let a stage go on if it waits for that: a stage by its number, or a buffer by its number behind all stages."""
    b = m[STAGES] + s * STAGE_WIDTH
    if m[b + BLOCK] == event:
        m[b + BLOCK] = -1
        push(m, s)


# Buffers.


@kernel(inner=True)
def token_time(m: Any, q: Any) -> Any:
    """When the next token of a buffer is free; NEVER while that is unknown."""
    c = m[SLOTS] + q * SLOT_WIDTH
    token = m[c + TAKEN] - m[c + CAPACITY]
    if token < 0:
        return 0
    if token >= m[c + COMPLETE]:
        return NEVER
    return m[m[c + TOKEN_RING] + (token & m[c + TOKEN_MASK])]


@kernel(inner=True)
def missing(m: Any, b: Any, moment: Any) -> Any:
    """The first buffer that has no token for this moment of a stage; -1 for none."""
    if (m[b + MOMENTS] >> moment) & 1 == 0:
        return -1
    head = m[b + TAKES] + moment
    for place in range(m[head], m[head + 1]):
        if token_time(m, m[place]) == NEVER:
            return m[place]
    return -1


@kernel(inner=True)
def take(m: Any, b: Any, moment: Any, time: Any) -> Any:
    """Take a token from every buffer of this moment, one after another; gives when the last one was had."""
    if (m[b + MOMENTS] >> moment) & 1 == 0:
        return time
    head = m[b + TAKES] + moment
    for place in range(m[head], m[head + 1]):
        q = m[place]
        c = m[SLOTS] + q * SLOT_WIDTH
        free = token_time(m, q)
        if free > time:
            if m[b + IS_ARRAY] == 1:
                stall(m, b, c, time, free)
            elif m[c + CAUSE] == OUTPUT_STALL:
                m[b + WAIT_FROM], m[b + WAIT_TO] = time, free
            time = free
        m[c + TAKEN] += 1
    return time


@kernel(inner=True)
def give(m: Any, b: Any, moment: Any, time: Any) -> None:
    """Give back tokens at this moment of the present job."""
    if (m[b + MOMENTS] >> (4 + moment)) & 1 == 0:
        return
    head = m[b + GIVES] + moment
    for place in range(m[head], m[head + 1], 4):
        tokens = 1
        if m[place + 3] > 0:  # a reader of another layer: all that no later window of it needs
            c = m[SLOTS] + m[place] * SLOT_WIDTH
            freed = m[b + IMAGE] * m[place + 3] + m[m[place + 2] + m[b + WITHIN]]
            tokens = freed - m[m[c + RELEASERS] + m[place + 1]]
        release(m, m[place], m[place + 1], tokens, time, m[b + WAIT_FROM], m[b + WAIT_TO])


@kernel(inner=True)
def release(m: Any, q: Any, releaser: Any, tokens: Any, time: Any, wait_from: Any, wait_to: Any) -> None:
    """One of the releasing stages is done with its oldest tokens; a token is free when all of them are."""
    c = m[SLOTS] + q * SLOT_WIDTH
    counts, ring, mask = m[c + RELEASERS], m[c + TOKEN_RING], m[c + TOKEN_MASK]
    first = m[counts + releaser]
    for token in range(first, first + tokens):
        place = ring + (token & mask)
        if token >= m[c + RELEASED]:
            m[c + RELEASED] = token + 1
            m[place] = time
        elif m[place] < time:
            m[place] = time
        if m[c + IS_LATE] == 1:
            m[place + mask + 1], m[place + 2 * (mask + 1)] = wait_from, wait_to
    m[counts + releaser] = first + tokens
    complete = m[counts]
    for other in range(1, m[c + RELEASER_COUNT]):
        complete = min(complete, m[counts + other])
    if complete > m[c + COMPLETE]:
        m[c + COMPLETE] = complete
        wake(m, m[c + ACQUIRER], m[STAGE_COUNT] + q)


# Why arrays wait.


@kernel(inner=True)
def stall(m: Any, b: Any, c: Any, since: Any, until: Any) -> None:
    """An array waited for a token: while its converter waited for room itself, for the output."""
    place = m[STALLS] + m[b + LAYER] * CAUSE_COUNT
    behind = 0
    if m[c + IS_LATE] == 1:
        mask = m[c + TOKEN_MASK]
        token = m[c + TOKEN_RING] + ((m[c + TAKEN] - m[c + CAPACITY]) & mask)
        wait_from, wait_to = m[token + mask + 1], m[token + 2 * (mask + 1)]
        behind = max(0, min(until, wait_to) - max(since, wait_from))
    m[place + OUTPUT_STALL] += behind * m[b + UNITS]
    m[place + m[c + CAUSE]] += (until - since - behind) * m[b + UNITS]


@kernel(inner=True)
def starved(m: Any, b: Any, since: Any, until: Any) -> None:
    """An array waited for its input: for the bus, for the buffer, and for what came before."""
    place = m[STALLS] + m[b + LAYER] * CAUSE_COUNT
    window, remaining = m[b + WINDOW], until - since
    source = m[m[m[b + NEEDS]]]
    while source >= 0:
        c = m[STAGES] + source * STAGE_WIDTH
        if m[c + IS_LOAD] == 0:
            break
        slot = window & m[c + WINDOW_MASK]
        begin, end = m[m[c + START_RING] + slot], m[m[c + WINDOW_RING] + slot]
        served = max(0, min(until, end) - max(since, begin))
        m[place + m[c + IS_LOAD] - 1] += served * m[b + UNITS]
        remaining -= served
        head = m[c + NEEDS]
        source = m[m[head]] if m[head + 1] > m[head] and m[m[head] + 2] == 0 else -1
    m[place + INPUT_STALL] += remaining * m[b + UNITS]


# A job begins: everything that it waits for before it holds its stage.


@kernel(inner=True)
def window_inputs(m: Any, b: Any, time: Any) -> Any:
    """When all windows that the next one needs are done; minus the number of the stage that is not, less one."""
    head = m[b + NEEDS]
    for place in range(m[head], m[head + 1], 3):
        source, per_image = m[place], m[place + 2]
        needed = m[b + WINDOW]
        if per_image > 0:
            needed = m[b + IMAGE] * per_image + m[m[place + 1] + m[b + WITHIN]]
        c = m[STAGES] + source * STAGE_WIDTH
        if m[c + WINDOW] <= needed:
            return -1 - source
        if needed >= 0:
            time = max(time, m[m[c + WINDOW_RING] + (needed & m[c + WINDOW_MASK])])
    return time


@kernel(inner=True)
def begin(m: Any, s: Any, b: Any) -> Any:
    """Let the next job ask for its resource or start; whether it could."""
    first = m[b + STEP] == 0
    since = time = m[b + LEAVE]
    if first:
        if m[b + WINDOW] == m[b + TOTAL]:
            m[b + BLOCK] = -2
            return False
        time = window_inputs(m, b, time)
        if time < 0:
            m[b + BLOCK] = -1 - time
            return False
        q = missing(m, b, START_WINDOW)
        if q >= 0:
            m[b + BLOCK] = m[STAGE_COUNT] + q
            return False
    source = m[b + BY_STEP]
    if source >= 0:
        c = m[STAGES] + source * STAGE_WIDTH
        if m[c + DONE_JOBS] <= m[b + DONE_JOBS]:
            m[b + BLOCK] = source
            return False
    q = missing(m, b, START_JOB)
    if q >= 0:
        m[b + BLOCK] = m[STAGE_COUNT] + q
        return False
    if first:
        if m[b + IS_ARRAY] == 1 and m[b + WINDOW] > 0 and time > since:
            starved(m, b, since, time)
        time = take(m, b, START_WINDOW, time)
    m[b + WAIT_FROM], m[b + WAIT_TO] = 0, 0
    if source >= 0:
        c = m[STAGES] + source * STAGE_WIDTH
        time = max(time, m[m[c + STEP_RING] + (m[b + DONE_JOBS] & m[c + STEP_MASK])])
    time = take(m, b, START_JOB, time)
    if m[b + ARBITER] >= 0:
        m[b + SUB], m[b + REQUEST] = WAITING, time
        request(m, s, m[b + ARBITER], time)
    else:
        start(m, b, time)
    return True


@kernel(inner=True)
def start(m: Any, b: Any, time: Any) -> None:
    """The job holds its stage."""
    m[b + SUB], m[b + START] = STARTED, time
    if m[b + FIRST_START] < 0:
        m[b + FIRST_START] = time
    give(m, b, GIVE_START_JOB, time)
    if m[b + STEP] == 0:
        m[b + WINDOW_START] = time
        give(m, b, GIVE_START_WINDOW, time)


# A job ends.


@kernel(inner=True)
def finish(m: Any, s: Any, b: Any) -> Any:
    """Let the started job leave, if there is room behind it; whether it could."""
    j = m[b + JOBS] + m[b + PHASE] * JOBS_WIDTH
    last = m[b + STEP] == m[j + STEPS] - 1
    q = missing(m, b, END_JOB)
    if q < 0 and last:
        q = missing(m, b, END_WINDOW)
    if q >= 0:
        m[b + BLOCK] = m[STAGE_COUNT] + q
        return False
    service = m[j + SERVICES] + 2 * m[b + STEP] * m[j + VARIES]
    leave = take(m, b, END_JOB, m[b + START] + m[service])
    if last:
        leave = take(m, b, END_WINDOW, leave)
    done = max(leave, m[b + START] + m[service + 1], m[b + DONE])
    m[b + LEAVE], m[b + DONE], m[b + SUB] = leave, done, READY
    if m[b + ARBITER] >= 0:
        set_free(m, m[b + ARBITER], leave)
    give(m, b, GIVE_LEAVE_JOB, leave)
    if m[b + RECORD] > 0:
        record(m, b, done)
    if m[b + FOLLOWER] >= 0:
        m[m[b + STEP_RING] + (m[b + DONE_JOBS] & m[b + STEP_MASK])] = done
    m[b + DONE_JOBS] += 1
    if last:
        give(m, b, GIVE_LEAVE_WINDOW, leave)
    give(m, b, GIVE_DONE_JOB, done)
    if last:
        give(m, b, GIVE_DONE_WINDOW, done)
        end_window(m, s, b, done)
    else:
        m[b + STEP] += 1
    if m[b + FOLLOWER] >= 0:
        wake(m, m[b + FOLLOWER], s)
    return True


@kernel(inner=True)
def end_window(m: Any, s: Any, b: Any, done: Any) -> None:
    """The last job of a window has left: remember when it is done, and go on to the next window."""
    slot = m[b + WINDOW] & m[b + WINDOW_MASK]
    m[m[b + WINDOW_RING] + slot] = done
    if m[b + IS_LOAD] > 0:
        m[m[b + START_RING] + slot] = m[b + START]
    if m[b + IS_OUTPUT] == 1:
        end_output(m, b, done)
    m[b + STEP] = 0
    m[b + WINDOW] += 1
    m[b + WITHIN] += 1
    m[b + LEFT] -= 1
    if m[b + LEFT] == 0:
        m[b + PHASE] += 1
        if m[b + PHASE] == m[b + PHASE_COUNT]:
            m[b + PHASE], m[b + WITHIN] = 0, 0
            m[b + IMAGE] += 1
        m[b + LEFT] = m[m[b + PHASES] + m[b + PHASE]]
    head = m[b + WAKES]
    for place in range(m[head], m[head + 1]):
        wake(m, m[place], s)


@kernel(inner=True)
def end_output(m: Any, b: Any, done: Any) -> None:
    """A window has left one of its layer's output stages: note marked windows and finished images."""
    layer = m[LAYERS] + m[b + LAYER] * LAYER_WIDTH
    mark = m[b + NEXT_MARK]
    if m[b + IMAGE] == 0 and mark < m[layer + MARK_COUNT] and m[m[layer + MARKS] + mark] == m[b + WITHIN]:
        place = m[layer + MARK_TIMES] + mark
        m[place] = max(m[place], done)
        m[b + NEXT_MARK] += 1
    if m[b + WITHIN] == m[layer + WINDOWS] - 1:
        image = m[b + IMAGE]
        m[m[IMAGE_DONE] + image] = max(m[m[IMAGE_DONE] + image], done)
        m[m[IMAGE_PARTS] + image] += 1
        while m[IMAGES_COMPLETE] < m[IMAGES] and m[m[IMAGE_PARTS] + m[IMAGES_COMPLETE]] == m[OUTPUT_COUNT]:
            m[IMAGES_COMPLETE] += 1


@kernel(inner=True)
def record(m: Any, b: Any, done: Any) -> None:
    """Keep start and end of a watched job."""
    if m[IMAGE_WATCHED] >= 0 and m[b + IMAGE] != m[IMAGE_WATCHED]:
        return
    if m[FIRST_WATCHED] <= m[b + WITHIN] < m[LAST_WATCHED]:
        place = m[b + RECORD] + 2 * m[b + RECORDED]
        m[place], m[place + 1] = m[b + START], done
        m[b + RECORDED] += 1


# Arbiters, in a heap by (time of decision, number).


@kernel(inner=True)
def comes_before(m: Any, a: Any, other: Any) -> Any:
    """Whether an arbiter decides before another."""
    one, two = m[ARBITERS] + a * ARBITER_WIDTH, m[ARBITERS] + other * ARBITER_WIDTH
    if m[one + DECISION] != m[two + DECISION]:
        return m[one + DECISION] < m[two + DECISION]
    return a < other


@kernel(inner=True)
def set_decision(m: Any, a: Any, time: Any) -> None:
    """Give an arbiter another time to decide, and its place in the heap."""
    m[m[ARBITERS] + a * ARBITER_WIDTH + DECISION] = time
    heap, count = m[HEAP], m[ARBITER_COUNT]
    place = m[m[ARBITERS] + a * ARBITER_WIDTH + HEAP_PLACE]
    while place > 0 and comes_before(m, a, m[heap + (place - 1) // 2]):
        put(m, m[heap + (place - 1) // 2], place)
        place = (place - 1) // 2
    while True:
        child = 2 * place + 1
        if child + 1 < count and comes_before(m, m[heap + child + 1], m[heap + child]):
            child += 1
        if child >= count or not comes_before(m, m[heap + child], a):
            break
        put(m, m[heap + child], place)
        place = child
    put(m, a, place)


@kernel(inner=True)
def put(m: Any, a: Any, place: Any) -> None:
    """Stand an arbiter at a place of the heap."""
    m[m[HEAP] + place] = a
    m[m[ARBITERS] + a * ARBITER_WIDTH + HEAP_PLACE] = place


@kernel(inner=True)
def request(m: Any, s: Any, a: Any, time: Any) -> None:
    """A stage asks for a shared resource from that time on."""
    r = m[ARBITERS] + a * ARBITER_WIDTH
    m[m[r + QUEUE] + m[r + PENDING]] = s
    m[r + PENDING] += 1
    if m[r + HELD] < 0:
        decision = max(m[r + FREE], time)
        if decision < m[r + DECISION]:
            set_decision(m, a, decision)


@kernel(inner=True)
def set_free(m: Any, a: Any, time: Any) -> None:
    """The holder has left at that time; the next decision is then, or when the first of the others asks."""
    r = m[ARBITERS] + a * ARBITER_WIDTH
    m[r + HELD], m[r + FREE] = -1, time
    if m[r + PENDING] > 0:
        s = m[first_in_queue(m, r)]
        set_decision(m, a, max(time, m[m[STAGES] + s * STAGE_WIDTH + REQUEST]))


@kernel(inner=True)
def first_in_queue(m: Any, r: Any) -> Any:
    """Place in the queue of the stage that asked first; ties go by turn."""
    best = m[r + QUEUE]
    b = m[STAGES] + m[best] * STAGE_WIDTH
    for place in range(best + 1, best + m[r + PENDING]):
        other = m[STAGES] + m[place] * STAGE_WIDTH
        if m[other + REQUEST] < m[b + REQUEST] or (
            m[other + REQUEST] == m[b + REQUEST] and m[other + TURN] < m[b + TURN]
        ):
            best, b = place, other
    return best


@kernel(inner=True)
def decide(m: Any, a: Any) -> None:
    """Grant the resource at the arbiter's time."""
    r = m[ARBITERS] + a * ARBITER_WIDTH
    time, place = m[r + DECISION], first_in_queue(m, r)
    s = m[place]
    m[r + HELD] = s
    m[r + PENDING] -= 1
    m[place] = m[m[r + QUEUE] + m[r + PENDING]]
    set_decision(m, a, NEVER)
    start(m, m[STAGES] + s * STAGE_WIDTH, time)
    push(m, s)


@kernel(inner=True)
def advance(m: Any, s: Any) -> None:
    """Let a stage go on as far as it can."""
    b = m[STAGES] + s * STAGE_WIDTH
    moving = True
    while moving:
        if m[b + SUB] == READY:
            moving = begin(m, s, b)
        elif m[b + SUB] == STARTED:
            moving = finish(m, s, b)
        else:
            moving = False
