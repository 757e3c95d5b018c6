"""``pimsim prune``."""

from __future__ import annotations

from typing import Annotated

import typer

from pimsim.cli import pruning_options as own
from pimsim.cli.output import Json, examples, print_json, talk

_EXAMPLES = examples(
    "pimsim prune --network models/digits_cnn.py:digits_cnn --data digits --out models/mine.safetensors --epochs 30",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method pattern --epochs 8 --out b.safetensors",
    "pimsim prune --network net.py:net --data DIR --method pattern --keep 000111111 --out b.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method pairs --entries 4 --out c.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method garos --rows 300 --array 512x256 "
    "--out d.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method pim-prune --array 128x128 --keep 0.25 "
    "--out g.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method prap --weight-bits 8 --targets 0.25 "
    "--epochs 8 --lr 0.01 --out p.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method vwc-sdk --array 512x256 --epochs 3 "
    "--lr 0.01 --out e.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method low-rank --rank 1/4 --groups 4 "
    "--epochs 3 --lr 0.01 --out f.safetensors",
    "pimsim prune --network net.py:net --checkpoint a.pth --data DIR --method kerntrol-c --array 512x256 --epochs 8 "
    "--out g.safetensors",
)


def prune_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command("prune", epilog=_EXAMPLES)(_prune)


def _prune(
    network: Annotated[str, typer.Option(help="The network, FILE.py:CALLABLE.")],
    data: Annotated[str, typer.Option(help="digits, an ImageFolder root with train/ and test/, or a CIFAR folder.")],
    out: Annotated[str, typer.Option(help="Checkpoint to write, .safetensors; its card (.md) goes beside it.")],
    checkpoint: Annotated[str | None, typer.Option(help="Start from these weights instead of from scratch.")] = None,
    method: own.Method = "none",
    keep: own.Keep = None,
    layers: own.Layers = None,
    entries: own.Entries = None,
    dimension: own.Dimension = None,
    patterns: own.Patterns = None,
    connectivity: own.Connectivity = None,
    rows: own.Rows = None,
    families: own.Families = None,
    concentration: own.Concentration = None,
    ranking: own.Ranking = None,
    power: own.Power = None,
    sparsity: own.Sparsity = None,
    segment: own.Segment = None,
    n_of_m: own.NOfM = None,
    column_group: own.ColumnGroup = None,
    mode: own.Mode = None,
    fill_up: own.FillUp = None,
    scope: own.Scope = None,
    exempt: own.Exempt = None,
    nonzeros: own.Nonzeros = None,
    fragment: own.Fragment = None,
    threshold: own.Threshold = None,
    shapes: own.Shapes = None,
    targets: own.Targets = None,
    share: own.Share = None,
    project: own.Project = None,
    mask_penalty: own.MaskPenalty = None,
    reuse_penalty: own.ReusePenalty = None,
    array: own.Array = None,
    columns_per_weight: own.ColumnsPerWeight = None,
    hardware: own.Hardware = None,
    mapping: own.Mapping = None,
    search: own.Search = None,
    convention: own.Convention = None,
    accuracy_drop: own.AccuracyDrop = None,
    rank: own.Rank = None,
    groups: own.Groups = None,
    weight_quantizer: Annotated[str, typer.Option(help="symmetric or dorefa.")] = "symmetric",
    weight_bits: Annotated[int, typer.Option(help="Bits of a weight.")] = 4,
    activation_bits: Annotated[int, typer.Option(help="Bits of an activation.")] = 4,
    first_last_bits: Annotated[int, typer.Option(help="Bits of the first and the last layer.")] = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training images; 0: prune and calibrate only.")] = 30,
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
    optimizer: Annotated[str, typer.Option(help="sgd, or adam; momentum is then its first beta.")] = "sgd",
    admm_epochs: Annotated[
        int,
        typer.Option(
            help="Of the epochs, those in which ADMM draws the weights to the pruned network before anything is "
            "pruned; not for methods that change the structure."
        ),
    ] = 0,
    admm_warmup: Annotated[int, typer.Option(help="Of those, epochs with dual variables of zero.")] = 0,
    admm_rho: Annotated[float, typer.Option(help="Weight of the ADMM penalty.")] = 0.01,
    admm_norm: Annotated[
        str, typer.Option(help="squared, or plain: norms without the square, as released with PAIRS.")
    ] = "squared",
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
        entries=entries, dimension=dimension, patterns=patterns, connectivity=connectivity, rows=rows,
        families=tuple(families or ()), concentration=concentration, ranking=ranking, power=power, sparsity=sparsity,
        segment=segment, n_of_m=n_of_m, column_group=column_group, mode=mode, fill_up=fill_up, scope=scope,
        exempt=exempt, nonzeros=nonzeros, fragment=fragment, threshold=threshold, shapes=tuple(shapes or ()),
        targets=tuple(targets or ()), share=share, project=tuple(project or ()), mask_penalty=mask_penalty,
        reuse_penalty=reuse_penalty, array=array, columns_per_weight=columns_per_weight, hardware=hardware,
        mapping=mapping, search=search, convention=convention, accuracy_drop=accuracy_drop, rank=rank, groups=groups,
        weight_quantizer=weight_quantizer, weight_bits=weight_bits, activation_bits=activation_bits,
        first_last_bits=first_last_bits, epochs=epochs, float_epochs=float_epochs, lr=lr, batch=batch,
        momentum=momentum, weight_decay=weight_decay, warmup_epochs=warmup_epochs, label_smoothing=label_smoothing,
        crop_padding=crop_padding, flip=flip, bfloat16=bfloat16, seed=seed,
        optimizer=optimizer, admm_epochs=admm_epochs, admm_warmup=admm_warmup, admm_rho=admm_rho, admm_norm=admm_norm,
        normalize=None if normalize is None else parse_normalization(normalize), image_size=image_size, limit=limit,
        data_name=data_name,
    )  # fmt: skip
    if as_json:
        print_json(result.to_dict())
        return
    typer.echo(result.plan.picture())
    typer.echo(f"top-1 quantized {result.quantized_accuracy:.2%} on {result.test_images:,} test images")
    talk(f"checkpoint {result.checkpoint}, card {result.card}")
