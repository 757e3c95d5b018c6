"""Counts and bits so large that nothing could be computed from them are refused at their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pimsim.errors import ConfigError
from pimsim.hardware.loading import load_chip


@pytest.mark.parametrize(
    ("line", "where", "rule"),
    [
        ("tiles: 10000000000", "tiles", "a whole number of at most 1,000,000,000 is needed"),
        ("tile: {macro: {adc: {bits: 99}}}", "tile.macro.adc.bits", "1 to 32 bits are supported"),
        ("weight_bits: 40", "weight_bits", "1 to 16 bits are supported"),
    ],
)
def test_refused_with_file_and_line(tmp_path: Path, line: str, where: str, rule: str) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(f"extends: isaac-like\n{line}\n")
    with pytest.raises(ConfigError) as raised:
        load_chip(str(path))
    assert f"{path}:2 ({where}): '" in str(raised.value)
    assert rule in str(raised.value)
