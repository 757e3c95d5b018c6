"""Random weights as an encoding can hold them."""

from __future__ import annotations

import numpy as np

from pimsim.hardware.encodings import POLARISED


def held(weight: np.ndarray, encoding: str, bits: int) -> np.ndarray:
    """The same weights; for ``polarised`` those of an output (the first axis) get one sign, which fits any mapping.

    The sign is that of their sum, and the least number of two's complement becomes the next.
    """
    if encoding != POLARISED:
        return weight
    signs = np.where(weight.reshape(len(weight), -1).sum(axis=1) < 0, -1, 1)
    magnitude = np.minimum(np.abs(weight), 2 ** (bits - 1) - 1)
    return magnitude * signs.reshape(-1, *[1] * (weight.ndim - 1))
