"""The parallel windows that a mapper gives the layers, as methods that count rows need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from pimsim.errors import PruningError

Window = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Parallel windows (P_h, P_w) in input pixels by layer name.

    Attributes:
        sizes: layer name to window.
    """

    sizes: Mapping[str, Window]

    def of(self, name: str) -> Window:
        """The window of a layer. Raises `PruningError` for a layer that the mapper has not seen."""
        if name not in self.sizes:
            known = ", ".join(self.sizes)
            raise PruningError(f"no parallel window for layer '{name}'", f"windows are known for {known}", name)
        return self.sizes[name]


class WindowSearch(Protocol):
    """How windows are found once the network and the size of the images are known."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Array and mapper as the command line names them."""
        ...  # pragma: no cover

    def __call__(self, network: nn.Module, input_shape: tuple[int, int, int]) -> Windows:
        """The windows of the layers of a network for images (C, H, W)."""
        ...  # pragma: no cover


def smallest_shared_window(kernel: Window, stride: Window = (1, 1), dilation: Window = (1, 1)) -> Window:
    """The window of two kernel places in each direction, (K - 1) D + 1 + S pixels."""
    sides = [(taps - 1) * spread + 1 + step for taps, step, spread in zip(kernel, stride, dilation, strict=True)]
    return sides[0], sides[1]
