"""The schema of every result table: each column with its type, unit and definition.

``docs/results.md`` is tested against it. Names carry the unit: ``_ns``, ``_fs``, ``_pj``, ``_mm2``, ``_bits``; counts
and shares (0 to 1) have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

TEXT, COUNT, REAL = "str", "int64", "float64"


@dataclass(frozen=True)
class Column:
    """One column of a table: ``dtype`` is that of pandas, ``unit`` is empty for names, counts and shares."""

    name: str
    dtype: str
    unit: str
    definition: str


TOTALS = (
    Column("schedule", TEXT, "", "`sequential` or `pipelined` layers"),
    Column("images", COUNT, "", "images of the batch"),
    Column("latency_ns", REAL, "ns", "last window of the last layer written, for the first image"),
    Column("first_output_ns", REAL, "ns", "first window of the last layer written, for the first image"),
    Column("interval_ns", REAL, "ns", "steady-state time between two images, whatever the batch; missing if unknown"),
    Column("makespan_ns", REAL, "ns", "last window of the last image of the batch written"),
    Column("energy_pj", REAL, "pJ", "dynamic_energy_pj + static_energy_pj, for one image"),
    Column("dynamic_energy_pj", REAL, "pJ", "actions x energy per action, over all components"),
    Column("static_energy_pj", REAL, "pJ", "static power of the units in use x makespan / images of the batch"),
    Column("area_mm2", REAL, "mm2", "area of the units in use"),
    Column("tiles", COUNT, "", "hardware tiles in use"),
    Column("arrays", COUNT, "", "array tiles of all layers, times replication"),
    Column("array_utilisation", REAL, "", "arrays that hold weights at a time / arrays of the hardware tiles in use"),
    Column("cycles", COUNT, "", "computing cycles of all layers"),
    Column("conversions", COUNT, "", "ADC conversions of one image"),
    Column("macs", COUNT, "", "dense multiply-accumulates of one image"),
    Column("rows_mapped", COUNT, "", "rows over the dense array tiles of all layers"),
    Column("rows_skipped", COUNT, "", "rows of those that are not driven"),
    Column("skip_ratio", REAL, "", "rows_skipped / rows_mapped; 0 when no row is mapped"),
)

LAYERS = (
    Column("layer", TEXT, "", "name of the crossbar layer in the network"),
    Column("kind", TEXT, "", "`conv` or `linear`"),
    Column("mapping", TEXT, "", "name of the mapper"),
    Column("window", TEXT, "", "parallel window in input pixels, height x width"),
    Column("cycles", COUNT, "", "computing cycles: parallel windows x array tiles left after skipping"),
    Column("windows", COUNT, "", "parallel-window positions of one image"),
    Column("arrays", COUNT, "", "array tiles in use, times replication"),
    Column("replication", COUNT, "", "copies of the layer, which share its windows"),
    Column("rounds", COUNT, "", "times the available arrays are reprogrammed (1: all weights resident)"),
    Column("steps", COUNT, "", "activations of one array for one window: input steps x row groups x column groups"),
    Column("array_steps", COUNT, "", "activations over all arrays and windows"),
    Column("array_steps_dense", COUNT, "", "what they would be with nothing skipped"),
    Column("array_steps_weights", COUNT, "", "with zero weights skipped as here, and no input bits"),
    Column("array_steps_inputs", REAL, "", "with zero input bits skipped, no weights; missing without `skip_inputs`"),
    Column("rows_mapped", COUNT, "", "rows over the dense array tiles; a row present in two column tiles counts twice"),
    Column("rows_skipped", COUNT, "", "rows of those that are not driven"),
    Column("skip_ratio", REAL, "", "rows_skipped / rows_mapped; 0 when no row is mapped"),
    Column("conversions", COUNT, "", "ADC conversions"),
    Column("macs", COUNT, "", "dense multiply-accumulates, pruned ones included"),
    Column("start_ns", REAL, "ns", "first read of the layer, from the start of the image"),
    Column("first_output_ns", REAL, "ns", "first window of the layer written, from the start of the image"),
    Column("end_ns", REAL, "ns", "last window of the layer written, from the start of the image"),
    Column("latency_ns", REAL, "ns", "end_ns - start_ns"),
    Column("interval_ns", REAL, "ns", "steady-state time between two windows leaving the layer; 0 for one window"),
    Column("fill_ns", REAL, "ns", "latency of the layer's first window"),
    Column("energy_pj", REAL, "pJ", "dynamic energy of the layer, the sum of its rows in `energy`"),
    Column("cell_utilisation", REAL, "", "cells that can hold a nonzero weight / cells of the arrays in use"),
    Column("program_time_ns", REAL, "ns", "time to write the weights; in no latency"),
    Column("program_energy_pj", REAL, "pJ", "energy to write the weights; in no other energy"),
    Column("index_bits", COUNT, "bit", "storage that tells which rows are kept"),
)

COMPONENTS = (
    Column("component", TEXT, "", "name of the component"),
    Column("level", TEXT, "", "where it stands: `array`, `macro`, `tile` or `chip`"),
    Column("units", COUNT, "", "units allocated to the run"),
    Column("actions", COUNT, "", "actions counted by the engine (conversions, accesses, bytes, flits ...)"),
    Column("dynamic_energy_pj", REAL, "pJ", "actions x energy per action"),
    Column("static_energy_pj", REAL, "pJ", "static power of the allocated units x run time / images of the batch"),
    Column("energy_pj", REAL, "pJ", "dynamic_energy_pj + static_energy_pj"),
    Column("area_mm2", REAL, "mm2", "area of the allocated units"),
    Column("busy_ns", REAL, "ns", "busy time, summed over units"),
    Column("utilisation", REAL, "", "busy_ns x images / (units x run time); missing where busy time has no meaning"),
)

ENERGY = (
    Column("layer", TEXT, "", "name of the crossbar layer"),
    Column("component", TEXT, "", "name of the component"),
    Column("energy_pj", REAL, "pJ", "dynamic energy of that component in that layer"),
)

STALLS = (
    Column("layer", TEXT, "", "name of the crossbar layer"),
    Column("cause", TEXT, "", "`adc`, `buffer`, `bus`, `input` or `output`"),
    Column(
        "stall_ns", REAL, "ns", "time the layer's arrays waited for that cause, summed over arrays; mean of an image"
    ),
)

RESOURCES = (
    Column("layer", TEXT, "", "name of the crossbar layer"),
    Column("resource", TEXT, "", "kind of resource: array, adc, bus, buffer ..."),
    Column("units", COUNT, "", "units of that kind that the layer uses"),
    Column("busy_ns", REAL, "ns", "busy time, summed over units"),
    Column("utilisation", REAL, "", "busy_ns / (units x latency_ns of the layer); missing for a layer without time"),
)

SPANS = (
    Column("layer", TEXT, "", "name of the crossbar layer"),
    Column("stage", TEXT, "", "pipeline stage: edram_read, bus, array, adc, shift_add, merge, activation, ..."),
    Column("tile", COUNT, "", "tile of the unit; -1 where the level does not apply"),
    Column("macro", COUNT, "", "macro within the tile; -1 where the level does not apply"),
    Column("array", COUNT, "", "array within the macro; -1 where the level does not apply"),
    Column("units", COUNT, "", "units in lockstep that share this job"),
    Column("image", COUNT, "", "image of the batch, counted from 0"),
    Column("window", COUNT, "", "parallel window slot of the image, counted from 0"),
    Column("step", COUNT, "", "array activation within the window; -1 for stages that work on whole windows"),
    Column("start_fs", COUNT, "fs", "start of the job, exact"),
    Column("end_fs", COUNT, "fs", "end of the job, exact"),
    Column("active_rows", COUNT, "", "rows that each unit drives"),
)

TABLES = MappingProxyType(
    {
        "totals": TOTALS,
        "layers": LAYERS,
        "components": COMPONENTS,
        "energy": ENERGY,
        "stalls": STALLS,
        "resources": RESOURCES,
        "spans": SPANS,
    }
)
