"""``pimsim validate`` and ``pimsim presets``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json, talk

_VALIDATE = examples("pimsim validate my-chip.yaml", "pimsim validate workloads/*.yaml workloads/shapes/*.yaml")
_PRESETS = examples("pimsim presets", "pimsim presets isaac-like", "pimsim presets isaac-like > my-chip.yaml")


def validate_command(app: typer.Typer) -> None:
    """Register ``validate``."""
    app.command("validate", epilog=_VALIDATE)(_validate)


def presets_command(app: typer.Typer) -> None:
    """Register ``presets``."""
    app.command("presets", epilog=_PRESETS)(_presets)


def _validate(
    files: Annotated[list[str], typer.Argument(help="Hardware, workload or shape files.")],
    as_json: Json = False,
) -> None:
    """Check hardware, workload and shape files; every problem is printed with its file and line.

    The kind of a file is read off its keys. Exit code 2 when any file has a problem.
    """
    from pimsim import api
    from pimsim.errors import PimsimError

    found: list[dict[str, str | None]] = []
    for file in files:
        try:
            found.append({"file": file, "kind": api.validate(file), "problem": None})
        except PimsimError as error:
            found.append({"file": file, "kind": None, "problem": str(error)})
            talk(f"pimsim: {error}")
    if as_json:
        print_json({"files": found})
    else:
        typer.echo("\n".join(f"{entry['file']}: {entry['kind'] or 'problems'}" for entry in found))
    if any(entry["problem"] for entry in found):
        sys.exit(2)


def _presets(
    name: Annotated[str | None, typer.Argument(help="Print this preset as YAML.")] = None,
    as_json: Json = False,
) -> None:
    """List the hardware presets, or print one of them: YAML with a source beside every number."""
    from pimsim import api

    if name is not None:
        typer.echo(api.preset_text(name), nl=False)
    elif as_json:
        print_json({"presets": api.presets()})
    else:
        typer.echo("\n".join(f"{name:<16} {description}" for name, description in api.presets().items()))
