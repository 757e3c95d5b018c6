"""The mappers by name; a new mapper is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Protocol

from pimsim.errors import MappingError, nearest
from pimsim.mapping.im2col import Im2col
from pimsim.mapping.layout import ArrayShape, Mapping
from pimsim.mapping.sdk import Sdk
from pimsim.mapping.vw_sdk import VwSdk
from pimsim.network.layers import Geometry


class Mapper(Protocol):
    """A frozen dataclass of options with one pure function."""

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer laid out on arrays."""
        ...


MAPPERS: MappingProxyType[str, Callable[..., Mapper]] = MappingProxyType(
    {
        Im2col.name: Im2col,
        Sdk.name: Sdk,
        VwSdk.name: VwSdk,
    }
)


def mapper(method: str, **options: Any) -> Mapper:
    """The mapper of that name with its options set.

    Raises:
        MappingError: an unknown name, an unknown option or an option value that the mapper refuses.
    """
    if method not in MAPPERS:
        raise MappingError(f"mapping '{method}'", "unknown mapping", fix=nearest(method, MAPPERS))
    build = MAPPERS[method]
    known = [field.name for field in fields(build)]  # type: ignore[arg-type]  # every registered mapper is a dataclass
    for option in options:
        if option not in known:
            raise MappingError(f"option '{option}' of mapping '{method}'", "unknown option", fix=nearest(option, known))
    return build(**options)


def map_layer(geometry: Geometry, array: ArrayShape, method: str, **options: Any) -> Mapping:
    """One layer laid out on arrays.

    Args:
        geometry: the layer; apply `pimsim.mapping.convention` first where the published one is wanted.
        array: the array, with the columns that one weight takes.
        method: a key of `MAPPERS`.
        options: fields of that mapper.

    Raises:
        MappingError: an unknown method or option, or a layer that cannot fit.
    """
    return mapper(method, **options).map(geometry, array)
