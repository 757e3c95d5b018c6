"""The command ``pimsim prune``: each method with its own options, and the shared training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pimsim.errors import PruningError
from pimsim.workload import flag

if TYPE_CHECKING:
    from pimsim.network.datasets import ImageDataset
    from pimsim.pruning.prune import PruneResult
    from pimsim.pruning.structured import StructureMethod

#: Options that only some methods have, with what they are when not given, and the methods that have them.
OPTIONS: MappingProxyType[str, tuple[Any, tuple[str, ...]]] = MappingProxyType(
    {
        "keep": ((), ("pattern",)),
        "layers": ((), ("pattern", "low-rank")),
        "rank": ("1/4", ("low-rank",)),
        "groups": (1, ("low-rank",)),
        "array": (None, ("vwc-sdk",)),
        "columns_per_weight": (1, ("vwc-sdk",)),
        "hardware": (None, ("vwc-sdk",)),
        "search": ("exact", ("vwc-sdk",)),
        "convention": ("same", ("vwc-sdk",)),
        "accuracy_drop": (1.0, ("vwc-sdk",)),
    }
)
_RECIPE = (
    "float_epochs", "lr", "batch", "momentum", "weight_decay", "warmup_epochs", "label_smoothing", "crop_padding",
    "flip", "bfloat16", "seed",
)  # fmt: skip
_BITS = ("weight_quantizer", "weight_bits", "activation_bits", "first_last_bits")


def prune(network: str, data: str | Path, out: str | Path, **options: Any) -> PruneResult:
    """Train or fine-tune a network pruned by ``method``; see `pimsim.api.prune`."""
    from pimsim.pruning.prune import prune as train_and_write
    from pimsim.pruning.registry import METHODS, STRUCTURAL_METHODS, pruning_method

    given = {name: value for name, value in options.items() if name not in OPTIONS or value not in (None, ())}
    method = str(given.get("method", "none"))
    if method in STRUCTURAL_METHODS:
        check_options(method, given)
        return _prune_structure(network, data, out, given)
    if method in METHODS:
        check_options(method, given)
    pruning_method(method, given.get("keep", ()), given.get("layers", ()))  # a wrong name comes before all else
    return train_and_write(network, data, out, **given)


def check_options(method: str, given: Mapping[str, Any]) -> None:
    """Refuses options that belong to other methods. Raises `PruningError`."""
    for name in given:
        _, methods = OPTIONS.get(name, (None, (method,)))
        if method not in methods:
            raise PruningError(
                f"{flag(name)} with the method '{method}'",
                f"it belongs to {' and '.join(repr(one) for one in methods)}",
                fix=f"Leave {flag(name)} out, or use --method {methods[0]}",
            )


def _prune_structure(network: str, data: str | Path, out: str | Path, given: Mapping[str, Any]) -> PruneResult:
    from pimsim.pruning.fake_quantization import QuantizationOptions
    from pimsim.pruning.prune import checked_target, data_sets, plain_value, prune_command
    from pimsim.pruning.prune import prune as train_and_write
    from pimsim.pruning.structured import StructureRequest, fine_tuning, prune_structure

    method = str(given["method"])
    own = {name: default for name, (default, methods) in OPTIONS.items() if method in methods}
    settings = {**(train_and_write.__kwdefaults__ or {}), **own, **given}
    _check_known(settings)
    target = checked_target(out)
    quantization = QuantizationOptions(*(settings[name] for name in _BITS))
    recipe = fine_tuning(settings["epochs"], **{name: settings[name] for name in _RECIPE})
    checkpoint = _checkpoint(settings)
    build_method = _channels if method == "vwc-sdk" else _low_rank
    build_method(settings, (1, 1, 1))  # its options are checked before the data is read
    sets = data_sets(data, settings["normalize"], settings["limit"], settings["image_size"])
    recorded = _recorded(network, settings, plain_value)
    source = "digits" if sets[0].name == "digits" else "FOLDER"
    command = prune_command(recorded, source, f"models/{target.name}", settings["data_name"], own)
    request = StructureRequest(
        method, network, checkpoint, quantization, recipe, settings.get("accuracy_drop", 0.0) / 100, settings["seed"],
        recorded, command, settings["data_name"], settings["show_progress"],
    )  # fmt: skip
    return prune_structure(request, build_method(settings, _image_shape(sets[0])), sets, target)


def _recorded(network: str, settings: Mapping[str, Any], plain: Any) -> dict[str, Any]:
    """Every option that changes the weights, as plain values; of an absolute path only the name."""
    left_out = ("data_name", "show_progress", "keep")
    chosen = {"network": network, **settings}
    return {name: plain(value) for name, value in chosen.items() if name not in left_out}


def _check_known(settings: Mapping[str, Any]) -> None:
    """A misspelled keyword is refused as Python would."""
    from pimsim.pruning.prune import prune as train_and_write

    for name in settings:
        if name not in OPTIONS and name not in (train_and_write.__kwdefaults__ or {}):
            raise TypeError(f"prune() got an unexpected keyword argument '{name}'")


def _checkpoint(settings: Mapping[str, Any]) -> str | Path:
    checkpoint: str | Path | None = settings["checkpoint"]
    if checkpoint is None:
        rule = "it changes the structure of a trained network"
        fix = "Give its weights with --checkpoint; --method none trains a network from scratch"
        raise PruningError(f"the method '{settings['method']}' without a checkpoint", rule, fix=fix)
    return checkpoint


def _low_rank(settings: Mapping[str, Any], _: tuple[int, int, int]) -> StructureMethod:
    from pimsim.pruning.low_rank import LowRankMethod

    return LowRankMethod(str(settings["rank"]), settings["groups"], tuple(settings["layers"]))


def _channels(settings: Mapping[str, Any], input_shape: tuple[int, int, int]) -> StructureMethod:
    from pimsim.api.channel_targets import ChannelTargets
    from pimsim.api.mapping import chosen_array
    from pimsim.mapping.convention import CONVENTIONS
    from pimsim.mapping.tiling import check_choice
    from pimsim.mapping.windows import SEARCHES
    from pimsim.pruning.channel_rounds import ChannelMethod

    if settings["array"] is None and settings["hardware"] is None:
        rule = "the number of channels that stay follows from the array"
        raise PruningError("the method 'vwc-sdk' without an array", rule, fix="Give --array 512x256, or --hardware")
    if settings["hardware"] is not None and settings["columns_per_weight"] != 1:
        rule = "the cells of the hardware and the weight bits say how many columns a weight takes"
        raise PruningError("--columns-per-weight with --hardware", rule, fix="Leave --columns-per-weight out")
    check_choice("search", settings["search"], SEARCHES, "unknown search")
    check_choice("convention", settings["convention"], CONVENTIONS, "unknown convention")
    array = chosen_array(
        settings["array"], settings["columns_per_weight"], settings["hardware"], settings["weight_bits"]
    )
    return ChannelMethod(ChannelTargets(array, settings["search"], settings["convention"]), input_shape)


def _image_shape(dataset: ImageDataset) -> tuple[int, int, int]:
    channels, height, width = dataset.pixels().shape[1:]
    return channels, height, width
