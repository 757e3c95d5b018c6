"""Presets: hardware files that come with pimsim, each number with its source.

Listing them needs neither Pint nor pydantic, so that ``pimsim presets`` is instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Preset:
    """A preset by name, with the one line that describes it (the first comment of its file)."""

    name: str
    description: str


def preset_names() -> tuple[str, ...]:
    """The names of all presets, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def preset_path(name: str) -> Path | None:
    """The file of a preset, or None when there is no preset of that name."""
    return FOLDER / f"{name}.yaml" if name in preset_names() else None


def presets() -> list[Preset]:
    """Every preset with its description, sorted by name."""
    return [Preset(name, _description(FOLDER / f"{name}.yaml")) for name in preset_names()]


def _description(path: Path) -> str:
    """The first line of a preset file, without its comment sign."""
    with path.open(encoding="utf-8") as lines:
        return lines.readline().lstrip("# ").strip()
