"""``pimsim compare``: pruning methods on a chip, or mappers on the layers of a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pimsim.cli.output import Json, examples, print_json, read_settings, talk
from pimsim.cli.running import OUTPUTS_DIFFER
from pimsim.errors import ConfigError

_EXAMPLES = examples(
    "pimsim compare --network models/resnet20.py:resnet20 --checkpoints models/resnet20*.safetensors \\\n"
    "      --input-shape 3,32,32 --hardware isaac-like-8b --mapping sdk --skip row --out results/mine",
    "pimsim compare --network net.py:net --checkpoints dense.pth pruned.pth --data FOLDER --images 1000 --skip row",
    "pimsim compare --network models/resnet20.py:resnet20 --checkpoint models/resnet20-cifar10jpeg-w4a4.safetensors "
    "\\\n"
    "      --methods pairs,patdnn,random --entries 8,6,4 --input-shape 3,32,32 --mapping sdk --skip row",
    "pimsim compare workloads/compare/families.yaml --json",
    "pimsim compare --shapes workloads/papers/vw-sdk.yaml",
    "pimsim compare --mappings im2col,sdk,vw-sdk --shapes workloads/shapes/resnet50.yaml --array 512x512",
    "pimsim compare --shapes workloads/shapes/resnet18.yaml --array 128x128 --array 512x512 --out results/papers",
)
_SHAPE_OPTIONS = ("mappings", "array", "columns_per_weight", "convention")
#: Options that become keys of the workload of every entry.
_WORKLOAD_OPTIONS = (
    "network", "checkpoint", "data", "normalize", "image_size", "input_shape", "weight_bits", "activation_bits",
    "quantizer", "hardware", "mapping", "skip", "pack", "compact", "arrays", "discipline", "images", "crossbar_images",
    "calibration_images", "seed",
)  # fmt: skip
_METHOD_OPTIONS = ("files", "checkpoints", "methods", "entries", "train", "baseline", "name", "settings", "option")


def compare_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command("compare", epilog=_EXAMPLES)(_compare)


def _compare(
    files: Annotated[
        list[str] | None, typer.Argument(help="A comparison file (.yaml); or checkpoints, as after --checkpoints.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="The network of the checkpoints, FILE.py:CALLABLE.")] = None,
    checkpoints: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE ...",
            help="Trained networks: several files after it, with commas, or repeated; LABEL=FILE to name one.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Instead of checkpoints: masks of these methods on the weights of --checkpoint, not trained but with "
            "--train. Options after colons: magnitude:sparsity=0.5.",
        ),
    ] = None,
    entries: Annotated[
        str | None, typer.Option(metavar="N,...", help="Kernel positions that --methods keep.  [default: 8,6,4]")
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Fine-tune each of --methods on --data before it is compared, options as of 'pimsim prune': epochs=8, "
            "lr=0.05, ...; may be repeated. Checkpoints and cards go to --out, and a killed run goes on.",
        ),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="The trained dense network of --methods.")] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="LABEL", help="What gains are against.  [default: the first dense entry]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="ImageFolder root, CIFAR folder or digits: measures top-1.  [default: seeded inputs of --input-shape, "
            "and the top-1 in the card beside each checkpoint]"
        ),
    ] = None,
    normalize: Annotated[str | None, typer.Option(help="Of --data images, as in training: M,M,M/S,S,S.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Resize and crop image files to this.")] = None,
    input_shape: Annotated[str | None, typer.Option(help="Channels, height, width: C,H,W.")] = None,
    weight_bits: Annotated[int | None, typer.Option(help="Weight bits.  [default: the checkpoint's, or 8]")] = None,
    activation_bits: Annotated[int | None, typer.Option(help="Input bits.  [default: likewise]")] = None,
    quantizer: Annotated[str | None, typer.Option(help="symmetric or dorefa.  [default: the checkpoint's]")] = None,
    hardware: Annotated[str | None, typer.Option(help="Preset or hardware file.  [default: isaac-like]")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the hardware, PATH=VALUE; may be repeated.")
    ] = None,
    mapping: Annotated[str | None, typer.Option(help="Mapper: im2col, sdk, vw-sdk, ...  [default: im2col]")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the mapper, KEY=VALUE; may be repeated.")] = None,
    skip: Annotated[
        str | None,
        typer.Option(help="Left out: none, row, ou, slice, repeat, column, block or array.  [default: none]"),
    ] = None,
    pack: Annotated[
        str | None, typer.Option(help="Kept rows or columns stay in their tile, or refill a layer's arrays.")
    ] = None,
    compact: Annotated[
        bool | None,
        typer.Option(help="Of --skip ou and slice: kept rows close up to full operation units.  [default: compact]"),
    ] = None,
    arrays: Annotated[int | None, typer.Option(help="Arrays that a layer can use.  [default: the chip's]")] = None,
    discipline: Annotated[str | None, typer.Option(help="pipelined, multiplexed, serial or serial-sum.")] = None,
    images: Annotated[int | None, typer.Option(help="Images of --data behind top-1.  [default: 256]")] = None,
    crossbar_images: Annotated[
        int | None, typer.Option(help="Images that go through the arrays, every output compared.  [default: 1]")
    ] = None,
    calibration_images: Annotated[
        int | None, typer.Option(help="Images that set activation scales of checkpoints without their own.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the seeded inputs.  [default: 0]")] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Compare outputs with the reference.")] = True,
    shapes: Annotated[
        Path | None,
        typer.Option(help="Compare mappers: a table of layer shapes, or a paper's file with published numbers."),
    ] = None,
    mappings: Annotated[
        str | None,
        typer.Option(
            help="With --shapes: mappers with options after colons, im2col,vw-sdk:tie=min-transfer.  [default: "
            "those of the file, or im2col,sdk,vw-sdk]"
        ),
    ] = None,
    array: Annotated[
        list[str] | None,
        typer.Option(help="With --shapes: ROWSxCOLUMNS; may be repeated.  [default: that of the file, or 512x512]"),
    ] = None,
    columns_per_weight: Annotated[
        int | None,
        typer.Option(min=1, help="With --shapes: columns that one weight takes.  [default: the file's, or 1]"),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            help="With --shapes: same, the layer's own padding and stride; or valid: neither, as the mapping papers "
            "count.  [default: that of the file, or same]"
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the files in --out.  [default: comparison, methods or FILE]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write tables and figures into this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Compare pruning methods on a chip; or, with --shapes, mappers on the layers of a network.

    Methods: every checkpoint (or mask of --methods, or entry of a file) on the same chip, mapper and skip granularity:
    weight sparsity, rows skipped, arrays, cycles, latency, energy, index, top-1, outputs that differ on the arrays. A
    second table says where the gain goes, against the dense entry, and sentences say what follows from it.

    Mappers: needs no weights and no data. Published numbers are compared on the array of the paper; = marks those
    that are met, the others stand in brackets, with the reason below the table where it is known.
    """
    given = {key: value for key, value in locals().items() if value not in (None, [], ())}
    if shapes is not None:
        _refuse(given, (*_METHOD_OPTIONS, *_WORKLOAD_OPTIONS), "it compares networks, and --shapes mappers")
        _compare_mappings(shapes, mappings, array, columns_per_weight, convention, out, as_json)
        return
    _refuse(given, _SHAPE_OPTIONS, "it belongs to --shapes", {"mappings": "Give --mapping, one for all entries"})
    _compare_methods(given, out, as_json)


