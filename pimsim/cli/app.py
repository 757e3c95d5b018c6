"""The command tree."""

from __future__ import annotations

from typing import Annotated

import typer

from pimsim.cli.comparing import compare_command
from pimsim.cli.files import presets_command, validate_command
from pimsim.cli.mapping import map_command
from pimsim.cli.output import examples
from pimsim.cli.pruning import prune_command
from pimsim.cli.running import run_command
from pimsim.cli.stored import plot_command, trace_command
from pimsim.cli.studying import arrays_command

_HELP = """Cycle-level simulator for crossbar processing-in-memory.

A pruned checkpoint becomes an integer network, is mapped on crossbar arrays, played event by event on a chip, and
every output is compared with a reference.

Results go to standard output, messages to standard error. Exit codes: 0 done, 2 bad input (nothing is written),
3 outputs differ from the reference with a lossless ADC, 130 interrupted.
"""

_EXAMPLES = examples(
    "pimsim run workloads/demo.yaml",
    "pimsim run workloads/digits.yaml --mapping sdk --json",
    "pimsim map --layer k=3x3,ic=64,oc=128,in=28x28 --array 512x512 --mapping vw-sdk",
    "pimsim presets isaac-like",
)


def build_app() -> typer.Typer:
    """The application with every command registered."""
    app = typer.Typer(
        help=_HELP, epilog=_EXAMPLES, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
        pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.callback()(_options)
    run_command(app)
    map_command(app)
    compare_command(app)
    arrays_command(app)
    plot_command(app)
    trace_command(app)
    validate_command(app)
    presets_command(app)
    prune_command(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from pimsim import __version__

        typer.echo(f"pimsim {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass
