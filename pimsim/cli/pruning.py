"""``pimsim prune``."""

from __future__ import annotations

from typing import Annotated

import typer

from pimsim.cli.output import Json, examples, print_json, talk

_EXAMPLES = examples(
    "pimsim prune --network models/digits_cnn.py:digits_cnn --data digits --out models/mine.safetensors --epochs 30",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method pattern --epochs 8 --out b.safetensors",
    "pimsim prune --network net.py:net --data DIR --method pattern --keep 000111111 --out b.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method pairs --entries 4 --out c.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method vwc-sdk --array 512x256 --epochs 3 "
    "--lr 0.01 --out c.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method low-rank --rank 1/4 --groups 4 "
    "--epochs 3 --lr 0.01 --out d.safetensors",
)


def prune_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command("prune", epilog=_EXAMPLES)(_prune)


def _prune(
    network: Annotated[str, typer.Option(help="The network, FILE.py:CALLABLE.")],
    data: Annotated[str, typer.Option(help="digits, an ImageFolder root with train/ and test/, or a CIFAR folder.")],
    out: Annotated[str, typer.Option(help="Checkpoint to write, .safetensors; its card (.md) goes beside it.")],
    checkpoint: Annotated[str | None, typer.Option(help="Start from these weights instead of from scratch.")] = None,
    method: Annotated[
        str,
        typer.Option(
            help="none: quantization-aware training only. pattern: kernels keep one of the patterns --keep. pairs: one "
            "of those that free most rows. patdnn: one of those that the trained network has most often. random: one "
            "of some drawn blindly. vwc-sdk: remove the channels that do not fill an array, in rounds. low-rank: turn "
            "each convolution into two thin ones. The last two start from --checkpoint, and fine-tune for --epochs "
            "(0: not at all)."
        ),
    ] = "none",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="[pattern] Candidate, 000111111; may be repeated.  [default: the four without a border line]"
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="[all but none and vwc-sdk] Layer to prune; may be repeated.  [default: 3x3, stride 1, as many "
            "inputs as outputs; low-rank: all convolutions larger than 1x1 but the first]"
        ),
    ] = None,
    entries: Annotated[
        int | None, typer.Option(help="[pairs, patdnn, random] Positions that each kernel keeps.  [default: 6]")
    ] = None,
    dimension: Annotated[
        str | None,
        typer.Option(
            help="[pattern, pairs, patdnn, random] What shares one pattern: kernel, channel or layer; rows are "
            "skipped only for the last two.  [default: layer]"
        ),
    ] = None,
    patterns: Annotated[
        int | None,
        typer.Option(help="[patdnn, random] Patterns to choose from.  [default: patdnn: 8; random: as many as pairs]"),
    ] = None,
    connectivity: Annotated[
        float | None, typer.Option(help="[patdnn] One in so many kernels stays.  [default: 1, all]")
    ] = None,
    array: Annotated[
        str | None,
        typer.Option(
            help="[pairs, vwc-sdk] Array whose parallel windows count, ROWSxCOLUMNS; for vwc-sdk the one to fill."
        ),
    ] = None,
    columns_per_weight: Annotated[
        int | None, typer.Option(help="[as --array] Columns that one weight takes, with --array.  [default: 1]")
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(help="[as --array] Preset or hardware file whose arrays to take instead of --array.")
    ] = None,
    mapping: Annotated[
        str | None, typer.Option(help="[pairs] Mapper that gives each layer its window.  [default: sdk]")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="[vwc-sdk] exact, or as-published: the authors' window search, which can miss the best window; "
            "only to reproduce their numbers.  [default: exact]"
        ),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            help="[vwc-sdk] same: windows of the layers as they are. valid: without their padding and stride, as "
            "published.  [default: same]"
        ),
    ] = None,
    accuracy_drop: Annotated[
        float | None,
        typer.Option(
            help="[vwc-sdk] Another round starts only while top-1 has lost at most this many points.  [default: 1]"
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            help="[low-rank] Channels between the two convolutions, of each group: a number, or a fraction of the "
            "output channels.  [default: 1/4]"
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option(help="[low-rank] Blocks of input channels that are factorised apart.  [default: 1]"),
    ] = None,
    weight_quantizer: Annotated[str, typer.Option(help="symmetric or dorefa.")] = "symmetric",
    weight_bits: Annotated[int, typer.Option(help="Bits of a weight.")] = 4,
    activation_bits: Annotated[int, typer.Option(help="Bits of an activation.")] = 4,
    first_last_bits: Annotated[int, typer.Option(help="Bits of the first and the last layer.")] = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 30,
    float_epochs: Annotated[int, typer.Option(help="Of those, epochs in float before quantization starts.")] = 0,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.1,
    batch: Annotated[int, typer.Option(help="Images of one step.")] = 128,
    momentum: Annotated[float, typer.Option(help="Of stochastic gradient descent.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="On weights; biases and batch norms have none.")] = 5e-4,
    warmup_epochs: Annotated[float, typer.Option(help="Epochs until the peak learning rate.")] = 1.0,
    label_smoothing: Annotated[float, typer.Option(help="0 to 1.")] = 0.0,
    crop_padding: Annotated[int, typer.Option(help="Pixels of random shift.")] = 4,
    flip: Annotated[bool, typer.Option(help="Mirror images at random.")] = True,
    bfloat16: Annotated[bool, typer.Option(help="Float epochs in bfloat16, faster on some processors.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    normalize: Annotated[str | None, typer.Option(help="Means and deviations, M,M,M/S,S,S.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Resize and crop image files to this.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only this many images.")] = None,
    data_name: Annotated[str | None, typer.Option(help="What the card calls the data.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network for the crossbar, quantized and pruned, and write its checkpoint and card.

    A run that was killed goes on from its last whole epoch when the same command is given again.
    """
    from pimsim import api
    from pimsim.workload import parse_normalization

    result = api.prune(
        network, data, out, checkpoint=checkpoint, method=method, keep=tuple(keep or ()), layers=tuple(layers or ()),
        entries=entries, dimension=dimension, patterns=patterns, connectivity=connectivity, mapping=mapping,
        array=array, columns_per_weight=columns_per_weight, hardware=hardware, search=search, convention=convention,
        accuracy_drop=accuracy_drop, rank=rank, groups=groups,
        weight_quantizer=weight_quantizer, weight_bits=weight_bits, activation_bits=activation_bits,
        first_last_bits=first_last_bits, epochs=epochs, float_epochs=float_epochs, lr=lr, batch=batch,
        momentum=momentum, weight_decay=weight_decay, warmup_epochs=warmup_epochs, label_smoothing=label_smoothing,
        crop_padding=crop_padding, flip=flip, bfloat16=bfloat16, seed=seed,
        normalize=None if normalize is None else parse_normalization(normalize), image_size=image_size, limit=limit,
        data_name=data_name,
    )  # fmt: skip
    if as_json:
        print_json(result.to_dict())
        return
    typer.echo(result.plan.picture())
    typer.echo(f"top-1 quantized {result.quantized_accuracy:.2%} on {result.test_images:,} test images")
    talk(f"checkpoint {result.checkpoint}, card {result.card}")
