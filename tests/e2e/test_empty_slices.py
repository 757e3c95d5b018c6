"""Empty bit slices on a trained network: the digits, from workload to conversions and messages."""

from __future__ import annotations

import pytest

import pimsim as package
from pimsim.errors import PimsimError

CHIP = {
    "tile.macro.crossbar.encoding": "differential",
    "tile.macro.crossbar.active_columns": 16,
    "tile.macro.adc.columns": 16,
}


def simulate(repository_path, skip, chip=CHIP, **changes):
    return package.simulate(
        repository_path / "workloads/digits.yaml", hardware="prap", mapping="im2col", skip=skip, set=chip, images=10,
        trace="none", **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(repository_path):
    return {skip: simulate(repository_path, skip) for skip in ("none", "ou", "slice")}


def test_empty_slices_save_conversions_and_time_and_change_no_output(results):
    conversions = {skip: int(result.layers["conversions"].sum()) for skip, result in results.items()}
    times = {skip: result.simulation.latency_fs for skip, result in results.items()}
    assert conversions["slice"] < conversions["ou"] < conversions["none"]
    assert times["slice"] < times["ou"] < times["none"]
    assert all(result.check.mismatches == 0 for result in results.values())
    assert results["slice"].layers["array_steps"].tolist() == results["ou"].layers["array_steps"].tolist()


def test_the_crossbar_converts_as_many_columns_as_are_timed(results):
    """The crossbar looks at the codes in its cells, the plan at the weights."""
    for result in results.values():
        timed = result.layers["conversions"].sum() * result.check.images
        assert result.check.conversions_checked == timed


@pytest.mark.parametrize(
    ("chip", "changes", "message"),
    [
        (
            {},
            {},
            "conv1: skip 'slice' with the encoding 'offset': there a zero weight is half of full scale, so that "
            "no bit slice is empty. Use --set tile.macro.crossbar.encoding=differential or twos-complement, or skip "
            "'ou'.",
        ),
        (
            {**CHIP, "tile.macro.crossbar.active_columns": 8},
            {},
            "conv1: skip 'slice' on operation units of 8 columns: a weight of 16 columns takes several of them, which "
            "are read one after another. Use --set tile.macro.crossbar.active_columns=16 or more, or skip 'ou'.",
        ),
        (
            CHIP,
            {"skip_inputs": True},
            "--skip-inputs: skipped inputs with skip 'slice': which slices are empty depends on the rows that a unit "
            "reads, and those change with every input. Leave skip_inputs out, or use skip 'ou'.",
        ),
    ],
)
def test_where_no_slice_can_be_left_out(repository_path, chip, changes, message):
    with pytest.raises(PimsimError) as caught:
        simulate(repository_path, "slice", chip, **changes)
    assert str(caught.value) == message
