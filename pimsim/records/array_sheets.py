"""One stage of a mapping on paper: the window that is read, the kernel's colours, and the arrays side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement
from pimsim.records.cell_pictures import IDLE, SKIPPED, UNUSED, cell_colours, hues, kernel_palette
from pimsim.records.looks import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Arrays drawn: in both directions, or side by side where there is one column tile; the space between, in arrays.
MOST_ROWS, MOST_COLUMNS, MOST_FLAT, GAP = 3, 4, 9, 0.16
#: Arrays with at most this many rows and columns are drawn with the borders of every cell.
FINE = 72
#: Inches: margin, width of the window's picture, where arrays begin, and what they may take; heights of the head
#: of a figure, the head of a panel and its foot.
MARGIN, BESIDE, ARRAYS_AT, MOST_WIDE, MOST_TALL = 0.25, 2.75, 4.0, 7.4, 5.4
HEAD, PANEL_HEAD, PANEL_FOOT = 0.75, 0.85, 0.4


@dataclass(frozen=True)
class Sheet:
    """Where the arrays of one stage stand on paper.

    Attributes:
        part: the stage.
        places: each array drawn with its (row, column) on the sheet; a dense grid position without a tile is None.
        shape: rows and columns of the sheet.
        flat: row tiles stand side by side, because there is only one column tile.
        scale: inches of one cell.
    """

    part: Placement
    places: dict[tuple[int, int], ArrayTile | None]
    shape: tuple[int, int]
    flat: bool
    scale: float

    @classmethod
    def of(cls, part: Placement) -> Sheet:
        """The sheet of a stage, as large as its room."""
        mapping = part.mapping
        across = mapping.column_tiles * mapping.blocks
        flat = across == 1
        shape = (1, min(mapping.row_tiles, MOST_FLAT)) if flat else (
            min(mapping.row_tiles, MOST_ROWS), min(across, MOST_COLUMNS))  # fmt: skip
        places: dict[tuple[int, int], ArrayTile | None] = {
            (row, column): None for row in range(shape[0]) for column in range(shape[1])
        }
        for tile in mapping.tiles:
            column = tile.block * mapping.column_tiles + tile.column_tile
            where = (0, tile.row_tile) if flat else (tile.row_tile, column)
            if where in places:
                places[where] = tile
        cells = (shape[1] * (1 + GAP) - GAP) * mapping.array.columns, (shape[0] * (1 + GAP) - GAP) * mapping.array.rows
        return cls(part, places, shape, flat, min(MOST_WIDE / cells[0], MOST_TALL / cells[1], 0.16))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of all arrays in inches."""
        array = self.part.mapping.array
        return (
            (self.shape[1] * (1 + GAP) - GAP) * array.columns * self.scale,
            (self.shape[0] * (1 + GAP) - GAP) * array.rows * self.scale,
        )

    @property
    def panel_height(self) -> float:
        """Height of the stage's panel in inches."""
        return PANEL_HEAD + max(3.3, self.size[1]) + PANEL_FOOT

    def corner(self, place: tuple[int, int]) -> tuple[float, float]:
        """The upper left corner of an array, in cells."""
        array = self.part.mapping.array
        return place[1] * (1 + GAP) * array.columns, place[0] * (1 + GAP) * array.rows


def count(number: int, word: str) -> str:
    """A number with its word, in the plural unless it is one."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def draw_panel(figure: Figure, sheet: Sheet, weight: NDArray[np.int64] | None, top: float, colouring: str) -> None:
    """One stage, from ``top`` inches above the figure's foot downwards: window, legend and arrays."""
    (width, height), (wide, tall) = figure.get_size_inches(), sheet.size

    def box(left: float, upper: float, across: float, down: float) -> Axes:
        place = left / width, (top - upper - down) / height, across / width, down / height
        return figure.add_axes(place)

    _draw_window(box(MARGIN, PANEL_HEAD, BESIDE, 2.1), sheet.part.mapping)
    _draw_legend(box(MARGIN, PANEL_HEAD + 2.45, BESIDE, 0.85), sheet.part, colouring, weight is not None)
    _draw_arrays(box(ARRAYS_AT, PANEL_HEAD, wide, tall), sheet, weight, colouring)


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
    colours, (k_h, k_w) = hues(n_h * n_w), (d * (k - 1) + 1 for d, k in zip(g.dilation, g.kernel, strict=True))
    for i in range(n_h * n_w - 1, -1, -1):
        a, b = divmod(i, n_w)
        shift = 0.225 + 0.35 * (i / (n_h * n_w - 1) - 0.5) if n_h * n_w > 1 else 0.225
        place = a // g.place_outputs[0] * g.place_stride[0], b // g.place_outputs[1] * g.place_stride[1]
        corner = place[1] + shift, place[0] + shift
        width_pt = 1.8 if n_h * n_w <= 12 else 0.9
        frame = Rectangle(corner, k_w - 0.45, k_h - 0.45, edgecolor=colours[i], linewidth=width_pt, fill=False)
        axes.add_patch(frame)
    outputs = f"{n_h}x{n_w} outputs" if n_h * n_w > 1 else "one output"
    _frame(axes, (-0.2, width + 0.2), (height + 0.2, -0.2), f"A window of {height}x{width} pixels gives {outputs}")


