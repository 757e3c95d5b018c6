"""The mappers by name; a new mapper is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Protocol

from pimsim.errors import MappingError, nearest
from pimsim.mapping.arrays import ArrayShape
from pimsim.mapping.im2col import Im2col
from pimsim.mapping.kernel_split import KernelSplit
from pimsim.mapping.layout import Mapping
from pimsim.mapping.low_rank import LowRank
from pimsim.mapping.options import check_options
from pimsim.mapping.sdk import Sdk
from pimsim.mapping.smd import Smd
from pimsim.mapping.stages import StagedMapping
from pimsim.mapping.vw_sdk import VwSdk
from pimsim.mapping.vwc_sdk import VwcSdk
from pimsim.network.layers import Geometry


class Mapper(Protocol):
    """A frozen dataclass of options with one pure function."""

    def map(self, geometry: Geometry, array: ArrayShape) -> Mapping:
        """The layer laid out on arrays."""
        ...


class StagedMapper(Protocol):
    """A mapper that computes one layer as several."""

    def map(self, geometry: Geometry, array: ArrayShape) -> StagedMapping:
        """The layers that stand for the layer, laid out on arrays."""
        ...


#: Mappers that lay out the layer itself.
MAPPERS: MappingProxyType[str, Callable[..., Mapper]] = MappingProxyType(
    {
        Im2col.name: Im2col,
        Smd.name: Smd,
        Sdk.name: Sdk,
        VwSdk.name: VwSdk,
        VwcSdk.name: VwcSdk,
        KernelSplit.name: KernelSplit,
    }
)

#: Mappers that replace the layer by several.
STAGED: MappingProxyType[str, Callable[..., StagedMapper]] = MappingProxyType({LowRank.name: LowRank})


def mapper(method: str, **options: Any) -> Mapper | StagedMapper:
    """The mapper of that name with its options set.

    Raises:
        MappingError: an unknown name, an unknown option or an option value that the mapper refuses.
    """
    known: dict[str, Callable[..., Mapper | StagedMapper]] = {**MAPPERS, **STAGED}
    if method not in known:
        raise MappingError(f"mapping '{method}'", "unknown mapping", fix=nearest(method, known))
    check_options(method, known[method], options)
    return known[method](**options)


def map_layer(geometry: Geometry, array: ArrayShape, method: str, **options: Any) -> Mapping:
    """One layer laid out on arrays as it is.

    Args:
        geometry: the layer; apply `pimsim.mapping.convention` first where the published one is wanted.
        array: the array, with the columns that one weight takes.
        method: a key of `MAPPERS`.
        options: fields of that mapper.

    Raises:
        MappingError: an unknown method or option, a layer that cannot fit, or a method of `STAGED`, which does not
            compute the layer's own weights.
    """
    mapped = map_unit(geometry, array, method, **options)
    if isinstance(mapped, StagedMapping):
        raise MappingError(
            f"mapping '{method}'",
            "it computes a layer by its factors, and this layer has none",
            geometry.name,
            "Factorise the network first, or map shapes with 'pimsim map'",
        )
    return mapped


def map_unit(geometry: Geometry, array: ArrayShape, method: str, **options: Any) -> Mapping | StagedMapping:
    """One layer laid out on arrays, as it is or as the layers that a method of `STAGED` makes of it.

    Raises:
        MappingError: an unknown method or option, or a layer that cannot fit.
    """
    return mapper(method, **options).map(geometry, array)
