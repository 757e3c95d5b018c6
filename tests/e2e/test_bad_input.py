"""Acceptance 6: every kind of bad input is one message, exit code 2, and nothing written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

NETWORK = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.linear = nn.Linear(4, 3)

    def forward(self, images):
        return self.linear(torch.relu(self.conv(images)).mean((2, 3)))

def small():
    return Small()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a network and its checkpoint, and nothing else."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    torch.manual_seed(0)
    torch.save(state(), tmp_path / "net.pt")
    return tmp_path


def state():
    return {
        "conv.weight": torch.randn(4, 1, 3, 3), "conv.bias": torch.zeros(4),
        "linear.weight": torch.randn(3, 4), "linear.bias": torch.zeros(3),
    }  # fmt: skip


@pytest.fixture
def refused(folder, pimsim):
    """Runs ``pimsim run`` on the small network with changes; gives the message of a refused run."""

    def run(**changes):
        flags = {
            "network": "net.py:small", "checkpoint": "net.pt", "input_shape": "1,6,6", "hardware": "isaac-like-8b",
            "calibration_images": 4, "images": 2, "results": "out", **changes,
        }  # fmt: skip
        words = [f"--{key.replace('_', '-')}={value}" for key, value in flags.items() if value is not None]
        before = sorted(folder.rglob("*"))
        done = pimsim("run", *words)
        after = [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts]
        assert done.code == 2, done.err
        assert done.out == ""
        assert after == before
        return done.err.strip()

    return run


def test_the_same_run_without_a_mistake_is_fine(folder, pimsim):
    done = pimsim(
        "run", "--network", "net.py:small", "--checkpoint", "net.pt", "--input-shape", "1,6,6", "--hardware",
        "isaac-like-8b", "--calibration-images", 4, "--images", 2, "--results", "out", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (folder / "out/manifest.json").is_file()


def test_missing_checkpoint(refused):
    assert refused(checkpoint="nowhere.pt") == "pimsim: nowhere.pt: checkpoint: there is no such file. Check the path."


def test_missing_network_file(refused):
    assert refused(network="nowhere.py:small") == (
        "pimsim: nowhere.py: network 'nowhere.py:small': there is no such file. Check the path."
    )


def test_missing_workload(folder, pimsim):
    done = pimsim("run", "nowhere.yaml")
    assert (done.code, done.err.strip()) == (
        2,
        "pimsim: workload 'nowhere.yaml': there is no such file. Check the path.",
    )


def test_missing_data(refused):
    assert "data source 'nowhere': must be 'digits' or an existing folder" in refused(data="nowhere")


def test_truncated_checkpoint(refused, folder):
    whole = (folder / "net.pt").read_bytes()
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    message = refused(checkpoint="cut.pt")
    assert message.startswith("pimsim: cut.pt: a file that cannot be read (")
    assert message.endswith("): it is truncated, damaged or not a checkpoint. Copy or save it again.")


def test_pickled_module(refused, folder):
    torch.save(nn.Linear(2, 2), folder / "module.pt")
    message = refused(checkpoint="module.pt")
    assert "loading it would run code from the file, so only tensors are read" in message
    assert "torch.save(torch.load('module.pt', weights_only=False).state_dict(), 'module-state.pt')" in message


def test_wrong_keys(refused, folder):
    wrong = state()
    wrong["convv.weight"] = wrong.pop("conv.weight")
    torch.save(wrong, folder / "wrong.pt")
    message = refused(checkpoint="wrong.pt")
    assert "convv.weight" in message
    assert "conv.weight" in message
    assert message.startswith("pimsim: wrong.pt: ")


def test_nan_weights(refused, folder):
    bad = state()
    bad["conv.weight"][0, 0, 0, 0] = float("nan")
    torch.save(bad, folder / "nan.pt")
    message = refused(checkpoint="nan.pt")
    assert message.startswith("pimsim: nan.pt: ")
    assert "conv.weight" in message


@pytest.mark.parametrize("shape", ["0,6,6", "1,0,6"])
def test_zero_sized_input(refused, shape):
    message = refused(input_shape=shape)
    assert "--input-shape" in message
    assert "greater than or equal to 1" in message


def test_input_shape_that_is_no_shape(refused):
    assert "--input-shape" in refused(input_shape="1,6")


def test_layer_that_cannot_fit(refused, folder):
    (folder / "tiny.yaml").write_text("extends: isaac-like-8b\ntile: {macro: {crossbar: {columns: 2}}}\n")
    message = refused(hardware="tiny.yaml")
    assert message.startswith("pimsim: ")
    assert "column" in message


def test_unknown_mapping(refused):
    message = refused(mapping="sdkk")
    assert message.startswith("pimsim: mapping 'sdkk': unknown mapping. Did you mean 'sdk'? Known: im2col, ")


def test_unknown_skip(refused):
    message = refused(skip="rows")
    assert message == (
        "pimsim: skip 'rows': unknown skip. Did you mean 'row'? Known: none, row, ou, array, slice, repeat, column, "
        "block."
    )


def test_unknown_preset(refused):
    message = refused(hardware="isac-like")
    assert "'isac-like': there is no such preset or file. Did you mean 'isaac-like'?" in message


def test_unknown_trace_layer(refused):
    assert refused(trace="layer=convv") == (
        "pimsim: --trace: layer 'convv': the network has no such layer. Did you mean 'conv'? Known: conv, linear."
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("extends: isaac-like\ncolour: red\n", ["chip.yaml:2", "'colour'", "there is no such key here"]),
        ("extends: isaac-like\ntiles: 2\ntiles: 3\n", ["chip.yaml:3", "this key was given before, at line 2"]),
        (
            "extends: isaac-like\ntile:\n  macro:\n    adc: {latency: 1}\n",
            ["chip.yaml:4", "a quantity of time needs its unit"],
        ),
        (
            "extends: isaac-like\ntile:\n  macro:\n    adc: {latency: 2 pJ}\n",
            ["chip.yaml:4", "this is not a quantity of time"],
        ),
        ("extends: isaac-like\ntile:\n  macro:\n    adc: {columns: 256}\n", ["chip.yaml:4", "256"]),
        ("extends: nobody\n", ["chip.yaml:1", "'nobody'"]),
        ("tile: [1\n", ["chip.yaml:2", "it is not plain YAML"]),
    ],
)
def test_hardware_file(refused, folder, text, parts):
    (folder / "chip.yaml").write_text(text)
    message = refused(hardware="chip.yaml")
    assert [part for part in parts if part not in message] == []


def test_workload_file_lists_every_problem_with_its_line(folder, pimsim):
    (folder / "w.yaml").write_text("network: net.py:small\ninput_shape: 1,6,6\nmaping: sdk\nimages: -1\n")
    done = pimsim("run", "w.yaml")
    assert done.code == 2
    assert "w.yaml:3 (maping): key 'maping': unknown key. Did you mean 'mapping'?" in done.err
    assert "w.yaml:4 (images): images=-1: input should be greater than or equal to 1" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pimsim: 'w.yaml': the file is empty. Start with 'network: FILE.py:CALLABLE'."),
        (
            "- a\n",
            "pimsim: w.yaml:1: 'w.yaml': a workload is a mapping of keys. Start with 'network: FILE.py:CALLABLE'.",
        ),
        (
            "hardware: isaac-like\n",
            "pimsim: w.yaml: neither network nor shapes: one of them is needed. "
            "Give network: FILE.py:CALLABLE, or shapes: TABLE.yaml.",
        ),
        (
            "network: net.py:small\n",
            "pimsim: w.yaml: neither data nor input_shape: a network needs data, or the shape of its seeded inputs. "
            "Give input_shape: C,H,W, for example 3,32,32.",
        ),
    ],
)
def test_workload_that_says_too_little(folder, pimsim, text, message):
    (folder / "w.yaml").write_text(text)
    done = pimsim("run", "w.yaml")
    assert (done.code, done.err.strip()) == (2, message)


def test_result_folder_that_is_something_else(refused, folder):
    (folder / "out").mkdir()
    (folder / "out/thesis.tex").write_text("precious")
    assert "it exists and is not a finished result of pimsim, so it is not replaced" in refused()


def test_result_folder_below_a_file(refused):
    assert "the result folder cannot be written (Not a directory)" in refused(results="net.py/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_result_folder(refused, folder):
    (folder / "locked").mkdir(mode=0o500)
    assert "the result folder cannot be written (Permission denied)" in refused(results="locked/out")


def test_ctrl_c_leaves_nothing_that_looks_finished(folder):
    (folder / "net.py").write_text(NETWORK.replace("return Small()", "open('started', 'w').close(); return Small()"))
    words = ["run", "--network", "net.py:small", "--input-shape", "1,64,64", "--hardware", "isaac-like-8b"]
    command = [sys.executable, "-m", "pimsim", *words, "--images", "20000", "--results", "out"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "started").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.0)  # somewhere in tracing, simulating or the first of 20,000 images
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    # CPython itself ends by SIGINT (which a shell reports as 130 too) when the interrupt hits code run from a string,
    # such as a class that a library generates while it is imported.
    assert process.returncode in (130, -signal.SIGINT), err
    assert "Traceback" not in err
    assert out == ""
    assert not list(folder.glob("**/manifest.json"))
    assert not list(folder.glob(".out.*"))