def _draw_patches(axes: Axes, mapping: Mapping) -> None:
    """Separate kernel-sized patches of one window that shares nothing."""
    from matplotlib.patches import Rectangle

    copies, (height, width) = mapping.outputs[1], mapping.geometry.kernel
    shown = min(copies, 4)
    for i, hue in enumerate(hues(shown)):
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
    axes.set_anchor("NW")


def _draw_legend(axes: Axes, part: Placement, colouring: str, pruned: bool) -> None:
    """The kernel in its colours, and what the greys mean."""
    from matplotlib.patches import Rectangle

    palette = kernel_palette(part.mapping) if colouring == "kernel" else None
    height, width = part.mapping.geometry.kernel if palette is not None else (0, 0)
    for y in range(height):
        for x in range(width):
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=palette[y, x], edgecolor="white"))  # type: ignore[index]
            if max(height, width) <= 5:
                dark = 0 if palette[y, x].sum() > 1.9 else 1  # type: ignore[index]
                axes.text(x + 0.5, y + 0.5, str(y * width + x + 1), ha="center", va="center", fontsize=8,
                          color=("black", "white")[dark])  # fmt: skip
    words = [(IDLE, "idle: driven, no weight"), (UNUSED, "not used")]
    words += [(SKIPPED, "skipped row")] if part.rows_skipped else []
    words += [("#D6E8F3", "pale: pruned weight")] if pruned else []
    tall = max(height, 3)
    scale = tall / max(4, 1.2 * len(words))
    for i, (colour, word) in enumerate(words):
        box = (width + 0.7 * scale, (i * 1.2 + 0.1) * scale)
        axes.add_patch(Rectangle(box, 0.9 * scale, 0.9 * scale, facecolor=colour, edgecolor="#888888", linewidth=0.6))
        axes.text(box[0] + 1.3 * scale, box[1] + 0.45 * scale, word, va="center", fontsize=8.5)
    title = "Kernel positions" if palette is not None else "Colours are the window's outputs"
    _frame(axes, (-0.1, width + 12 * scale), (tall + 0.1, -0.1), title)


def _draw_arrays(axes: Axes, sheet: Sheet, weight: NDArray[np.int64] | None, colouring: str) -> None:
    """The arrays of one stage; a plus stands between arrays whose outputs are added."""
    part, array = sheet.part, sheet.part.mapping.array
    for place, tile in sheet.places.items():
        _draw_array(axes, part, tile, sheet.corner(place), weight, colouring)
        if tile is not None:
            _label_array(axes, sheet, place, tile)
    wide, tall = (side / sheet.scale for side in sheet.size)
    _frame(axes, (0, wide), (tall, 0), "")
    drawn, total = sum(tile is not None for tile in sheet.places.values()), len(part.mapping.tiles)
    more = f", {drawn} of {total:,} drawn" if drawn < total else ""
    title = f"{count(len(part.tiles), 'array')} of {array.rows}x{array.columns} cells{more}: a row for each input, "
    axes.annotate(title + "a column for each output", (0, 1), (0, 24), "axes fraction", "offset points", fontsize=9)


def _draw_array(
    axes: Axes, part: Placement, tile: ArrayTile | None, corner: tuple[float, float],
    weight: NDArray[np.int64] | None, colouring: str,
) -> None:  # fmt: skip
    """One array at a corner, or the dotted place where none is needed."""
    from matplotlib.patches import Rectangle

    height, width = part.mapping.array.rows, part.mapping.array.columns
    if tile is None:
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="#999999", linestyle=":", linewidth=1.2,
                                 clip_on=False))  # fmt: skip
        axes.text(corner[0] + width / 2, corner[1] + height / 2, "no weight:\nnot needed", ha="center", va="center",
                  fontsize=8, color="#999999")  # fmt: skip
        return
    box = (corner[0], corner[0] + width, corner[1] + height, corner[1])
    fine = max(len(tile.rows), len(tile.columns) * part.mapping.array.columns_per_weight) <= FINE
    smooth = "nearest" if fine else "antialiased"
    axes.imshow(cell_colours(part, tile, colouring, weight), extent=box, interpolation=smooth, aspect="equal")
    if fine:
        _draw_cell_borders(axes, part.mapping, tile, corner)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=INK, linewidth=1.6, clip_on=False))


