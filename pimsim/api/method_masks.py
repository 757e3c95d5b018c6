"""Masks of a pruning method on trained dense weights, without any training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from pimsim.errors import PruningError
from pimsim.network.checkpoints import METADATA_KEY, Checkpoint
from pimsim.network.rewrites import rebuild
from pimsim.network.state_matching import match
from pimsim.pruning.prune import build_network
from pimsim.pruning.registry import method_options, pruning_method
from pimsim.pruning.windows import Windows


def masked_checkpoint(
    network: str, dense: Checkpoint, method: str, options: Mapping[str, Any], windows: Windows
) -> Checkpoint:
    """The checkpoint of a dense network with the masks that a method gives it.

    Args:
        network: ``FILE.py:CALLABLE``.
        dense: its trained weights; their quantization stays.
        method, options: of `pimsim.pruning.registry`.
        windows: parallel windows of the layers, for methods that count rows.

    Raises:
        PruningError: an unknown method, options that it cannot take, or no layer that it can prune.
        CheckpointError: the weights do not fit the network.
    """
    module = rebuild(build_network(network, 0), dense.structure, str(dense.path))
    fitted = match(dense.state, module, str(dense.path))
    module.load_state_dict(fitted.state)
    chosen = pruning_method(method, options)
    if "windows" in method_options(method):
        chosen = replace(chosen, windows=windows)  # type: ignore[type-var]
    if not chosen.is_mask:
        raise PruningError(
            f"method '{method}' without training",
            "it changes the values of weights, not only which of them are zero",
            fix="Make a checkpoint with pimsim prune (--epochs 0 trains nothing), and compare --checkpoints",
        )
    plan, state = chosen.plan(module), dict(fitted.state)
    masks = {**fitted.masks, **{f"{layer}.weight": mask for layer, mask in plan.masks.items()}}
    for name, mask in masks.items():
        state[f"{name}_orig"] = state.pop(name)
        state[f"{name}_mask"] = mask
    return Checkpoint(dense.path, state, dense.metadata)


def method_record(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    """The pruning method and its options that pimsim's training recorded; ``""`` and nothing for other files."""
    try:
        content = json.loads(checkpoint.metadata.get(METADATA_KEY, "{}"))
        return str(content.get("method", "")), dict(content.get("recipe", {}))
    except (ValueError, TypeError, AttributeError):
        return "", {}


def rate_of(recipe: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """How hard a method prunes, in its own terms: its options that are not the usual ones.

    Args:
        recipe: recorded options.
        own: the options that the method has, with what they are when not given.
    """
    chosen = {name: recipe[name] for name in own if name in recipe and name not in _NO_RATE}
    shown = {n: v for n, v in chosen.items() if v not in (None, [], ()) and (v != own[n] or n in _ALWAYS)}
    return ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in shown.items())


def _short(value: Any) -> str:
    """A value as text; of a list, equal neighbours once, with how often: ``0.5 x6 0.25 x12``."""
    if not isinstance(value, list | tuple):
        return str(value)
    runs = [(each, len(list(group))) for each, group in groupby(value)]
    return " ".join(str(each) if times == 1 else f"{each} x{times}" for each, times in runs)


#: Options of methods that are told apart, or say where and not how hard.
_NO_RATE = ("entries", "layers", "dimension", "seed", "array", "hardware", "columns_per_weight", "mapping", "windows")
#: Options that are the rate of their method, whether usual or not.
_ALWAYS = ("keep", "sparsity", "rank", "groups", "n_of_m", "rows", "threshold")
