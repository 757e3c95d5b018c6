"""What a layer's shape means: as PyTorch runs it, or as the mapping papers count it."""

from __future__ import annotations

from dataclasses import replace

from pimsim.errors import MappingError, nearest
from pimsim.network.layers import Geometry

#: ``same`` counts the layer's own padding, stride and dilation; ``valid`` counts as published.
CONVENTIONS = ("same", "valid")


def as_published(geometry: Geometry) -> Geometry:
    """The layer as the papers count it: no padding, stride 1, dilation 1, so that O = I - K + 1.

    Reference:
        `mapping.md` 1.1 and 1.7; djwhsdj/VW-SDK.
    """
    return replace(geometry, padding=(0, 0, 0, 0), stride=(1, 1), dilation=(1, 1))


def with_convention(geometry: Geometry, convention: str) -> Geometry:
    """The layer under one of `CONVENTIONS`.

    Raises:
        MappingError: an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise MappingError(f"convention '{convention}'", "unknown convention", fix=nearest(convention, CONVENTIONS))
    return as_published(geometry) if convention == "valid" else geometry