def _draw_cell_borders(axes: Axes, mapping: Mapping, tile: ArrayTile, corner: tuple[float, float]) -> None:
    rows, columns = len(tile.rows), len(tile.columns) * mapping.array.columns_per_weight
    look: dict[str, Any] = {"color": "white", "linewidth": 0.6}
    axes.hlines(np.arange(1, rows) + corner[1], corner[0], corner[0] + columns, **look)
    axes.vlines(np.arange(1, columns) + corner[0], corner[1], corner[1] + rows, **look)


def _label_array(axes: Axes, sheet: Sheet, place: tuple[int, int], tile: ArrayTile) -> None:
    """What the rows and columns of one array are, and a plus where another array adds to the same outputs."""
    (left, upper), array = sheet.corner(place), sheet.part.mapping.array
    if place[1] == 0:
        _label_rows(axes, sheet, tile, upper)
    if place[0] == 0:
        _label_columns(axes, sheet, tile, left)
    if sheet.flat and sheet.shape[1] > 1:
        axes.text(left + array.columns / 2, array.rows + 0.06 / sheet.scale, _inputs(sheet.part.mapping, tile),
                  ha="center", va="top", fontsize=7.5)  # fmt: skip
    if place[sheet.flat] > 0:
        before = place[0] - (not sheet.flat), place[1] - sheet.flat
        if sheet.places[before] is not None:
            x, y = (left - GAP * array.columns / 2, array.rows / 2) if sheet.flat else (
                left + array.columns / 2, upper - GAP * array.rows / 2)  # fmt: skip
            axes.text(x, y, "+", ha="center", va="center_baseline", fontsize=12)


def _inputs(mapping: Mapping, tile: ArrayTile) -> str:
    """The inputs of an array in a few words."""
    first, last = int(tile.rows.channel.min()), int(tile.rows.channel.max())
    pixels = {(int(y), int(x)) for y, x in zip(tile.rows.y, tile.rows.x, strict=True)}
    if len(pixels) == 1 and mapping.outputs == (1, 1) and mapping.geometry.kernel != (1, 1):
        y, x = next(iter(pixels))
        return f"pixel {y},{x}"
    return f"channel {first}" if first == last else f"channels {first}-{last}"


def _label_rows(axes: Axes, sheet: Sheet, tile: ArrayTile, upper: float) -> None:
    """Brackets at the left of an array: runs of a channel, of a pixel, or of a patch."""
    rows, mapping = tile.rows, sheet.part.mapping
    if mapping.unfolded is not None:
        keys = rows.x // mapping.geometry.kernel[1]
        names = [f"patch {key}" for key in keys]
    elif len(np.unique(rows.channel[:2])) == 2:
        keys, names = (
            rows.y * mapping.gather_shape[2] + rows.x,
            [f"pixel {y},{x}" for y, x in zip(rows.y, rows.x, strict=True)],
        )
    else:
        keys, names = rows.channel, [f"channel {c}" for c in rows.channel]
    where, runs = -0.06 / sheet.scale, _runs(keys)
    if max(end - start for start, end in runs) * sheet.scale <= 0.14:
        runs, names = [(0, len(keys))], ["" if sheet.flat else _inputs(mapping, tile)]
    for start, end in runs:
        margin = 0.12 * min(1.0, end - start)
        line = [upper + start + margin, upper + end - margin]
        axes.plot([where, where], line, color=INK, linewidth=2.0, solid_capstyle="butt", clip_on=False)
        if (end - start) * sheet.scale > 0.14:
            axes.text(2 * where, sum(line) / 2, names[start], ha="right", va="center", fontsize=8)


def _label_columns(axes: Axes, sheet: Sheet, tile: ArrayTile, left: float) -> None:
    """Brackets over an array: the output position of its columns, in the colours of the window's frames."""
    mapping, columns = sheet.part.mapping, tile.columns
    each = mapping.array.columns_per_weight
    keys = columns.a.astype(np.int64) * mapping.outputs[1] + columns.b
    colours, where = hues(mapping.outputs[0] * mapping.outputs[1]), -0.06 / sheet.scale
    for start, end in _runs(keys):
        line = [left + start * each + 0.12, left + end * each - 0.12]
        colour = colours[keys[start]]
        axes.plot(line, [where, where], color=colour, linewidth=2.4, solid_capstyle="butt", clip_on=False)
        name = f"patch {columns.b[start]}" if mapping.unfolded is not None else (
            f"output {columns.a[start]},{columns.b[start]}")  # fmt: skip
        if (end - start) * each * sheet.scale > 0.62:
            axes.text(sum(line) / 2, 1.5 * where, name, ha="center", va="bottom", fontsize=8, color=0.8 * colour)


def _runs(keys: NDArray[Any]) -> list[tuple[int, int]]:
    """Start and end of each run of equal keys."""
    ends = [*(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    return list(zip([0, *ends[:-1]], ends, strict=True))
