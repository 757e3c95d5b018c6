"""``pimsim run``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json, read_settings, talk

#: The outputs differ from the reference although no conversion loses anything.
OUTPUTS_DIFFER = 3

_EXAMPLES = examples(
    "pimsim run workloads/demo.yaml",
    "pimsim run workloads/digits.yaml --mapping vw-sdk --skip row --results results/mine",
    "pimsim run --network net.py:net --checkpoint net.pth --data FOLDER --hardware isaac-like-8b --images 64 --json",
    "pimsim run workloads/digits.yaml --set tile.macro.adc.bits=6",
    "pimsim run --shapes workloads/shapes/vgg8.yaml --hardware isaac-like-8b",
    "pimsim run --shapes workloads/shapes/resnet18.yaml --hardware isaac-like-8b --layers pipelined --replication auto",
)


def run_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command("run", epilog=_EXAMPLES)(_run)


def _run(
    workload: Annotated[str | None, typer.Argument(help="Workload file; options below win over it.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run and of its result folder.")] = None,
    network: Annotated[str | None, typer.Option(help="The network, FILE.py:CALLABLE.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Its weights: .pt, .pth, .th or .safetensors.")] = None,
    shapes: Annotated[str | None, typer.Option(help="Layer shapes instead of a network: timing only.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="ImageFolder root, CIFAR folder or digits.  [default: seeded inputs of --input-shape]"),
    ] = None,
    normalize: Annotated[str | None, typer.Option(help="Of --data images, as in training: M,M,M/S,S,S.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Resize and crop image files to this.")] = None,
    input_shape: Annotated[str | None, typer.Option(help="Channels, height, width: C,H,W.")] = None,
    weight_bits: Annotated[
        int | None, typer.Option(help="Weight bits.  [default: the checkpoint's or shape table's, or 8]")
    ] = None,
    activation_bits: Annotated[int | None, typer.Option(help="Input bits.  [default: likewise]")] = None,
    quantizer: Annotated[str | None, typer.Option(help="symmetric or dorefa.  [default: the checkpoint's]")] = None,
    hardware: Annotated[str | None, typer.Option(help="Preset or hardware file.  [default: isaac-like]")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the hardware, PATH=VALUE; may be repeated.")
    ] = None,
    mapping: Annotated[str | None, typer.Option(help="Mapper: im2col, sdk, vw-sdk, ...  [default: im2col]")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the mapper, KEY=VALUE; may be repeated.")] = None,
    convention: Annotated[str | None, typer.Option(help="same, or valid (as published; shapes only).")] = None,
    skip: Annotated[
        str | None,
        typer.Option(help="Left out: none, row, ou, slice, repeat, column, block or array.  [default: none]"),
    ] = None,
    pack: Annotated[
        str | None, typer.Option(help="Kept rows or columns stay in their tile, or refill a layer's arrays.")
    ] = None,
    compact: Annotated[
        bool | None,
        typer.Option(
            help="Of --skip ou and slice: kept rows close up to full operation units, or keep their places, and only "
            "units of zeros are left out.  [default: compact]"
        ),
    ] = None,
    skip_inputs: Annotated[
        bool | None,
        typer.Option(
            "--skip-inputs/--drive-all-inputs",
            help="Do not drive rows whose input bit is zero, as measured on the first image.  [default: drive all]",
        ),
    ] = None,
    arrays: Annotated[int | None, typer.Option(help="Arrays that a layer can use.  [default: the chip's]")] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="sequential: one layer after another. pipelined: all at the same time, each as soon as the pixels "
            "that it needs are written; all must fit on the chip.  [default: sequential]"
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images that are timed, one after another.  [default: 1]")] = None,
    replication: Annotated[
        str | None,
        typer.Option(
            metavar="N|RULE|LAYER=N,...",
            help="Copies of layers, which share their windows: N of each; LAYER=N,LAYER=N of some; balance: in "
            "proportion to the windows, as ISAAC does; auto: one more of the slowest layer, again and again.  "
            "[default: 1]",
        ),
    ] = None,
    array_budget: Annotated[
        int | None, typer.Option(help="Arrays that balance and auto may use in all.  [default: the chip's]")
    ] = None,
    tile_placement: Annotated[
        str | None,
        typer.Option(help="packed: layers share tiles. tile: each begins with a tile of its own.  [default: packed]"),
    ] = None,
    line_buffer: Annotated[
        int | None,
        typer.Option(help="Output rows that fit between two pipelined layers.  [default: as many as are needed]"),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="compiled, or event: slow, and what compiled is proven against.  [default: compiled]"),
    ] = None,
    discipline: Annotated[str | None, typer.Option(help="pipelined, multiplexed, serial or serial-sum.")] = None,
    images: Annotated[int | None, typer.Option(help="Images to check.  [default: 8, or 256 with --data]")] = None,
    crossbar_images: Annotated[
        int | None, typer.Option(help="Of those, images that go through the arrays.  [default: all]")
    ] = None,
    calibration_images: Annotated[
        int | None, typer.Option(help="Images that set activation scales.  [default: 256, fewer where they are large]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the seeded inputs.  [default: 0]")] = None,
    results: Annotated[str | None, typer.Option(help="Result folder.  [default: results/NAME]")] = None,
    trace: Annotated[
        str | None,
        typer.Option(
            help="Spans to keep: layer=NAME,windows=0:64,image=0, or none.  [default: 4 windows of every layer]"
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Compare every output with the reference.")] = True,
    verify_engine: Annotated[
        bool,
        typer.Option(
            "--verify-engine", help="Play this very run with both engines (slow), and compare all they report."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Import, map, simulate and check a network; write the results and print the summary.

    Give a workload file, or the same by options. The result folder holds tables, figures and a trace for
    https://ui.perfetto.dev; it appears only when it is complete.
    """
    given = {key: value for key, value in locals().items() if key in _WORKLOAD_OPTIONS}
    given["set"] = read_settings(settings or [], "--set") or None
    given["mapping_options"] = read_settings(option or [], "--option") or None
    from pimsim import api

    result, folder = api.run(workload, check=check, verify_engine=verify_engine, **given)
    if as_json:
        print_json(result.to_json())
        talk(f"{result.check.line if result.check else 'nothing was compared'}; results in {folder}")
    else:
        typer.echo(result.text(folder))
    if result.is_wrong:
        talk("pimsim: outputs differ although the ADC is lossless; this is a defect of pimsim, please report it")
        sys.exit(OUTPUTS_DIFFER)


_WORKLOAD_OPTIONS = frozenset(
    {
        "name", "network", "checkpoint", "shapes", "data", "normalize", "image_size", "input_shape", "weight_bits",
        "activation_bits", "quantizer", "hardware", "mapping", "convention", "skip", "pack", "compact", "skip_inputs",
        "arrays", "layers", "batch", "replication", "array_budget", "tile_placement", "line_buffer", "engine",
        "discipline", "images", "crossbar_images", "calibration_images", "seed", "results", "trace",
    }
)  # fmt: skip
