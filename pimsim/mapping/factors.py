"""The two layers of a low-rank factorisation, as shapes."""

from __future__ import annotations

from dataclasses import replace

from pimsim.errors import MappingError
from pimsim.network.layers import Geometry, Pair


def factor(geometry: Geometry, rank: int, groups: int) -> tuple[Geometry, Geometry]:
    """The K x K convolution to few channels and the 1 x 1 convolution back that stand for a layer.

    The first keeps kernel, stride, padding and dilation and has ``groups`` groups for each group of the layer, with
    ``rank`` outputs each; the second works on the layer's output map.

    Raises:
        MappingError: groups that do not divide the input channels, or a rank above that of one group's matrix.

    Reference:
        `pruning-blocks.md` 2.1, steps 1 and 2.
    """
    ic, oc = geometry.group_channels
    if ic % groups:
        given = f"groups={groups} with {ic} input channels"
        fix = f"Use one of {', '.join(str(n) for n in range(1, ic + 1) if ic % n == 0)}"
        raise MappingError(given, "the groups of a factorisation must divide the input channels", geometry.name, fix)
    columns = ic // groups * geometry.kernel[0] * geometry.kernel[1]
    if rank > min(oc, columns):
        size = f"{oc}x{columns} matrix" + (" of each group" if groups > 1 else "")
        rule = f"the {size} has a rank of at most {min(oc, columns)}"
        raise MappingError(f"rank={rank}", rule, geometry.name, f"Use a rank from 1 to {min(oc, columns)}")
    middle = geometry.groups * groups * rank
    reduce = replace(
        geometry, name=f"{geometry.name}.reduce", out_channels=middle, groups=geometry.groups * groups
    )  # fmt: skip
    expand = Geometry(
        f"{geometry.name}.expand", middle, geometry.out_channels, input_size=geometry.output_size,
        groups=geometry.groups, kind=geometry.kind,
    )  # fmt: skip
    return reduce, expand


def check_pair(reduce: Geometry, expand: Geometry) -> None:
    """Refuse two layers that are not a convolution and a plain 1 x 1 convolution on its outputs.

    Raises:
        MappingError: saying which of their shapes do not fit.
    """
    plain = replace(expand, kernel=(1, 1), stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1))
    follows = (expand.in_channels, expand.input_size) == (reduce.out_channels, reduce.output_size)
    if plain != expand or not follows:
        given = f"{expand.kernel[0]}x{expand.kernel[1]} on {expand.in_channels} channels of {expand.input_size}"
        rule = (
            f"the second factor is a 1x1 convolution with stride 1 on the {reduce.out_channels} channels of "
            f"{reduce.output_size} of '{reduce.name}'"
        )
        raise MappingError(given, rule, expand.name)


def window_pair(text: str) -> Pair:
    """Output positions (n_h, n_w) from ``NxN``. Raises `MappingError` for anything else."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        rule = "output positions of a window are HEIGHTxWIDTH, at least 1x1"
        raise MappingError(f"window_outputs={text}", rule, fix="Write it like 2x2")
    return int(parts[0]), int(parts[1])
