"""Both engines through the command line: layers in flight, the proof on one's own case, and a machine without numba."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest

import pimsim as package

SHAPES = """
name: small
layers:
  - {name: conv1, k: 3, ic: 3, oc: 8, in: 12, pad: 1}
  - {name: conv2, k: 3, ic: 8, oc: 16, in: 12, pad: 1}
  - {name: fc, kind: linear, in_features: 64, out_features: 10}
"""
QUIET = ("--hardware", "isaac-like-8b", "--shapes", "s.yaml", "--results", "out")
BROKEN = "raise ImportError('llvmlite is of another version')"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a table of three layers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SHAPES)
    return tmp_path


@pytest.fixture
def totals(folder, pimsim):
    """Runs the small network as JSON and gives the whole object."""

    def run(*words):
        done = pimsim("run", *QUIET, "--json", *words)
        assert done.code == 0, done.err
        return json.loads(done.out)

    return run


def test_layers_in_flight_are_faster_and_say_so(totals, folder):
    alone, flight = totals()["totals"], totals("--layers", "pipelined", "--batch", 5)["totals"]
    assert (alone["schedule"], alone["images"], alone["interval_ns"]) == ("sequential", 1, alone["latency_ns"])
    assert (flight["schedule"], flight["images"]) == ("pipelined", 5)
    assert flight["interval_ns"] < flight["latency_ns"] < alone["latency_ns"]
    assert flight["makespan_ns"] == pytest.approx(flight["latency_ns"] + 4 * flight["interval_ns"])
    assert flight["dynamic_energy_pj"] == pytest.approx(alone["dynamic_energy_pj"], rel=0.01)  # but for the router
    assert pd.read_parquet(folder / "out/totals.parquet")["makespan_ns"][0] == flight["makespan_ns"]


def test_a_batch_one_layer_after_another_takes_whole_turns(totals):
    found = totals("--batch", 3)["totals"]
    assert found["makespan_ns"] == 3 * found["latency_ns"]


@pytest.mark.parametrize(
    ("given", "copies"),
    [("2", [2, 2, 1]), ("conv1=4,fc=1", [4, 1, 1]), ("conv2=3", [1, 3, 1])],
)
def test_copies_share_the_windows(totals, given, copies):
    found = totals("--replication", given, "--layers", "pipelined")["layers"]
    assert [layer["replication"] for layer in found][: len(copies) - 1] == copies[:-1]


@pytest.mark.parametrize("rule", ["balance", "auto"])
def test_rules_stay_within_the_budget(totals, rule):
    found = totals("--replication", rule, "--array-budget", 20, "--layers", "pipelined")
    assert found["totals"]["arrays"] <= 20
    copies = [layer["replication"] for layer in found["layers"]]
    assert copies == [1, 1, 1] if rule == "balance" else max(copies) > 1  # both convolutions have the same work


def test_every_option_of_the_schedule_can_be_a_key_of_the_file(folder, pimsim):
    (folder / "w.yaml").write_text(
        "shapes: s.yaml\nhardware: isaac-like-8b\nlayers: pipelined\nbatch: 2\nreplication: {conv1: 2}\n"
        "line_buffer: 12\ntile_placement: tile\nengine: event\nresults: out\n"
    )
    done = pimsim("run", "w.yaml", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["engine"], found["totals"]["tiles"]) == ("event", 3)
    assert found["layers"][0]["replication"] == 2
    assert json.loads((folder / "out/manifest.json").read_text())["config"]["replication"] == {"conv1": 2}


def test_a_line_buffer_that_is_too_small_is_named(folder, pimsim):
    done = pimsim("run", *QUIET, "--layers", "pipelined", "--line-buffer", 6)
    assert (done.code, done.out) == (2, "")
    assert "the buffer between conv2 and fc is full with 72 windows of conv2" in done.err
    assert "Give the buffers between layers more rows with --line-buffer, or leave it out." in done.err


@pytest.mark.parametrize("layers", ["sequential", "pipelined"])
def test_both_engines_agree_on_the_users_own_case(totals, layers):
    found = totals("--layers", layers, "--verify-engine", "--batch", 2)
    line = next(note for note in found["notes"] if "agree" in note)
    assert line.startswith("event and compiled engine agree on ")
    assert "start and end of" in line


def test_a_difference_is_an_error(folder, pimsim, monkeypatch):
    from pimsim.simulation import network
    from pimsim.simulation.compiled import play

    def late(plan, probe=None, start_fs=0, watch=None, marks=None):
        played = play(plan, probe, start_fs, *([watch] if watch else []), marks=marks)
        return replace(played, image_done_fs=(7,))

    monkeypatch.setitem(network.ENGINES, "compiled", late)
    done = pimsim("run", *QUIET, "--verify-engine")
    assert (done.code, done.out) == (2, "")
    assert "image_done_fs" in done.err
    assert "the event and the compiled engine must agree; this is a defect of pimsim, please report it" in done.err
    assert not (folder / "out").exists()


@pytest.mark.parametrize("layers", ["sequential", "pipelined"])
def test_both_engines_trace_the_same_spans_in_the_same_order(folder, layers):
    one, other = (
        package.simulate(shapes="s.yaml", hardware="isaac-like-8b", engine=engine, layers=layers)
        for engine in ("compiled", "event")
    )
    assert len(one.simulation.spans) > 100
    assert one.simulation.spans == other.simulation.spans
    starts = [span.start_fs for span in one.simulation.spans]
    assert starts == sorted(starts)
    assert {span.window for span in one.simulation.spans} == {0, 1, 2, 3}
    assert {span.image for span in one.simulation.spans} == {0}


def test_any_image_in_flight_can_be_traced(folder):
    result = package.simulate(
        shapes="s.yaml", hardware="isaac-like-8b", layers="pipelined", batch=4, trace="layer=conv2,windows=2:5,image=3"
    )
    assert {(span.layer, span.image) for span in result.simulation.spans} == {("conv2", 3)}
    assert {span.window for span in result.simulation.spans} == {2, 3, 4}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--replication", "convv1=2"],
            "--replication: replication of layer 'convv1': the network has no such layer. "
            "Did you mean 'conv1'? Known: conv1, conv2, fc.",
        ),
        (
            ["--replication", "balence"],
            "--replication: replication='balence': it is a number of copies, a rule, or copies by layer as in "
            "conv1=4,layer1.1=2, always 1 or more. Did you mean 'balance'? Known: balance, auto.",
        ),
        (["--batch", "0"], "--batch: batch=0: input should be greater than or equal to 1."),
        (
            ["--line-buffer", "3"],
            "--line-buffer: line_buffer=3 with layers one after another: no rows wait between them. "
            "Give layers: pipelined, or leave line_buffer out.",
        ),
        (
            ["--array-budget", "30"],
            "--array-budget: array_budget=30 without a rule: it limits the copies that the rules 'balance' and 'auto' "
            "choose. Give replication: balance or auto, or leave it out.",
        ),
        (
            ["--array-budget", "2", "--replication", "auto"],
            "--array-budget: a budget of 2 arrays: one copy of every layer takes ",
        ),
        (
            ["--layers", "pipelined", "--arrays", "4"],
            "--arrays: arrays=4 with pipelined layers: layers that work at the same time cannot take turns on a few "
            "arrays. Leave arrays out, or give layers: sequential.",
        ),
        (
            ["--layers", "pipelined", "--replication", "40", "--set", "tiles=4", "--set", "tile.macros=1"],
            "--layers: pipelined layers that take 81 arrays: all of them must be on the chip at the same time, and it "
            "has 32. Use a chip with more tiles (--set tiles=11), less replication, or --layers sequential.",
        ),
        (
            ["--layers", "pipelined", "--batch", "2", "--trace", "image=2"],
            "--trace: image=2: 2 images are played, and they are counted from 0. "
            "Leave image out, or give a larger --batch with --layers pipelined.",
        ),
        (["--trace", "image=1"], "--trace: image=1: only the first image is played, and they are counted from 0. "),
        (["--trace", "image=x"], "--trace: image=x: an image is a number, counted from 0. Write it like "),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(folder, pimsim, words, message):
    done = pimsim("run", *QUIET, *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"pimsim: {message}"), done.err
    assert sorted(path.name for path in folder.iterdir()) == ["s.yaml"]


def test_a_file_is_blamed_by_its_line(folder, pimsim):
    (folder / "w.yaml").write_text("shapes: s.yaml\nreplication: conv1=\nbatch: 0\nlayers: both\n")
    done = pimsim("run", "w.yaml")
    assert done.code == 2
    assert "w.yaml:2 (replication): replication='conv1=': it is a number of copies" in done.err
    assert "'conv1=' is not LAYER=COPIES" in done.err
    assert "w.yaml:3 (batch): batch=0: input should be greater than or equal to 1" in done.err
    assert "w.yaml:4 (layers): layers='both': input should be 'sequential' or 'pipelined'" in done.err


def command(folder, *words, **environment):
    """``pimsim run`` on the small network in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pimsim", "run", *QUIET, *words],
        cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip


