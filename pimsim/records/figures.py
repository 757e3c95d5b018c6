"""The three figures of a run: energy, latency with stall causes, and utilisation over time.

Drawn from the tables, so that a finished result can be drawn again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

from pimsim.errors import ResultError, nearest
from pimsim.records.energy_figure import energy
from pimsim.records.looks import FORMATS, STYLES, lay_out, save_figure, style_context
from pimsim.records.sharing import in_two_processes
from pimsim.records.tables import PlainTables
from pimsim.records.time_figures import latency
from pimsim.records.use_figure import utilisation

FIGURES = MappingProxyType({"energy": energy, "latency": latency, "utilisation": utilisation})


def draw_all(
    tables: PlainTables, folder: Path, formats: Iterable[str] = FORMATS, style: str = "paper"
) -> tuple[Path, ...]:
    """Draw every figure into ``folder``: ``energy``, ``latency`` and ``utilisation`` in each format.

    The files depend on the tables alone: no dates, no random identifiers.

    Args:
        tables: of a run, or read back from a result.
        folder: made when missing.
        formats: of ``pdf``, ``svg``, ``png``.
        style: ``paper`` or ``screen``.

    Raises:
        ResultError: an unknown style or format, or a run without layers.
    """
    wanted = tuple(formats)
    _check_choice(style, STYLES, "style")
    for name in wanted:
        _check_choice(name, FORMATS, "format")
    if not tables["layers"]["layer"]:
        raise ResultError("a run without layers", "there is nothing to draw", None, "Simulate a network with layers")
    folder.mkdir(parents=True, exist_ok=True)
    with style_context(style):
        figures = {name: draw(tables, style) for name, draw in FIGURES.items()}
        for figure in figures.values():
            lay_out(figure)
        jobs = [(figure, folder / f"{name}.{kind}") for name, figure in figures.items() for kind in wanted]
        in_two_processes(save_figure, jobs)
    return tuple(path for _, path in jobs)


def _check_choice(given: str, known: tuple[str, ...], what: str) -> None:
    if given not in known:
        raise ResultError(f"'{given}'", f"this is not a figure {what}", None, nearest(given, known))
