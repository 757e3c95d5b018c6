"""The command line of a training run, as its card tells it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

# How windows are asked for when nothing else is said: `pimsim.api.pruning.WINDOW_OPTIONS`.
_WINDOW_DEFAULTS = MappingProxyType({"columns_per_weight": 1, "mapping": "sdk"})


def prune_command(
    options: Mapping[str, Any], data: str, out: str, data_name: str | None, defaults: Mapping[str, Any]
) -> str:
    """The command line of a run: every option, as a plain value, that is not what it is when not given."""
    usual = {**_WINDOW_DEFAULTS, **defaults}
    words = ["pimsim", "prune", "--network", options["network"], "--data", data, "--out", out]
    for name, value in options.items():
        if name != "network" and (name == "method" or value != plain_value(usual.get(name))):
            words += _option_words("--" + name.replace("_", "-"), value)
    return shlex.join([*words, *(["--data-name", data_name] if data_name else [])])


def _option_words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag[2:]]
    if flag == "--normalize":
        return [flag, "/".join(",".join(f"{part:g}" for part in parts) for parts in value)]
    if isinstance(value, list):
        return [word for item in value for word in (flag, str(item))]
    return [flag, str(value)]


def plain_value(value: Any) -> Any:
    """JSON's version of an option: tuples as lists, of an absolute path only the name."""
    if isinstance(value, (str, Path)):
        return Path(value).name if Path(value).is_absolute() else str(value)
    return [plain_value(item) for item in value] if isinstance(value, (tuple, list)) else value
