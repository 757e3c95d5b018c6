"""Operation units and zero input bits on real images: the digits, from workload to table."""

from __future__ import annotations

import json

import pytest

import pimsim as package
from pimsim.errors import PimsimError


@pytest.fixture(scope="module")
def results(repository_path):
    workload = repository_path / "workloads/digits.yaml"
    return {
        (skip, inputs): package.simulate(
            workload, hardware="prap", skip=skip, skip_inputs=inputs, images=20, trace="none"
        )
        for skip in ("none", "ou")
        for inputs in (False, True)
    }


def test_the_four_numbers_are_those_of_four_runs(results):
    """What a run says of the other kinds of skipping is what the other runs play."""
    played = {key: result.layers["array_steps"].tolist() for key, result in results.items()}
    both = results["ou", True].layers
    assert both["array_steps_dense"].tolist() == played["none", False]
    assert both["array_steps_weights"].tolist() == played["ou", False]
    assert both["array_steps_inputs"].tolist() == played["none", True]
    assert results["ou", False].layers["array_steps_inputs"].isna().all()
    keys = ("none", False), ("ou", False), ("none", True), ("ou", True)
    dense, weights, inputs, fewest = (sum(played[key]) for key in keys)
    assert fewest < min(weights, inputs) and max(weights, inputs) < dense
    note = (
        f"array steps of the first image: {dense:,} with nothing skipped, {weights:,} without zero weights, {inputs:,} "
        f"without zero input bits, {fewest:,} without both"
    )
    assert note in results["ou", True].notes


def test_skipping_saves_time_and_changes_no_output(results):
    times = {key: result.simulation.latency_fs for key, result in results.items()}
    assert times["ou", True] < times["ou", False] < times["none", False]
    assert times["ou", True] < times["none", True] < times["none", False]
    assert all(result.check.mismatches == 0 for result in results.values())
    json.dumps(results["ou", False].to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"skip": "repeat"},
            "--skip-inputs: skipped inputs with skip 'repeat': a result can be used again only where a unit reads the "
            "same rows in every step. Leave skip_inputs out, or use skip 'ou'.",
        ),
        (
            {"batch": 2},
            "--batch: batch=2 with skipped inputs: every image has zero bits of its own, and only the first is played. "
            "Leave batch out.",
        ),
        (
            {"set": {"tile.macro.adc.bits": 3}},
            "--skip-inputs: skipped inputs with an ADC of 3 bits: rows are read in other company in every step, which "
            "values must not depend on. Use --set tile.macro.adc.bits=4.",
        ),
    ],
)
def test_what_inputs_cannot_be_skipped_with(repository_path, changes, message):
    with pytest.raises(PimsimError) as caught:
        package.simulate(repository_path / "workloads/digits.yaml", hardware="prap", skip_inputs=True, **changes)
    assert str(caught.value) == message


def test_a_shape_table_has_no_inputs(repository_path):
    with pytest.raises(PimsimError) as caught:
        package.simulate(shapes=str(repository_path / "workloads/shapes/vgg8.yaml"), skip_inputs=True)
    assert str(caught.value) == (
        "--skip-inputs: skip_inputs with shapes: a shape table has no weights to run on images. "
        "Leave skip_inputs out, or give network instead of shapes."
    )
