"""Hand-made simulation results with the numbers of a ResNet-20 on an ISAAC-like chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pimsim.hardware.records import (
    Adc,
    Buffer,
    Bus,
    Chip,
    Crossbar,
    Index,
    Macro,
    OffChip,
    Register,
    Router,
    RowDriver,
    SampleHold,
    Tile,
    Timing,
    Unit,
)
from pimsim.records.check import Check, LayerCheck
from pimsim.simulation.results import STALL_CAUSES, ComponentResult, LayerResult, SimulationResult, Span

ENERGIES = {"adc": 1.5625e-12, "crossbar": 0.23e-12, "row_driver": 0.12e-12, "sample_hold": 1e-15, "shift_add": 2e-14}
BYTES = {"input_register": 0.484e-12, "output_register": 0.18e-12, "buffer": 0.527e-12, "bus": 0.456e-12}


def make_chip() -> Chip:
    """ISAAC's component numbers (`hardware.md` 9.1)."""
    unit = Unit(4, 833_333, 833_333, 0.02e-12, 5e-6, 60e-12)
    register = Register(2048, 886_000, 0.484e-12, 0.124e-3, 2100e-12)
    macro = Macro(
        8,
        Crossbar(128, 128, 2, "offset", 100_000_000, 1.8e-15, 25e-12 / 16384, 0.0, 128, 128, 1.29e-12, 86_000_000),
        RowDriver(1, 0, 0.35e-12, 0.39e-6, 0.166e-12),
        SampleHold(1, 0, 0.88e-15, 1e-9, 0.039e-12),
        Adc(8, 100_000_000, 781_250, 1.40625e-12, 0.2e-3, 1200e-12, 128, 1, "saberi", 8, "saturate"),
        unit,
        register,
        register,
    )
    buffer = Buffer(65536, 256, 1_182_000, 833_333, 16.87e-12, 0.46e-3, 83_000e-12)
    tile = Tile(12, macro, buffer, Bus(384, 833_333, 833_333, 0.41e-12, 0.7e-3, 90_000e-12), unit, unit, unit, register)
    router = Router(4, 32, 2_500_000, 833_333, 4.27e-12, 1.04e-3, 151_000e-12)
    timing = Timing("pipelined", 100_000_000, 2, 2)
    return Chip(
        "isaac-like", 32e-9, 16, 16, 168, tile, router, OffChip(4, 2.6, 5.72e-6), Index("bitmap", 1e-12, 0.0), timing
    )


def make_layer(i: int, start_fs: int, name: str) -> LayerResult:
    """A layer that halves its map and doubles its arrays every third of the way."""
    stage = i % 18 // 6
    windows, arrays = 1024 >> (2 * stage), 2 << (2 * stage)
    steps = windows * arrays * 8
    conversions = steps * 128
    latency = (windows * 800 + 1400) * 10**6
    counts = {"adc": conversions, "crossbar": steps, "row_driver": steps * 96, "buffer": windows * 20}
    dynamic = {key: conversions * value for key, value in ENERGIES.items()}
    dynamic |= {key: windows * 300 * value for key, value in BYTES.items()}
    dynamic |= {"router": windows * 16 * 4.27e-12, "activation": windows * 16 * 0.2e-12}
    stall = dict.fromkeys(STALL_CAUSES, 0) | {"adc": latency // 8 * arrays, "bus": latency // (20 + i) * arrays}
    busy = {"array": latency * arrays // 2, "adc": latency * arrays * 3 // 5, "shift_add": latency * arrays // 16}
    busy |= {"buffer": latency // (3 + i % 7), "bus": latency // (5 + i % 3), "activation": latency // 40}
    units = {"array": arrays, "adc": arrays, "shift_add": arrays, "buffer": 1, "bus": 1, "activation": 2}
    return LayerResult(
        *(name, "conv", windows * arrays, windows, arrays, 1, 8, steps, 144 * arrays, 48 * arrays, conversions),
        *(windows * 16 * 144, start_fs, start_fs + 1_400_000_000, start_fs + latency, 800_000_000, 1_400_000_000),
        *(dynamic, counts, stall, busy, units, 0.75, 128 * 86_000_000, 2.1e-8, 144 * arrays, "sdk", (4, 4)),
    )


def make_result(count: int, spans: tuple[Span, ...] = ()) -> SimulationResult:
    """A run of ``count`` layers one after another."""
    names = ["conv1", *(f"layer{1 + b // 6 % 3}.{b // 2}.conv{1 + b % 2}" for b in range(count - 2)), "linear"][:count]
    layers: list[LayerResult] = []
    for i, name in enumerate(names):
        layers.append(make_layer(i, layers[-1].end_fs if layers else 0, name))
    run = layers[-1].end_fs
    components = []
    for name in layers[0].dynamic_energy_j:
        dynamic = sum(layer.dynamic_energy_j[name] for layer in layers)
        actions = sum(layer.counts.get(name, 0) for layer in layers)
        busy = sum(layer.busy_fs.get(name, 0) for layer in layers)
        use = busy / (100 * run) if busy else None
        static = 1e-4 * run * 1e-15 * (20 if name == "adc" else 1)
        components.append(ComponentResult(name, "macro", 100, actions, dynamic, static, 2.5e-8, busy, use))
    return SimulationResult(
        make_chip(), "event", tuple(layers), tuple(components), run, run - 10**9, run, 4, ("layers sequential",), spans
    )


def make_spans(windows: int = 3) -> tuple[Span, ...]:
    """Eight steps a window on two arrays in lockstep: ADC one stage behind, activation with overlapping jobs."""
    spans = []
    for window in range(windows):
        base = window * 800_000_000
        spans.append(Span("conv1", "edram_read", 0, -1, -1, 1, window, -1, base, base + 1_182_000))
        for step in range(8):
            start = base + step * 100_000_000
            spans.append(Span("conv1", "array", 0, 0, 1, 2, window, step, start, start + 100_000_000, 27))
            late = start + 100_000_000
            spans.append(Span("conv1", "adc", 0, 0, 1, 2, window, step, late, late + 781_250 * 16))
        begin = base + 900_000_000
        spans.append(Span("conv1", "activation", -1, -1, -1, 1, window, -1, begin, begin + 2_000_000_000))
    return tuple(spans)


@pytest.fixture
def result() -> SimulationResult:
    return make_result(9, make_spans())


@pytest.fixture
def results() -> Callable[..., SimulationResult]:
    return make_result


@pytest.fixture
def pipelined() -> SimulationResult:
    """Four images in flight: nine layers that each begin when the one before is halfway."""
    found = make_result(9)
    layers, start = [], 0
    for layer in found.layers:
        shift = start - layer.start_fs
        times = {name: getattr(layer, name) + shift for name in ("start_fs", "first_output_fs", "end_fs")}
        layers.append(replace(layer, **times))
        start += layer.latency_fs // 2
    latency, interval = layers[-1].end_fs, max(layer.latency_fs for layer in layers)
    return replace(
        found,
        layers=tuple(layers),
        latency_fs=latency,
        first_output_fs=layers[-1].first_output_fs,
        interval_fs=interval,
        schedule="pipelined",
        image_done_fs=tuple(latency + i * interval for i in range(4)),
    )


@pytest.fixture
def spans() -> tuple[Span, ...]:
    return make_spans()


@pytest.fixture
def check() -> Check:
    layer = LayerCheck("conv1", 16384, 0, 1000, 0)
    return Check(64, 4_000_000, 0, 0.8103, 0.809, 0.809, None, 1000, 0, (layer,))
