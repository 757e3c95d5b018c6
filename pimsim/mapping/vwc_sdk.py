"""VWC-SDK: the window search of VW-SDK without im2col, for layers whose channels are pruned to fit the windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pimsim.mapping.vw_sdk import VwSdk


@dataclass(frozen=True)
class VwcSdk(VwSdk):
    """The VWC-SDK mapper: VW-SDK whose window always keeps channels whole, so that ``ic_tile`` divides them.

    The pruning that goes with it is `pimsim.mapping.channel_pruning`.

    Attributes:
        groups, tie, search: as in `VwSdk`; ``as-published`` is the search behind the authors' second pruning round.
        clamp: whether im2col may take over; off, since the published tables print the window and its channels.

    Reference:
        `mapping.md` 1.6 and 3.2; djwhsdj/VWC-SDK.
    """

    name: ClassVar[str] = "vwc-sdk"
    clamp: bool = False
