"""The file of an array study: networks, shares, sizes and aspect ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pimsim.api.preparing import prepare
from pimsim.api.progress import Progress
from pimsim.errors import ConfigError, PruningError, nearest
from pimsim.network.layers import Layer, Pair
from pimsim.network.tables import Place, check_keys, read_size, read_table
from pimsim.pruning.pim_prune import share_of
from pimsim.workload import make_workload

KEYS = ("name", "source", "hardware", "mode", "sizes", "aspects", "networks")
NETWORK_KEYS = ("name", "shapes", "network", "checkpoint", "input_shape", "keep", "seed")
#: Modes that the simulator places.
MODES = ("row", "column", "best")
_FILES = ("shapes", "network", "checkpoint")


@dataclass(frozen=True)
class StudyNetwork:
    """One network and the shares of its segments that are kept.

    Attributes:
        name: for tables and figures.
        source: what the network is read from, as keys of a workload.
        keep: shares, above 0 and below 1; dense arrays are always counted too.
        seed: of random weights, where the network is a shape table.
    """

    name: str
    source: Mapping[str, Any]
    keep: tuple[float, ...]
    seed: int = 0

    def layers(self, hardware: str) -> tuple[Layer, ...]:
        """The integer layers. Raises the `PimsimError` of what is wrong with the files."""
        workload = make_workload({**self.source, "hardware": hardware, "mapping": "im2col"})
        return prepare(workload, Progress(False)).network.layers


@dataclass(frozen=True)
class Study:
    """What a study file asks for.

    Attributes:
        name: names the files that are written.
        hardware: preset or hardware file whose arrays change.
        mode: one of `MODES`.
        sizes: smallest to largest number of rows and of columns.
        aspects: rows : columns.
        networks: what is pruned.
    """

    name: str
    hardware: str
    mode: str
    sizes: tuple[int, ...]
    aspects: tuple[Pair, ...]
    networks: tuple[StudyNetwork, ...]

    @cached_property
    def arrays(self) -> tuple[Pair, ...]:
        """(rows, columns), each one of the sizes and together of an aspect ratio, by cells, then rows."""
        pairs = [(r, c) for r in self.sizes for c in self.sizes if any(r * b == c * a for a, b in self.aspects)]
        return tuple(sorted(pairs, key=lambda pair: (pair[0] * pair[1], pair[0])))


def read_study(path: str | Path) -> Study:
    """The study in a YAML file; files that it names stand beside it.

    Raises:
        ConfigError: a file that cannot be read, or anything wrong in it, with file and line.
    """
    path = Path(path)
    table = read_table(path, "array study", "networks")
    place = Place(path, table)
    check_keys(table, KEYS, place.at)
    mode = str(table.get("mode", "best"))
    if mode not in MODES:
        raise ConfigError(f"mode '{mode}'", "unknown mode", place.at("mode"), nearest(mode, MODES))
    sizes = tuple(read_size(size, "sizes", place.at) for size in _list(table, "sizes", place))
    aspects = tuple(_aspect(text, place) for text in _list(table, "aspects", place))
    entries = _list(table, "networks", place)
    networks = tuple(_network(entry, Place(path, entries, i), path.parent) for i, entry in enumerate(entries))
    study = Study(
        str(table.get("name", path.stem)), str(table.get("hardware", "pim-prune")), mode, sizes, aspects, networks
    )
    if not study.arrays:
        raise ConfigError("sizes and aspects", "no two sizes have such a ratio", place.at("aspects"))
    return study


def _list(table: Any, key: str, place: Place) -> list[Any]:
    values = table.get(key)
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{key}: {values!r}", f"an array study needs a list of {key}", place.at(key))
    return values


def _aspect(text: object, place: Place) -> Pair:
    """Rows and columns of a ratio."""
    parts = str(text).split(":")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        rule, fix = "an aspect ratio is ROWS:COLUMNS", "Write it in quotes, like '4:1'"
        raise ConfigError(f"aspects: {text!r}", rule, place.at("aspects"), fix)
    return int(parts[0]), int(parts[1])


def _network(entry: Any, place: Place, folder: Path) -> StudyNetwork:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{entry!r}", "a network is a mapping of keys", place.at())
    check_keys(entry, NETWORK_KEYS, place.at)
    if ("shapes" in entry) == ("network" in entry):
        rule = "a network is a shape table, or a module with a checkpoint"
        raise ConfigError(f"{', '.join(map(str, entry))}", rule, place.at(), "Give shapes: F.yaml, or network: F.py:f")
    keep = entry.get("keep")
    if not isinstance(keep, list) or not keep:
        raise ConfigError(f"keep: {keep!r}", "a list of shares is needed", place.at("keep"), "Write it like [0.5, 1/4]")
    source = {key: entry[key] for key in NETWORK_KEYS[1:5] if key in entry}
    source |= {key: _beside(folder, str(source[key]), place.at(key)) for key in _FILES if key in source}
    return StudyNetwork(
        str(entry.get("name", "network")), source, tuple(_share(one, place) for one in keep), int(entry.get("seed", 0))
    )


def _share(value: Any, place: Place) -> float:
    try:
        share = share_of(value if isinstance(value, (int, float)) else str(value))
    except PruningError as error:
        raise ConfigError(error.given, error.rule, place.at("keep"), error.fix) from None
    if not 0 < share < 1:
        raise ConfigError(
            f"keep: {value}", "a share is above 0 and below 1: dense arrays are counted anyway", place.at("keep")
        )
    return share


def _beside(folder: Path, text: str, where: str) -> str:
    """A file beside the study file. Raises `ConfigError` where there is none."""
    file, colon, name = text.rpartition(":") if ".py:" in text else (text, "", "")
    if not (folder / file).is_file():
        raise ConfigError(f"'{folder / file}'", "there is no such file", where, "Check the path")
    return f"{folder / file}{colon}{name}"
