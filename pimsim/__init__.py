"""pimsim: from a pruned checkpoint to a checked, timed run on crossbar arrays.

The names below are loaded when they are first used, so that ``import pimsim`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "MapResult", "PimsimError", "Result", "Workload", "compare", "compare_methods", "map", "presets", "prune",
    "simulate", "validate",
]  # fmt: skip

if TYPE_CHECKING:
    from pimsim.api import MapResult, Result, compare, compare_methods, map, presets, prune, simulate, validate
    from pimsim.errors import PimsimError
    from pimsim.workload import Workload


def __getattr__(name: str) -> object:
    """Load a public name from its room on first use."""
    from importlib import import_module

    homes = {"PimsimError": "pimsim.errors", "Workload": "pimsim.workload"}
    if name not in __all__:
        raise AttributeError(f"module 'pimsim' has no attribute '{name}'")
    return getattr(import_module(homes.get(name, "pimsim.api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
