"""The options of ``pimsim prune`` that belong to some methods only; in brackets, which."""

from __future__ import annotations

from typing import Annotated

import typer

Method = Annotated[
    str,
    typer.Option(
        help="none: quantization-aware training only. One pattern of a set for each layer, channel or kernel: pattern "
        "(your own set), pairs (those that free most rows), patdnn (those that the trained network has most often), "
        "random, pconv. A given number of rows: garos (exactly, by integer program), row-efficient, row. A share of "
        "the weights: magnitude, filter, channel, column, n-m. Blocks of the unrolled matrix: "
        "pim-prune (parts of rows or columns, packed again), crossbar (whole arrays), ou-row (rows of a group of "
        "columns), tiny-adc (all but few weights of a column, for an ADC of few bits), bit-slice (bit slices of "
        "operation units; weights are rounded, not pruned), forms (one sign in every fragment of a column, for the "
        "encoding polarised). Weight patterns of operation units: prap "
        "(shapes, and patterns that repeat others up to a shift). Of another structure: vwc-sdk "
        "(remove the channels that do not fill an array, in rounds), low-rank (turn each convolution into two thin "
        "ones), kerntrol-m (leave out rows that few outputs of a window use), kerntrol-c (the same, every cell left "
        "becomes a weight); these start from --checkpoint, and fine-tune for --epochs (0: not at all)."
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        help="[pattern] Candidate, 000111111; may be repeated.  [default: the four without a border line]  "
        "[pim-prune, crossbar, ou-row, bit-slice] Share that stays, 0.25 or 1/4.  [default: 0.5]"
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        help="[all but none, vwc-sdk] Layer to prune; may be repeated.  [default: 3x3, stride 1, as many inputs as "
        "outputs; pim-prune, crossbar, ou-row, tiny-adc, bit-slice, forms: all; low-rank: all convolutions larger "
        "than 1x1 but the first; prap: all but the first and the last]"
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="[kerntrol-m, kerntrol-c] Leave out the pixels of a window that at most this share of its outputs use.  "
        "[default: 0.25]"
    ),
]
Entries = Annotated[
    int | None,
    typer.Option(
        help="[pairs, patdnn, random, garos, row-efficient, row] Positions that each kernel keeps; for the last three: "
        "skip as many rows as pairs does with so many.  [default: 6]"
    ),
]
Dimension = Annotated[
    str | None,
    typer.Option(
        help="[pattern, pairs, patdnn, random, pconv] What shares one pattern: kernel, channel or layer; rows are "
        "skipped only for the last two.  [default: layer]"
    ),
]
Patterns = Annotated[
    int | None,
    typer.Option(help="[patdnn, random] Patterns to choose from.  [default: patdnn: 8; random: as many as pairs]"),
]
Connectivity = Annotated[float | None, typer.Option(help="[patdnn] One in so many kernels stays.  [default: 1, all]")]
Rows = Annotated[
    int | None,
    typer.Option(
        help="[garos, row-efficient, row] Rows to skip instead of --entries, in one layer of each width together, "
        "shared out by their channels."
    ),
]
Families = Annotated[
    list[int] | None,
    typer.Option(help="[garos] Entries that a pruned channel may keep; may be repeated.  [default: 1, 2, 4, 6, 8]"),
]
Concentration = Annotated[
    float | None,
    typer.Option(
        help="[garos] Share of the channels that may keep the same number of entries, 1 for any.  "
        "[default: 0.2 up to two rows a channel, 0.4 above]"
    ),
]
Ranking = Annotated[
    str | None,
    typer.Option(help="[garos] Prune hardest: ascending, the weakest channels; descending; random."),
]
Power = Annotated[
    float | None, typer.Option(help="[row-efficient] A weight counts for its magnitude to this power.  [default: 1]")
]
Sparsity = Annotated[
    float | None, typer.Option(help="[magnitude, filter, channel, column] Share that is pruned.  [default: 0.5]")
]
Segment = Annotated[int | None, typer.Option(help="[column] Rows of an array.  [default: 128]")]
NOfM = Annotated[
    str | None,
    typer.Option("--n-of-m", help="[n-m] Channels that stay of how many, N:M.  [default: 2:4]"),
]
ColumnGroup = Annotated[
    int | None,
    typer.Option(
        help="[n-m, ou-row] Neighbouring output channels that share what stays.  [default: n-m: all; ou-row: 8]"
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(
        help="[pim-prune] row, column, best (whichever takes fewer arrays, for each layer) or both (experimental).  "
        "[default: best]  [prap] shape+similar, or a method that it is compared with: shape, similar, identical, "
        "structure, structure+identical, orc, naive.  [default: shape+similar]"
    ),
]
FillUp = Annotated[
    bool | None,
    typer.Option(help="[pim-prune] Keep more segments while that costs no array.  [default: fill-up]"),
]
Scope = Annotated[
    str | None,
    typer.Option(help="[pim-prune] Rank segments within each layer, or over the network.  [default: layer]"),
]
Exempt = Annotated[
    str | None,
    typer.Option(
        help="[pim-prune, crossbar, ou-row, tiny-adc, bit-slice, forms] Layers that stay dense: none, first "
        "(convolution), last (linear layer) or first-last.  [default: none]"
    ),
]
Nonzeros = Annotated[
    int | None, typer.Option(help="[tiny-adc] Weights that stay in a column of an array.  [default: 16]")
]
Fragment = Annotated[
    int | None,
    typer.Option(
        help="[bit-slice, forms] Neighbouring rows of a column that share empty slices, or a sign: as many as the "
        "operation unit has (crossbar.active_rows).  [default: 8]"
    ),
]
CellBits = Annotated[int | None, typer.Option(help="[bit-slice] Bits of a cell, and so of a slice.  [default: 2]")]
Shapes = Annotated[
    list[float] | None,
    typer.Option(
        help="[prap] Kernel positions that stay, 8, 4, 2 or 1 (a 1x1 or linear layer: 1, 0.5 or 0.25 of its inputs); "
        "once for all layers, or repeated for each.  [default: 4]"
    ),
]
Targets = Annotated[
    list[float] | None,
    typer.Option(
        help="[prap] Share of the patterns that is kept (similar), or the rank whose norm is the threshold "
        "(identical); once, or repeated for each layer; 1 leaves a layer alone.  [default: 0.5; identical: 0.6]"
    ),
]
Share = Annotated[
    float | None,
    typer.Option(help="[prap] What structure (channels) and orc (weights) keep.  [default: 0.65; orc: 0.2]"),
]
Project = Annotated[
    list[int] | None,
    typer.Option(help="[prap] Epoch after which the weights are projected; may be repeated; the last always is."),
]
MaskPenalty = Annotated[
    float | None, typer.Option(help="[prap] Weight of the penalty on what shapes prune.  [default: 0.001]")
]
ReusePenalty = Annotated[
    float | None, typer.Option(help="[prap] Weight of the distance from reused patterns.  [default: 0.001]")
]
Array = Annotated[
    str | None,
    typer.Option(
        help="[pairs, garos, row-efficient, row, vwc-sdk, kerntrol-m, kerntrol-c] Array whose parallel windows count, "
        "ROWSxCOLUMNS; for vwc-sdk the one to fill. [pim-prune, crossbar, tiny-adc, bit-slice, forms] Array that the "
        "matrix is cut for.  [default: 128x128]"
    ),
]
ColumnsPerWeight = Annotated[
    int | None,
    typer.Option(
        help="[pairs, garos, row-efficient, row, vwc-sdk, kerntrol-m, kerntrol-c, pim-prune, crossbar] Columns that "
        "one weight takes, with "
        "--array.  [default: 1]"
    ),
]
Hardware = Annotated[
    str | None,
    typer.Option(
        help="[pairs, garos, row-efficient, row, vwc-sdk, kerntrol-m, kerntrol-c] Preset or hardware file whose arrays "
        "to take instead of --array."
    ),
]
Mapping = Annotated[
    str | None,
    typer.Option(
        help="[pairs, garos, row-efficient, row, kerntrol-m, kerntrol-c] Mapper that gives each layer its window.  "
        "[default: sdk]"
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        help="[vwc-sdk] exact, or as-published: the authors' window search, which can miss the best window; "
        "only to reproduce their numbers.  [default: exact]"
    ),
]
Convention = Annotated[
    str | None,
    typer.Option(
        help="[vwc-sdk] same: windows of the layers as they are. valid: without their padding and stride, as "
        "published.  [default: same]"
    ),
]
AccuracyDrop = Annotated[
    float | None,
    typer.Option(
        help="[vwc-sdk] Another round starts only while top-1 has lost at most this many points.  [default: 1]"
    ),
]
Rank = Annotated[
    str | None,
    typer.Option(
        help="[low-rank] Channels between the two convolutions, of each group: a number, or a fraction of the "
        "output channels.  [default: 1/4]"
    ),
]
Groups = Annotated[
    int | None,
    typer.Option(help="[low-rank] Blocks of input channels that are factorised apart.  [default: 1]"),
]
