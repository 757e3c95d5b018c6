"""``pimsim prune --method vwc-sdk`` and ``low-rank`` from the command line, and the checkpoints in ``pimsim run``."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def prune(pimsim, repository, tmp_path):
    """Runs ``pimsim prune`` on the digits network without training; the output and the checkpoint."""

    def run(*words: object):
        out = tmp_path / "small.safetensors"
        done = pimsim(
            "prune", "--network", repository / "models/digits_cnn.py:digits_cnn", "--data", "digits", "--epochs", 0,
            "--checkpoint", repository / "models/digits_cnn-w4a4.safetensors", "--normalize", "0.305/0.376",
            "--out", out, *words,
        )  # fmt: skip
        return done, out

    return run


def run_digits(pimsim, repository, out, folder, *words):
    done = pimsim(
        "run", repository / "workloads/digits.yaml", "--checkpoint", out, "--images", 4, "--trace", "none",
        "--results", folder, "--json", *words,
    )  # fmt: skip
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_channels_that_do_not_fill_an_array_go(prune, pimsim, repository, tmp_path):
    done, out = prune("--method", "vwc-sdk", "--array", "128x64", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["method"] == "vwc-sdk"
    found = run_digits(pimsim, repository, out, tmp_path / "run", "--mapping", "vwc-sdk")
    assert found["check"]["mismatches"] == 0


def test_the_array_may_be_that_of_a_chip(prune):
    # 4-bit weights in 2-bit cells: the same as --array 128x128 --columns-per-weight 2.
    chip, _ = prune("--method", "vwc-sdk", "--hardware", "isaac-like-8b")
    written, _ = prune("--method", "vwc-sdk", "--array", "128x128", "--columns-per-weight", 2)
    assert chip.code == written.code == 0
    assert "channels" in chip.out
    assert chip.out == written.out


def test_both_factors_are_mapped_as_one_unit(prune, pimsim, repository, tmp_path):
    done, out = prune("--method", "low-rank", "--rank", "1/4", "--groups", 4)
    assert done.code == 0, done.err
    assert "conv2: rank 4 in 4 groups, 2,304 -> 832 weights" in done.out
    found = run_digits(pimsim, repository, out, tmp_path / "run", "--mapping", "low-rank")
    assert found["check"]["mismatches"] == 0
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["conv4.reduce"]["windows"] == layers["conv4.expand"]["windows"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "low-rank", "--rank", "99"), "conv2: rank=99: the 16x144 matrix has a rank of at most 16."),
        (("--method", "low-rank", "--groups", 5), "conv2: groups=5 with 16 input channels: groups must divide"),
        (("--method", "low-rank", "--rank", "a/b"), "rank 'a/b': a rank is a whole number of at least 1"),
        (("--method", "low-rank", "--search", "exact"), "--search with the method 'low-rank': it belongs to 'vwc-sdk'"),
        (("--method", "pattern", "--rank", "1/4"), "--rank with the method 'pattern': it belongs to 'low-rank'"),
        (("--method", "vwc-sdk", "--array", "4x64"), "VWC-SDK"),
        (("--method", "kerntrol-m", "--array", "512x256", "--threshold", 1), "threshold=1.0: a threshold is"),
        (("--method", "kerntrol-c"), "the method 'kerntrol-c' without an array"),
        (("--method", "low-rank", "--threshold", 0.1), "--threshold with the method 'low-rank': it belongs to"),
        (("--method", "kerntrol",), "pruning method 'kerntrol': must be a known method. Did you mean 'kerntrol-"),
        (("--method", "low-rang",), "pruning method 'low-rang': must be a known method. Did you mean 'low-rank'?"),
        (
            ("--method", "none", "--array", "128x64"),
                "--array with the method 'none': it belongs to 'pairs', 'garos', 'row-efficient', 'row', 'pim-prune'",
        ),
    ],
)  # fmt: skip
def test_bad_input_ends_with_code_2_and_writes_nothing(prune, tmp_path, words, message):
    done, _ = prune(*words)
    assert done.code == 2
    assert message in done.err
    assert not list(tmp_path.iterdir())
