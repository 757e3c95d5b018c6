"""The command ``pimsim prune``: each method with its own options, and the shared training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pimsim.errors import PruningError
from pimsim.workload import flag

if TYPE_CHECKING:
    from pimsim.mapping.arrays import ArrayShape
    from pimsim.pruning.prune import PruneResult
    from pimsim.pruning.structured import StructureMethod

_KERNTROL = ("kerntrol-m", "kerntrol-c")
#: Options of the methods that change the structure, with what they are when not given, and the methods that have them.
STRUCTURE_OPTIONS: MappingProxyType[str, tuple[Any, tuple[str, ...]]] = MappingProxyType(
    {
        "layers": ((), ("low-rank", *_KERNTROL)),
        "rank": ("1/4", ("low-rank",)),
        "groups": (1, ("low-rank",)),
        "threshold": (0.25, _KERNTROL),
        "array": (None, ("vwc-sdk", *_KERNTROL)),
        "columns_per_weight": (1, ("vwc-sdk", *_KERNTROL)),
        "hardware": (None, ("vwc-sdk", *_KERNTROL)),
        "mapping": ("sdk", _KERNTROL),
        "search": ("exact", ("vwc-sdk",)),
        "convention": ("same", ("vwc-sdk",)),
        "accuracy_drop": (1.0, ("vwc-sdk",)),
    }
)
#: What stands for the option ``windows`` of a method: the array, and the mapper that is asked for the windows.
WINDOW_OPTIONS: MappingProxyType[str, Any] = MappingProxyType(
    {"array": None, "columns_per_weight": 1, "hardware": None, "mapping": "sdk"}
)
_RECIPE = (
    "float_epochs", "lr", "batch", "momentum", "weight_decay", "warmup_epochs", "label_smoothing", "crop_padding",
    "flip", "bfloat16", "seed", "optimizer",
)  # fmt: skip
_BITS = ("weight_quantizer", "weight_bits", "activation_bits", "first_last_bits")


def prune(network: str, data: str | Path, out: str | Path, **options: Any) -> PruneResult:
    """Train or fine-tune a network pruned by ``method``; see `pimsim.api.prune`."""
    from pimsim.pruning.prune import prune as train_and_write
    from pimsim.pruning.registry import METHODS, STRUCTURAL_METHODS, method_class

    table = options_by_method()
    known = {name for own in table.values() for name in own}
    given = {name: value for name, value in options.items() if name not in known or value not in (None, ())}
    method = str(given.get("method", "none"))
    if method in (*STRUCTURAL_METHODS, *METHODS):
        check_options(method, given, table)
    if method in STRUCTURAL_METHODS:
        return _prune_structure(network, data, out, given)
    method_class(method)  # a wrong name comes before all else
    return train_and_write(network, data, out, **_with_windows(method, given))


def options_by_method() -> dict[str, dict[str, Any]]:
    """The options that each method has of its own, with what they are when not given."""
    from pimsim.pruning.registry import METHODS, SHARED_OPTIONS, STRUCTURAL_METHODS, method_options

    table: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        own = {name: value for name, value in method_options(method).items() if name not in SHARED_OPTIONS}
        table[method] = {**own, **WINDOW_OPTIONS} if "windows" in own else own
        table[method].pop("windows", None)
    for method in STRUCTURAL_METHODS:
        table[method] = {name: value for name, (value, methods) in STRUCTURE_OPTIONS.items() if method in methods}
    return table


def check_options(method: str, given: Mapping[str, Any], table: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses options that belong to other methods. Raises `PruningError`."""
    for name in given:
        methods = [one for one, own in table.items() if name in own]
        if methods and method not in methods:
            raise PruningError(
                f"{flag(name)} with the method '{method}'",
                f"it belongs to {_listed(methods)}",
                fix=f"Leave {flag(name)} out, or use --method {methods[0]}",
            )


