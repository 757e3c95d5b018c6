"""Work that writes files, shared with a second process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any


def in_two_processes(write: Callable[..., object], jobs: Sequence[tuple[Any, ...]]) -> None:
    """Call ``write`` with every job, every other one in a process of its own where there are two processors.

    The other process is a copy of this one, so jobs may hold anything; only the files that it writes come back. What
    it could not do is done here, which tells the reason.

    Args:
        write: writes a file; called with the values of a job.
        jobs: independent of each other.
    """
    theirs = jobs[1::2]
    child = _fork() if theirs else None
    if child == 0:
        _write_and_leave(write, theirs)
    for job in jobs[0::2]:
        write(*job)
    if child is None or os.waitpid(child, 0)[1] != 0:
        for job in theirs:
            write(*job)


def _fork() -> int | None:
    """The number of a new process, 0 within it; None where there is one processor, or no way to copy a process."""
    if not hasattr(os, "fork") or len(os.sched_getaffinity(0)) < 2:
        return None
    return os.fork()


def _write_and_leave(write: Callable[..., object], jobs: Sequence[tuple[Any, ...]]) -> None:
    status = 1
    try:
        for job in jobs:
            write(*job)
        status = 0
    finally:
        os._exit(status)  # none of what the first process does at its end
