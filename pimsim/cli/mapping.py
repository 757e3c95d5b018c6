"""``pimsim map``."""

from __future__ import annotations

from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json, read_settings

_EXAMPLES = examples(
    "pimsim map --layer k=3x3,ic=64,oc=128,in=28x28 --array 512x512 --mapping vw-sdk",
    "pimsim map --layer k=3x3,ic=16,oc=16,in=32x32,pad=1 --mapping vw-sdk --keep 000111111",
    "pimsim map --shapes workloads/shapes/resnet18.yaml --hardware isaac-like-8b --mapping sdk",
    "pimsim map --shapes workloads/shapes/vgg8.yaml --convention valid --json",
)


def map_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command("map", epilog=_EXAMPLES)(_map)


def _map(
    layer: Annotated[
        str | None,
        typer.Option(
            help="One layer: k=3x3,ic=64,oc=128,in=28x28,stride=1,pad=0,dilation=1,groups=1 (k, ic, oc, in needed)."
        ),
    ] = None,
    shapes: Annotated[str | None, typer.Option(help="A YAML table of layers instead of one layer.")] = None,
    array: Annotated[str | None, typer.Option(help="Array size, ROWSxCOLUMNS.  [default: 512x512]")] = None,
    columns_per_weight: Annotated[int, typer.Option(min=1, help="Physical columns that one weight takes.")] = 1,
    hardware: Annotated[
        str | None, typer.Option(help="Take array and weight encoding from this preset or hardware file instead.")
    ] = None,
    weight_bits: Annotated[int, typer.Option(min=1, max=16, help="Weight bits, with --hardware.")] = 8,
    mapping: Annotated[str, typer.Option(help="Mapper: im2col, sdk, vw-sdk, ...")] = "im2col",
    option: Annotated[list[str] | None, typer.Option(help="Option of the mapper, KEY=VALUE; may be repeated.")] = None,
    keep: Annotated[
        str | None, typer.Option(help="Kernel positions kept in every channel, row by row: 000111111 drops row one.")
    ] = None,
    skip: Annotated[
        str | None, typer.Option(help="none, row or array.  [default: row with --keep, none without]")
    ] = None,
    pack: Annotated[str, typer.Option(help="tile keeps tiles apart, layer refills arrays with kept rows.")] = "tile",
    convention: Annotated[
        str, typer.Option(help="same: the layer's own padding and stride. valid: as the mapping papers count.")
    ] = "same",
    as_json: Json = False,
) -> None:
    """Map layers on arrays: windows, tiles, computing cycles and skipped rows.

    Needs no weights and no data. A computing cycle is one array tile working on one parallel window. Rows are
    counted over array tiles, so a row that is present in two column tiles counts twice.
    """
    from pimsim import api

    result = api.map(
        layer, shapes=shapes, array=array, columns_per_weight=columns_per_weight, hardware=hardware,
        weight_bits=weight_bits, mapping=mapping, options=read_settings(option or [], "--option"),
        keep=keep, skip=skip, pack=pack, convention=convention,
    )  # fmt: skip
    if not as_json:
        typer.echo(str(result))
    elif layer is not None:
        print_json({key: value for key, value in result.layers()[0].items() if key != "name"})
    else:
        print_json(result.to_json())