def _listed(names: Sequence[str]) -> str:
    *most, last = (repr(name) for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def _with_windows(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a search for parallel windows instead of the array that it needs."""
    from pimsim.pruning.registry import method_options

    if "windows" not in method_options(method):
        return dict(given)
    asked = {name: given.get(name, default) for name, default in WINDOW_OPTIONS.items()}
    rest = {name: value for name, value in given.items() if name not in WINDOW_OPTIONS}
    if asked["array"] is None and asked["hardware"] is None:
        _refuse_without_array(given)
        return rest
    from pimsim.api.layer_windows import MapperWindows

    _check_one_width(asked)
    array = _chosen_array(asked, given.get("weight_bits", 4))
    return {**rest, "windows": MapperWindows(array, asked["mapping"], asked)}


def _refuse_without_array(given: Mapping[str, Any]) -> None:
    for name in ("columns_per_weight", "mapping"):
        if name in given:
            raise PruningError(
                f"{flag(name)} without an array", "it says how the array is used", fix="Give --array 512x256"
            )


def _check_one_width(asked: Mapping[str, Any]) -> None:
    if asked["hardware"] is not None and asked["columns_per_weight"] != 1:
        rule = "the cells of the hardware and the weight bits say how many columns a weight takes"
        raise PruningError("--columns-per-weight with --hardware", rule, fix="Leave --columns-per-weight out")


def _chosen_array(asked: Mapping[str, Any], weight_bits: int) -> ArrayShape:
    from pimsim.api.mapping import chosen_array

    return chosen_array(asked["array"], asked["columns_per_weight"], asked["hardware"], weight_bits)


def _prune_structure(network: str, data: str | Path, out: str | Path, given: Mapping[str, Any]) -> PruneResult:
    from pimsim.pruning.command import plain_value, prune_command
    from pimsim.pruning.fake_quantization import QuantizationOptions
    from pimsim.pruning.prune import checked_target, data_sets, image_shape
    from pimsim.pruning.structured import StructureRequest, fine_tuning, prune_structure

    method = str(given["method"])
    own = options_by_method()[method]
    settings = {**_training_defaults(), **own, **given}
    _check_known(settings)
    _refuse_admm(method, settings)
    target = checked_target(out)
    quantization = QuantizationOptions(*(settings[name] for name in _BITS))
    recipe = fine_tuning(settings["epochs"], **{name: settings[name] for name in _RECIPE})
    checkpoint = _checkpoint(settings)
    build_method = _STRUCTURE_METHODS[method]
    build_method(settings, (1, 1, 1))  # its options are checked before the data is read
    sets = data_sets(data, settings["normalize"], settings["limit"], settings["image_size"])
    recorded = _recorded(network, settings, plain_value)
    source = "digits" if sets[0].name == "digits" else "FOLDER"
    command = prune_command(
        recorded, source, f"models/{target.name}", settings["data_name"], {**_training_defaults(), **own}
    )
    request = StructureRequest(
        method, network, checkpoint, quantization, recipe, settings.get("accuracy_drop", 0.0) / 100, settings["seed"],
        recorded, command, settings["data_name"], settings["show_progress"],
    )  # fmt: skip
    return prune_structure(request, build_method(settings, image_shape(sets[0])), sets, target)


def _recorded(network: str, settings: Mapping[str, Any], plain: Any) -> dict[str, Any]:
    """Every option that changes the weights, as plain values; of an absolute path only the name."""
    left_out = ("data_name", "show_progress", "windows", "admm_epochs", "admm_warmup", "admm_rho", "admm_norm")
    chosen = {"network": network, **settings}
    return {name: plain(value) for name, value in chosen.items() if name not in left_out}


def _training_defaults() -> dict[str, Any]:
    """Options of the shared training with what they are when not given."""
    from pimsim.pruning.prune import prune as train_and_write

    return dict(train_and_write.__kwdefaults__ or {})


def _check_known(settings: Mapping[str, Any]) -> None:
    """A misspelled keyword is refused as Python would."""
    for name in settings:
        if name not in STRUCTURE_OPTIONS and name not in _training_defaults():
            raise TypeError(f"prune() got an unexpected keyword argument '{name}'")


def _refuse_admm(method: str, settings: Mapping[str, Any]) -> None:
    if settings["admm_epochs"]:
        rule = "it draws weights to zero, and this method changes the structure"
        raise PruningError(f"--admm-epochs with the method '{method}'", rule, fix="Leave --admm-epochs out")


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
    from pimsim.mapping.convention import CONVENTIONS
    from pimsim.mapping.tiling import check_choice
    from pimsim.mapping.windows import SEARCHES
    from pimsim.pruning.channel_rounds import ChannelMethod

    array = _needed_array(settings, "the number of channels that stay follows from the array")
    check_choice("search", settings["search"], SEARCHES, "unknown search")
    check_choice("convention", settings["convention"], CONVENTIONS, "unknown convention")
    return ChannelMethod(ChannelTargets(array, settings["search"], settings["convention"]), input_shape)


def _kerntrol(settings: Mapping[str, Any], input_shape: tuple[int, int, int]) -> StructureMethod:
    from pimsim.api.layer_windows import MapperWindows
    from pimsim.mapping.registry import MAPPERS
    from pimsim.mapping.tiling import check_choice
    from pimsim.pruning.methods.kerntrol import KERNTROL_METHODS, Kerntrol

    array = _needed_array(settings, "which rows are left out follows from the parallel windows")
    check_choice("mapping", settings["mapping"], tuple(MAPPERS), "windows come from a mapper")
    asked = {name: settings[name] for name in WINDOW_OPTIONS}
    windows = MapperWindows(array, settings["mapping"], asked)
    compensate = KERNTROL_METHODS[settings["method"]]
    return Kerntrol(compensate, windows, input_shape, settings["threshold"], tuple(settings["layers"]))


def _needed_array(settings: Mapping[str, Any], rule: str) -> ArrayShape:
    if settings["array"] is None and settings["hardware"] is None:
        given = f"the method '{settings['method']}' without an array"
        raise PruningError(given, rule, fix="Give --array 512x256, or --hardware")
    _check_one_width(settings)
    return _chosen_array(settings, settings["weight_bits"])


_STRUCTURE_METHODS: MappingProxyType[str, Callable[[Mapping[str, Any], tuple[int, int, int]], StructureMethod]] = (
    MappingProxyType({"vwc-sdk": _channels, "low-rank": _low_rank, **dict.fromkeys(_KERNTROL, _kerntrol)})
)
