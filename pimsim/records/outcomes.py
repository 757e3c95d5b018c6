"""What a comparison of methods found: one record for each entry, with one for each of its layers.

The columns of the tables are attributes of the records by the same name; ``docs/compare.md`` is tested against them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pimsim.records.schema import COUNT, REAL, TEXT, Column
from pimsim.records.tables import skip_ratio

#: Where a top-1 comes from: images through the integer network now, or the card of the checkpoint.
MEASURED, RECORDED = "measured", "recorded"

LAYER_COLUMNS = (
    Column("layer", TEXT, "", "name of the crossbar layer"),
    Column("window", TEXT, "", "parallel window in input pixels, height x width"),
    Column("weights", COUNT, "", "weights of the layer"),
    Column("weights_pruned", COUNT, "", "weights that the checkpoint holds as exactly zero"),
    Column("rows_mapped", COUNT, "", "rows over the dense array tiles; one present in two column tiles counts twice"),
    Column("rows_skipped", COUNT, "", "rows of those that are not driven"),
    Column("skip_ratio", REAL, "", "rows_skipped / rows_mapped"),
    Column("arrays_dense", COUNT, "", "array tiles before anything is left out"),
    Column("arrays", COUNT, "", "array tiles in use, times replication"),
    Column("replication", COUNT, "", "copies of the layer, which share its windows"),
    Column("cycles_dense", COUNT, "", "computing cycles before anything is left out"),
    Column("cycles", COUNT, "", "computing cycles: parallel windows x array tiles left"),
    Column("rounds", COUNT, "", "times the available arrays are reprogrammed (1: all weights resident)"),
    Column("steps", COUNT, "", "activations of one array for one window: input steps x row groups x column groups"),
    Column("serial_steps", COUNT, "", "array activations one after another: windows of a copy x rounds x steps"),
    Column("latency_ns", REAL, "ns", "from the layer's first read to its last output"),
    Column("energy_pj", REAL, "pJ", "dynamic energy of one image"),
    Column("index_bits", COUNT, "bit", "storage that tells which rows are kept"),
)

COLUMNS = (
    Column("label", TEXT, "", "what the entry is called; no two are alike"),
    Column("method", TEXT, "", "pruning method of the checkpoint; `none` for a dense one"),
    Column("entries", COUNT, "", "kernel positions that stay, or whose rows are the budget; missing for other methods"),
    Column("rate", TEXT, "", "how hard the method prunes, in its own terms"),
    Column("training", TEXT, "", "`trained`, or `mask only`: made from trained weights without any training"),
    Column("checkpoint", TEXT, "", "the file"),
    Column("chip", TEXT, "", "name of the chip"),
    Column("array", TEXT, "", "rows x columns of an array in cells"),
    Column("mapping", TEXT, "", "name of the mapper"),
    Column("skip", TEXT, "", "granularity of skipping"),
    Column("pack", TEXT, "", "`tile` or `layer`"),
    Column("weights", COUNT, "", "weights of all crossbar layers"),
    Column("weights_pruned", COUNT, "", "weights that the checkpoint holds as exactly zero"),
    Column("weight_sparsity", REAL, "", "weights_pruned / weights"),
    Column("integer_sparsity", REAL, "", "weights that are zero as integers / weights: pruned, or rounded to zero"),
    Column("rows_mapped", COUNT, "", "rows over the dense array tiles of all layers"),
    Column("rows_skipped", COUNT, "", "rows of those that are not driven"),
    Column("skip_ratio", REAL, "", "rows_skipped / rows_mapped"),
    Column("pruned_layers", COUNT, "", "layers with at least one pruned weight"),
    Column("pruned_rows_mapped", COUNT, "", "rows_mapped of those layers"),
    Column("pruned_rows_skipped", COUNT, "", "rows_skipped of those layers"),
    Column("pruned_skip_ratio", REAL, "", "pruned_rows_skipped / pruned_rows_mapped"),
    Column("arrays_dense", COUNT, "", "array tiles before anything is left out"),
    Column("arrays", COUNT, "", "array tiles in use, times replication"),
    Column("compression", REAL, "", "arrays_dense / arrays"),
    Column("cycles_dense", COUNT, "", "computing cycles before anything is left out"),
    Column("cycles", COUNT, "", "computing cycles: parallel windows x array tiles left"),
    Column("ideal_cycles", REAL, "", "cycles_dense of each layer x its share of driven rows: if each row had its time"),
    Column("serial_steps", COUNT, "", "array activations one after another: windows of a copy x rounds x steps"),
    Column("latency_ns", REAL, "ns", "last window of the last layer written"),
    Column("energy_pj", REAL, "pJ", "dynamic_energy_pj + static_energy_pj, for one image"),
    Column("dynamic_energy_pj", REAL, "pJ", "actions x energy per action"),
    Column("static_energy_pj", REAL, "pJ", "static power of the units in use x run time"),
    Column("area_mm2", REAL, "mm2", "area of the units in use"),
    Column("tiles", COUNT, "", "hardware tiles in use"),
    Column("index_bits", COUNT, "bit", "storage that tells which rows are kept"),
    Column("conversions", COUNT, "", "ADC conversions of one image"),
    Column("index_bytes", COUNT, "byte", "the same in whole bytes"),
    Column("active_rows", COUNT, "", "rows that an array can drive at the same time"),
    Column("driven_rows", COUNT, "", "rows that the fullest array holds and drives, at the same time or in groups"),
    Column("adc_bits_needed", COUNT, "bit", "ADC resolution that loses nothing with as many rows at the same time"),
    Column("adc_bits", COUNT, "bit", "ADC resolution of the chip"),
    Column("cells_used", COUNT, "", "cells of the arrays in use"),
    Column("cell_budget", COUNT, "", "cells of the chip's arrays, or of those that `arrays` or `array_budget` leave"),
    Column("top1", REAL, "", "share of images classified correctly; missing where it is not known"),
    Column("top1_images", COUNT, "", "images behind top1; missing where the card does not say"),
    Column("top1_source", TEXT, "", "`measured` by the integer network, or `recorded` in the card of the checkpoint"),
    Column("crossbar_images", COUNT, "", "images that went through the arrays"),
    Column("outputs", COUNT, "", "integer layer outputs compared with the reference; 0 when nothing was compared"),
    Column("mismatches", COUNT, "", "outputs of those that differ"),
)


@dataclass(frozen=True)
class LayerOutcome:
    """One layer of one entry; the attributes are `LAYER_COLUMNS`.

    Attributes:
        energy_by_component_pj: dynamic energy by component.
    """

    layer: str
    window: str
    weights: int
    weights_pruned: int
    rows_mapped: int
    rows_skipped: int
    arrays_dense: int
    arrays: int
    replication: int
    cycles_dense: int
    cycles: int
    rounds: int
    steps: int
    serial_steps: int
    latency_ns: float
    energy_pj: float
    index_bits: int
    energy_by_component_pj: dict[str, float] = field(default_factory=dict)

    @property
    def skip_ratio(self) -> float:
        """Skipped rows / mapped rows."""
        return skip_ratio(self.rows_skipped, self.rows_mapped)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return row_of(self, LAYER_COLUMNS) | {"energy_by_component_pj": self.energy_by_component_pj}


@dataclass(frozen=True)
class Top1:
    """An accuracy: the share (0 to 1), the images behind it (None: not said), ``measured`` or ``recorded``."""

    share: float
    images: int | None
    source: str


def _summed(count: str) -> property:
    """A count of an outcome that is the sum over its layers."""

    def total(outcome: Outcome) -> int:
        return int(sum(getattr(layer, count) for layer in outcome.layers))

    total.__doc__ = f"The sum of ``{count}`` over the layers."
    return property(total)


@dataclass(frozen=True)
class Outcome:
    """One entry of a comparison; with its properties the attributes are `COLUMNS`.

    Attributes:
        energy_by_component_pj: of one image; dynamic under the component's name, static under ``NAME_static``.
        structure: how the checkpoint rewrites the network (``low_rank``, ...); empty when it only masks weights.
        accuracy: None where it is not known.
        is_lossless: whether the ADC can lose nothing, so that any difference is a defect.
        notes: what the numbers of this entry rest on.
    """

    label: str
    method: str
    entries: int | None
    rate: str
    training: str
    checkpoint: str
    chip: str
    array: str
    mapping: str
    skip: str
    pack: str
    layers: tuple[LayerOutcome, ...]
    integer_zeros: int
    latency_ns: float
    energy_pj: float
    dynamic_energy_pj: float
    static_energy_pj: float
    area_mm2: float
    tiles: int
    active_rows: int
    driven_rows: int
    adc_bits_needed: int
    adc_bits: int
    cells_used: int
    cell_budget: int
    energy_by_component_pj: dict[str, float]
    conversions: int = 0
    structure: tuple[str, ...] = ()
    accuracy: Top1 | None = None
    crossbar_images: int = 0
    outputs: int = 0
    mismatches: int = 0
    is_lossless: bool = False
    notes: tuple[str, ...] = ()

    weights = _summed("weights")
    weights_pruned = _summed("weights_pruned")
    rows_mapped = _summed("rows_mapped")
    rows_skipped = _summed("rows_skipped")
    arrays_dense = _summed("arrays_dense")
    arrays = _summed("arrays")
    cycles_dense = _summed("cycles_dense")
    cycles = _summed("cycles")
    serial_steps = _summed("serial_steps")
    index_bits = _summed("index_bits")

    @property
    def weight_sparsity(self) -> float:
        """Pruned weights / weights."""
        return self.weights_pruned / self.weights if self.weights else 0.0

    @property
    def integer_sparsity(self) -> float:
        """Weights that are zero as integers / weights."""
        return self.integer_zeros / self.weights if self.weights else 0.0

    @property
    def skip_ratio(self) -> float:
        """Skipped rows / mapped rows."""
        return skip_ratio(self.rows_skipped, self.rows_mapped)

    @cached_property
    def _pruned(self) -> tuple[LayerOutcome, ...]:
        return tuple(layer for layer in self.layers if layer.weights_pruned)

    @property
    def pruned_layers(self) -> int:
        """Layers with a pruned weight."""
        return len(self._pruned)

    @property
    def pruned_rows_mapped(self) -> int:
        """Mapped rows of the layers with a pruned weight."""
        return sum(layer.rows_mapped for layer in self._pruned)

    @property
    def pruned_rows_skipped(self) -> int:
        """Skipped rows of the layers with a pruned weight."""
        return sum(layer.rows_skipped for layer in self._pruned)

    @property
    def pruned_skip_ratio(self) -> float:
        """Skipped rows / mapped rows of the layers with a pruned weight."""
        return skip_ratio(self.pruned_rows_skipped, self.pruned_rows_mapped)

    @property
    def compression(self) -> float:
        """Arrays dense / arrays used; infinite when nothing is left."""
        return self.arrays_dense / self.arrays if self.arrays else math.inf

    @property
    def ideal_cycles(self) -> float:
        """Computing cycles if each skipped row saved its share of its layer's."""
        return math.fsum(layer.cycles_dense * (1 - layer.skip_ratio) for layer in self.layers)

    @property
    def index_bytes(self) -> int:
        """The index in whole bytes."""
        return -(-int(self.index_bits) // 8)

    @property
    def top1(self) -> float | None:
        """Share of images classified correctly."""
        return None if self.accuracy is None else self.accuracy.share

    @property
    def top1_images(self) -> int | None:
        """Images behind it."""
        return None if self.accuracy is None else self.accuracy.images

    @property
    def top1_source(self) -> str:
        """``measured`` or ``recorded``."""
        return "" if self.accuracy is None else self.accuracy.source

    @property
    def max_rounds(self) -> int:
        """Most rounds in which a layer's arrays are programmed one after another."""
        return max((layer.rounds for layer in self.layers), default=0)

    @property
    def is_driven_whole(self) -> bool:
        """Whether every array in use drives all its rows at the same time."""
        return self.driven_rows <= self.active_rows

    @property
    def is_dense(self) -> bool:
        """Whether it is a whole network: nothing pruned, no layer rewritten."""
        return self.weights_pruned == 0 and not self.structure

    def to_json(self) -> dict[str, Any]:
        """Plain values: every column, energy by component, layers."""
        return row_of(self, COLUMNS) | {
            "structure": list(self.structure),
            "energy_by_component_pj": self.energy_by_component_pj,
            "layers": [layer.to_json() for layer in self.layers],
            "notes": list(self.notes),
        }


def row_of(record: object, columns: Iterable[Column]) -> dict[str, Any]:
    """The columns of a record as plain JSON values; what is not known, or not finite, is None."""
    found = {column.name: getattr(record, column.name) for column in columns}
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in found.items()}
