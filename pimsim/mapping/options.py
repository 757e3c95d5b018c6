"""A mapper's options as values: what was chosen, and refusals of what cannot be."""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType
from typing import Any

from pimsim.errors import MappingError, nearest
from pimsim.mapping.layout import Options

#: Annotation of an option field to the Python types it takes and the words for them.
_KINDS: MappingProxyType[str, tuple[tuple[type, ...], str]] = MappingProxyType(
    {
        "str": ((str,), "a word"),
        "bool": ((bool,), "true or false"),
        "int": ((int,), "a whole number"),
        "str | None": ((str, type(None)), "a word"),
        "int | str": ((int, str), "a whole number or a fraction such as 1/4"),
    }
)


def options_of(mapper: Any) -> Options:
    """The options of a mapper, a frozen dataclass, in the order of its fields; those that are None left out."""
    chosen = ((field.name, getattr(mapper, field.name)) for field in fields(mapper))
    return tuple((name, value) for name, value in chosen if value is not None)


def check_options(method: str, build: Any, options: dict[str, Any]) -> None:
    """Refuse options that a mapper does not have, or of another kind.

    Args:
        method: name of the mapper, for the message.
        build: its class, a dataclass of options.
        options: what was given.

    Raises:
        MappingError: an unknown option, or a value that is not of the option's kind.
    """
    known = {field.name: str(field.type) for field in fields(build)}
    for name, value in options.items():
        if name not in known:
            raise MappingError(f"option '{name}' of mapping '{method}'", "unknown option", fix=nearest(name, known))
        kinds, words = _KINDS[known[name]]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise MappingError(f"option {name}={value} of mapping '{method}'", f"'{name}' is {words}")
