"""Arrays of many sizes for one pruned network: crossbars saved, energy, periphery (``pimsim arrays``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pimsim.api.array_study_file import Study, StudyNetwork, read_study
from pimsim.api.mapping import array_of_chip
from pimsim.api.progress import Progress
from pimsim.hardware.laws import lossless_adc_bits
from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.mapping.registry import map_layer
from pimsim.mapping.skipping import place
from pimsim.network.layers import Layer
from pimsim.pruning.pim_prune import Crossbar, Pack, pack_together
from pimsim.simulation.costs import dynamic_energy_j
from pimsim.simulation.counting import formula_counts
from pimsim.simulation.work import LayerWork, layer_work

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Components that stand at an array: what the formula of the sweet spot counts beside index and buffers.
ARRAY_PARTS = ("crossbar", "row_driver", "adc", "sample_hold", "shift_add")


@dataclass(frozen=True)
class ArrayPoint:
    """One network on arrays of one size, dense (``keep`` 1) or pruned.

    Attributes:
        network: its name.
        keep: share of the segments that is kept before fill-up.
        rows, columns: of an array.
        dense_arrays, occupied_arrays, nonempty_blocks: one column a weight, the published metric; see `Pack`.
        compression: dense / occupied arrays.
        bound: dense arrays / layers: the most that any pruning can reach while each layer owns an array.
        kept_energy: share of the sum of squared weights that is kept, which stands for accuracy here.
        index_bits: storage of the index, one column a weight.
        adc_bits: least bits without loss for that many rows.
        arrays: arrays in use with the columns that a weight takes on the chip.
        array_area_m2: cells, drivers, sample-and-hold, converters and shift-add of these arrays.
        cell_share: share of that area that is cells.
        energy_j: dynamic energy of one image by the simulator's counts, all components.
        array_energy_j: of that, components at the arrays (`ARRAY_PARTS`).
        adc_energy_j, index_energy_j: of that, the converters; the index.
        formula_j: array energy by the formula of `pruning-blocks.md` 1.3, every array taken as full.
    """

    network: str
    keep: float
    rows: int
    columns: int
    dense_arrays: int
    occupied_arrays: int
    nonempty_blocks: int
    compression: float
    bound: float
    kept_energy: float
    index_bits: int
    adc_bits: int
    arrays: int
    array_area_m2: float
    cell_share: float
    energy_j: float
    array_energy_j: float
    adc_energy_j: float
    index_energy_j: float
    formula_j: float


@dataclass(frozen=True)
class ArrayStudy:
    """All points of a study; ``str`` is the summary, `write` leaves the table and the figure."""

    study: Study
    points: tuple[ArrayPoint, ...] = field(repr=False)

    @cached_property
    def sweet_spots(self) -> tuple[ArrayPoint, ...]:
        """For each network and share, the array with the least energy; of equal ones the smaller."""
        best: dict[tuple[str, float], ArrayPoint] = {}
        for point in self.points:
            key = point.network, point.keep
            if key not in best or point.energy_j < best[key].energy_j:
                best[key] = point
        return tuple(best.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values: every point, and the sweet spots."""
        return {
            "name": self.study.name,
            "points": [asdict(point) for point in self.points],
            "sweet_spots": [asdict(point) for point in self.sweet_spots],
        }

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Table ``NAME.csv`` and figure ``NAME.png`` in a folder, which is made where it is missing.

        Raises:
            ResultError: a file that cannot be written.
        """
        from pimsim.records.array_study_figure import draw_array_study, write_array_table

        folder = Path(folder)
        names = [field.name for field in fields(ArrayPoint)]
        table = write_array_table(folder / f"{self.study.name}.csv", names, [asdict(point) for point in self.points])
        return table, draw_array_study([asdict(point) for point in self.points], folder / f"{self.study.name}.png")

    def __str__(self) -> str:
        lines = []
        for spot in self.sweet_spots:
            same = [p for p in self.points if (p.network, p.keep) == (spot.network, spot.keep)]
            most = max(same, key=lambda point: point.compression)
            lines += [
                f"{spot.network}, keep {spot.keep:g}:",
                f"  least energy  {spot.rows}x{spot.columns}: {spot.energy_j * 1e6:.2f} uJ an image, "
                f"{spot.compression:.2f}x fewer arrays (bound {spot.bound:.2f}x), {spot.adc_bits}-bit ADC",
                f"  fewest arrays {most.rows}x{most.columns}: {most.compression:.2f}x (bound {most.bound:.2f}x), "
                f"{most.energy_j * 1e6:.2f} uJ, {most.cell_share:.1%} of the area at the arrays is cells",
            ]
        return "\n".join(lines)


def study_arrays(path: str | Path, show_progress: bool = False) -> ArrayStudy:
    """Every network of a study file on every array size and aspect ratio.

    Weights of a shape table are drawn from a normal distribution, so that all segments are alike: arrays and energy
    are those of a uniformly pruned network, and nothing is said about its accuracy.

    Raises:
        PimsimError: whatever is wrong with the file or what it names.
    """
    study, progress = read_study(path), Progress(show_progress)
    points = []
    for network in study.networks:
        layers = network.layers(study.hardware)
        matrices = [_matrix(layer, network.seed, number) for number, layer in enumerate(layers)]
        for shape in progress(study.arrays, network.name, "array"):
            chip = sized_chip(study.hardware, shape)
            points += [_point(network, layers, matrices, chip, keep, study.mode) for keep in (1.0, *network.keep)]
    return ArrayStudy(study, tuple(points))


def sized_chip(hardware: str, shape: tuple[int, int]) -> Chip:
    """The hardware with arrays of another size, one converter each, of the least bits that lose nothing."""
    base = load_chip(hardware)
    crossbar, driver = base.crossbar, base.macro.row_driver
    bits = lossless_adc_bits(shape[0], driver.bits, crossbar.cell_bits, crossbar.encoding)
    changes = {"crossbar.rows": shape[0], "crossbar.columns": shape[1], "adc.columns": shape[1], "adc.bits": bits}
    return load_chip(hardware, {f"tile.macro.{key}": value for key, value in changes.items()})


def _matrix(layer: Layer, seed: int, number: int) -> list[NDArray[np.float64]]:
    """Unrolled weights (H, M) of each group; normal numbers where the layer has none."""
    geometry = layer.geometry
    drawn = np.random.default_rng((seed, number))
    weight = drawn.normal(size=geometry.weight_shape) if layer.weight is None else layer.weight.astype(np.float64)
    grouped = weight.reshape(geometry.groups, geometry.group_channels[1], -1)
    return [part.T for part in grouped]


def _point(
    network: StudyNetwork,
    layers: Sequence[Layer],
    matrices: Sequence[Sequence[NDArray[np.float64]]],
    chip: Chip,
    keep: float,
    mode: str,
) -> ArrayPoint:
    rows, columns = chip.crossbar.rows, chip.crossbar.columns
    published = [pack_layer(parts, Crossbar(rows, columns), keep, mode) for parts in matrices]
    packs = [pack for layer in published for pack in layer]
    costs = [_costs(layer, parts, chip, keep, mode) for layer, parts in zip(layers, matrices, strict=True)]
    energy: dict[str, float] = {}
    for cost in costs:
        energy = {name: energy.get(name, 0.0) + joules for name, joules in cost.energy_j.items()}
    arrays = sum(cost.arrays for cost in costs)
    area, cells = array_area_m2(chip)
    dense, occupied = sum(p.dense_arrays for p in packs), sum(p.occupied_arrays for p in packs)
    weights = [part for parts in matrices for part in parts]
    total = sum(float((part**2).sum()) for part in weights)
    kept = sum(float((part**2)[pack.mask].sum()) for part, pack in zip(weights, packs, strict=True))
    return ArrayPoint(
        network=network.name,
        keep=keep,
        rows=rows,
        columns=columns,
        dense_arrays=dense,
        occupied_arrays=occupied,
        nonempty_blocks=sum(p.nonempty_blocks for p in packs),
        compression=dense / occupied,
        bound=dense / len(layers),
        kept_energy=kept / total,
        index_bits=0 if keep == 1 else sum(p.index_bits for p in packs),
        adc_bits=chip.macro.adc.bits,
        arrays=arrays,
        array_area_m2=arrays * area,
        cell_share=cells / area,
        energy_j=sum(energy.values()),
        array_energy_j=sum(energy[name] for name in ARRAY_PARTS),
        adc_energy_j=energy["adc"],
        index_energy_j=energy["index"],
        formula_j=sum(cost.formula_j for cost in costs),
    )


def pack_layer(parts: Sequence[NDArray[np.float64]], array: Crossbar, keep: float, mode: str) -> tuple[Pack, ...]:
    """One layer (its groups ranked together) in one mode, or in the one of both that takes fewer arrays."""
    modes = ("row", "column") if mode == "best" else (mode,)
    choices = [pack_together(parts, array, keep, one) for one in modes]
    return min(choices, key=lambda packs: (sum(p.occupied_arrays for p in packs), sum(p.index_bits for p in packs)))


@dataclass(frozen=True)
class _Costs:
    """One layer on the chip: arrays in use, joules by component, and joules by the formula."""

    arrays: int
    energy_j: Mapping[str, float]
    formula_j: float


def _costs(layer: Layer, parts: Sequence[NDArray[np.float64]], chip: Chip, keep: float, mode: str) -> _Costs:
    """The layer pruned for the arrays of the chip and placed as `pimsim run` does."""
    array = array_of_chip(chip, layer.precision.weight_bits)
    packs = pack_layer(parts, Crossbar(array.rows, array.columns, array.columns_per_weight), keep, mode)
    mask = np.concatenate([pack.mask.T for pack in packs]).reshape(layer.geometry.weight_shape).astype(np.int64)
    mapping = map_layer(layer.geometry, array, "im2col")
    skip = "none" if keep == 1 else packs[0].mode
    placement = place(mapping, mask, skip, "tile" if keep == 1 else "layer", chip.index.format)
    work = layer_work(layer, placement, chip)
    counts = formula_counts(work, chip)
    counts["index_bytes"] = -(-placement.index_bits // 8)
    return _Costs(len(placement.tiles), dynamic_energy_j(counts, chip), formula_energy_j(work, chip))


def formula_energy_j(work: LayerWork, chip: Chip) -> float:
    """V b_in X (R E_DAC + R C E_cell + C (E_ADC + E_S&H + E_S+A)): every array in use driven and converted whole.

    Reference:
        `pruning-blocks.md` 1.3 [INF].
    """
    macro, crossbar = chip.macro, chip.crossbar
    column = macro.adc.energy_j + macro.sample_hold.energy_j + macro.shift_add.energy_j
    read = crossbar.rows * macro.row_driver.energy_j + crossbar.columns * column
    read += crossbar.rows * crossbar.columns * crossbar.cell_read_energy_j
    return work.windows * work.input_steps * len(work.placement.tiles) * read


def array_area_m2(chip: Chip) -> tuple[float, float]:
    """Area of one array with what stands at it, and the cells' part of it."""
    macro, crossbar = chip.macro, chip.crossbar
    cells = crossbar.rows * crossbar.columns * crossbar.cell_area_m2
    converters = -(-crossbar.columns // macro.adc.columns) / macro.adc.arrays
    shared = macro.shift_add.count / macro.arrays * macro.shift_add.area_m2
    lines = crossbar.rows * macro.row_driver.area_m2 + crossbar.columns * macro.sample_hold.area_m2
    return cells + lines + converters * macro.adc.area_m2 + shared, cells
