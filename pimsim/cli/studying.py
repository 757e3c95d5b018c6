"""``pimsim arrays``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json, talk

_EXAMPLES = examples("pimsim arrays workloads/papers/pim-prune.yaml --out results/pim-prune")


def arrays_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command("arrays", epilog=_EXAMPLES)(_arrays)


def _arrays(
    study: Annotated[Path, typer.Argument(help="Study file: networks, shares kept, sizes and aspect ratios.")],
    out: Annotated[Path | None, typer.Option(help="Write table (CSV) and figure into this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Which array suits a pruned network: crossbars saved, energy and periphery over array sizes and aspect ratios.

    Segments are pruned as PIM-Prune does (a reconstruction), data-free. Smaller arrays save more crossbars and
    convert more often; the energy is dynamic, by the simulator's own counts, without time.
    """
    from pimsim import api

    result = api.study_arrays(study, show_progress=not as_json)
    if out is not None:
        for path in result.write(out):
            talk(f"written: {path}")
    if as_json:
        print_json(result.to_json())
    else:
        typer.echo(str(result))
