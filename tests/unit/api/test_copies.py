"""Copies of layers as a number, a rule or by layer, from the file or the command line."""

from __future__ import annotations

import pytest

from pimsim.errors import ConfigError
from pimsim.workload import make_workload

RULE = "it is a number of copies, a rule, or copies by layer as in conv1=4,layer1.1=2, always 1 or more"


@pytest.mark.parametrize(
    ("given", "copies"),
    [
        (4, 4),
        ("4", 4),
        ("balance", "balance"),
        ("auto", "auto"),
        ("conv1=4, layer1.1=2", {"conv1": 4, "layer1.1": 2}),
        ({"conv1": 4}, {"conv1": 4}),
    ],
)
def test_copies_are_read(given: object, copies: object) -> None:
    assert make_workload({"shapes": "s.yaml", "replication": given}).replication == copies


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        *((given, RULE) for given in (0, -1, 2.5, True, [2])),
        ("ballance", f"{RULE}. Did you mean 'balance'? Known: balance, auto"),
        ("conv1", f"{RULE}. Known: balance, auto"),
        ("-1", f"{RULE}. Known: balance, auto"),
        ("conv1=", f"{RULE}; 'conv1=' is not LAYER=COPIES"),
        ("conv1=2,", f"{RULE}; '' is not LAYER=COPIES"),
        ("=3", f"{RULE}; '=3' is not LAYER=COPIES"),
        ("conv1=2,conv1=3", "layer 'conv1' is given twice; keep one of the two"),
        ({"conv1": 0, "conv2": 1}, f"{RULE}; not so for 'conv1'"),
    ],
)
def test_what_is_no_number_of_copies_is_refused(given: object, rule: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_workload({"shapes": "s.yaml", "replication": given})
    assert (raised.value.where, raised.value.rule) == ("--replication", rule)
