"""The parts that every YAML table of layers is read with: places, keys and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pimsim.errors import ConfigError, nearest
from pimsim.network.layers import Pair

#: Largest size or channel count of a layer: every row and column of its array tiles is held in memory.
LARGEST = 10**6


class Place:
    """Where a YAML key stands, as ``file:line``."""

    def __init__(self, path: Path, node: Any, index: int | None = None) -> None:
        self._path, self._node, self._index = path, node, index

    def at(self, key: str | None = None) -> str:
        """The line of a key, or of the whole entry when the key is not there."""
        node = self._node if self._index is None else self._node[self._index]
        if key is not None and isinstance(node, Mapping) and key in node:
            line = node.lc.key(key)[0]  # type: ignore[attr-defined]  # ruamel's mapping keeps its lines
        elif self._index is not None:
            line = self._node.lc.item(self._index)[0]
        else:
            line = getattr(getattr(node, "lc", None), "line", 0)
        return f"{self._path}:{line + 1}"


Where = str | None | Callable[[str], str]


def line_of(where: Where, key: str) -> str | None:
    """Where a key stands: its line in a file, or the place that stands for all keys."""
    return where(key) if callable(where) else where


def read_table(path: Path, kind: str = "shape table", key: str = "layers") -> Any:
    """The mapping in a YAML file, called a ``kind`` with ``key`` in errors. Raises `ConfigError`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

    try:
        table = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not a text file"
        raise ConfigError(f"'{path}'", f"the {kind} cannot be read: {reason}", fix="Check the path") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        rule = "each key may be given once" if isinstance(error, DuplicateKeyError) else "this is not valid YAML"
        given = str(error.problem).splitlines()[0].split(" with value")[0]
        raise ConfigError(given, rule, line) from None
    if not isinstance(table, Mapping):
        raise ConfigError(f"'{path}'", f"a {kind} is a mapping with '{key}'", f"{path}:1")
    return table


def check_keys(entry: Iterable[str], known: tuple[str, ...], where: Where) -> None:
    """Refuse keys that are not known. Raises `ConfigError`."""
    for key in entry:
        if key not in known:
            raise ConfigError(f"key '{key}'", "unknown key", line_of(where, key), nearest(str(key), known))


def read_pair(value: object, key: str, where: Where, least: int = 1) -> Pair:
    """(height, width), each at least ``least``; one number stands for both. Raises `ConfigError`."""
    sizes = read_sizes(value, key, where, counts=(1, 2), least=least)
    return sizes[0], sizes[-1]


def read_size(value: object, key: str, where: Where) -> int:
    """A whole number of at least 1. Raises `ConfigError` naming the key."""
    return read_sizes(value, key, where, counts=(1,), least=1)[0]


_FORMS: MappingProxyType[tuple[int, ...], str] = MappingProxyType(
    {(1,): "N", (1, 2): "N or HxW", (1, 2, 4): "N, HxW, TOPxBOTTOMxLEFTxRIGHT or same"}
)


def read_sizes(value: object, key: str, where: Where, counts: tuple[int, ...], least: int) -> list[int]:
    """The whole numbers of a value such as ``3``, ``3x5`` or ``[3, 5]``. Raises `ConfigError`."""
    rule = f"'{key}' must be {_FORMS[counts]} with whole numbers of at least {least}"
    # YAML reads a bare 0x1 as the hexadecimal number one
    if type(value).__name__ == "HexInt":
        raise ConfigError(f"{key}={value!r}", rule, line_of(where, key), f"Put it in quotes: {key}: '0x...'")
    parts = list(value) if isinstance(value, list) else str(value).split("x")
    sizes = [int(part) for part in map(str, parts) if part.isascii() and part.isdigit()]
    if isinstance(value, bool) or len(sizes) != len(parts) or len(sizes) not in counts or min(sizes) < least:
        raise ConfigError(f"{key}={value}", rule, line_of(where, key))
    if max(sizes) > LARGEST:
        raise ConfigError(f"{key}={value}", f"sizes up to {LARGEST:,} can be laid out", line_of(where, key))
    return sizes
