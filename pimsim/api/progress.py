"""Talk on standard error: progress bars for what takes more than two seconds, and lines that cannot wait."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
#: Anything faster shows no bar.
DELAY_S = 2.0


@dataclass(frozen=True)
class Progress:
    """Wraps what is walked through; silent when ``shown`` is False."""

    shown: bool = False

    def __call__(self, items: Sequence[Item], what: str, unit: str) -> Iterator[Item]:
        """The items, one after another."""
        with self.bar(len(items), what, unit) as bar:
            for item in items:
                yield item
                bar.update()

    @contextmanager
    def bar(self, total: int, what: str, unit: str) -> Iterator[Any]:
        """A bar with ``update(n)``."""
        from tqdm import tqdm

        bar = tqdm(total=total, desc=what, unit=unit, delay=DELAY_S, disable=not self.shown, leave=False)
        try:
            yield bar
        finally:
            bar.close()

    def say(self, text: str) -> None:
        """One line for the person in front of the screen."""
        if self.shown:
            print(text, file=sys.stderr, flush=True)
