"""A layer too large to lay out is refused before memory is asked for."""

from __future__ import annotations

import pytest

from pimsim.errors import ConfigError
from pimsim.network.shapes import parse_layer


@pytest.mark.parametrize("size", ["1000001", "99999999999999999999"])
def test_channels_beyond_memory(size: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_layer(f"k=3x3,ic={size},oc=4,in=9x9", "--layer")
    assert str(raised.value) == f"--layer: ic={size}: sizes up to 1,000,000 can be laid out."
