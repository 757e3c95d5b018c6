"""Whole processes, as a user starts them, and the import of a PyTorch network."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from placing import SHAPES
from pytest_benchmark.fixture import BenchmarkFixture
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent


def time_command(benchmark: BenchmarkFixture, arguments: list[str], rounds: int = 3, warm: int = 1) -> None:
    """The best of some runs of ``pimsim``."""
    command = [sys.executable, "-m", "pimsim", *arguments]
    run = lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT)  # noqa: E731
    benchmark.pedantic(run, rounds=rounds, warmup_rounds=warm)


@pytest.mark.benchmark(group="start")
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["presets"], ["map", "--layer", "k=3x3,ic=64,oc=128,in=28x28", "--mapping", "vw-sdk", "--json"]],
    ids=["help", "presets", "map"],
)
def test_start(benchmark: BenchmarkFixture, arguments: list[str]) -> None:
    time_command(benchmark, arguments)


@pytest.mark.benchmark(group="end to end")
@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ("vgg8", []),
        ("vgg8", ["--layers", "pipelined"]),
        ("resnet18", ["--layers", "pipelined"]),
        ("resnet18", ["--layers", "pipelined", "--mapping", "vw-sdk"]),
        ("resnet18", ["--layers", "pipelined", "--batch", "10"]),
        ("resnet18", ["--layers", "pipelined", "--batch", "1000"]),
        ("vgg16", []),
        ("vgg16", ["--layers", "pipelined", "--set", "tiles=400"]),
    ],
    ids=lambda value: "-".join(map(str, value)).replace("--", "") if isinstance(value, list) else value,
)
def test_shapes(benchmark: BenchmarkFixture, tmp_path: Path, shapes: str, options: list[str]) -> None:
    """``pimsim run`` from a shape table, results written."""
    table = str(SHAPES / f"{shapes}.yaml")
    results = ["--results", str(tmp_path / "run")]
    time_command(benchmark, ["run", "--shapes", table, "--hardware", "isaac-like-8b", *options, *results])


@pytest.mark.benchmark(group="end to end")
@pytest.mark.parametrize("side", [224, 896])
@pytest.mark.parametrize("layers", ["sequential", "pipelined"])
def test_input_side(benchmark: BenchmarkFixture, tmp_path: Path, side: int, layers: str) -> None:
    """ResNet-18 on small and on large images."""
    table = tmp_path / "resnet18.yaml"
    table.write_text(scaled(SHAPES / "resnet18.yaml", side // 224), encoding="utf-8")
    options = ["--hardware", "isaac-like-8b", "--layers", layers, "--results", str(tmp_path / "run")]
    time_command(benchmark, ["run", "--shapes", str(table), *options])


def scaled(table: Path, factor: int) -> str:
    """A shape table with every ``in`` multiplied."""
    reader = YAML()
    shapes = reader.load(table)
    for entry in shapes["layers"]:
        if "in" in entry:
            entry["in"] = factor * int(entry["in"])
        elif "pool" in entry:
            entry["pool"] = factor * int(entry["pool"])  # the global pooling in front of the classifier
    out = io.StringIO()
    reader.dump(shapes, out)
    return out.getvalue()


@pytest.mark.benchmark(group="import")
def test_module_resnet18(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """``pimsim run`` of an nn.Module, ResNet-18 at 224x224, without the check."""
    network = ["--network", f"{ROOT / 'models' / 'resnet18.py'}:resnet18", "--input-shape", "3,224,224", "--no-check"]
    options = ["--hardware", "isaac-like-8b", "--layers", "pipelined", "--results", str(tmp_path / "run")]
    time_command(benchmark, ["run", *network, *options], rounds=2)


@pytest.mark.benchmark(group="end to end")
def test_demo(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """`make demo` without the installation: import, map, simulate, check, write."""
    time_command(benchmark, ["run", "workloads/demo.yaml", "--results", str(tmp_path / "run")], rounds=2)
