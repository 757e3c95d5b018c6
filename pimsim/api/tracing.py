"""Which spans a trace keeps: a selection of layers and windows, applied by a probe that never changes timing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pimsim.errors import SimulationError, nearest
from pimsim.simulation.results import Span

#: A browser opens this many slices without trouble; what comes after is left out, and a note says so.
MAX_SPANS = 200_000
DEFAULT_WINDOWS = (0, 4)
NONE = "none"
_EXAMPLE = "Write it like layer=conv2,windows=0:64, or none"


@dataclass(frozen=True)
class Selection:
    """Spans of ``layer`` (None: every layer) in windows ``first`` to before ``last``."""

    layer: str | None
    first: int
    last: int

    def takes(self, span: Span) -> bool:
        """Whether the span belongs to the selection."""
        return self.first <= span.window < self.last and self.layer in (None, span.layer)


def parse_selection(text: str | None, layers: Sequence[str]) -> Selection | None:
    """The selection of ``layer=NAME,windows=FIRST:LAST`` (either alone will do); None keeps nothing.

    Without a text the first windows of every layer are kept.

    Raises:
        SimulationError: an unknown key or layer, or windows that are not FIRST:LAST.
    """
    if text == NONE:
        return None
    given = dict(part.partition("=")[::2] for part in text.split(",")) if text else {}
    for key in given:
        if key not in ("layer", "windows"):
            raise SimulationError(f"'{text}'", f"'{key}' is not part of a trace selection", "--trace", _EXAMPLE)
    layer = given.get("layer")
    if layer is not None and layer not in layers:
        raise SimulationError(f"layer '{layer}'", "the network has no such layer", "--trace", nearest(layer, layers))
    return Selection(layer, *_windows(given.get("windows"), layer))


def _windows(text: str | None, layer: str | None) -> tuple[int, int]:
    if text is None:
        return DEFAULT_WINDOWS if layer is None else (0, 64)
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise SimulationError(f"windows={text}", "windows are FIRST:LAST, counted from 0", "--trace", _EXAMPLE)
    return int(first), int(last)


@dataclass
class Keeper:
    """A probe that keeps the selected spans, at most `MAX_SPANS`."""

    selection: Selection | None
    spans: list[Span] = field(default_factory=list)
    left_out: int = 0

    def __call__(self, span: Span) -> None:
        """See one span."""
        if self.selection is None or not self.selection.takes(span):
            return
        if len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        else:
            self.left_out += 1

    @property
    def notes(self) -> tuple[str, ...]:
        """A note when spans were left out."""
        if not self.left_out:
            return ()
        return (f"the trace keeps {MAX_SPANS:,} spans and leaves out {self.left_out:,}: choose fewer with --trace",)