def _refuse(given: dict[str, Any], options: tuple[str, ...], rule: str, fixes: dict[str, str] | None = None) -> None:
    """Refuses options of the other kind of comparison. Raises `ConfigError`."""
    for key in options:
        if key in given:
            shown = {"settings": "--set", "files": "a file"}.get(key, "--" + key.replace("_", "-"))
            fix = (fixes or {}).get(key, f"Leave {shown} out" + ("" if "shapes" in given else ", or give --shapes"))
            raise ConfigError(f"{shown} {'with' if 'shapes' in given else 'without'} --shapes", rule, None, fix)


def _compare_mappings(
    shapes: Path, mappings: str | None, array: list[str] | None, columns_per_weight: int | None,
    convention: str | None, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    from pimsim.api.comparing import compare_mappings

    wanted = [name.strip() for name in mappings.split(",")] if mappings else []
    result = compare_mappings(shapes, wanted, array or [], columns_per_weight, convention)
    if out is not None:
        talk("written: " + ", ".join(str(path) for path in result.save(out)))
    if as_json:
        print_json(result.to_json())
    else:
        typer.echo(str(result))


def _compare_methods(given: dict[str, Any], out: Path | None, as_json: bool) -> None:
    from pimsim.api.comparing_methods import compare_methods

    common = {key: given[key] for key in _WORKLOAD_OPTIONS if key in given}
    common["set"] = read_settings(given.get("settings", []), "--set") or None
    common["mapping_options"] = read_settings(given.get("option", []), "--option") or None
    file, checkpoints = _sources(given.get("files", []), given.get("checkpoints", []))
    methods, entries = _words(given.get("methods", "")), _numbers(given.get("entries", ""))
    result = compare_methods(
        file, checkpoints=checkpoints, methods=methods, entries=entries, baseline=given.get("baseline"),
        name=given.get("name"), train=_training(given),
        folder=out, check=given["check"], progress=True, **common,
    )  # fmt: skip
    if out is not None:
        written = result.save(out)
        talk(f"written: {len(written)} files in {out}: " + ", ".join(path.name for path in written))
    if as_json:
        print_json(result.to_json())
    else:
        typer.echo(str(result))
    if result.is_wrong:
        talk("pimsim: outputs differ although the ADC is lossless; this is a defect of pimsim, please report it")
        sys.exit(OUTPUTS_DIFFER)


def _training(given: dict[str, Any]) -> dict[str, Any] | None:
    from pimsim.api.comparison_entries import typed_value

    if "train" not in given:
        return None
    settings = read_settings(given["train"], "--train")
    return {key: typed_value(value) if isinstance(value, str) else value for key, value in settings.items()}


def _sources(files: list[str], checkpoints: list[str]) -> tuple[str | None, list[str]]:
    """The comparison file, if there is one, and the checkpoints. Raises `ConfigError` for several files."""
    tables = [file for file in files if file.endswith((".yaml", ".yml"))]
    if len(tables) > 1:
        raise ConfigError(" and ".join(tables), "one comparison file at a time", None, "Put the entries into one file")
    others = [file for file in files if file not in tables]
    return (tables[0] if tables else None), [*checkpoints, *others]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    words = _words(text)
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ConfigError(f"'{text}'", "entries are whole numbers with commas", "--entries", "Write it like 8,6,4")
    return [int(word) for word in words]
