"""Random crops and flips of a batch of small images, vectorised and seeded."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pad_border(pixels: Tensor, padding: int) -> Tensor:
    """Pixels (N, C, H, W) uint8 with ``padding`` black pixels on every side."""
    return functional.pad(pixels, (padding,) * 4)


def crop_and_flip(padded: Tensor, indices: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """A random crop of the images ``indices`` of ``padded``, mirrored with chance 1/2.

    ``padded`` comes from :func:`pad_border`; the result (n, C, H, W) has the size from
    before the padding and lies in channels-last memory.
    """
    height, width = (side - 2 * padding for side in padded.shape[2:])
    shift = torch.randint(0, 2 * padding + 1, (2, len(indices), 1), generator=generator)
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    if flip:
        mirrored = torch.rand(len(indices), 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    # Indices around a slice move to the front: the gathered block is (n, H, W, C).
    block = padded[indices[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return block.permute(0, 3, 1, 2)
