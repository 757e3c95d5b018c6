"""How every figure looks: style files, sizes, colours with hatches, units, and saving without dates.

Colours are those of Okabe and Ito, ordered so that neighbours differ in lightness; hatches tell them apart in
greyscale.

References:
    M. Okabe, K. Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ("paper", "screen")
STYLE_FOLDER = Path(__file__).parent / "styles"
FORMATS = ("pdf", "svg", "png")
COLOURS = ("#0072B2", "#F0E442", "#D55E00", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#BFBFBF")
HATCHES = ("", "....", "////", "", "xxxx", "----", "\\\\\\\\", "")
OTHER = len(COLOURS) - 1
INK = "#222222"
NARROW_LAYERS = 8  # more layers than this need the width of a page
TIME_UNITS = ((1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"))
ENERGY_UNITS = ((1.0, "pJ"), (1e3, "nJ"), (1e6, "µJ"), (1e9, "mJ"), (1e12, "J"))


#: Left, bottom, width, height of a bar in the units of its axes.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Size:
    """Inches of the two widths of a figure, and how much taller it may be."""

    column: float
    page: float
    scale: float


SIZES = {"paper": Size(3.5, 7.16, 1.0), "screen": Size(6.0, 11.0, 1.45)}


def style_context(style: str) -> AbstractContextManager[None]:
    """Settings of the style file within a ``with`` block; the user's own come back after it."""
    import matplotlib as mpl

    _add_fonts()
    return mpl.rc_context(fname=str(STYLE_FOLDER / f"{style}.mplstyle"))


@cache
def _add_fonts() -> None:
    """Make the style files' font known to matplotlib, once.

    It is DejaVu Sans with Latin-1, without its tables for other scripts: embedding the whole one into a PDF takes
    longer than drawing the figure. Letters that it lacks come from DejaVu Sans.
    """
    from matplotlib.font_manager import fontManager

    for path in sorted(STYLE_FOLDER.glob("*.ttf")):
        fontManager.addfont(path)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that lays itself out; ``pyplot`` is not loaded and keeps nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of its suffix, without a date; returns the file."""
    undated: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    options: dict[str, Any] = {"pil_kwargs": {"compress_level": 4}} if path.suffix == ".png" else {}
    figure.savefig(path, metadata=undated[path.suffix[1:]], **options)
    return path


def lay_out(figure: Figure) -> None:
    """Work out the layout now and keep it, so that saving in several formats does not repeat it."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def bars(axes: Axes, boxes: Sequence[Box], colour: str | tuple[float, ...], hatch: str = "", label: str = "") -> None:
    """Bars of one look as one artist, which draws far faster than one a bar."""
    from matplotlib.collections import PolyCollection

    corners = [((x, y), (x + w, y), (x + w, y + h), (x, y + h)) for x, y, w, h in boxes]
    drawn = PolyCollection(corners, facecolors=colour, edgecolors=INK, linewidths=0.4, hatch=hatch or None, label=label)
    axes.add_collection(drawn)


def prefix(largest: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """The largest unit that leaves at least one digit before the point: its scale and name."""
    return next(((scale, name) for scale, name in reversed(units) if largest >= scale), units[0])


def look(index: int) -> tuple[str, str]:
    """Colour and hatch of the index-th series; those beyond the last share its look."""
    place = min(index, OTHER)
    return COLOURS[place], HATCHES[place]


def pale(colour: str) -> tuple[float, ...]:
    """The colour mixed with twice as much white."""
    from matplotlib.colors import to_rgb

    return tuple((part + 2) / 3 for part in to_rgb(colour))


def words(name: str) -> str:
    """A component or resource as one writes it."""
    known = {"adc": "ADC", "edram": "eDRAM", "dac": "DAC"}
    return " ".join(known.get(word, word) for word in name.split("_"))


def name_size(count: int, style: str) -> float:
    """Points of the names of that many layers along an axis."""
    return (6.5 if count <= 30 else 5.0) * (1.3 if style == "screen" else 1.0)


def layer_axis(axes: Axes, names: Sequence[str], style: str) -> None:
    """Layer names under the bars: upright when few and short, turned otherwise, thinned out when too many to read."""
    turned = len(names) > 6 or sum(map(len, names)) > 36
    every = -(-len(names) // 80)
    size = name_size(len(names), style)
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90 if turned else 0, fontsize=size)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.7, len(names) - 0.3)