def without_numba(folder, how):
    """The environment of a machine on which numba does not work, and the reason that is given."""
    if how == "disabled":
        return {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set"
    (folder / "broken/numba").mkdir(parents=True, exist_ok=True)
    (folder / "broken/numba/__init__.py").write_text(BROKEN)
    paths = os.pathsep.join([str(folder / "broken"), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": paths}, "numba does not work here (ImportError: llvmlite is of another version)"


@pytest.mark.parametrize("how", ["disabled", "broken"])
@pytest.mark.parametrize("words", [[], ["--engine", "compiled", "--layers", "pipelined"]])
def test_without_numba_the_event_engine_plays_and_says_so(folder, how, words):
    environment, reason = without_numba(folder, how)
    done = command(folder, "--json", *words, **environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    note = (
        f"engine event instead of compiled: {reason}; the numbers are the same, and take longer. "
        "Install a working numba to have them at once"
    )
    assert found["engine"] == "event"
    assert note in found["notes"]
    assert f"pimsim: {note}.\n" in done.stderr
    if words:
        assert found["totals"]["interval_ns"] is None
        assert any("no steady-state interval" in other for other in found["notes"])


def test_an_event_engine_that_was_asked_for_needs_no_excuse(folder):
    environment, _ = without_numba(folder, "broken")
    done = command(folder, "--engine", "event", **environment)
    assert done.returncode == 0, done.stderr
    assert "instead of compiled" not in done.stderr + done.stdout


@pytest.mark.parametrize("how", ["disabled", "broken"])
def test_without_numba_engines_cannot_be_compared(folder, how):
    environment, reason = without_numba(folder, how)
    done = command(folder, "--verify-engine", **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        f"pimsim: --verify-engine: the compiled engine is compared with the event engine, and {reason}. "
        "Install a working numba, or leave it out."
    )
    assert not (folder / "out").exists()


ENDLESS = """
import sys
from pathlib import Path
from pimsim.compiling import interruptible, kernel
from pimsim.simulation import compiled

@kernel
def spin(m, saved):
    while m[0] == m[0]:
        m[1] += saved[0, 0]

def started(play_all, m, saved):
    spin.prepare(m, saved)
    Path("started").touch()
    interruptible(spin, m, saved)

compiled.interruptible = started
sys.argv = ["pimsim", *sys.argv[1:]]
from pimsim.cli import main
main()
"""


def test_ctrl_c_while_the_compiled_engine_plays(folder):
    (folder / "endless.py").write_text(ENDLESS)
    process = subprocess.Popen(
        [sys.executable, "endless.py", "run", *QUIET], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    while not (folder / "started").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)  # inside compiled code, which never ends
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert time.monotonic() - sent < 5  # well below a second where the machine is not busy
    assert "Traceback" not in err
    assert out == ""
    assert not list(folder.glob("**/manifest.json"))
    assert not list(folder.glob(".out.*"))
