"""The values of a workload that need more than a type: shapes, normalizations, names, copies of layers."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from pimsim.errors import nearest

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
#: Rules that find the copies of every layer (`pimsim.simulation.replication.RULES`, which is not loaded for this).
RULES = ("balance", "auto")
_COPIES = "it is a number of copies, a rule, or copies by layer as in conv1=4,layer1.1=2, always 1 or more"


def _read_shape(value: object) -> object:
    """``"3,32,32"`` as three numbers; anything else is left to pydantic."""
    if isinstance(value, str):
        value = [int(part) if part.strip().isdecimal() else part for part in value.replace("x", ",").split(",")]
    if not isinstance(value, list | tuple) or len(value) != 3 or any(type(part) is not int for part in value):
        raise ValueError("a shape is three whole numbers C,H,W, for example 3,32,32")
    return tuple(value)


def _read_normalization(value: object) -> object:
    """``"M,M,M/S,S,S"`` or ``[[M, M, M], [S, S, S]]`` as (means, deviations)."""
    if isinstance(value, str):
        means, slash, deviations = value.partition("/")
        if not slash:
            raise ValueError("means and deviations are separated by '/', for example 0.5,0.5,0.5/0.2,0.2,0.2")
        return tuple(tuple(float(part) for part in side.split(",")) for side in (means, deviations))
    return tuple(tuple(side) for side in value) if isinstance(value, list) else value


def _check_normalization(value: Normalization) -> Normalization:
    """One positive deviation for every mean, all finite."""
    means, deviations = value
    if len(means) != len(deviations) or not all(map(isfinite, means)) or not all(0 < d < inf for d in deviations):
        raise ValueError("every mean needs a deviation, which is above zero, and all are finite numbers")
    return value


def _check_name(value: str) -> str:
    """A name that stays one folder below ``results``."""
    if not value.strip() or value in {".", ".."} or {"/", "\\", "\0"} & set(value):
        raise ValueError("a name is one folder's name: not empty, without '/'")
    return value


def _read_copies(value: object) -> object:
    """Copies as a number, a rule of `RULES`, or numbers by layer; text is read as the command line gives it."""
    if isinstance(value, str):
        value = _read_copies_text(value.strip())
    if isinstance(value, Mapping):
        wrong = [f"'{name}'" for name, copies in value.items() if not _is_count(copies)]
        if wrong:
            raise ValueError(f"{_COPIES}; not so for {', '.join(wrong)}")
        return {str(name): copies for name, copies in value.items()}
    if not isinstance(value, str) and not _is_count(value):
        raise ValueError(_COPIES)
    return value


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _read_copies_text(text: str) -> object:
    """``4``, ``balance`` or ``conv1=4,layer1.1=2``."""
    if text.isdecimal():
        return int(text)
    if "=" not in text:
        if text not in RULES:
            raise ValueError(f"{_COPIES}. {nearest(text, RULES)}")
        return text
    copies: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if not name or not number.isdecimal():
            raise ValueError(f"{_COPIES}; '{part.strip()}' is not LAYER=COPIES")
        if name in copies:
            raise ValueError(f"layer '{name}' is given twice; keep one of the two")
        copies[name] = int(number)
    return copies


Count = Annotated[int, Field(ge=1)]
Shape = Annotated[tuple[Count, Count, Count], BeforeValidator(_read_shape)]
Normalize = Annotated[Normalization, BeforeValidator(_read_normalization), AfterValidator(_check_normalization)]
Name = Annotated[str, AfterValidator(_check_name)]
#: Images are decoded in memory, some hundred at a time.
Pixels = Annotated[int, Field(ge=1, le=4096)]
#: Of a layer on the chip: of every layer, a rule, or by layer name.
Copies = Annotated[int | str | dict[str, int], BeforeValidator(_read_copies)]
