"""Pictures of mappings: which weight stands in which cell of which array, and what one window reads.

Colours stand for kernel positions (a hue for each kernel row, a shade for each kernel column) or for the window's
output positions. What is not a weight is grey (idle) or white (not used).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.errors import ResultError, nearest
from pimsim.mapping.layout import ArrayTile, Mapping
from pimsim.mapping.placement import Placement
from pimsim.mapping.stages import StagedPlacement
from pimsim.records.figures import FORMATS, INK, save_figure, style_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: What the colours of cells stand for.
COLOURINGS = ("kernel", "window")
IDLE, UNUSED, SKIPPED = "#DCDCDC", "#FFFFFF", "#F3B7AE"
#: Hues of kernel rows or of window positions: Okabe and Ito's, without the yellow that vanishes on white.
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
MOST_ROWS, MOST_COLUMNS = 4, 6
#: Arrays with at most this many rows and columns are drawn with the borders of every cell.
FINE = 72


@dataclass(frozen=True)
class Drawn:
    """One layer to draw: what is left of it, and its weights where they are known (pruned cells are pale)."""

    placement: Placement | StagedPlacement
    weight: NDArray[np.int64] | None = None

    @property
    def parts(self) -> tuple[Placement, ...]:
        """The layer's stages; itself when there is one."""
        return self.placement.stages if isinstance(self.placement, StagedPlacement) else (self.placement,)


