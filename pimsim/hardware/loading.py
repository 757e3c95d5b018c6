"""Loading a chip: preset or file, ``extends``, overrides, and every problem reported with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.errors import ConfigError, nearest
from pimsim.hardware.files import Branch, merged, override_tree, read_tree
from pimsim.hardware.records import Chip

if TYPE_CHECKING:
    from pimsim.hardware.schema import ChipSpec, Part


class HardwareError(ConfigError):
    """Several problems of one hardware file at once; ``problems`` holds each, by file and line."""

    def __init__(self, given: str, problems: tuple[ConfigError, ...]) -> None:
        super().__init__(given, f"{len(problems)} problems were found", None, None)
        self.problems = problems
        listed = "".join(f"\n  {problem}" for problem in problems)
        self.args = (f"{given}: {len(problems)} problems were found:{listed}",)


def load_chip(source: str | Path, overrides: Mapping[str, object] | None = None) -> Chip:
    """The chip of a preset or hardware file.

    Args:
        source: a preset name such as ``"isaac-like"``, or the path of a YAML file.
        overrides: values by dotted path, ``{"tile.macro.adc.bits": 6}``, checked like those of a file.

    Raises:
        ConfigError: one problem, with its ``file:line`` and dotted path (only the path for overrides);
            `HardwareError`, a ConfigError that lists them, when there are several.
    """
    problems: list[ConfigError] = []
    tree = read_tree(source, problems)
    if overrides:
        tree = merged(tree, override_tree(overrides))
    problems.extend(_empty_problems(tree))
    spec = _checked(tree, problems)
    if spec is not None:
        problems.extend(_leakage_problems(tree, spec))
    _raise(str(source), problems)
    assert spec is not None  # _raise stops where there is none
    chip = _built(spec, tree)
    _raise(str(source), list(_rule_problems(tree, chip)))
    return chip


def validate_file(path: str | Path) -> Chip:
    """The chip of a hardware file, for ``pimsim validate``: all problems of the file are reported at once.

    Raises:
        ConfigError: as `load_chip`.
    """
    return load_chip(path)


def _raise(given: str, problems: list[ConfigError]) -> None:
    """Stop with one problem, or with all of them."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise HardwareError(f"'{given}'", tuple(sorted(problems, key=_line)))


def _line(problem: ConfigError) -> tuple[str, int]:
    """The file and line of a problem, to sort by; problems of overrides come first."""
    place = (problem.where or "").partition(" (")[0]
    name, _, line = place.rpartition(":")
    return (name, int(line)) if line.isdecimal() else ("", 0)


def _checked(tree: Branch, problems: list[ConfigError]) -> ChipSpec | None:
    """The tree as a checked file, or None with what is wrong added to ``problems``."""
    from pydantic import ValidationError

    from pimsim.hardware.schema import ChipSpec

    try:
        return ChipSpec.model_validate(tree.plain())
    except ValidationError as error:
        # A key without a value is a problem already.
        found = [dict(item) for item in error.errors(include_url=False) if item["input"] is not None]
        problems.extend(_problem(tree, item) for item in found)
        return None


def _empty_problems(tree: Branch) -> Iterator[ConfigError]:
    """Keys written without a value."""
    for path in tree.empties():
        yield ConfigError(
            f"'{path[-1]}'", "this key has no value", tree.place(path), "Give a value or leave the key out"
        )


def _problem(tree: Branch, found: dict[str, Any]) -> ConfigError:
    """One pydantic error in our words, with its place."""
    from pimsim.hardware.schema import example_of, part_at
    from pimsim.hardware.values import PROBLEM

    path = tuple(str(key) for key in found["loc"])
    where, key = tree.place(path), path[-1] if path else ""
    if found["type"] == PROBLEM:
        return ConfigError(found["ctx"]["given"], found["ctx"]["rule"], where, found["ctx"]["fix"])
    part = part_at(path[:-1])
    if found["type"] == "missing" and part is not None:
        fix = f"Add '{example_of(part, key)}'"
        return ConfigError(f"'{key}'", "this key is missing", tree.place(path[:-1]) or None, fix)
    if found["type"] == "extra_forbidden" and part is not None:
        return ConfigError(f"'{key}'", "there is no such key here", where, nearest(key, _keys(part)))
    if found["type"] == "model_type":
        inside = part_at(path)
        keys = ", ".join(_keys(inside)) if inside is not None else ""
        return ConfigError(f"'{found['input']}'", "a mapping of keys is needed", where, f"Known: {keys}")
    return ConfigError(f"'{found['input']}'", str(found["msg"]), where)


def _keys(part: type[Part]) -> list[str]:
    """The keys that a mapping may have; a whole file may also extend another."""
    keys = list(part.model_fields)
    return ["extends", *keys] if part.__name__ == "ChipSpec" else keys


def _leakage_problems(tree: Branch, spec: ChipSpec) -> Iterator[ConfigError]:
    """Components whose static power is neither given nor can be split off."""
    for path, part in _components(spec):
        if part.static_power is not None:
            continue
        place = tree.place(path)
        if part.full_duty is None:
            rule = "a static power is needed, or the full_duty rate at which leakage_share is taken"
            yield ConfigError(f"'{path[-1]}'", rule, place, "Add 'static_power: 0 mW' if it does not leak")
        elif spec.leakage_share is None:
            rule = "without a static power the chip needs a leakage_share"
            yield ConfigError(f"'{path[-1]}'", rule, place, "Add 'leakage_share: 0.1' to the file, or a static_power")


def _components(part: Part, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every component with a static power and a full-duty rate, with its path."""
    from pimsim.hardware.schema import Part

    if "full_duty" in type(part).model_fields:
        yield path, part
    for key in type(part).model_fields:
        child = getattr(part, key)
        if isinstance(child, Part):
            yield from _components(child, (*path, key))


def _built(spec: ChipSpec, tree: Branch) -> Chip:
    """The records; a scaling law that does not reach the bits is blamed on ``adc.bits``."""
    from pimsim.hardware.building import build_chip

    try:
        return build_chip(spec, tuple(tree.sources()))
    except ConfigError as error:
        place = tree.place(("tile", "macro", "adc", "bits"))
        raise ConfigError(error.given, error.rule, place, error.fix) from None


def _rule_problems(tree: Branch, chip: Chip) -> Iterator[ConfigError]:
    """Impossible combinations with their places."""
    from pimsim.hardware.rules import broken_rules

    for broken in broken_rules(chip):
        yield ConfigError(broken.given, broken.rule, tree.place(tuple(broken.path.split("."))), broken.fix)
