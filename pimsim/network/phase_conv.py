"""A convolution whose kernel depends on the output phase, for networks in PyTorch (KERNTROL)."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from pimsim.errors import NetworkError
from pimsim.network.layers import Pair
from pimsim.network.phases import convolve_blocks


class PhaseConv2d(nn.Conv2d):
    """A stride-1 convolution computed in blocks of outputs that read the same window, some of its pixels left out.

    With a window of P x P pixels and a base kernel of K x K taps a block has n x n outputs, n = P - K + 1. Output
    (a, b) of a block uses the weight V[y - a + m, x - b + m] at pixel (y, x) of the window, m = (MK - K) / 2, where
    that lies in V and the pixel is kept. V is the layer's ``weight``, MK x MK: with MK = K a shifted copy just lacks
    the taps on omitted pixels (KERNTROL-M), with MK = K + 2 (P - K) every kept pixel has a weight (KERNTROL-C).

    The forward pass is one convolution of stride n whose channels are shuffled to n x n outputs, as many of them as an
    ordinary convolution with that base kernel has. Everything in it is plain PyTorch.

    Args:
        in_channels, out_channels, groups, bias: as in ``torch.nn.Conv2d``.
        kernel_size: of V.
        base_kernel: K; gives the size of the output and what ``padding`` refers to.
        window: P.
        kept: (P_h, P_w), which pixels of the window are driven; None keeps all.
        padding: zeros around the image.

    Raises:
        NetworkError: sizes that do not fit each other.

    Reference:
        `pruning-sdk.md` 9, KERNTROL.
    """

    taps: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Pair, base_kernel: Pair, window: Pair,
        kept: Tensor | None = None, padding: Pair = (0, 0), groups: int = 1, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, 1, padding, 1, groups, bias)
        self.base_kernel, self.window = base_kernel, window
        self.kept = torch.ones(window, dtype=torch.bool) if kept is None else kept.bool()
        self.outputs = window[0] - base_kernel[0] + 1, window[1] - base_kernel[1] + 1
        self._check()
        taps = phase_taps(kernel_size, base_kernel, self.kept)
        self.register_buffer("taps", taps.flatten(), persistent=False)

    @property
    def reachable(self) -> Tensor:
        """Which positions of V some output uses, bool (MK_h, MK_w)."""
        height, width = (int(side) for side in self.kernel_size)
        used = torch.zeros(height * width + 1, dtype=torch.bool, device=self.taps.device)
        used[self.taps] = True
        return used[:-1].reshape(height, width)

    def phase_weight(self) -> Tensor:
        """The kernels of all phases, (OC n_h n_w, IC / groups, P_h, P_w), in the order of a pixel shuffle."""
        # One more tap, which is zero, for every pixel without a weight.
        taps = nn.functional.pad(self.weight.flatten(2), (0, 1)).index_select(2, self.taps)
        kernels = taps.reshape(*taps.shape[:2], -1, self.window[0] * self.window[1])
        return kernels.transpose(1, 2).reshape(-1, taps.shape[1], *self.window)

    def forward(self, input: Tensor) -> Tensor:
        """The map (N, OC, O_h, O_w) of images (N, IC, H, W)."""
        (top, left), (k_h, k_w) = (int(side) for side in self.padding), self.base_kernel
        size = input.shape[2] + 2 * top - k_h + 1, input.shape[3] + 2 * left - k_w + 1
        return convolve_blocks(
            input, self.phase_weight(), self.bias, self.outputs, self.outputs, size, (top, top, left, left),
            groups=self.groups,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """As torch prints a layer, with window and omitted pixels."""
        omitted = int((~self.kept).sum())
        shown = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{shown}, base_kernel={self.base_kernel}, window={self.window}, {omitted} pixels omitted"

    def _check(self) -> None:
        rules: dict[str, Any] = {
            "the window holds at least one place of the base kernel": min(self.outputs) >= 1,
            "V is the base kernel with as many taps more on each side": all(
                side >= base and (side - base) % 2 == 0
                for side, base in zip(self.kernel_size, self.base_kernel, strict=True)
            ),
            "there is one flag for each pixel of the window": tuple(self.kept.shape) == tuple(self.window),
            "some pixel of the window is kept": bool(self.kept.any()),
        }
        for rule, holds in rules.items():
            if not holds:
                given = (
                    f"V of {tuple(self.kernel_size)}, base kernel {self.base_kernel}, window {self.window} and flags "
                    f"{tuple(self.kept.shape)}"
                )
                raise NetworkError(given, rule)


def phase_taps(kernel: Pair, base_kernel: Pair, kept: Tensor) -> Tensor:
    """Which tap of V each pixel of the window holds in each phase, int64 (n_h, n_w, P_h, P_w).

    Taps count row by row; MK_h MK_w stands for none, because V has none there or the pixel is left out.

    Args:
        kernel: size (MK_h, MK_w) of V.
        base_kernel: K.
        kept: (P_h, P_w).
    """
    window = tuple(kept.shape)
    margins = [(side - base) // 2 for side, base in zip(kernel, base_kernel, strict=True)]
    pixels = [torch.arange(side) for side in window]
    none = kernel[0] * kernel[1]
    phases = [range(side - base + 1) for side, base in zip(window, base_kernel, strict=True)]
    found = []
    for a, b in product(*phases):
        y, x = pixels[0] - a + margins[0], pixels[1] - b + margins[1]
        inside = ((y >= 0) & (y < kernel[0]))[:, None] & ((x >= 0) & (x < kernel[1]))[None, :]
        found.append(torch.where(inside & kept.bool(), y[:, None] * kernel[1] + x[None, :], none))
    return torch.stack(found).reshape(len(phases[0]), len(phases[1]), *window)
