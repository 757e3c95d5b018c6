"""Workload values that would be ignored, leave their folder or exhaust the memory are refused by their flag."""

from __future__ import annotations

import pytest
from torch import nn

from pimsim.api.preparing import calibration_count, prepare
from pimsim.api.progress import Progress
from pimsim.errors import ConfigError, DataError
from pimsim.workload import make_workload

SHAPE_RULE = "a shape is three whole numbers C,H,W, for example 3,32,32"
PAIR_RULE = "every mean needs a deviation, which is above zero, and all are finite numbers"
NAME_RULE = "a name is one folder's name: not empty, without '/'"


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        *(("input_shape", value, SHAPE_RULE) for value in ("a,b,c", "3,8", "3,8,8,", "3,8.5,8", [3, 8], 5)),
        *(("normalize", value, PAIR_RULE) for value in ("0.5/0", "0.5/-1", "nan/1", "0/inf", "0.5,0.5/1")),
        *(("name", value, NAME_RULE) for value in ("", "..", "../../evil", "a/b")),
        ("image_size", 200_000, "input should be less than or equal to 4096"),
    ],
)
def test_refused_by_its_flag(key: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_workload({"network": "net.py:net", "input_shape": "3,8,8", key: value})
    assert raised.value.where == "--" + key.replace("_", "-")
    assert raised.value.rule == rule


def test_good_values_stay_as_they_are() -> None:
    workload = make_workload({"network": "net.py:net", "input_shape": "3x8x9", "normalize": "0.5, 0.4/0.2, 0.1"})
    assert workload.input_shape == (3, 8, 9)
    assert workload.normalize == ((0.5, 0.4), (0.2, 0.1))


def test_seeded_inputs_beyond_memory() -> None:
    with pytest.raises(DataError) as raised:
        prepare(make_workload({"network": "net.py:net", "input_shape": "3,99999,99999"}), Progress(False))
    assert str(raised.value) == (
        "--input-shape: 24 images of 3x99999x99999: seeded inputs hold at most 1,073,741,824 values. "
        "Make the images smaller, or ask for fewer --images and --calibration-images."
    )


@pytest.mark.parametrize(
    ("shape", "count"),
    [((3, 32, 32), 256), ((1, 128, 128), 256), ((3, 128, 128), 85), ((3, 224, 224), 27), ((3, 512, 512), 16)],
)
def test_large_images_calibrate_in_smaller_numbers(shape: tuple[int, ...], count: int) -> None:
    assert calibration_count(shape) == count


@pytest.mark.parametrize(("asked", "used"), [(None, 256), (3, 3)])
def test_a_number_of_calibration_images_that_is_asked_for_wins(asked: int | None, used: int) -> None:
    values = {"network": "net.py:net", "input_shape": "2,4,4", "calibration_images": asked}
    prepared = prepare(make_workload(values), Progress(False), lambda: nn.Conv2d(2, 3, 3))
    assert prepared.network.notes[-1].endswith(f" on {used} images")
