"""Hardware files as trees that remember where every value stands: reading, ``extends`` and overrides.

A tree is a `Branch` of named children ending in `Leaf` values. A quantity may be written plainly
(``energy: 1.5625 pJ``) or with its source (``energy: {value: 1.5625 pJ, source: "..."}``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pimsim.errors import ConfigError, nearest
from pimsim.hardware.presets import FOLDER, preset_names, preset_path

#: Keys of a value written with its source.
SOURCED = ("value", "source")


@dataclass(frozen=True)
class Leaf:
    """A scalar or list, its place (``file:line``; empty for an override), and the source given for it."""

    value: Any
    where: str
    source: str | None = None


@dataclass(frozen=True)
class Branch:
    """A mapping of keys and its place (``file:line``; empty for an override)."""

    children: Mapping[str, Leaf | Branch]
    where: str

    def plain(self) -> dict[str, Any]:
        """The values alone, as nested dictionaries."""
        return {
            key: child.plain() if isinstance(child, Branch) else child.value for key, child in self.children.items()
        }

    def place(self, path: tuple[str, ...]) -> str:
        """``file:line (dotted.path)`` of the deepest part of a path that was written; the path for overrides."""
        node: Leaf | Branch = self
        where = self.where
        for key in path:
            if not isinstance(node, Branch) or key not in node.children:
                break
            node = node.children[key]
            where = node.where
        dotted = ".".join(path)
        return f"{where} ({dotted})" if where and dotted else where or dotted

    def sources(self, prefix: str = "") -> Iterator[tuple[str, str]]:
        """Dotted paths with the source given for each, in the order written."""
        for key, child in self.children.items():
            path = f"{prefix}.{key}" if prefix else key
            if isinstance(child, Branch):
                yield from child.sources(path)
            elif child.source is not None:
                yield path, child.source

    def empties(self, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        """Paths of the keys that were written without a value."""
        for key, child in self.children.items():
            if isinstance(child, Branch):
                yield from child.empties((*prefix, key))
            elif child.value is None:
                yield (*prefix, key)


def merged(base: Branch, over: Branch) -> Branch:
    """``base`` with the values of ``over`` written on top, key by key at every depth."""
    children = dict(base.children)
    for key, child in over.children.items():
        below = children.get(key)
        both = isinstance(below, Branch) and isinstance(child, Branch)
        children[key] = merged(below, child) if both else child  # type: ignore[arg-type]  # both checked
    return Branch(children, over.where or base.where)


def read_tree(source: str | Path, problems: list[ConfigError]) -> Branch:
    """The tree of a preset name or file with everything it extends.

    Args:
        source: a preset name, or the path of a YAML file.
        problems: keys written twice are added here, so that all are reported at once.

    Raises:
        ConfigError: a missing or unreadable file, not YAML, empty, or ``extends`` in a circle.
    """
    return _with_parents(_locate(source, None, None), (), problems)


def _with_parents(path: Path, seen: tuple[Path, ...], problems: list[ConfigError]) -> Branch:
    """The tree of one file merged onto the file that it extends."""
    tree = parse_file(path, problems)
    parent = tree.children.get("extends")
    if parent is None:
        return tree
    where = parent.where
    if not isinstance(parent, Leaf) or not isinstance(parent.value, str):
        fix = "Write 'extends: isaac-like' or 'extends: other.yaml'"
        raise ConfigError("'extends'", "the name of a preset or file is needed", where, fix)
    base_path = _locate(parent.value, path.parent, where)
    chain = (*seen, path.resolve())
    if base_path.resolve() in chain:
        names = " -> ".join(member.name for member in (*chain, base_path))
        raise ConfigError(f"'extends: {parent.value}'", f"files extend each other in a circle ({names})", where)
    own = Branch({key: child for key, child in tree.children.items() if key != "extends"}, tree.where)
    return merged(_with_parents(base_path, chain, problems), own)


def _locate(source: str | Path, folder: Path | None, where: str | None) -> Path:
    """The file of a preset name or path; a path in ``extends`` is relative to the file that names it."""
    text = str(source)
    if isinstance(source, str) and (preset := preset_path(text)) is not None:
        return preset
    path = folder / text if folder is not None else Path(text)
    if path.is_file():
        return path
    fix = nearest(text, preset_names())
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"'{text}'", "there is no such file", where, "Check the path, or use a preset. " + fix)
    raise ConfigError(f"'{text}'", "there is no such preset or file", where, fix)


def parse_file(path: Path, problems: list[ConfigError]) -> Branch:
    """The tree of one YAML 1.2 file, without what it extends; see `read_tree`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    name = path.name if path.parent == FOLDER else str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{name}'", f"the file cannot be read ({_reason(error)})") from None
    try:
        yaml = YAML(typ="safe", pure=True)
        node = yaml.compose(text)
        tree = None if node is None else _Reader(name, yaml, problems).read(node, f"{name}:1", "")
    except MarkedYAMLError as error:
        line = f"{name}:{error.problem_mark.line + 1}" if error.problem_mark else name
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError("this text", f"it is not plain YAML ({reason})", line) from None
    except YAMLError as error:
        raise ConfigError(f"'{name}'", f"it is not YAML ({str(error).splitlines()[0]})") from None
    except RecursionError:
        raise ConfigError(f"'{name}'", "its mappings or lists are nested too deeply") from None
    if tree is None:
        raise ConfigError(f"'{name}'", "the file is empty", None, "Start from a preset with 'extends: isaac-like'")
    if not isinstance(tree, Branch):
        raise ConfigError(f"'{name}'", "a hardware file is a mapping of keys", f"{name}:1")
    return tree


