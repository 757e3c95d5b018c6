"""Short torch work on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread inside, and on as many as before behind it.

    A pass over a few images or one layer's weights is over before the threads of a pool have met; where another
    process uses the cores, waiting for them takes ten times as long as the work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
