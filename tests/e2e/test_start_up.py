"""What must be light: ``import pimsim``, ``map``, ``presets``, ``validate`` and every ``--help``."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "pandas", "pyarrow", "matplotlib", "simpy", "numba", "sklearn")
PROBE = """
import sys
sys.argv = ["pimsim", *{words!r}]
try:
    {statement}
except SystemExit as left:
    assert not left.code, left.code
print("loaded:", *[name for name in {heavy!r} if name in sys.modules])
"""


def loaded(statement, words, folder):
    code = PROBE.format(statement=statement, words=words, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ["map", "--shapes", "workloads/shapes/vgg8.yaml", "--hardware", "isaac-like-8b", "--mapping", "vw-sdk"],
        ["presets"],
        ["validate", "workloads/digits.yaml", "workloads/shapes/vgg8.yaml"],
        ["run", "--help"],
    ],
)
def test_the_command_loads_nothing_heavy(repository, words):
    assert loaded("from pimsim.cli import main; main()", words, repository) == "loaded:"


#: What a stored run may load besides: the compiled engine, tables and figures.
STORING = {"simpy", "numba", "matplotlib", "pyarrow"}


@pytest.mark.parametrize("layers", ["sequential", "pipelined"])
def test_a_run_of_shapes_loads_neither_torch_nor_pandas(repository, tmp_path, layers):
    words = ["run", "--shapes", "workloads/shapes/vgg8.yaml", "--hardware", "isaac-like-8b", "--layers", layers]
    words += ["--results", str(tmp_path / "run"), "--json"]
    found = set(loaded("from pimsim.cli import main; main()", words, repository).split()[1:])
    assert found <= STORING


def test_a_run_that_is_not_stored_draws_nothing(repository):
    options = "shapes='workloads/shapes/vgg8.yaml', hardware='isaac-like-8b'"
    statement = f"import pimsim; pimsim.simulate({options}).to_json()"
    assert set(loaded(statement, [], repository).split()[1:]) <= {"simpy", "numba"}


def test_importing_pimsim_loads_nothing_heavy(repository):
    assert loaded("import pimsim; pimsim.map; pimsim.presets()", [], repository) == "loaded:"


def test_the_probe_sees_a_heavy_import(repository):
    assert loaded("import simpy", [], repository) == "loaded: simpy"
