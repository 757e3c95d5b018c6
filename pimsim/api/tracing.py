"""Which spans a trace keeps: a selection as a `Watch`, and a probe that keeps what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pimsim.errors import SimulationError, nearest
from pimsim.simulation.plan import STAGE_ORDER
from pimsim.simulation.playing import Watch
from pimsim.simulation.results import Span

#: A browser opens this many slices without trouble; later ones are left out, and a note says so.
MAX_SPANS = 200_000
DEFAULT_WINDOWS = (0, 4)
NONE = "none"
KEYS = ("layer", "windows", "image")
_EXAMPLE = "Write it like layer=conv2,windows=0:64,image=0, or none"


def parse_selection(text: str | None, layers: Sequence[str], images: int = 1) -> Watch | None:
    """The selection of ``layer=NAME,windows=FIRST:LAST,image=N`` (any of them will do); None keeps nothing.

    Without a text the first windows of every layer are kept. Without ``image`` those of the first one.

    Args:
        text: as the user gave it; None: not given.
        layers: names of the network's layers.
        images: images that are played, whose spans can be kept.

    Raises:
        SimulationError: an unknown key or layer, windows that are not FIRST:LAST, or an image that is not played.
    """
    if text == NONE:
        return None
    given = dict(part.partition("=")[::2] for part in text.split(",")) if text is not None else {}
    for key in given:
        if key not in KEYS:
            raise SimulationError(f"'{text}'", f"'{key}' is not part of a trace selection", "--trace", _EXAMPLE)
    layer = given.get("layer")
    if layer is not None and layer not in layers:
        raise SimulationError(f"layer '{layer}'", "the network has no such layer", "--trace", nearest(layer, layers))
    return Watch(layer, *_windows(given.get("windows"), layer), _image(given.get("image", "0"), images))


def _windows(text: str | None, layer: str | None) -> tuple[int, int]:
    if text is None:
        return DEFAULT_WINDOWS if layer is None else (0, 64)
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise SimulationError(f"windows={text}", "windows are FIRST:LAST, counted from 0", "--trace", _EXAMPLE)
    return int(first), int(last)


def _image(text: str, images: int) -> int:
    if not text.isdecimal():
        raise SimulationError(f"image={text}", "an image is a number, counted from 0", "--trace", _EXAMPLE)
    if int(text) >= images:
        played = f"{images} images are" if images > 1 else "only the first image is"
        fix = "Leave image out, or give a larger --batch with --layers pipelined"
        raise SimulationError(f"image={text}", f"{played} played, and they are counted from 0", "--trace", fix)
    return int(text)


def span_order(span: Span) -> tuple[int | str, ...]:
    """The order of spans in tables and traces: by time, then by place, stage, layer and job."""
    place = span.tile, span.macro, span.array, -STAGE_ORDER.index(span.stage)
    return (span.start_fs, span.end_fs, *place, span.layer, span.image, span.window, span.step)


@dataclass
class Keeper:
    """A probe that keeps the spans that it sees: the earliest `MAX_SPANS` of them, in whatever order they come."""

    most: int = MAX_SPANS
    left_out: int = 0
    _kept: list[Span] = field(default_factory=list)

    def __call__(self, span: Span) -> None:
        """See one span."""
        self._kept.append(span)
        if len(self._kept) >= 2 * self.most:
            self._drop()

    def _drop(self) -> None:
        """Sort, and keep the earliest: memory stays bounded, and the choice does not depend on the engine."""
        self._kept.sort(key=span_order)
        self.left_out += max(0, len(self._kept) - self.most)
        del self._kept[self.most :]

    @property
    def spans(self) -> tuple[Span, ...]:
        """The kept spans, in `span_order`."""
        self._drop()
        return tuple(self._kept)

    @property
    def notes(self) -> tuple[str, ...]:
        """A note when spans were left out."""
        self._drop()
        if not self.left_out:
            return ()
        return (f"the trace keeps {self.most:,} spans and leaves out {self.left_out:,}: choose fewer with --trace",)