def _reason(error: Exception) -> str:
    """The operating system's or decoder's own words, short."""
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"


@dataclass(frozen=True)
class _Reader:
    """Turns the nodes of one file into a tree, adding what is wrong to ``problems``."""

    name: str
    yaml: Any
    problems: list[ConfigError]

    def read(self, node: Any, where: str, path: str) -> Leaf | Branch:
        """The tree below one node; ``where`` is the line of its key."""
        kind = node.id
        if kind == "scalar":
            return Leaf(self.yaml.constructor.construct_object(node), where)
        if kind == "sequence":
            items = (self.read(item, f"{self.name}:{item.start_mark.line + 1}", path) for item in node.value)
            return Leaf([item.value if isinstance(item, Leaf) else item.plain() for item in items], where)
        branch = Branch(self._children(node, path), where)
        return _sourced(branch) if "value" in branch.children and set(branch.children) <= set(SOURCED) else branch

    def _children(self, node: Any, path: str) -> dict[str, Leaf | Branch]:
        """The children of a mapping; keys written twice are problems, the first one counts."""
        children: dict[str, Leaf | Branch] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.id != "scalar":
                self.problems.append(ConfigError("this key", "a key is plain text", f"{self.name}:{line}"))
                continue
            key = str(key_node.value)
            child_path = f"{path}.{key}" if path else key
            if key in children:
                rule = f"this key was given before, at line {lines[key]}"
                place = f"{self.name}:{line} ({child_path})"
                self.problems.append(ConfigError(f"'{key}'", rule, place, "Keep one of the two"))
                continue
            lines[key] = line
            children[key] = self.read(value_node, f"{self.name}:{line}", child_path)
        return children


def _sourced(branch: Branch) -> Leaf | Branch:
    """A leaf with its source; unchanged when the value is itself a mapping."""
    value, source = branch.children["value"], branch.children.get("source")
    if not isinstance(value, Leaf):
        return branch
    return Leaf(value.value, branch.where, str(source.value) if isinstance(source, Leaf) else None)


def override_tree(overrides: Mapping[str, object]) -> Branch:
    """Dotted paths with values as a tree; text is read as YAML would (``"6"`` is the number 6).

    Raises:
        ConfigError: an empty path or path part.
    """
    tree = Branch({}, "")
    for path, value in overrides.items():
        parts = path.split(".")
        if not all(parts):
            fix = "Write it as in 'tile.macro.adc.bits'"
            raise ConfigError(f"'{path}'", "this is not a dotted path of keys", None, fix)
        if parts == ["extends"]:
            fix = "Name that preset or file instead of this one"
            raise ConfigError("'extends'", "what a file extends cannot be overridden", None, fix)
        child: Leaf | Branch = _override(value)
        for part in reversed(parts):
            child = Branch({part: child}, "")
        assert isinstance(child, Branch)
        tree = merged(tree, child)
    return tree


def _override(value: object) -> Leaf | Branch:
    """One override; a dictionary becomes a branch."""
    if isinstance(value, Mapping):
        return Branch({str(key): _override(item) for key, item in value.items()}, "")
    return Leaf(_typed(value) if isinstance(value, str) else value, "")


def _typed(text: str) -> object:
    """Text from a command line as YAML 1.2 reads a plain scalar; other text stays as it is."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
