"""``pimsim compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json, talk

_EXAMPLES = examples(
    "pimsim compare --shapes workloads/papers/vw-sdk.yaml",
    "pimsim compare --mappings im2col,sdk,vw-sdk --shapes workloads/shapes/resnet50.yaml --array 512x512",
    "pimsim compare --mappings vw-sdk,vw-sdk:search=as-published --shapes workloads/shapes/cnn8.yaml --array 256x512",
    "pimsim compare --shapes workloads/shapes/resnet18.yaml --array 128x128 --array 512x512 --out results/papers",
)


def compare_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command("compare", epilog=_EXAMPLES)(_compare)


def _compare(
    shapes: Annotated[Path, typer.Option(help="A table of layer shapes, or a paper's file with published numbers.")],
    mappings: Annotated[
        str | None,
        typer.Option(
            help="Mappers with options after colons, separated by commas: im2col,vw-sdk:tie=min-transfer.  [default: "
            "those of the file, or im2col,sdk,vw-sdk]"
        ),
    ] = None,
    array: Annotated[
        list[str] | None,
        typer.Option(help="Array size, ROWSxCOLUMNS; may be repeated.  [default: that of the file, or 512x512]"),
    ] = None,
    columns_per_weight: Annotated[
        int | None, typer.Option(min=1, help="Physical columns that one weight takes.  [default: of the file, or 1]")
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            help="same: the layer's own padding and stride; valid: neither, as the mapping papers count.  "
            "[default: that of the file, or same]"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write table, CSV and figure into this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Compare mappers on the layers of a network, beside the numbers that papers publish.

    Needs no weights and no data. Published numbers are compared on the array of the paper; = marks those that are
    met, the others stand in brackets, with the reason below the table where it is known.
    """
    from pimsim.api.comparing import compare_mappings

    wanted = [name.strip() for name in mappings.split(",")] if mappings else []
    result = compare_mappings(shapes, wanted, array or [], columns_per_weight, convention)
    if out is not None:
        talk("written: " + ", ".join(str(path) for path in result.save(out)))
    if as_json:
        print_json(result.to_json())
    else:
        typer.echo(str(result))
