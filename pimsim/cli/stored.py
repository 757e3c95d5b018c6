"""``pimsim plot`` and ``pimsim trace``: from a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json

Run = Annotated[str, typer.Argument(help="Result folder of a finished run.")]
Out = Annotated[str | None, typer.Option(help="Folder to write into.  [default: beside the result folder]")]


def plot_command(app: typer.Typer) -> None:
    """Register ``plot``."""
    app.command("plot", epilog=examples("pimsim plot results/demo --out figures"))(_plot)


def trace_command(app: typer.Typer) -> None:
    """Register ``trace``."""
    app.command("trace", epilog=examples("pimsim trace results/demo --out traces"))(_trace)


def _plot(run: Run, out: Out = None, as_json: Json = False) -> None:
    """Draw the figures of a finished run again: energy, latency and utilization, as PDF, SVG and PNG."""
    from pimsim import api

    _list(api.plot(run, out or f"{run.rstrip('/')}-figures"), as_json)


def _trace(run: Run, out: Out = None, as_json: Json = False) -> None:
    """Write the traces of a finished run again: Perfetto and gzipped Chrome JSON.

    Open them at https://ui.perfetto.dev. Which spans a run keeps is chosen with ``pimsim run --trace``.
    """
    from pimsim import api

    _list(api.trace(run, out or f"{run.rstrip('/')}-trace"), as_json)


def _list(files: tuple[Path, ...], as_json: bool) -> None:
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        typer.echo("\n".join(str(file) for file in files))