def draw_mappings(layers: Sequence[Drawn], path: str | Path, colouring: str = "kernel") -> Path:
    """Draw one layer in full, or a strip for each of several.

    Args:
        layers: at least one.
        path: ``.png``, ``.svg`` or ``.pdf``; its folder must exist.
        colouring: one of `COLOURINGS`.

    Returns:
        The file.

    Raises:
        ResultError: another suffix, an unknown colouring, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{kind}" for kind in sorted(FORMATS))
        raise ResultError(f"'{path}'", f"a picture is one of {known}", None, "Change the suffix")
    if colouring not in COLOURINGS:
        raise ResultError(f"colouring '{colouring}'", "unknown colouring", None, nearest(colouring, COLOURINGS))
    with style_context("screen"):
        figure = _layer_figure(layers[0], colouring) if len(layers) == 1 else _strips_figure(layers, colouring)
        try:
            return save_figure(figure, path)
        except OSError as error:
            raise ResultError(f"'{path}'", f"the picture cannot be written: {error.strerror}") from None


def cell_colours(
    placement: Placement, tile: ArrayTile, colouring: str = "kernel", weight: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """The colours of one array, (array rows, array columns, 3) from 0 to 1.

    Args:
        placement: the layer on its arrays.
        tile: an array of it before skipping.
        colouring: one of `COLOURINGS`.
        weight: (OC, IC / groups, K_h, K_w); cells of zero weights become pale.
    """
    mapping = placement.mapping
    k_y, k_x, used = mapping.taps(tile)
    if colouring == "kernel":
        cells = _kernel_palette(mapping)[k_y, k_x]
    else:
        positions = tile.columns.a.astype(np.int64) * mapping.outputs[1] + tile.columns.b
        cells = np.broadcast_to(_hues(int(positions.max(initial=0)) + 1)[positions][None], (*used.shape, 3)).copy()
    if weight is not None:
        pruned = used & (mapping.cell_weights(tile, weight) == 0)
        cells[pruned] = 0.2 * cells[pruned] + 0.8
    cells[~used] = _rgb(IDLE)
    cells[_skipped(placement, tile)] = _rgb(SKIPPED)
    array = mapping.array
    picture = np.broadcast_to(_rgb(UNUSED), (array.rows, array.columns, 3)).copy()
    picture[: len(tile.rows), : len(tile.columns) * array.columns_per_weight] = np.repeat(
        cells, array.columns_per_weight, axis=1
    )
    return picture


def _skipped(placement: Placement, tile: ArrayTile) -> NDArray[np.bool_]:
    """Which rows of a dense tile are not driven, (R,)."""
    if placement.rows_skipped == 0:
        return np.zeros(len(tile.rows), dtype=np.bool_)
    left = [t for t in placement.tiles if (t.block, t.column_tile) == (tile.block, tile.column_tile)]
    kept = [placement.mapping.row_offsets(t.rows) for t in left]
    driven = np.concatenate(kept) if kept else np.empty(0, dtype=np.intp)
    return ~np.isin(placement.mapping.row_offsets(tile.rows), driven)


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _hues(count: int) -> NDArray[np.float64]:
    """Colours of window positions, (count, 3); the hues come again, paler, when they run out."""
    rounds = -(-count // len(HUES))
    base = np.array([_rgb(hue) for hue in HUES])
    shades = [base + (1 - base) * 0.6 * i / max(1, rounds) for i in range(rounds)]
    return np.concatenate(shades)[:count]


def _kernel_palette(mapping: Mapping) -> NDArray[np.float64]:
    """Colours of kernel positions, (K_h, K_w, 3): hue by kernel row, shade by kernel column."""
    height, width = mapping.geometry.kernel
    base = _hues(height)[:, None, :]
    lift = np.linspace(0, 0.62, width)[None, :, None] if width > 1 else np.zeros((1, 1, 1))
    return np.asarray(base + (1 - base) * lift, dtype=np.float64)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _layer_figure(layer: Drawn, colouring: str) -> Figure:
    """One layer: for each stage the window at the left and the arrays at the right."""
    heights = [_panel_height(part.mapping) for part in layer.parts]
    figure = _figure(11.0, sum(heights) + 0.75)
    rest = figure.get_figheight() - 0.75
    figure.text(0.02, 1 - 0.12 / figure.get_figheight(), _title(layer), fontsize=13, fontweight="bold", va="top")
    figure.text(0.02, 1 - 0.42 / figure.get_figheight(), _story(layer), fontsize=9.5, color="#444444", va="top")
    top = rest / figure.get_figheight()
    for part, height in zip(layer.parts, heights, strict=True):
        share = height / figure.get_figheight()
        _layer_panel(figure, part, layer.weight, (top - share, share), colouring)
        top -= share
    return figure


def _panel_height(mapping: Mapping) -> float:
    """Inches for the arrays of one stage at 7.6 inches of width, at least enough for the window beside them."""
    rows, columns = _grid(mapping)
    aspect = rows * mapping.array.rows / (columns * mapping.array.columns)
    return float(min(7.0, max(3.3, 7.2 * aspect + 0.95)))


def _grid(mapping: Mapping) -> tuple[int, int]:
    """Rows and columns of arrays that are drawn."""
    return min(mapping.row_tiles, MOST_ROWS), min(mapping.column_tiles * mapping.blocks, MOST_COLUMNS)


def _title(layer: Drawn) -> str:
    g = layer.placement.mapping.geometry
    shape = f"{g.kernel[0]}x{g.kernel[1]} kernel, {g.in_channels} to {g.out_channels} channels"
    name = "" if g.name == "layer" else f" of {g.name}"
    return f"{layer.placement.mapping.method}{name}: {shape}, {g.input_size[0]}x{g.input_size[1]} input"


def _story(layer: Drawn) -> str:
    """What the picture says, in one line."""
    placement, mapping = layer.placement, layer.placement.mapping
    if isinstance(placement, StagedPlacement):
        cycles = [f"{part.cycles:,}" for part in placement.stages]
        joined = f"max({', '.join(cycles)})" if placement.mapping.pipelined else " + ".join(cycles)
        start = f"{mapping.windows:,} windows, stages one after the other: {joined} = {placement.cycles:,} cycles"
    else:
        start = f"{_count(mapping.windows, 'window')} x {_count(len(placement.tiles), 'array')}"
        start += f" = {_count(placement.cycles, 'computing cycle')}"
    end = f"; {placement.rows_skipped:,} of {placement.rows_mapped:,} rows skipped" if placement.rows_skipped else ""
    return f"{start}; {placement.cell_utilisation:.0%} of the cells hold weights{end}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _layer_panel(
    figure: Figure, part: Placement, weight: NDArray[np.int64] | None, place: tuple[float, float], colouring: str
) -> None:
    """One stage: window, legend and arrays between ``place`` = (bottom, height) of the figure."""
    bottom, height = place
    window = figure.add_axes((0.02, bottom + 0.44 * height, 0.23, 0.44 * height))
    _draw_window(window, part.mapping)
    legend = figure.add_axes((0.02, bottom + 0.02 * height, 0.23, 0.33 * height))
    _draw_legend(legend, part, colouring)
    arrays = figure.add_axes((0.32, bottom + 0.02 * height, 0.66, 0.82 * height))
    _draw_arrays(arrays, part, weight, colouring)


def _draw_window(axes: Axes, mapping: Mapping) -> None:
    """The pixels of the parallel window and the place of the kernel for each output, as coloured frames."""
    from matplotlib.patches import Rectangle

    g, (n_h, n_w) = mapping.geometry, mapping.outputs
    height, width = mapping.window
    if mapping.unfolded is not None:
        _draw_patches(axes, mapping)
        return
    for y in range(height if max(height, width) <= 24 else 0):
        for x in range(width):
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#F4F4F4", edgecolor="#B5B5B5", linewidth=0.5))
    hues, (k_h, k_w) = _hues(n_h * n_w), (d * (k - 1) + 1 for d, k in zip(g.dilation, g.kernel, strict=True))
    for i in range(n_h * n_w - 1, -1, -1):
        a, b = divmod(i, n_w)
        shift = 0.05 + 0.35 * i / max(1, n_h * n_w)
        corner = b * g.stride[1] + shift, a * g.stride[0] + shift
        width_pt = 1.8 if n_h * n_w <= 12 else 0.9
        frame = Rectangle(corner, k_w - 0.45, k_h - 0.45, edgecolor=hues[i], linewidth=width_pt, fill=False)
        axes.add_patch(frame)
    outputs = f"{n_h}x{n_w} outputs" if n_h * n_w > 1 else "one output"
    _frame(axes, (-0.2, width + 0.2), (height + 0.2, -0.2), f"A window of {height}x{width} pixels gives {outputs}")


def _draw_patches(axes: Axes, mapping: Mapping) -> None:
    """Separate kernel-sized patches of one window that shares nothing."""
    from matplotlib.patches import Rectangle

    copies, (height, width) = mapping.outputs[1], mapping.geometry.kernel
    shown = min(copies, 4)
    for i, hue in enumerate(_hues(shown)):
        for y in range(height):
            for x in range(width):
                corner = i * (width + 0.8) + x, y
                axes.add_patch(Rectangle(corner, 1, 1, facecolor="#F4F4F4", edgecolor=hue, linewidth=1.2))
    more = f" ({shown} drawn)" if copies > shown else ""
    _frame(axes, (-0.2, shown * (width + 0.8)), (height + 0.2, -0.2), f"{copies} patches give {copies} outputs{more}")


def _frame(axes: Axes, x: tuple[float, float], y: tuple[float, float], title: str) -> None:
    axes.set(xlim=x, ylim=y, aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9, fontweight="normal", loc="left", pad=5)


def _draw_legend(axes: Axes, part: Placement, colouring: str) -> None:
    """The kernel in its colours, and what the greys mean."""
    from matplotlib.patches import Rectangle

    palette = _kernel_palette(part.mapping) if colouring == "kernel" else None
    height, width = part.mapping.geometry.kernel if palette is not None else (0, 0)
    for y in range(height):
        for x in range(width):
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=palette[y, x], edgecolor="white"))  # type: ignore[index]
            if max(height, width) <= 5:
                dark = 0 if palette[y, x].sum() > 1.9 else 1  # type: ignore[index]
                axes.text(x + 0.5, y + 0.5, str(y * width + x + 1), ha="center", va="center", fontsize=8,
                          color=("black", "white")[dark])  # fmt: skip
    scale = max(height, 3) / 4
    words = [(IDLE, "idle: driven, no weight"), (UNUSED, "not used")]
    words += [(SKIPPED, "skipped row")] if part.rows_skipped else []
    for i, (colour, word) in enumerate(words):
        box = (width + 0.7 * scale, (i * 1.2 + 0.1) * scale)
        axes.add_patch(Rectangle(box, 0.9 * scale, 0.9 * scale, facecolor=colour, edgecolor="#888888", linewidth=0.6))
        axes.text(box[0] + 1.3 * scale, box[1] + 0.45 * scale, word, va="center", fontsize=8.5)
    title = "Kernel positions" if palette is not None else "Colours are the window's outputs"
    _frame(axes, (-0.1, width + 12 * scale), (max(height, 3) + 0.1, -0.1), title)
    axes.set_anchor("NW")


def _draw_arrays(axes: Axes, part: Placement, weight: NDArray[np.int64] | None, colouring: str) -> None:
    """The arrays side by side: row tiles downwards, column tiles and blocks to the right."""
    mapping = part.mapping
    shown_rows, shown_columns = _grid(mapping)
    height, width = mapping.array.rows, mapping.array.columns
    gap_y, gap_x = 0.05 * height, 0.05 * width
    drawn, place = 0, dict[tuple[int, int], ArrayTile]()
    for tile in mapping.tiles:
        where = tile.row_tile, tile.block * mapping.column_tiles + tile.column_tile
        if where[0] < shown_rows and where[1] < shown_columns:
            place[where] = tile
    for row in range(shown_rows):
        for column in range(shown_columns):
            corner = column * (width + gap_x), row * (height + gap_y)
            drawn += _draw_array(axes, part, place.get((row, column)), corner, weight, colouring)
    total = len(mapping.tiles)
    more = f", {drawn} of {total:,} drawn" if drawn < total else ""
    size = f"arrays of {height}x{width} cells, {len(part.tiles):,} used{more}"
    title = f"Rows are inputs, columns are outputs; {size}"
    _frame(axes, (-0.01 * width, shown_columns * (width + gap_x) - 0.04 * width),
           (shown_rows * (height + gap_y) - 0.04 * height, -0.01 * height), title)  # fmt: skip
    axes.set_anchor("NW")
    axes.title.set_y(1.0)
    if (0, 0) in place:
        _label_rows(axes, mapping, place[0, 0])
        _label_columns(axes, mapping, place[0, 0])


def _draw_array(
    axes: Axes, part: Placement, tile: ArrayTile | None, corner: tuple[float, float],
    weight: NDArray[np.int64] | None, colouring: str,
) -> int:  # fmt: skip
    """One array at a corner; 1 when there is one, 0 for a place where none is needed."""
    from matplotlib.patches import Rectangle

    height, width = part.mapping.array.rows, part.mapping.array.columns
    box = (corner[0], corner[0] + width, corner[1] + height, corner[1])
    if tile is None:
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="#BBBBBB", linestyle=":"))
        axes.text(corner[0] + width / 2, corner[1] + height / 2, "no weight:\nnot needed", ha="center", va="center",
                  fontsize=8, color="#999999")  # fmt: skip
        return 0
    axes.imshow(cell_colours(part, tile, colouring, weight), extent=box, interpolation="nearest", aspect="equal")
    if max(len(tile.rows), len(tile.columns) * part.mapping.array.columns_per_weight) <= FINE:
        _draw_cell_borders(axes, part.mapping, tile, corner)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=INK, linewidth=1.6))
    return 1


def _draw_cell_borders(axes: Axes, mapping: Mapping, tile: ArrayTile, corner: tuple[float, float]) -> None:
    rows, columns = len(tile.rows), len(tile.columns) * mapping.array.columns_per_weight
    look: dict[str, Any] = {"color": "white", "linewidth": 0.6}
    axes.hlines(np.arange(1, rows) + corner[1], corner[0], corner[0] + columns, **look)
    axes.vlines(np.arange(1, columns) + corner[0], corner[1], corner[1] + rows, **look)


def _label_rows(axes: Axes, mapping: Mapping, tile: ArrayTile) -> None:
    """Which inputs the rows of the first array are: runs of a channel, or of a pixel."""
    by_pixel = len(np.unique(tile.rows.channel[:2])) > 1 and len(tile.rows) > 1
    keys = tile.rows.y.astype(np.int64) * mapping.gather_shape[2] + tile.rows.x if by_pixel else tile.rows.channel
    names = [f"pixel {y},{x}" for y, x in zip(tile.rows.y, tile.rows.x, strict=True)] if by_pixel else [
        f"channel {c}" for c in tile.rows.channel]  # fmt: skip
    _brackets(axes, np.asarray(keys), names, -0.012 * mapping.array.columns, vertical=True, full=mapping.array.rows)


def _label_columns(axes: Axes, mapping: Mapping, tile: ArrayTile) -> None:
    """Which output position the columns of the first array are for, in the colours of the window's frames."""
    keys = tile.columns.a.astype(np.int64) * mapping.outputs[1] + tile.columns.b
    names = [f"output {a},{b}" if mapping.unfolded is None else f"patch {b}"
             for a, b in zip(tile.columns.a, tile.columns.b, strict=True)]  # fmt: skip
    each = mapping.array.columns_per_weight
    hues = _hues(mapping.outputs[0] * mapping.outputs[1])
    colours = [hues[key] for key in np.repeat(keys, each)]
    below = len(tile.rows) + 0.012 * mapping.array.rows
    _brackets(axes, np.repeat(keys, each), list(np.repeat(names, each)), below, vertical=False,
              full=mapping.array.columns, colours=colours)  # fmt: skip


