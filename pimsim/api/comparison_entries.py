"""What is compared: entries from checkpoints, from pruning methods, or from a YAML file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from pimsim.errors import ConfigError, nearest
from pimsim.network.tables import Place, check_keys, read_table
from pimsim.workload import Workload, beside, checked_workload, flag

DENSE = "dense"
#: Keys of a run that a comparison has no use for.
_NOT_HERE = ("name", "shapes", "convention", "results", "trace")
WORKLOAD_KEYS = tuple(key for key in Workload.model_fields if key not in _NOT_HERE)
FILE_KEYS = ("name", "baseline", "compare", *WORKLOAD_KEYS)
ENTRY_KEYS = ("label", "method", "method_options", "entries", *WORKLOAD_KEYS)
#: Images that go through the arrays when nobody says how many.
CROSSBAR_IMAGES = 1


@dataclass(frozen=True)
class Entry:
    """One entry of a comparison.

    Attributes:
        label: tells it from the others.
        workload: network, checkpoint, chip, mapping and skipping.
        method: masks that are made here, on the checkpoint's weights and without training; None: as the checkpoint is.
        options: of that method.
        where: where it was asked for.
    """

    label: str
    workload: Workload
    method: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str | None = None


@dataclass(frozen=True)
class Request:
    """A whole comparison: name, entries, and the label of the dense one where it was named."""

    name: str
    entries: tuple[Entry, ...]
    baseline: str | None = None

    def __post_init__(self) -> None:
        seen: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.label in seen:
                raise _two_labels(entry, seen[entry.label])
            seen[entry.label] = entry
        if self.baseline is not None and self.baseline not in seen:
            raise ConfigError(
                f"baseline '{self.baseline}'", "no entry has this label", None, nearest(self.baseline, seen)
            )


def of_checkpoints(texts: Sequence[str], common: Mapping[str, Any], name: str, baseline: str | None = None) -> Request:
    """Every checkpoint on the same chip: files, each as ``PATH`` or ``LABEL=PATH``, commas between several.

    Without labels they are called by what their file names do not have in common.

    Raises:
        ConfigError: no checkpoint, or one missing, two alike, or keys that cannot be used.
    """
    parts = [part for text in texts for part in _split(text)]
    if not parts:
        raise ConfigError("no checkpoint", "there is nothing to compare", "--checkpoints", "Give files after it")
    labelled = [_labelled(part) for part in parts]
    paths = [path for _, path in labelled]
    for path in paths:
        if not Path(path).is_file():
            raise ConfigError(f"checkpoint '{path}'", "there is no such file", "--checkpoints", "Check the path")
    names = _labels(paths)
    entries = [
        Entry(label or own, _workload({**common, "checkpoint": path}), where="--checkpoints")
        for (label, path), own in zip(labelled, names, strict=True)
    ]
    return Request(name, tuple(entries), baseline)


def of_methods(
    methods: Sequence[str], entries: Sequence[int], common: Mapping[str, Any], name: str, baseline: str | None = None
) -> Request:
    """The dense checkpoint, and the masks of each method on it: one for each number of entries that it can keep.

    Args:
        methods: names, each with options after colons: ``n-m:n_of_m=2:4``.
        entries: kept positions; a method without this option appears once.
        common: keys of the workload, the dense ``checkpoint`` among them.
        name, baseline: of the comparison.

    Raises:
        ConfigError: no checkpoint, or keys that cannot be used.
        PruningError: an unknown method, or an option that it does not have.
    """
    if common.get("checkpoint") is None:
        rule = "masks are made on the weights of a trained dense network"
        raise ConfigError("--methods without a checkpoint", rule, "--checkpoint", "Give its file with --checkpoint")
    workload = _workload(common)
    made = [Entry(DENSE, workload, where="--checkpoint")]
    for spec in methods:
        method, options = read_method(spec)
        for count in entries if _keeps_entries(method, options) else (None,):
            chosen = options if count is None else {**options, "entries": count}
            label = spec if count is None else f"{spec}{count}" if ":" not in spec else f"{spec}:entries={count}"
            made.append(Entry(label, workload, method, chosen, "--methods"))
    return Request(name, tuple(made), baseline)


def read_method(spec: str) -> tuple[str, dict[str, Any]]:
    """A method's name and options from ``NAME:KEY=VALUE:KEY=VALUE``.

    Raises:
        ConfigError: an option without ``=``.
        PruningError: an unknown method, or one that masks alone cannot make.
    """
    name, *parts = re.split(r":(?=[a-z_]+=)", spec)
    if ":" in name:
        fix = "Write NAME:KEY=VALUE, as in magnitude:sparsity=0.5"
        raise ConfigError(f"'{spec}'", "an option of a method is KEY=VALUE", "--methods", fix)
    check_method(name, "--methods")
    return name, {key: typed_value(value) for key, _, value in (part.partition("=") for part in parts)}


def check_method(name: str, where: str) -> None:
    """Refuses a method that is unknown, or that changes the network's structure. Raises `PruningError`."""
    from pimsim.errors import PruningError
    from pimsim.pruning.registry import STRUCTURAL_METHODS, method_class

    if name in STRUCTURAL_METHODS:
        rule = "it changes the layers and not only their weights, and needs training"
        fix = f"Make a checkpoint with 'pimsim prune --method {name}' and compare that"
        raise PruningError(f"method '{name}' without training", rule, where, fix)
    method_class(name)


