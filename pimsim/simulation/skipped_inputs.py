"""The steps of arrays that drive only rows whose input bits are not zero: other steps in every window.

For each input step, a column group drives the rows that carry a bit, closed up to operation units of h rows
(SRE; `hardware.md` 4.5): ceil(popcount / h) steps. Column groups come one after another, in each the units of all input
steps, those with the most rows first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pimsim.errors import SimulationError
from pimsim.hardware.encodings import POLARISED
from pimsim.hardware.laws import lossless_adc_bits
from pimsim.hardware.records import Chip
from pimsim.mapping.units import weights_per_group
from pimsim.simulation.costs import conversions_at
from pimsim.simulation.plan import Jobs
from pimsim.simulation.services import array_fs, burst_fs, ceil_div, conversion_bits, is_fused, shift_add_fs
from pimsim.simulation.streams import IDLE, StreamJobs, has_index_stage
from pimsim.simulation.work import ArrayWork, LayerWork

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class WindowSteps:
    """What one array does in each of its windows.

    Attributes:
        kinds: (conversions of each ADC in a step, bits of each), in order.
        steps: steps of each kind in each window, int64 (windows, kinds).
        counts: actions in each window, int64 (windows,), by name; only what steps do.
        most_rows: the most rows that a step drives, int64 (windows,).
        select_bits: input bits that are looked at in a window.
    """

    kinds: tuple[tuple[int, int], ...]
    steps: NDArray[np.int64]
    counts: dict[str, NDArray[np.int64]]
    most_rows: NDArray[np.int64]
    select_bits: int

    @property
    def key(self) -> tuple[object, ...]:
        """Arrays with the same key take the same time in every step."""
        return self.kinds, self.steps.tobytes()


def window_steps(array: ArrayWork, work: LayerWork, chip: Chip) -> WindowSteps:
    """The steps of an array in the windows of its replica, in order of the window slots."""
    assert work.driven is not None
    h, u = chip.crossbar.active_rows, chip.crossbar.active_columns
    per_weight = array.columns // array.weight_columns
    weights = weights_per_group(u, per_weight)
    converters, most = ceil_div(u, chip.macro.adc.columns), work.most_rows
    driven = work.driven.of(array.part, len(array.group_units))[array.copy :: work.replication].astype(np.int64)
    windows = len(driven)
    order: list[tuple[int, int]] = []
    steps: list[NDArray[np.int64]] = []
    looked_at = 0
    total = {name: np.zeros(windows, dtype=np.int64) for name in _ACTIONS}
    by_bits: dict[int, NDArray[np.int64]] = {}
    for group in range(driven.shape[2]):
        width = min(weights, array.weight_columns - group * weights)
        units = _units_by_rows(driven[:, :, group], h)
        rows = driven[:, :, group].sum(axis=1)
        looked_at += sum(number * size for number, size in array.group_units[group])
        for first in range(0, width * per_weight, u):
            columns = min(u, width * per_weight - first)
            for size, number in units.items():
                kind = ceil_div(columns, converters), conversion_bits(chip, size, most)
                if order and order[-1] == kind:
                    steps[-1] = steps[-1] + number
                else:
                    order.append(kind)
                    steps.append(number)
                total["array_steps"] += number
                total["adc"] += number * columns
                by_bits[kind[1]] = by_bits.get(kind[1], 0) + number * columns
                if first + u >= width * per_weight:
                    total["output_register"] += number * width
            total["row_driver"] += rows
            total["crossbar"] += rows * columns
    if chip.macro.adc.resolution != "fixed":
        total |= {conversions_at(bits): number for bits, number in by_bits.items()}
    largest = np.minimum(h, driven.max(axis=(1, 2), initial=0))
    bits = looked_at * work.input_steps * chip.macro.row_driver.bits
    return WindowSteps(tuple(order), np.stack(steps, axis=1), total, largest, bits)


_ACTIONS = ("array_steps", "adc", "output_register", "row_driver", "crossbar")


def _units_by_rows(driven: NDArray[np.int64], h: int) -> dict[int, NDArray[np.int64]]:
    """Operation units of each number of rows, most rows first, over the steps of each window (windows, steps)."""
    full, rest = np.divmod(driven, h)
    units = {h: full.sum(axis=1)}
    for rows in sorted(set(np.unique(rest).tolist()) - {0}, reverse=True):
        units[rows] = np.count_nonzero(rest == rows, axis=1)
    return units


def window_jobs(arrays: Sequence[WindowSteps], slot: int, chip: Chip) -> StreamJobs:
    """The jobs of arrays in lockstep (the same key) in one window slot; row selection by input bits in every step."""
    if not arrays:
        return StreamJobs(IDLE, IDLE, IDLE, IDLE)
    kinds, numbers = arrays[0].kinds, arrays[0].steps[slot].tolist()
    runs = [(kind, number) for kind, number in zip(kinds, numbers, strict=True) if number]
    counts = Counter[str]()
    for one in arrays:
        counts.update({name: int(number[slot]) for name, number in one.counts.items()})
    bits = sum(one.select_bits for one in arrays)
    if not runs:
        # The input bits are looked at all the same.
        looked = replace(IDLE, counts=(("input_register_read_bits", bits),))
        return StreamJobs(IDLE, looked, IDLE, IDLE)
    steps, units = sum(number for _, number in runs), len(arrays)

    def jobs(times: list[tuple[int, int]], done: dict[str, int], rows: int = 0) -> Jobs:
        if len(set(times)) == 1:
            occupancy, latency = ((time,) for time in times[0])
        else:
            each = [pair for pair, (_, number) in zip(times, runs, strict=True) for _ in range(number)]
            occupancy, latency = zip(*each, strict=True)
        return Jobs(steps, tuple(occupancy), tuple(latency), tuple(done.items()), units, rows)

    read = {name: counts[name] for name in ("array_steps", "row_driver", "crossbar")}
    read["input_register_read_bits"] = bits
    convert = {name: number for name, number in counts.items() if name.startswith("adc")}
    if not is_fused(chip):
        convert["sample_hold"] = counts["adc"]
    select = {"index_decode": counts["array_steps"]}
    has_stage = has_index_stage(chip, True)
    decode = chip.index.decode_latency_fs
    update = {"shift_add": counts["adc"], "output_register": counts["output_register"]}
    rows = max(int(one.most_rows[slot]) for one in arrays)
    return StreamJobs(
        jobs([(decode, decode)] * len(runs), select) if has_stage else IDLE,
        jobs(
            [(array_fs(chip, *kind),) * 2 for kind, _ in runs],
            read | ({} if has_stage else select) | (convert if is_fused(chip) else {}),
            rows,
        ),
        jobs([burst_fs(chip, *kind) for kind, _ in runs], convert),
        jobs([shift_add_fs(chip, kind[0]) for kind, _ in runs], update),
    )


def check_input_skipping(chip: Chip, images: int = 1) -> None:
    """Refuses what zero input bits cannot be skipped with.

    Raises:
        SimulationError: several images, or a converter to which it matters which rows are read together.
    """
    crossbar, adc = chip.crossbar, chip.macro.adc
    if images > 1:
        rule = "every image has zero bits of its own, and only the first is played"
        raise SimulationError(f"batch={images} with skipped inputs", rule, "batch", "Leave batch out")
    h = min(crossbar.rows, crossbar.active_rows)
    needed = lossless_adc_bits(h, chip.macro.row_driver.bits, crossbar.cell_bits, crossbar.encoding)
    rule = "rows are read in other company in every step, which values must not depend on"
    if adc.bits < needed:
        given = f"skipped inputs with an ADC of {adc.bits} bits"
        fix = f"Use --set tile.macro.adc.bits={needed}"
        raise SimulationError(given, rule, "skip_inputs", fix)
    if crossbar.encoding == "offset-inverted" and h < crossbar.rows:
        given = f"skipped inputs with columns inverted in units of {h} rows"
        raise SimulationError(given, rule, "skip_inputs", "Use --set tile.macro.crossbar.encoding=offset")
    if crossbar.encoding == POLARISED and h < crossbar.rows:
        given = f"skipped inputs with a sign for each unit of {h} rows (encoding '{POLARISED}')"
        fix = "Leave skip_inputs out, or use --set tile.macro.crossbar.encoding=differential"
        raise SimulationError(given, rule, "skip_inputs", fix)