def _brackets(
    axes: Axes, keys: NDArray[Any], names: list[str], where: float, vertical: bool, full: int,
    colours: list[Any] | None = None,
) -> None:  # fmt: skip
    """Lines beside runs of equal keys, with a name where there is room."""
    ends = [*(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    start = 0
    for end in ends:
        colour = INK if colours is None else colours[start]
        span, margin = (start, end), 0.12 * min(1.0, end - start)
        line = [span[0] + margin, span[1] - margin]
        xs, ys = ([where, where], line) if vertical else (line, [where, where])
        axes.plot(xs, ys, color=colour, linewidth=2.2, solid_capstyle="butt", clip_on=False)
        if (end - start) / full > (0.055 if vertical else 0.11):
            middle = sum(span) / 2
            if vertical:
                axes.text(where - 0.012 * full, middle, names[start], ha="right", va="center", fontsize=8)
            else:
                axes.text(middle, where + 0.02 * full, names[start], ha="center", va="top", fontsize=8, color=colour)
        start = end


def _strips_figure(layers: Sequence[Drawn], colouring: str) -> Figure:
    """A strip for each layer: its arrays from left to right, cycles at the end."""
    parts = [(drawn, part) for drawn in layers for part in drawn.parts]
    height = 0.62 * len(parts) + 0.9
    figure = _figure(11.0, height)
    total = sum(drawn.placement.cycles for drawn in layers)
    methods = ", ".join(dict.fromkeys(drawn.placement.mapping.method for drawn in layers))
    title = f"{methods}: {len(layers)} layers, {total:,} computing cycles"
    figure.text(0.02, 1 - 0.12 / height, title, fontsize=13, fontweight="bold", va="top")
    array = parts[0][1].mapping.array
    what = {"kernel": "kernel positions", "window": "output positions"}[colouring]
    story = f"A box is an array of {array.rows}x{array.columns} cells; colours: {what}, grey: idle, white: not used"
    figure.text(0.02, 1 - 0.42 / height, story, fontsize=9.5, color="#444444", va="top")
    for i, (drawn, part) in enumerate(parts):
        bottom = 1 - (0.8 + 0.62 * (i + 1)) / height
        axes = figure.add_axes((0.2, bottom, 0.62, 0.5 / height))
        _draw_strip(axes, part, drawn.weight if len(drawn.parts) == 1 else None, colouring)
        middle = bottom + 0.25 / height
        g = part.mapping.geometry
        figure.text(0.02, middle, f"{g.name}\n{g.kernel[0]}x{g.kernel[1]}, {g.in_channels} to {g.out_channels}",
                    fontsize=8, va="center")  # fmt: skip
        figure.text(0.84, middle, f"{part.mapping.windows:,} windows x {_count(len(part.tiles), 'array')}\n"
                    f"{part.cycles:,} cycles, {part.cell_utilisation:.0%} used", fontsize=8, va="center")  # fmt: skip
    return figure


#: Arrays drawn in a strip, and the finest picture of one.
STRIP_ARRAYS, STRIP_CELLS = 12, 128


def _draw_strip(axes: Axes, part: Placement, weight: NDArray[np.int64] | None, colouring: str) -> None:
    """The first arrays of one layer, and how many more there are."""
    from matplotlib.patches import Rectangle

    for i, tile in enumerate(part.mapping.tiles[:STRIP_ARRAYS]):
        picture = cell_colours(part, tile, colouring, weight)
        steps = [-(-size // STRIP_CELLS) for size in picture.shape[:2]]
        axes.imshow(picture[:: steps[0], :: steps[1]], extent=(i * 1.12, i * 1.12 + 1, 1, 0), interpolation="nearest")
        axes.add_patch(Rectangle((i * 1.12, 0), 1, 1, fill=False, edgecolor=INK, linewidth=0.9))
    more = len(part.mapping.tiles) - STRIP_ARRAYS
    if more > 0:
        axes.text(STRIP_ARRAYS * 1.12 + 0.1, 0.5, f"+ {more:,}", va="center", fontsize=9)
    axes.set(xlim=(-0.02, STRIP_ARRAYS * 1.12 + 1.4), ylim=(1.03, -0.03), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_anchor("W")
