"""Networks without weights: one layer written on a line, or a table of layers in YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pimsim.errors import ConfigError, NetworkError, nearest
from pimsim.network.layers import Geometry, Layer, Network, Pair, Precision

Padding = tuple[int, int, int, int]

#: Keys of a convolution; ``in`` excludes padding, pairs are height x width.
LAYER_KEYS = ("name", "k", "ic", "oc", "in", "stride", "pad", "dilation", "groups")
#: Keys of one entry of a shape table.
ENTRY_KEYS = (*LAYER_KEYS, "kind", "repeat")
LINEAR_KEYS = ("name", "kind", "repeat", "in_features", "out_features")
TABLE_KEYS = ("name", "weight_bits", "activation_bits", "layers")

#: Largest size or channel count of a layer: every row and column of its array tiles is held in memory.
LARGEST = 10**6

_EXAMPLE = "k=3x3,ic=64,oc=128,in=28x28,stride=1,pad=0"


def parse_layer(text: str, where: str | None = None) -> Geometry:
    """One convolution from ``key=value`` pairs separated by commas.

    Args:
        text: for example ``k=3x3,ic=64,oc=128,in=28x28,stride=1,pad=0,dilation=1,groups=1``. ``k``, ``ic``, ``oc`` and
            ``in`` are needed; a single number stands for both dimensions; ``pad`` also takes
            ``top x bottom x left x right`` or ``same``.
        where: what to name in errors, such as ``--layer``.

    Raises:
        ConfigError: an unknown, repeated or missing key, or a value that is not a size.
        NetworkError: a layer that cannot exist, such as a kernel larger than its padded input.
    """
    entry: dict[str, object] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(f"'{part}'", "a layer is written as key=value pairs", where, f"Write it like {_EXAMPLE}")
        if key in entry:
            raise ConfigError(f"key '{key}' twice", "each key may be given once", where)
        entry[key] = value
    check_keys(entry, LAYER_KEYS, where)
    return _convolution(entry, str(entry.get("name", "layer")), where)


def load_shapes(path: str | Path, default: Precision = Precision()) -> Network:  # noqa: B008 (frozen)
    """A network without weights from a YAML table of layer shapes.

    The file holds ``name``, ``weight_bits`` and ``activation_bits`` (``default`` when left out), and ``layers``: a
    list of entries with the keys of `parse_layer`, or ``kind: linear`` with ``in_features`` and ``out_features``;
    ``repeat: N`` makes N equal layers named ``NAME.1`` to ``NAME.N``. Layers without a name are called ``layer1``,
    ``layer2``, ...

    Raises:
        ConfigError: a file that cannot be read, or anything wrong in it, with file and line.
    """
    path = Path(path)
    table = read_table(path)
    place = Place(path, table)
    check_keys(table, TABLE_KEYS, place.at)
    entries = table.get("layers")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"layers: {entries!r}", "a shape table needs a list of layers", place.at("layers"))
    precision = Precision(
        weight_bits=_bits(table, "weight_bits", default.weight_bits, place),
        activation_bits=_bits(table, "activation_bits", default.activation_bits, place),
    )
    layers = [
        Layer(geometry, precision)
        for index, entry in enumerate(entries)
        for geometry in read_entry(entry, index, Place(path, entries, index))
    ]
    try:
        return Network(str(table.get("name", path.stem)), tuple(layers), input_shape=_input_shape(layers[0].geometry))
    except NetworkError as error:
        raise ConfigError(error.given, error.rule, str(path), "Give each layer its own name") from None


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


def _at(where: Where, key: str) -> str | None:
    return where(key) if callable(where) else where


def read_table(path: Path) -> Any:
    """The mapping in a YAML file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

    try:
        table = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not a text file"
        raise ConfigError(f"'{path}'", f"the shape table cannot be read: {reason}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        rule = "each key may be given once" if isinstance(error, DuplicateKeyError) else "this is not valid YAML"
        given = str(error.problem).splitlines()[0].split(" with value")[0]
        raise ConfigError(given, rule, line) from None
    if not isinstance(table, Mapping):
        raise ConfigError(f"'{path}'", "a shape table is a mapping with 'layers'", f"{path}:1")
    return table


def read_entry(entry: object, index: int, place: Place) -> list[Geometry]:
    """The layers of one entry of the table."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{entry!r}", "a layer is a mapping of keys", place.at(), f"Write it like {_EXAMPLE}")
    kind = entry.get("kind", "conv")
    if kind not in ("conv", "linear"):
        raise ConfigError(f"kind '{kind}'", "a layer is conv or linear", place.at("kind"))
    check_keys(entry, LINEAR_KEYS if kind == "linear" else ENTRY_KEYS, place.at)
    name = str(entry.get("name", f"layer{index + 1}"))
    repeat = read_size(entry["repeat"], "repeat", place.at) if "repeat" in entry else 1
    names = [name] if repeat == 1 else [f"{name}.{i}" for i in range(1, repeat + 1)]
    build = _linear if kind == "linear" else _convolution
    try:
        return [build(entry, each, place.at) for each in names]
    except NetworkError as error:
        raise ConfigError(error.given, error.rule, place.at(), error.fix) from None


def _convolution(entry: Mapping[str, object], name: str, where: Where) -> Geometry:
    _check_present(entry, ("k", "ic", "oc", "in"), where)
    kernel = _pair(entry["k"], "k", where)
    stride, dilation = (_pair(entry.get(key, 1), key, where) for key in ("stride", "dilation"))
    return Geometry(
        name=name,
        in_channels=read_size(entry["ic"], "ic", where),
        out_channels=read_size(entry["oc"], "oc", where),
        kernel=kernel,
        input_size=_pair(entry["in"], "in", where),
        stride=stride,
        padding=_padding(entry.get("pad", 0), kernel, stride, dilation, where),
        dilation=dilation,
        groups=read_size(entry.get("groups", 1), "groups", where),
    )


def _linear(entry: Mapping[str, object], name: str, where: Where) -> Geometry:
    _check_present(entry, ("in_features", "out_features"), where)
    inputs, outputs = (read_size(entry[key], key, where) for key in ("in_features", "out_features"))
    return Geometry(name, inputs, outputs, kind="linear")


def _padding(value: object, kernel: Pair, stride: Pair, dilation: Pair, where: Where) -> Padding:
    """(top, bottom, left, right); ``same`` puts the odd pixel at the bottom and right, as PyTorch does."""
    if value == "same":
        if stride != (1, 1):
            fix = "Write the padding in pixels"
            raise ConfigError("pad=same", "padding 'same' needs stride 1", _at(where, "pad"), fix)
        (down, right) = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return down // 2, down - down // 2, right // 2, right - right // 2
    sizes = _sizes(value, "pad", where, counts=(1, 2, 4), least=0)
    if len(sizes) == 4:
        return sizes[0], sizes[1], sizes[2], sizes[3]
    return sizes[0], sizes[0], sizes[-1], sizes[-1]


def _pair(value: object, key: str, where: Where) -> Pair:
    sizes = _sizes(value, key, where, counts=(1, 2), least=1)
    return sizes[0], sizes[-1]


def read_size(value: object, key: str, where: Where) -> int:
    """A whole number of at least 1. Raises `ConfigError` naming the key."""
    return _sizes(value, key, where, counts=(1,), least=1)[0]


_FORMS: MappingProxyType[tuple[int, ...], str] = MappingProxyType(
    {(1,): "N", (1, 2): "N or HxW", (1, 2, 4): "N, HxW, TOPxBOTTOMxLEFTxRIGHT or same"}
)


def _sizes(value: object, key: str, where: Where, counts: tuple[int, ...], least: int) -> list[int]:
    """The whole numbers of a value such as ``3``, ``3x5`` or ``[3, 5]``."""
    rule = f"'{key}' must be {_FORMS[counts]} with whole numbers of at least {least}"
    # YAML reads a bare 0x1 as the hexadecimal number one
    if type(value).__name__ == "HexInt":
        raise ConfigError(f"{key}={value!r}", rule, _at(where, key), f"Put it in quotes: {key}: '0x...'")
    parts = list(value) if isinstance(value, list) else str(value).split("x")
    sizes = [int(part) for part in map(str, parts) if part.isascii() and part.isdigit()]
    if isinstance(value, bool) or len(sizes) != len(parts) or len(sizes) not in counts or min(sizes) < least:
        raise ConfigError(f"{key}={value}", rule, _at(where, key))
    if max(sizes) > LARGEST:
        raise ConfigError(f"{key}={value}", f"sizes up to {LARGEST:,} can be laid out", _at(where, key))
    return sizes


def _bits(table: Mapping[str, object], key: str, default: int, place: Place) -> int:
    bits = read_size(table.get(key, default), key, place.at)
    if bits > 16:
        raise ConfigError(f"{key}={bits}", "1 to 16 bits are supported", place.at(key))
    return bits


def check_keys(entry: Iterable[str], known: tuple[str, ...], where: Where) -> None:
    """Refuse keys that are not known. Raises `ConfigError`."""
    for key in entry:
        if key not in known:
            raise ConfigError(f"key '{key}'", "unknown key", _at(where, key), nearest(str(key), known))


def _check_present(entry: Mapping[str, object], needed: tuple[str, ...], where: Where) -> None:
    missing = [key for key in needed if key not in entry]
    if missing:
        given = ",".join(f"{key}={value}" for key, value in entry.items())
        raise ConfigError(f"'{given}'", f"missing {', '.join(missing)}", _at(where, missing[0]))


def _input_shape(first: Geometry) -> tuple[int, int, int]:
    return first.in_channels, *first.input_size
