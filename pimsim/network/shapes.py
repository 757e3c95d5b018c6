"""Networks without weights: one layer written on a line, or a table of layers in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pimsim.errors import ConfigError, NetworkError
from pimsim.network.joins import JOIN_KEYS, read_edges
from pimsim.network.layers import Geometry, Layer, Network, Pair, Precision
from pimsim.network.tables import Place, Where, check_keys, line_of, read_pair, read_size, read_sizes, read_table

Padding = tuple[int, int, int, int]

#: Keys of a convolution; ``in`` excludes padding, pairs are height x width.
LAYER_KEYS = ("name", "k", "ic", "oc", "in", "stride", "pad", "dilation", "groups")
#: Keys of one entry of a shape table.
ENTRY_KEYS = (*LAYER_KEYS, "kind", "repeat")
LINEAR_KEYS = ("name", "kind", "repeat", "in_features", "out_features")
TABLE_KEYS = ("name", "weight_bits", "activation_bits", "layers")

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
    ``layer2``, ... What feeds a layer is said by ``from`` and ``pool`` (`pimsim.network.joins`).

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
    places = [Place(path, entries, index) for index in range(len(entries))]
    geometries = [read_entry(entry, index, places[index], JOIN_KEYS) for index, entry in enumerate(entries)]
    layers = tuple(Layer(geometry, precision) for copies in geometries for geometry in copies)
    try:
        network = Network(str(table.get("name", path.stem)), layers, input_shape=_input_shape(layers[0].geometry))
    except NetworkError as error:
        raise ConfigError(error.given, error.rule, str(path), "Give each layer its own name") from None
    return replace(network, edges=read_edges(entries, geometries, places))


def read_entry(entry: object, index: int, place: Place, more: tuple[str, ...] = ()) -> list[Geometry]:
    """The layers of one entry of the table, which may have ``more`` keys."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{entry!r}", "a layer is a mapping of keys", place.at(), f"Write it like {_EXAMPLE}")
    kind = entry.get("kind", "conv")
    if kind not in ("conv", "linear"):
        raise ConfigError(f"kind '{kind}'", "a layer is conv or linear", place.at("kind"))
    check_keys(entry, (*(LINEAR_KEYS if kind == "linear" else ENTRY_KEYS), *more), place.at)
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
    kernel = read_pair(entry["k"], "k", where)
    stride, dilation = (read_pair(entry.get(key, 1), key, where) for key in ("stride", "dilation"))
    return Geometry(
        name=name,
        in_channels=read_size(entry["ic"], "ic", where),
        out_channels=read_size(entry["oc"], "oc", where),
        kernel=kernel,
        input_size=read_pair(entry["in"], "in", where),
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
            raise ConfigError("pad=same", "padding 'same' needs stride 1", line_of(where, "pad"), fix)
        (down, right) = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return down // 2, down - down // 2, right // 2, right - right // 2
    sizes = read_sizes(value, "pad", where, counts=(1, 2, 4), least=0)
    if len(sizes) == 4:
        return sizes[0], sizes[1], sizes[2], sizes[3]
    return sizes[0], sizes[0], sizes[-1], sizes[-1]


def _bits(table: Mapping[str, object], key: str, default: int, place: Place) -> int:
    bits = read_size(table.get(key, default), key, place.at)
    if bits > 16:
        raise ConfigError(f"{key}={bits}", "1 to 16 bits are supported", place.at(key))
    return bits


def _check_present(entry: Mapping[str, object], needed: tuple[str, ...], where: Where) -> None:
    missing = [key for key in needed if key not in entry]
    if missing:
        given = ",".join(f"{key}={value}" for key, value in entry.items())
        raise ConfigError(f"'{given}'", f"missing {', '.join(missing)}", line_of(where, missing[0]))


def _input_shape(first: Geometry) -> tuple[int, int, int]:
    return first.in_channels, *first.input_size
