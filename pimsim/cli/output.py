"""How commands print: JSON on standard output, talk on standard error, examples under the help."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def print_json(value: Any) -> None:
    """One JSON value on standard output; NaN and infinity are refused, because JSON has none."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def talk(text: str) -> None:
    """A message for the person in front of the screen."""
    typer.echo(text, file=sys.stderr)


def examples(*commands: str) -> str:
    """An epilog with one example a line; the control character keeps the lines apart."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def read_settings(settings: list[str], option: str) -> dict[str, Any]:
    """``KEY=VALUE`` texts as a dictionary; values are numbers where they look like one.

    Raises:
        ConfigError: a text without ``=``.
    """
    from pimsim.errors import ConfigError

    pairs = [setting.partition("=") for setting in settings]
    for setting, (key, equals, _) in zip(settings, pairs, strict=True):
        if not key or not equals:
            raise ConfigError(f"'{setting}'", "a setting is KEY=VALUE", option)
    return {key: _typed(value) for key, _, value in pairs}


def _typed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else text
