"""``kerntrol-m`` and ``kerntrol-c``: rows that few windows use are left out, and kernels depend on the output phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pimsim.errors import PruningError
from pimsim.network.phase_conv import PhaseConv2d
from pimsim.network.rewrites import phased, phases_record
from pimsim.pruning.mapped_rows import mapped_rows
from pimsim.pruning.selection import chosen_layers, is_eligible, kernel_size
from pimsim.pruning.trained import Round, TrainedNetwork
from pimsim.pruning.windows import Window, Windows, WindowSearch

#: The methods, and whether every kept cell becomes a weight.
KERNTROL_METHODS = {"kerntrol-m": False, "kerntrol-c": True}


@dataclass(frozen=True)
class Kerntrol:
    """KERNTROL: in the whole layer, rows of pixels that at most a share of the windows' outputs use are not driven.

    With ``compensate`` (KERNTROL-C) every cell of the rows that stay becomes a weight, shared between the outputs of a
    window through one larger kernel; otherwise (KERNTROL-M) the outputs just lack the taps on rows that are left out.
    The larger kernel starts with the trained kernel in its centre and zeros around it.

    Attributes:
        compensate: KERNTROL-C instead of -M.
        search: how the parallel windows of the layers are found.
        input_shape: (C, H, W) of the images.
        threshold: a pixel stays if more than this share of the window's outputs use it; 0 keeps all.
        layers: names of the layers; empty means the stride-1 3x3 convolutions with as many inputs as outputs. Layers
            whose window is no larger than their kernel stay as they are.

    Raises:
        PruningError: a threshold below 0, or of 1 and above.

    Reference:
        `pruning-sdk.md` 9.
    """

    compensate: bool
    search: WindowSearch
    input_shape: tuple[int, int, int]
    threshold: float = 0.25
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise PruningError(
                f"threshold={self.threshold}", "a threshold is a share of the outputs of a window, from 0 to below 1"
            )

    def next_round(self, build: Callable[[], nn.Module], trained: TrainedNetwork) -> Round | None:
        """The network with output phases, all layers at once.

        Raises:
            PruningError: no layer with a window larger than its kernel, or a threshold that leaves no row.
        """
        network = trained.rebuild(build)
        windows = self.search(network, self.input_shape)
        chosen = self._chosen(network, windows)
        made = {name: self._phased(name, layer, windows.of(name)) for name, layer in chosen.items()}
        state, masks = dict(trained.state), dict(trained.masks)
        for name, layer in made.items():
            state[f"{name}.weight"] = _surrounded(state[f"{name}.weight"], layer, 0.0)
            masks[name] = _mask(masks.get(name), layer)
        kernels = {name: (kernel_size(layer), layer.kept) for name, layer in made.items()}
        result = replace(trained, state=state, masks=masks, structure=(*trained.structure, phases_record(kernels)))
        return Round(result, tuple(_line(name, layer) for name, layer in made.items()), final=True)

    def _chosen(self, network: nn.Module, windows: Windows) -> dict[str, nn.Conv2d]:
        named = chosen_layers(network, self.layers, lambda layer: is_eligible(layer) and _is_plain(layer))
        chosen = {name: layer for name, layer in named.items() if windows.of(name) != kernel_size(layer)}
        if not chosen:
            rule = "rows are left out of windows that are larger than the kernel"
            raise PruningError("an array that gives no layer a larger window", rule, fix="Use a larger array")
        return chosen

    def _phased(self, name: str, layer: nn.Conv2d, window: Window) -> PhaseConv2d:
        kernel = kernel_size(layer)
        kept = coverage(kernel, window) > self.threshold
        if not kept.any():
            most = float(coverage(kernel, window).max())
            rule = f"at most {most:.3f} of the outputs of a window of {window[0]}x{window[1]} use a pixel"
            raise PruningError(f"threshold={self.threshold}", rule, name, "Use a lower threshold")
        ring = 2 * (window[0] - kernel[0]), 2 * (window[1] - kernel[1])
        larger = kernel[0] + ring[0], kernel[1] + ring[1]
        return phased(layer, larger if self.compensate else kernel, kept)


def coverage(kernel: Window, window: Window) -> Tensor:
    """The share of a window's outputs that use each of its pixels at stride 1, float64 (P_h, P_w).

    Reference:
        `pruning-sdk.md` 9: with a 3x3 kernel 1/4, 2/4 and 4/4 for P = 4, and 1/9 to 9/9 for P = 5.
    """
    outputs = (window[0] - kernel[0] + 1) * (window[1] - kernel[1] + 1)
    return torch.from_numpy(mapped_rows(kernel, window).sum(axis=1)).double().reshape(window) / outputs


def _is_plain(layer: nn.Conv2d) -> bool:
    return layer.dilation == (1, 1) and layer.padding_mode == "zeros" and not isinstance(layer, PhaseConv2d)


def _surrounded(kernels: Tensor, layer: PhaseConv2d, value: float) -> Tensor:
    """Kernels (..., K_h, K_w) in the centre of V, ``value`` around them."""
    (height, width), (k_h, k_w) = kernel_size(layer), layer.base_kernel
    y, x = (height - k_h) // 2, (width - k_w) // 2
    return nn.functional.pad(kernels, (x, x, y, y), value=value)


def _mask(mask: Tensor | None, layer: PhaseConv2d) -> Tensor:
    """What is left of V: what some output reaches, and an earlier mask in the centre."""
    reachable = layer.reachable.to(layer.weight.dtype).expand_as(layer.weight)
    return reachable.clone() if mask is None else reachable * _surrounded(mask.to(reachable.dtype), layer, 1.0)


def _line(name: str, layer: PhaseConv2d) -> str:
    omitted, pixels = int((~layer.kept).sum()), layer.kept.numel()
    before = layer.weight[:, :, 0, 0].numel()
    shown = " ".join("".join(".#"[pixel] for pixel in row) for row in layer.kept.int().tolist())
    return (
        f"{name}: {shown}, {omitted * layer.in_channels} of {pixels * layer.in_channels} rows left out "
        f"({omitted / pixels:.1%}), {before * layer.base_kernel[0] * layer.base_kernel[1]:,} -> "
        f"{before * int(layer.reachable.sum()):,} weights"
    )