def read_comparison(path: str | Path, flags: Mapping[str, Any], baseline: str | None = None) -> Request:
    """The comparison of a YAML file: common keys of a workload, and ``compare``, a list of entries.

    ``set`` and ``mapping_options`` of an entry are added to the common ones (other mappers start with none); all other
    keys replace them. Flags win over both.

    Raises:
        ConfigError: a file that cannot be read, or anything wrong in it, with file and line.
    """
    path = Path(path)
    content = read_table(path, "comparison", "compare")
    place = Place(path, content)
    check_keys(content, FILE_KEYS, place.at)
    listed = content.get("compare")
    if not isinstance(listed, list) or not listed:
        fix = "Write 'compare:' and below it one '- {label: ..., checkpoint: ...}' a line"
        raise ConfigError(
            f"compare: {_plain(listed)!r}", "a comparison needs a list of entries", place.at("compare"), fix
        )
    common = _File(path, place, content, flags)
    entries = tuple(common.entry(item, Place(path, listed, index), index) for index, item in enumerate(listed))
    named = baseline or content.get("baseline")
    return Request(str(content.get("name", path.stem)), entries, None if named is None else str(named))


@dataclass(frozen=True)
class _File:
    """The common part of a file."""

    path: Path
    place: Place
    content: Mapping[str, Any]
    flags: Mapping[str, Any]

    def entry(self, item: Any, place: Place, index: int) -> Entry:
        """One entry with the common keys below its own."""
        if not isinstance(item, Mapping):
            raise ConfigError(f"{_plain(item)!r}", "an entry is a mapping of keys", place.at())
        check_keys(item, ENTRY_KEYS, place.at)
        given = {key: value for key, value in self.flags.items() if value is not None}
        values = merged_keys(self._keys(self.content), self._keys(item), given)

        def where(key: str) -> str:
            return flag(key) if key in given else place.at(key) if key in item else self.place.at(key)

        workload = _workload(values, where, place.at())
        method, options = self._method(item, place)
        label = (
            item.get("label")
            or method
            or (Path(workload.checkpoint).stem if workload.checkpoint else f"entry {index + 1}")
        )
        return Entry(str(label), workload, method, options, place.at("label"))

    def _keys(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """The workload's keys of a part, paths as seen from the file."""
        return {k: beside(self.path.parent, k, _plain(v)) for k, v in part.items() if k in WORKLOAD_KEYS}

    def _method(self, item: Mapping[str, Any], place: Place) -> tuple[str | None, dict[str, Any]]:
        """Masks to be made here."""
        options = dict(_plain(item.get("method_options", {})))
        if "entries" in item:
            options["entries"] = item["entries"]
        method = item.get("method")
        if method is None:
            if options:
                key = "entries" if "entries" in item else "method_options"
                rule = "it belongs to a pruning method"
                raise ConfigError(f"{key} without a method", rule, place.at(key), "Give method: pairs, or leave it out")
            return None, {}
        check_method(str(method), place.at("method"))
        return str(method), options


def merged_keys(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a workload, later parts over earlier ones; ``set`` and the options of the same mapper are added up."""
    values: dict[str, Any] = {}
    for part in parts:
        options = (
            {} if part.get("mapping", values.get("mapping")) != values.get("mapping") else values.get("mapping_options")
        )
        both = {"set": values.get("set"), "mapping_options": options}
        added = {key: {**(old or {}), **(part.get(key) or {})} for key, old in both.items() if old or part.get(key)}
        values = {**{k: v for k, v in values.items() if k not in both}, **part, **added}
    return values


def _workload(values: Mapping[str, Any], where: Callable[[str], str] = flag, whole: str = "the comparison") -> Workload:
    """The workload of one entry, without a trace, few images through the arrays where nobody says how many."""
    given = {key: value for key, value in values.items() if value is not None}
    if "network" not in given:
        fix = "Give network FILE.py:CALLABLE; mappers are compared without one, with --shapes"
        raise ConfigError("no network", "checkpoints are weights of one", whole, fix)
    name = str(given["network"]).rpartition(":")[2] or "network"
    return checked_workload({"crossbar_images": CROSSBAR_IMAGES, **given, "name": name, "trace": "none"}, where, whole)


def _split(text: str) -> list[str]:
    """Files with commas between them; a file whose name has a comma is one."""
    return [text] if Path(text).is_file() else [part.strip() for part in text.split(",") if part.strip()]


def _labelled(text: str) -> tuple[str | None, str]:
    """Label and path of ``LABEL=PATH``; no label for a path alone."""
    label, equals, path = text.partition("=")
    return (label, path) if equals and label and not Path(text).is_file() else (None, text)


def _labels(paths: Sequence[str]) -> list[str]:
    """File names without what they all begin with, up to a ``-``, ``_`` or ``.``.

    Where nothing is left: ``dense`` for a network without masks, else the whole name.
    """
    stems = [Path(path).stem for path in paths]
    first, last = min(stems), max(stems)
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(f"{first}-", f"{last}-", strict=False))
    common = "".join(letter for letter, _ in alike)
    cut = max((common.rfind(mark) for mark in "-_."), default=-1) + 1
    if len(stems) < 2 or not cut:
        return stems
    return [stem[cut:] or _whole_name(path) for path, stem in zip(paths, stems, strict=True)]


def _whole_name(path: str) -> str:
    from pimsim.network.checkpoints import load_checkpoint

    found = load_checkpoint(path)
    masked = found.structure or any(key.endswith("_mask") for key in found.state)
    return Path(path).stem if masked else DENSE


def _two_labels(entry: Entry, other: Entry) -> ConfigError:
    files = [str(each.workload.checkpoint) for each in (other, entry)]
    return ConfigError(
        f"two entries with the label '{entry.label}' ({files[0]} and {files[1]})",
        "labels tell entries apart",
        entry.where,
        "Give each its own, as LABEL=PATH, or 'label' in a file",
    )


def _keeps_entries(method: str, options: Mapping[str, Any]) -> bool:
    from pimsim.pruning.registry import method_options

    return "entries" in method_options(method) and not {"entries", "rows"} & set(options)


def _plain(value: Any) -> Any:
    """Values of a YAML file as plain Python ones."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def typed_value(text: str) -> Any:
    """Text as a number where it is one, as true or false, or as it is."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
