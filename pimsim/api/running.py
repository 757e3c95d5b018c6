"""A whole run: prepare, simulate, check."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pimsim.api.preparing import Prepared, input_files, prepare
from pimsim.api.progress import Progress
from pimsim.api.result import Result
from pimsim.api.tracing import Keeper, parse_selection
from pimsim.compiling import why_not
from pimsim.hardware.records import Chip
from pimsim.records.check import Check
from pimsim.records.manifest import Provenance
from pimsim.simulation.network import simulate as simulate_network
from pimsim.simulation.results import SimulationResult
from pimsim.workload import Workload, make_workload, read_workload


def resolve(workload: Workload | str | Path | None, options: Mapping[str, Any]) -> Workload:
    """The workload of a file, a record or keywords alone; ``options`` win. Raises `ConfigError`."""
    if workload is None:
        return make_workload(options)
    if isinstance(workload, Workload):
        return make_workload({**workload.model_dump(exclude_unset=True), **_given(options)})
    return read_workload(workload, options)


def run(
    workload: Workload, *, check: bool = True, progress: bool = False, module: Callable[[], Any] | None = None
) -> Result:
    """The result of one workload; nothing is written. Raises `PimsimError`."""
    started = time.monotonic()
    bars = Progress(progress)
    prepared = prepare(workload, bars, module)
    keeper = Keeper(parse_selection(workload.trace, [layer.name for layer in prepared.network.layers]))
    simulation = _simulate(workload, prepared, keeper, bars)
    checked = _check(workload, prepared, bars) if check and prepared.images is not None else None
    provenance = Provenance(
        config=workload.model_dump(mode="json"),
        seeds={"inputs": workload.seed},
        files=input_files(workload),
        command=("pimsim", *sys.argv[1:]),
        host_seconds=round(time.monotonic() - started, 3),
    )
    notes = (*prepared.notes, *simulation.notes, *keeper.notes, *_adc_notes(prepared.chip), *_engine_notes(checked))
    return Result(workload, simulation, checked, notes, provenance, is_lossless=_is_lossless(prepared.chip))


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _simulate(workload: Workload, prepared: Prepared, keeper: Keeper, progress: Progress) -> SimulationResult:
    with progress.bar(len(prepared.network.layers), "simulating", "layer") as bar:
        result = simulate_network(
            prepared.network,
            prepared.placements,
            prepared.chip,
            arrays=workload.arrays,
            replication=workload.replication,
            discipline=workload.discipline,
            crossbar_energy_j=_read_energy(prepared),
            probe=None if keeper.selection is None else keeper,
            progress=lambda _: bar.update(),
        )
    return replace(result, spans=tuple(keeper.spans))


def _read_energy(prepared: Prepared) -> dict[str, float] | None:
    """Measured joules by layer where the chip asks for them; None for the fixed energy of a cell."""
    if prepared.chip.crossbar.read_energy == "fixed":
        return None
    from pimsim.api.reading import measured_read_energy

    return measured_read_energy(prepared)


def _check(workload: Workload, prepared: Prepared, progress: Progress) -> Check:
    from pimsim.api.checking import check_outputs

    return check_outputs(prepared, workload.crossbar_images, progress)


def _is_lossless(chip: Chip) -> bool:
    from pimsim.functional.crossbar import ReadOut

    conversion = ReadOut(chip.crossbar, chip.macro.row_driver, chip.macro.adc).conversion
    return not conversion.stretched and conversion.limit >= conversion.full_scale


def _adc_notes(chip: Chip) -> tuple[str, ...]:
    """The ADC law behind the energies, and whether its bits are enough."""
    adc = chip.macro.adc
    loss = "loses nothing" if _is_lossless(chip) else "can lose the highest sums"
    scaled = "" if adc.bits == adc.reference_bits else f" from {adc.reference_bits} bits by the law '{adc.scaling}'"
    return (f"ADC of {adc.bits} bits, {loss}; energy and area scaled{scaled or ': none, as published'}",)


def _engine_notes(checked: Check | None) -> tuple[str, ...]:
    """Why values were slow, where the compiled engine could not compute them."""
    reason = None if checked is None else why_not()
    return () if reason is None else (f"{reason}: the arrays' values come from plain numpy, equal but slower",)
