"""Single figures for a notebook, and figures and traces of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pimsim.errors import ResultError, nearest
from pimsim.records.figures import FIGURES
from pimsim.records.looks import style_context
from pimsim.records.store import load_result, redraw, retrace
from pimsim.records.tables import PlainTables


def draw(tables: PlainTables, name: str) -> Any:
    """One matplotlib figure in the screen style. Raises `ResultError` for an unknown name."""
    if name not in FIGURES:
        raise ResultError(f"figure '{name}'", "unknown figure", None, nearest(name, FIGURES))
    with style_context("screen"):
        return FIGURES[name](tables, "screen")


def plot_stored(run: Path, folder: Path) -> tuple[Path, ...]:
    """The figures of a finished run, drawn again into ``folder``. Raises `ResultError`."""
    return redraw(load_result(run), folder)


def trace_stored(run: Path, folder: Path) -> tuple[Path, ...]:
    """The traces of a finished run, written again into ``folder``. Raises `ResultError`."""
    return retrace(load_result(run), folder)
