"""A training that is killed with SIGKILL, whenever, ends with the weights of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

_METHODS = {
    "admm": ("--method", "pairs", "--entries", 4, "--admm-epochs", 2, "--optimizer", "adam", "--lr", 0.002),
    "prap": ("--method", "prap", "--weight-bits", 8, "--project", 2, "--lr", 0.01),
    "forms": ("--method", "forms", "--fragment", 4, "--lr", 0.01),
}


def command(repository, out, method):
    return [
        sys.executable, "-m", "pimsim", "prune", "--network", f"{repository / 'models/digits_cnn.py'}:digits_cnn",
        "--data", "digits", "--out", str(out), "--checkpoint", str(repository / "models/digits_cnn-w4a4.safetensors"),
        "--epochs", "4", "--warmup-epochs", "0.5", "--crop-padding", "1", "--no-flip", "--normalize", "0.305/0.376",
        *map(str, _METHODS[method]),
    ]  # fmt: skip


def environment(repository):
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "phases"),
    [("admm", {"admm quantized": 2, "quantized": 2}), ("prap", {"prap quantized": 4}), ("forms", {"quantized": 4})],
)
def test_three_kills_change_nothing(repository, tmp_path, method, phases):
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    subprocess.run(command(repository, whole, method), env=environment(repository), check=True, capture_output=True)
    draw, epochs = random.Random(5), []
    for kill in range(3):
        process = subprocess.Popen(
            command(repository, killed, method), env=environment(repository), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        state = tmp_path / "killed.training" / "last.pt"
        before = state.stat().st_mtime_ns if state.exists() else 0
        # After its next epoch, and then at any moment of the one after that, its writing of the state included.
        while process.poll() is None and not (state.exists() and state.stat().st_mtime_ns > before):
            time.sleep(0.002)
        time.sleep(draw.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        epochs.append(process.wait())
        if kill == 0:
            assert not killed.exists()
    subprocess.run(command(repository, killed, method), env=environment(repository), check=True, capture_output=True)
    assert epochs[0] == -signal.SIGKILL
    expected, found = load_file(whole), load_file(killed)
    assert list(expected) == list(found)
    assert all((expected[key] == found[key]).all() for key in expected)
    curve = (tmp_path / "whole.md").read_text()
    assert {phase: curve.count(f"| {phase} |") for phase in phases} == phases
