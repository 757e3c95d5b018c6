"""``pimsim map``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json, read_settings, talk

_EXAMPLES = examples(
    "pimsim map --layer k=3x3,ic=64,oc=128,in=28x28 --array 512x512 --mapping vw-sdk",
    "pimsim map --layer k=3x3,ic=16,oc=16,in=32x32,pad=1 --mapping vw-sdk --keep 000111111",
    "pimsim map --shapes workloads/shapes/resnet18.yaml --hardware isaac-like-8b --mapping sdk",
    "pimsim map --shapes workloads/shapes/vgg8.yaml --convention valid --json",
    "pimsim map --layer k=3x3,ic=64,oc=64,in=32x32,pad=1 --array 128x128 --unit 8x8 --mapping sdk --skip ou",
    "pimsim map --layer k=3x3,ic=2,oc=4,in=6x6 --array 32x16 --mapping sdk --draw sdk.png",
    "pimsim map --layer k=3x3,ic=64,oc=64,in=32x32,pad=1 --mapping low-rank --rank 1/4 --groups 4",
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
    unit: Annotated[
        str | None,
        typer.Option(help="Operation unit, ROWSxCOLUMNS that one read drives and converts.  [default: the array]"),
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(help="Take array and weight encoding from this preset or hardware file instead.")
    ] = None,
    weight_bits: Annotated[int, typer.Option(min=1, max=16, help="Weight bits, with --hardware.")] = 8,
    mapping: Annotated[
        str, typer.Option(help="im2col, smd, sdk, vw-sdk, vwc-sdk, kernel-split or low-rank.")
    ] = "im2col",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Option of the mapper, KEY=VALUE; may be repeated. Of vw-sdk and vwc-sdk: search=as-published repeats "
            "the authors' search, which can miss the minimum, to compare with their tables; tie=min-transfer."
        ),
    ] = None,
    rank: Annotated[str | None, typer.Option(help="Of low-rank: rank of the factors, N or a fraction as 1/4.")] = None,
    groups: Annotated[int | None, typer.Option(help="Of low-rank: input-channel groups factorised apart.")] = None,
    window_outputs: Annotated[
        str | None, typer.Option(help="Of low-rank: outputs of a window, NxN.  [default: fewest cycles]")
    ] = None,
    zero_tiles: Annotated[
        str | None, typer.Option(help="Of low-rank: count or skip array tiles without a weight.  [default: skip]")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="Kernel positions kept in every channel, row by row: 000111111 drops row one.")
    ] = None,
    skip: Annotated[
        str | None,
        typer.Option(help="none, row, ou, column, block or array.  [default: row with --keep, none without]"),
    ] = None,
    pack: Annotated[
        str, typer.Option(help="tile keeps tiles apart, layer refills arrays with kept rows or columns.")
    ] = "tile",
    compact: Annotated[
        bool | None,
        typer.Option(
            help="Of --skip ou: kept rows close up to full operation units, or keep their places.  [default: compact]"
        ),
    ] = None,
    convention: Annotated[
        str,
        typer.Option(
            help="same: the layer's own padding and stride. valid: neither, as the mapping papers count; for comparing "
            "with their tables."
        ),
    ] = "same",
    draw: Annotated[
        Path | None, typer.Option(help="Draw the arrays to this .png, .svg or .pdf; a strip a layer with --shapes.")
    ] = None,
    colour: Annotated[
        str, typer.Option(help="Colours of --draw: kernel (position in the kernel) or window (output position).")
    ] = "kernel",
    as_json: Json = False,
) -> None:
    """Map layers on arrays: windows, tiles, computing cycles and skipped rows.

    Needs no weights and no data. A computing cycle is one array tile working on one parallel window. Rows are
    counted over array tiles, so a row that is present in two column tiles counts twice.
    """
    from pimsim import api

    given = {"rank": rank, "groups": groups, "window_outputs": window_outputs, "zero_tiles": zero_tiles}
    factors = {key: value for key, value in given.items() if value is not None}
    result = api.map(
        layer, shapes=shapes, array=array, columns_per_weight=columns_per_weight, unit=unit, hardware=hardware,
        weight_bits=weight_bits, mapping=mapping, options={**read_settings(option or [], "--option"), **factors},
        keep=keep, skip=skip, pack=pack, compact=compact, convention=convention,
    )  # fmt: skip
    if draw is not None:
        talk(f"drawn: {result.draw(draw, colour)}")
    if not as_json:
        typer.echo(str(result))
    elif layer is not None:
        print_json({key: value for key, value in result.layers()[0].items() if key != "name"})
    else:
        print_json(result.to_json())
