"""A whole run: prepare, simulate, check."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pimsim.api.preparing import Prepared, input_files, prepare
from pimsim.api.progress import Progress
from pimsim.api.result import Result
from pimsim.api.tracing import Keeper, parse_selection
from pimsim.compiling import why_not
from pimsim.errors import SimulationError
from pimsim.hardware.records import Chip
from pimsim.mapping.driven import DrivenRows
from pimsim.records.check import Check
from pimsim.records.manifest import Provenance
from pimsim.simulation.network import Options, with_discipline
from pimsim.simulation.network import simulate as simulate_network
from pimsim.simulation.playing import EVERYTHING
from pimsim.simulation.results import LayerResult, SimulationResult
from pimsim.simulation.skipped_inputs import check_input_skipping
from pimsim.workload import Workload, flag, make_workload, read_workload


def resolve(workload: Workload | str | Path | None, options: Mapping[str, Any]) -> Workload:
    """The workload of a file, a record or keywords alone; ``options`` win. Raises `ConfigError`."""
    if workload is None:
        return make_workload(options)
    if isinstance(workload, Workload):
        return make_workload({**workload.model_dump(exclude_unset=True), **_given(options)})
    return read_workload(workload, options)


def run(
    workload: Workload,
    *,
    check: bool = True,
    verify_engine: bool = False,
    progress: bool = False,
    module: Callable[[], Any] | None = None,
) -> Result:
    """The result of one workload; nothing is written. Raises `PimsimError`."""
    started = time.monotonic()
    bars = Progress(progress)
    engine, engine_notes = chosen_engine(workload, verify_engine, bars)
    prepared = prepare(workload, bars, module)
    simulation = simulate_prepared(workload, prepared, bars, engine, verify_engine)
    checked = _check(workload, prepared, bars) if check and prepared.images is not None else None
    provenance = Provenance(
        config=workload.model_dump(mode="json"),
        seeds={"inputs": workload.seed},
        files=input_files(workload),
        command=("pimsim", *sys.argv[1:]),
        host_seconds=round(time.monotonic() - started, 3),
    )
    notes = (*engine_notes, *prepared.notes, *simulation.notes, *adc_notes(prepared.chip), *_value_notes(checked))
    return Result(workload, simulation, checked, notes, provenance, is_lossless=_is_lossless(prepared.chip))


def chosen_engine(workload: Workload, verify: bool, progress: Progress) -> tuple[str, tuple[str, ...]]:
    """The engine that plays, and a note where it is not the one that was asked for.

    Raises:
        SimulationError: both engines are to play, and one of them cannot.
    """
    reason = why_not() if verify or workload.engine == "compiled" else None
    if reason is None:
        return workload.engine, ()
    if verify:
        rule = f"the compiled engine is compared with the event engine, and {reason}"
        raise SimulationError("--verify-engine", rule, None, "Install a working numba, or leave it out")
    note = (
        f"engine event instead of compiled: {reason}; the numbers are the same, and take longer. "
        "Install a working numba to have them at once"
    )
    progress.say(f"pimsim: {note}.")
    return "event", (note,)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def simulate_prepared(
    workload: Workload, prepared: Prepared, progress: Progress, engine: str, verify: bool
) -> SimulationResult:
    """The prepared network played by an engine, with the spans that the workload asks for. Raises `SimulationError`."""
    names = [layer.name for layer in prepared.network.layers]
    pipelined = workload.layers == "pipelined"
    watch = parse_selection(workload.trace, names, workload.batch if pipelined else 1)
    keeper = Keeper()
    total, unit = (1, "network") if pipelined else (len(names), "layer")
    with progress.bar(total, "simulating", unit) as bar, _by_flag():
        result = simulate_network(
            prepared.network,
            prepared.placements,
            prepared.chip,
            _options(workload, engine, verify),
            probe=None if watch is None else keeper,
            watch=watch or EVERYTHING,
            crossbar_energy_j=_read_energy(prepared),
            driven=_driven(workload, prepared),
            progress=lambda _: bar.update(),
        )
    empty = () if watch is None or keeper.spans else ("the trace selection holds no job: see --trace",)
    return replace(result, spans=keeper.spans, notes=(*result.notes, *_skipped(result.layers), *keeper.notes, *empty))


def _options(workload: Workload, engine: str, verify: bool) -> Options:
    return Options(
        layers=workload.layers,
        batch=workload.batch,
        arrays=workload.arrays,
        replication=workload.replication,
        array_budget=workload.array_budget,
        tile_placement=workload.tile_placement,
        line_buffer=workload.line_buffer,
        discipline=workload.discipline,
        engine=engine,
        verify=verify,
    )


@contextmanager
def _by_flag() -> Iterator[None]:
    """Errors about an option name the flag that gives it, which a workload file spells likewise."""
    try:
        yield
    except SimulationError as error:
        if error.where not in Workload.model_fields:
            raise
        raise SimulationError(error.given, error.rule, flag(error.where), error.fix) from None


def _read_energy(prepared: Prepared) -> dict[str, float] | None:
    """Measured joules by layer where the chip asks for them; None for the fixed energy of a cell."""
    if prepared.chip.crossbar.read_energy == "fixed":
        return None
    from pimsim.api.reading import measured_read_energy

    return measured_read_energy(prepared)


def _driven(workload: Workload, prepared: Prepared) -> dict[str, DrivenRows] | None:
    """Measured inputs by layer where zero bits are to be skipped; None where every row is driven."""
    if not workload.skip_inputs:
        return None
    from pimsim.api.reading import measured_inputs

    chip = with_discipline(prepared.chip, workload.discipline)
    check_input_skipping(chip, workload.batch)
    return measured_inputs(prepared)


def _skipped(layers: Iterable[LayerResult]) -> tuple[str, ...]:
    """A note on what skipping weights, inputs and both saves; empty where inputs were not measured."""
    steps = [layer.skipped_steps for layer in layers]
    if all(one.inputs is None for one in steps):
        return ()
    dense, weights, inputs, both = (
        sum(getattr(one, name) or 0 for one in steps) for name in ("dense", "weights", "inputs", "both")
    )
    return (
        f"array steps of the first image: {dense:,} with nothing skipped, {weights:,} without zero weights, {inputs:,} "
        f"without zero input bits, {both:,} without both",
    )


def _check(workload: Workload, prepared: Prepared, progress: Progress) -> Check:
    from pimsim.api.checking import check_outputs

    return check_outputs(prepared, workload.crossbar_images, progress)


def _is_lossless(chip: Chip) -> bool:
    from pimsim.functional.crossbar import ReadOut

    conversion = ReadOut(chip.crossbar, chip.macro.row_driver, chip.macro.adc).conversion
    return not conversion.stretched and conversion.limit >= conversion.full_scale


def adc_notes(chip: Chip) -> tuple[str, ...]:
    """The ADC law behind the energies, and whether its bits are enough."""
    adc = chip.macro.adc
    loss = "loses nothing" if _is_lossless(chip) else "can lose the highest sums"
    scaled = "" if adc.bits == adc.reference_bits else f" from {adc.reference_bits} bits by the law '{adc.scaling}'"
    return (f"ADC of {adc.bits} bits, {loss}; energy and area scaled{scaled or ': none, as published'}",)


def _value_notes(checked: Check | None) -> tuple[str, ...]:
    """Why values were slow, where the compiled engine could not compute them."""
    reason = None if checked is None else why_not()
    return () if reason is None else (f"{reason}: the arrays' values come from plain numpy, equal but slower",)
